"""Timers: rows that become events when they are due, each firing once, the missed ones late and together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from localmem.errors import FunctionError
from localmem.memory import events
from localmem.memory.clock import Clock, kept, shown
from localmem.memory.when import When, spelt
from localmem.records import Event, EventKind

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

LATE = timedelta(minutes=1)
"""From when on an event says that it comes late."""

DAY = 24 * 60 * 60

MOST = 100
"""Timers that one agent may have."""

LONGEST = 500
"""Characters of a timer's note."""


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that will fire: next at `due`, then every `every` if it repeats. `call`: who set it, 0 for a person."""

    id: int
    note: str
    due: datetime
    every: timedelta | None
    call: int
    created_at: datetime


def add(cursor: Cursor, agent: int, at: When, note: str, call: int, now: datetime) -> int:
    """Set a timer and return its id. Raises FunctionError for an empty or endless note, and for too many."""
    words = " ".join(note.split())
    if not words:
        raise FunctionError("a timer needs a note: what is to be done when it fires")
    if len(words) > LONGEST:
        raise FunctionError(f"the note has {len(words)} characters; a timer's may have {LONGEST}")
    if len(_active(cursor, agent)) >= MOST:
        raise FunctionError(f"there are {MOST} timers already: remove one first")
    row = cursor.execute("SELECT nextval('timer_ids')").fetchone()
    assert row is not None
    every = int(at.every.total_seconds()) if at.every else 0
    cursor.execute(
        "INSERT INTO timers VALUES (?, ?, ?, ?, ?, 0, true, ?, ?, 0)",
        [row[0], agent, words, at.first, every, call, now],
    )
    return int(row[0])


def remove(cursor: Cursor, agent: int, number: int, turn: int = 0) -> str:
    """Let a timer fire no more, by the doing of `turn`, and return its note.

    Raises FunctionError, naming those there are.
    """
    there = {timer[0]: timer[1] for timer in _active(cursor, agent)}
    if number not in there:
        known = ", ".join(map(str, there)) or "none"
        raise FunctionError(f"there is no timer {number}; there are: {known}")
    _end(cursor, agent, number, turn)
    return str(there[number])


def listing(cursor: Cursor, agent: int, clock: Clock) -> tuple[Timer, ...]:
    """Return the timers that will fire, the next one first."""
    found = [
        Timer(
            number,
            note,
            shown(_due(first, every, n, clock), clock),
            timedelta(seconds=every) if every else None,
            call,
            shown(made, clock),
        )
        for number, note, first, every, n, call, made in _active(cursor, agent)
    ]
    return tuple(sorted(found, key=lambda timer: (timer.due, timer.id)))


def fire(cursor: Cursor, agent: int, now: datetime, clock: Clock) -> tuple[Event, ...]:
    """Turn every timer that is due into one event of the queue; each stands for all the firings it missed.

    A repeating timer keeps its beat, first + n * every, however late this comes; one of whole days keeps the time of
    day, summer and winter. While an event of it waits to be processed, it adds none: the next one says what was
    missed.
    """
    fired = []
    for number, note, first, every, n, _, _ in _ready(cursor, agent, now, clock):
        due = _due(first, every, n, clock)
        missed = _missed(first, every, n, now, clock) if every else 0
        event = Event(EventKind.TIMER, _said(number, note, due, missed, now, clock))
        ticket = events.submit(cursor, agent, event, now, timer=number)
        fired.append(events.submitted(event, ticket, now, clock))
        if every:
            cursor.execute(
                "UPDATE timers SET n = ? WHERE agent = ? AND id = ?", [n + missed + 1, agent, number]
            )
        else:
            _end(cursor, agent, number)
    return tuple(fired)


def next_due(cursor: Cursor, agent: int, clock: Clock) -> datetime | None:
    """Return when the next timer is due, as the store keeps it; those whose last event still waits do not count."""
    held = _held(cursor, agent)
    active = [row for row in _active(cursor, agent) if row[0] not in held]
    return min((_due(row[2], row[3], row[4], clock) for row in active), default=None)


def _said(number: int, note: str, due: datetime, missed: int, now: datetime, clock: Clock) -> str:
    """Return what the agent reads: the note, and where it comes late how late, and how many it stands for."""
    text = f"Timer {number}: {note}"
    late = now - due
    if not missed and late < LATE:
        return text
    told = [f"due {shown(due, clock):%Y-%m-%d %H:%M:%S}", f"{spelt(late)} late"]
    if missed:
        told.append(f"stands for {missed + 1} firings, {missed} missed")
    return f"{text} ({', '.join(told)})"


def _ready(cursor: Cursor, agent: int, now: datetime, clock: Clock) -> list[tuple[Any, ...]]:
    """The rows of the timers that fire now, the one that was due first first."""
    held = _held(cursor, agent)
    rows = [
        row
        for row in _active(cursor, agent)
        if row[0] not in held and _due(row[2], row[3], row[4], clock) <= now
    ]
    return sorted(rows, key=lambda row: (_due(row[2], row[3], row[4], clock), row[0]))


def _active(cursor: Cursor, agent: int) -> list[tuple[Any, ...]]:
    sql = """SELECT id, note, first, every, n, call, created_at FROM timers
             WHERE agent = ? AND active ORDER BY id"""
    rows: list[tuple[Any, ...]] = cursor.execute(sql, [agent]).fetchall()
    return rows


def _held(cursor: Cursor, agent: int) -> set[int]:
    """The timers that have an event in the queue."""
    sql = "SELECT timer FROM events WHERE agent = ? AND turn = 0 AND timer > 0"
    return {row[0] for row in cursor.execute(sql, [agent]).fetchall()}


def _due(first: datetime, every: int, n: int, clock: Clock) -> datetime:
    if not n or every % DAY:
        return first + n * timedelta(seconds=every)
    local = shown(first, clock).replace(tzinfo=None)
    return kept(local + n * timedelta(seconds=every), clock)


def _missed(first: datetime, every: int, n: int, now: datetime, clock: Clock) -> int:
    """Return how many firings behind the n-th are due as well."""
    missed = max(0, (now - _due(first, every, n, clock)) // timedelta(seconds=every) - 1)
    while _due(first, every, n + missed + 1, clock) <= now:
        missed += 1
    return missed


def take_back(cursor: Cursor, agent: int, turn: int) -> None:
    """Let the timers that a turn set fire no more, and those that it removed fire again."""
    cursor.execute("UPDATE timers SET active = true, ended = 0 WHERE agent = ? AND ended = ?", [agent, turn])
    cursor.execute(
        """UPDATE timers SET active = false
           WHERE agent = $agent AND call IN (SELECT id FROM records WHERE agent = $agent AND turn = $turn)""",
        {"agent": agent, "turn": turn},
    )


def _end(cursor: Cursor, agent: int, number: int, turn: int = 0) -> None:
    sql = "UPDATE timers SET active = false, ended = ? WHERE agent = ? AND id = ?"
    cursor.execute(sql, [turn, agent, number])
