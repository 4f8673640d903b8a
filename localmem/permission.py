"""Who may let a function touch the outside: the person, once or always; what was said for always is kept."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from localmem.functions.schema import Function
from localmem.records import Call

if TYPE_CHECKING:
    from localmem.memory.memory import Memory

NOT_PERMITTED = "not permitted"
"""How the result of a call begins that was refused: nobody let it touch the outside."""


class Answer(StrEnum):
    """What the person says to a call; `NOBODY`: there is no one to ask."""

    ONCE = "once"
    ALWAYS = "always"
    NO = "no"
    NOBODY = "nobody"


Ask = Callable[[Call, Function], Answer]
"""Puts a call before the person; it is on disk by then, and was not begun."""


def nobody(call: Call, function: Function) -> Answer:
    """Answer for a process without a terminal."""
    return Answer.NOBODY


class Permission:
    """The permission of one agent, as `Agent(permit=...)` takes it. `ask` may be set once there is a terminal."""

    def __init__(self, memory: Memory, ask: Ask = nobody) -> None:
        self._memory = memory
        self.ask = ask

    def __call__(self, call: Call, function: Function) -> str:
        """Return "" where the call may run, else the text of its result: it says how to permit it."""
        choices = self._memory.choices
        if choices.permits().get(function.name) == function.digest:
            return ""
        match self.ask(call, function):
            case Answer.ONCE:
                return ""
            case Answer.ALWAYS:
                choices.permit(function.name, function.digest)
                return ""
            case Answer.NO:
                return f"{NOT_PERMITTED}: the person said no to this"
            case Answer.NOBODY:
                return f"{NOT_PERMITTED}: to allow it, the person runs `{line(function.name, self._memory.name)}`"


def line(name: str, agent: str) -> str:
    """Return the command that permits a function for good."""
    return f"localmem functions permit {name} --agent {agent}"
