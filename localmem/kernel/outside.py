"""Calls that reach beyond the store: functions that touch the machine, and messages to the other agents of a home."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from localmem.errors import FunctionError
from localmem.functions import executor
from localmem.functions.schema import Function
from localmem.functions.standard import TELLS
from localmem.memory.memory import Memory
from localmem.processor.interface import Calls
from localmem.records import Call, Event, EventKind, Result

UNKNOWN = "it is not known whether this was done: it was stopped in its midst"
"""What comes of a call to the outside that was begun and never came to its end."""

Peers = Callable[[str, Callable[[], bool], Callable[[], bool]], None]
"""Lets another agent know that something waits for it: called with its name; returns once the second argument says
that it is done, the third that this agent is to stop, or when it gives up."""


def alone(name: str, done: Callable[[], bool], stopped: Callable[[], bool]) -> None:
    """Nobody runs the other agents: what waits for them is found when somebody does."""


Permit = Callable[[Call, Function], str]
"""Asked before a call that touches the outside runs; returns "" for yes, else what the model is told."""


def refused(call: Call, function: Function) -> str:
    """Permit nothing: nobody is there to ask."""
    return f"not permitted: {function.name} {function.touches}, and nobody was there to ask"


class Outside:
    """What one agent does beyond its own store; `stopped` says whether it is to stop."""

    def __init__(self, memory: Memory, permit: Permit, peers: Peers, stopped: Callable[[], bool]) -> None:
        self._memory, self._permit, self._peers, self._stopped = memory, permit, peers, stopped

    def run(self, call: Call, shape: Calls, crashed: bool) -> Result:
        """Run a call without a desk. What touches the outside is permitted first, and then marked as started.

        The person is asked while the call is on disk and no mark is: after a crash before the answer, it is asked
        again; after one behind the mark, nobody knows.
        """
        if crashed and self._memory.started(call):
            return Result(False, UNKNOWN)
        stopped = executor.STOPPED.set(self._stopped)
        try:
            function, _ = executor.checked(call, shape.functions, shape.labels)
            if function.touches and (refusal := self._permit(call, function)):
                return Result(False, refusal)
            if function.outside:
                self._memory.start(call)
            return Result(True, executor.run(call, shape.functions, shape.labels, None))
        except FunctionError as error:
            return Result(False, str(error))
        finally:
            executor.STOPPED.reset(stopped)

    def await_answer(self, call: Call, shape: Calls) -> None:
        """Deliver a message to another agent that is to answer it, and let that agent run until it has.

        The message is on disk by the call's id: after a crash it is not sent twice, and its answer is not lost.
        """
        with suppress(FunctionError):  # which performing the call tells the model
            _, arguments = executor.checked(call, shape.functions, shape.labels)
            if arguments["wait"]:
                name = str(arguments["agent"])
                self._memory.post(call, name, str(arguments["message"]))
                self._peers(name, lambda: self._memory.heard_out(call), self._stopped)

    def stir(self, event: Event, call: Call, result: Result) -> None:
        """Let another agent know that a message, or an answer, waits for it."""
        name = self._memory.told_by(event.turn) if event.kind is EventKind.PEER else None
        if call.function == TELLS and result.ok:
            name = str(call.arguments["agent"])
        if name is not None:
            self._peers(name, lambda: True, lambda: False)
