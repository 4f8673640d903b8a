"""What waits for one agent: events in their order, timers, and turns that had to give way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from localmem.errors import FunctionError, UsageError
from localmem.memory import events, timers
from localmem.memory.clock import Clock, shown, stamp
from localmem.memory.events import TIMED, SetAside
from localmem.memory.store import Cursor, Store
from localmem.memory.timers import Timer
from localmem.memory.when import When
from localmem.records import Event

T = TypeVar("T")


class Inbox:
    """The events and timers of one agent; every method that writes is one transaction. Callable from any thread."""

    def __init__(self, store: Store, agent: int, clock: Clock) -> None:
        self._store, self._agent, self._clock = store, agent, clock
        self._stirred = threading.Event()

    def submit(self, event: Event) -> Event:
        """Commit an event as pending, which acknowledges it; return it with its ticket and the time.

        Raises UsageError for a kind that nobody hands in.
        """

        def work(cursor: Cursor) -> Event:
            now = stamp(self._clock)
            ticket = events.submit(cursor, self._agent, event, now)
            return events.submitted(event, ticket, now, self._clock)

        try:
            return self._store.write(work, "submit")
        finally:
            self._stirred.set()

    def pending(self) -> tuple[Event, ...]:
        """Return the events that wait, in the order in which they will be taken."""
        return self._store.read(lambda cursor: events.pending(cursor, self._agent, self._clock))

    def next(self) -> Event | None:
        """Return the event whose turn is next, None when nothing is to be done now.

        Timers that are due become events first. The event still waits: opening its turn takes it. Timed events
        wait while the agent has paused its heartbeats, and no timer fires.
        """
        muted = self._store.read(lambda cursor: events.muted_until(cursor, self._agent, stamp(self._clock)))
        if muted is None:
            self.fire()
        waits = TIMED if muted else ()
        found = self._store.read(lambda cursor: events.pending(cursor, self._agent, self._clock, waits))
        return found[0] if found else None

    def next_due(self) -> datetime | None:
        """Return when `next` may have something without anybody handing it in, None if never.

        That is the time of the next timer, or of the end of a pause in which something waits; it may be past.
        """

        def work(cursor: Cursor) -> datetime | None:
            now = stamp(self._clock)
            muted = events.muted_until(cursor, self._agent, now)
            due = timers.next_due(cursor, self._agent, self._clock)
            if events.pending(cursor, self._agent, self._clock, TIMED if muted else ()):
                due = now
            elif muted and events.pending(cursor, self._agent, self._clock):
                due = muted
            elif muted and due:
                due = max(due, muted)
            return shown(due, self._clock) if due else None

        return self._store.read(work)

    def ready(self) -> bool:
        """Return whether `next` would return an event; nothing is changed."""
        due = self.next_due()
        return due is not None and due <= self._clock()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until something was handed in or a timer was changed; return whether that was so in time."""
        came = self._stirred.wait(seconds)
        if came:  # what is handed in just as the time is over is for the next wait
            self._stirred.clear()
        return came

    def stir(self) -> None:
        """End the `wait` under way, or the next one."""
        self._stirred.set()

    def turn_of(self, ticket: int) -> int | None:
        """Return the turn that an event has become, 0 while it waits. None where there is no such event."""
        return self._store.read(lambda cursor: events.turn_of(cursor, self._agent, ticket))

    # turns that gave way

    def set_aside(self, turn: int) -> None:
        """Close a turn that gives way to another event, and remember that it can be gone on with."""
        self._store.write(
            lambda cursor: events.set_aside(cursor, self._agent, turn, stamp(self._clock)), "set_aside"
        )

    def interrupted(self) -> tuple[SetAside, ...]:
        """Return the turns that gave way, the newest first, until they are taken up again or let go."""
        return self._store.read(lambda cursor: events.waiting(cursor, self._agent, self._clock))

    # timers

    def timers(self) -> tuple[Timer, ...]:
        """Return the timers that will fire, the next one first."""
        return self._store.read(lambda cursor: timers.listing(cursor, self._agent, self._clock))

    def add_timer(self, at: When, note: str) -> Timer:
        """Set a timer. Raises UsageError for an empty or endless note, and for too many timers."""

        def work(cursor: Cursor) -> Timer:
            number = timers.add(cursor, self._agent, at, note, 0, stamp(self._clock))
            there = timers.listing(cursor, self._agent, self._clock)
            return next(timer for timer in there if timer.id == number)

        return self._timed(work, "add_timer")

    def remove_timer(self, number: int) -> str:
        """Let a timer fire no more; return its note. Raises UsageError, naming the timers there are."""
        return self._timed(lambda cursor: timers.remove(cursor, self._agent, number), "remove_timer")

    def fire(self) -> tuple[Event, ...]:
        """Turn the timers that are due into events of the queue; each firing commits with its event, once."""
        due = self._store.read(lambda cursor: timers.next_due(cursor, self._agent, self._clock))
        if due is None or due > stamp(self._clock):
            return ()
        return self._store.write(
            lambda cursor: timers.fire(cursor, self._agent, stamp(self._clock), self._clock), "fire"
        )

    # inside

    def _timed(self, work: Callable[[Cursor], T], point: str) -> T:
        """Change the timers on behalf of a person, for whom a refusal is no result but an error."""
        try:
            return self._store.write(work, point)
        except FunctionError as error:
            raise UsageError(str(error)) from error
        finally:
            self._stirred.set()
