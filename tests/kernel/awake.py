"""Hands for the kernel's tests: a clock, a home that wakes agents on scripts, moves and turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from localmem.functions.schema import Function
from localmem.kernel.agent import Agent
from localmem.kernel.outside import Permit, refused
from localmem.kernel.settings import Settings
from localmem.memory.home import Home
from localmem.records import Call, Event, EventKind, Item
from localmem.testing import Move, ScriptedProcessor


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **span: float) -> None:
        self.now += timedelta(**span)


class Bench:
    """Wakes agents on scripts, all in one home."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self.home, self.clock = home, clock
        self.memory = home.create_agent("default")

    def remember_something(self) -> None:
        """Put a passage into the archive and a message behind the queue, so that there is something to search."""
        self.memory.edit(lambda desk: desk.insert_passage("an old note"))
        event = self.memory.open_turn(user("an old word"))
        self.memory.close_turn(event.turn)
        self.memory.evict(event.id + 1, "")

    def wake(
        self,
        script: Iterable[Move] | Callable[..., Move],
        *,
        window: int = 2048,
        functions_of_its_own: tuple[Function, ...] = (),
        permit: Permit = refused,
        **settings: object,
    ) -> tuple[Agent, ScriptedProcessor]:
        processor = ScriptedProcessor(script, window=window)
        chosen = Settings(**settings)  # type: ignore[arg-type]
        agent = Agent(
            self.memory, processor, chosen, functions=functions_of_its_own, permit=permit, clock=self.clock
        )
        return agent, processor


def says(message: str, *, heartbeat: bool = False) -> Call:
    return Call("", "send_message", {"message": message}, heartbeat)


def calls(function: str, **arguments: object) -> Call:
    return Call("", function, arguments)


def any_call(function: str, text: str) -> Call:
    """Return a call of one of the agent's own functions that says, keeps or looks for a text."""
    arguments: dict[str, dict[str, object]] = {
        "send_message": {"message": text},
        "core_memory_append": {"label": "human", "content": text},
        "core_memory_replace": {"label": "human", "old_content": text[:3], "new_content": text},
        "core_memory_rewrite": {"label": "human", "content": text},
        "conversation_search": {"query": text[:100]},
        "conversation_search_date": {"start": "2026-03-01", "end": "2026-03-09"},
        "archival_memory_insert": {"content": text},
        "archival_memory_search": {"query": text[:100], "page": 2},
        "pause_heartbeats": {"minutes": 5},
        "send_message_to_agent": {"agent": "other", "message": text, "wait": False},
        "page_out": {"record": 7},
        "set_timer": {"when": "in 10 minutes", "note": text[:100]},
        "remove_timer": {"number": 1},
        "go_on": {},
        "archive_insert": {"archive": "books", "content": text},
        "open_document": {"name": "book.txt", "position": 1.0},
        "next_page": {},
        "read_document": {"name": "book.txt", "task": text[:100]},
        "nothing_to_remember": {},
    }
    return Call("", function, arguments[function])


def user(text: str) -> Event:
    return Event(EventKind.USER, text)


def run(agent: Agent, text: str) -> list[Item]:
    return list(agent.turn(user(text)))
