"""The moves that tests of the memory make again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from localmem.memory.desk import Desk
from localmem.memory.memory import Memory
from localmem.records import Call, Event, EventKind, Result


class Hands:
    """A clock whose hands the test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> None:
        self.now += timedelta(**amount)


def say(memory: Memory, text: str, reply: str = "") -> Event:
    """Run a whole turn: a user says something, the agent answers `reply` (or nothing)."""
    event = memory.open_turn(Event(EventKind.USER, text))
    if reply:
        run(memory, event.turn, lambda desk: "sent", function="send_message", message=reply)
    memory.close_turn(event.turn)
    return event


def run(
    memory: Memory, turn: int, work: Callable[[Desk], object], function: str = "f", **arguments: object
) -> Result:
    """Commit a call and perform it."""
    call = memory.add(Call("", function, arguments), turn)
    assert isinstance(call, Call)
    return memory.perform(call, lambda desk: Result(True, str(work(desk))))


def within(memory: Memory, work: Callable[[Desk], object]) -> Result:
    """Run one call in a turn of its own."""
    return run(memory, memory.open_turn(Event(EventKind.USER, "go on")).turn, work)
