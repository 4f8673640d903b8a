"""A conversation with one agent as a terminal sees it, wherever the agent is awake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localmem.kernel.context import Report
from localmem.permission import Ask
from localmem.records import Event, Item, Usage
from localmem.serve.wire import Frame
from localmem.session import Session


@dataclass(frozen=True, slots=True)
class State:
    """How an agent stands. `core` is the share of core memory in use, `unfinished` a turn that a crash left open.

    `waits`: there are events whose turn is due and that nobody else runs. `notices` are lines for the person.
    `memory` is the bytes that the model takes when it runs.
    """

    agent: str
    model: str
    report: Report
    core: float
    unfinished: bool
    notices: tuple[str, ...] = ()
    waits: bool = False
    memory: int = 0


class Talk(Protocol):
    """An agent to talk with: in this process, or in the one that owns the home (`client.RemoteTalk`)."""

    @property
    def home(self) -> Path:
        """The folder of the home."""

    @property
    def usage(self) -> Usage:
        """What the last turn has cost so far."""

    def state(self) -> State: ...

    def turn(self, event: Event) -> Iterator[Item]:
        """Yield what `Agent.turn` yields; closing the iterator cancels the turn."""

    def resume(self) -> Iterator[Item]:
        """Yield what `Agent.resume` yields."""

    def catch_up(self) -> Iterator[Item]:
        """Run the events that wait and that nobody else runs; yield like `turn`."""

    def hand_in(self, event: Event) -> None:
        """Put an event into the agent's queue, for whoever runs it next. Raises what `turn` raises."""

    def interrupt(self) -> None:
        """End the turn under way, keeping what was said; for signal handlers and any thread."""

    def ask_with(self, ask: Ask) -> None:
        """Let the person be asked before a function touches the outside, where this process may ask."""

    def slash(self, name: str, rest: str) -> Iterator[str]:
        """Run a command of the chat; yield the lines that it shows. Raises LocalmemError."""

    def others(self) -> Iterator[Frame]:
        """Yield from now on what the agent's turns yield that this talk did not begin; ends where none can come."""

    def settle(self) -> None:
        """Do what is done between turns: new passages get their vectors."""


Slash = Callable[[Session, str, str], Iterator[str]]
"""Runs a command of the chat on an awake agent; the terminal's part, handed in from there."""


class LocalTalk:
    """A Talk with an agent that is awake in this process."""

    def __init__(self, session: Session, slash: Slash) -> None:
        self.session = session
        self._slash = slash

    @property
    def home(self) -> Path:
        return self.session.home.path

    @property
    def usage(self) -> Usage:
        return self.session.agent.usage

    def state(self) -> State:
        return state_of(self.session)

    def turn(self, event: Event) -> Iterator[Item]:
        self.session.agent.usage = Usage()
        return self.session.turn(event)

    def resume(self) -> Iterator[Item]:
        self.session.agent.usage = Usage()
        return self.session.resume()

    def catch_up(self) -> Iterator[Item]:
        self.session.agent.usage = Usage()
        return self.session.catch_up()

    def hand_in(self, event: Event) -> None:
        self.session.agent.submit(event)

    def interrupt(self) -> None:
        self.session.interrupt()

    def ask_with(self, ask: Ask) -> None:
        self.session.permission.ask = ask

    def slash(self, name: str, rest: str) -> Iterator[str]:
        return self._slash(self.session, name, rest)

    def others(self) -> Iterator[Frame]:
        return iter(())

    def settle(self) -> None:
        self.session.memory.settle()


def state_of(session: Session) -> State:
    """Return how an awake agent stands."""
    blocks = session.memory.blocks()
    core = sum(len(block.value) for block in blocks) / max(1, sum(block.limit for block in blocks))
    return State(
        session.memory.name,
        session.profile.name,
        session.agent.report(),
        core,
        session.memory.unfinished() is not None,
        tuple(session.notices),
        session.memory.inbox.ready(),
        session.plan.need,
    )
