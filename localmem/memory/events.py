"""The queue of events: what was handed in and waits for its turn, by priority; turns that had to give way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.errors import FunctionError, UsageError
from localmem.memory import log
from localmem.memory.clock import Clock, shown
from localmem.memory.standing import STANDING, standing
from localmem.records import Event, EventKind

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

PRIORITY = (
    EventKind.USER,
    EventKind.LOGIN,
    EventKind.ALERT,
    EventKind.PEER,
    EventKind.DOCUMENT,
    EventKind.TIMER,
    EventKind.HEARTBEAT,
)
"""Which kind of event goes first; within one kind, whichever came first."""

TIMED = (EventKind.TIMER, EventKind.HEARTBEAT)
"""The kinds that wait while the agent has paused its heartbeats."""

NO_TURN = -1
"""The turn of an event that opened none: it drove a step of a reading, or was a letter that was taken back."""

LET_GO = 5
"""Turns after which work that was set aside is no longer offered."""

QUOTED = 300
"""Characters of an event that are repeated when its work is taken up again."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A turn that gave way to another event and may be gone on with; `latest`: nothing has happened since."""

    turn: int
    event: Event
    at: datetime
    latest: bool


def submit(
    cursor: Cursor,
    agent: int,
    event: Event,
    now: datetime,
    *,
    resumes: int = 0,
    timer: int = 0,
    call: int = 0,
) -> int:
    """Put an event into the queue and return its ticket. Raises UsageError for a kind that is not handed in.

    It goes on with the turn `resumes`, comes of `timer`, or of a `call` of the agent's own.
    """
    if event.kind not in PRIORITY:
        raise UsageError(f"an event of kind {event.kind.value!r} cannot be handed in")
    row = cursor.execute("SELECT nextval('event_ids')").fetchone()
    assert row is not None
    cursor.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
        [row[0], agent, event.kind.value, event.text, event.note, resumes, timer, now, call],
    )
    return int(row[0])


def pending(
    cursor: Cursor, agent: int, clock: Clock, without: Collection[EventKind] = ()
) -> tuple[Event, ...]:
    """Return the events that wait, in the order in which they will be taken."""
    rows = cursor.execute(
        """SELECT id, kind, text, note, created_at FROM events WHERE agent = ? AND turn = 0
           ORDER BY list_position(?, kind), id""",
        [agent, [kind.value for kind in PRIORITY]],
    ).fetchall()
    return tuple(
        Event(EventKind(kind), text, note, created_at=shown(at, clock), ticket=number)
        for number, kind, text, note, at in rows
        if EventKind(kind) not in without
    )


def resumed_by(cursor: Cursor, agent: int, ticket: int) -> int:
    """Return the turn that an event goes on with, 0 if it opens one. Raises UsageError unless it waits."""
    row = cursor.execute(
        """SELECT t.id FROM events e LEFT JOIN turns t ON t.id = e.resumes AND t.agent = e.agent
           WHERE e.agent = ? AND e.id = ? AND e.turn = 0""",
        [agent, ticket],
    ).fetchone()
    if row is None:
        raise UsageError(f"event {ticket} does not wait: it was processed already, or it is another agent's")
    return int(row[0] or 0)


def take(cursor: Cursor, agent: int, ticket: int, turn: int) -> None:
    """Take an event out of the queue for the turn that it has become; the log holds its text from now on."""
    cursor.execute(
        "UPDATE events SET turn = ?, text = '', note = '' WHERE agent = ? AND id = ?", [turn, agent, ticket]
    )


def turn_of(cursor: Cursor, agent: int, ticket: int) -> int | None:
    """Return the turn that an event has become, 0 while it waits, None where there is no such event."""
    row = cursor.execute("SELECT turn FROM events WHERE agent = ? AND id = ?", [agent, ticket]).fetchone()
    return int(row[0]) if row else None


def set_aside(cursor: Cursor, agent: int, turn: int, now: datetime) -> None:
    """Close a turn that gives way to another event, and remember that it can be gone on with."""
    cursor.execute("UPDATE turns SET open = false WHERE id = ? AND agent = ?", [turn, agent])
    cursor.execute(
        """INSERT INTO interruptions
           SELECT $turn, $agent, coalesce(max(id), 0), true, $now FROM records WHERE agent = $agent""",
        {"turn": turn, "agent": agent, "now": now},
    )


def waiting(cursor: Cursor, agent: int, clock: Clock) -> tuple[SetAside, ...]:
    """Return the turns that were set aside, the newest first, until they were taken up again or let go."""
    rows = cursor.execute(
        f"""SELECT turn, created_at,
                  newest = (SELECT max(id) FROM records r WHERE r.agent = i.agent AND {standing("r.turn")})
           FROM interruptions i
           WHERE agent = $agent AND waiting
             AND (SELECT count(*) FROM turns t WHERE t.agent = i.agent AND t.id > i.newest) <= $most
           ORDER BY newest DESC""",
        {"agent": agent, "most": LET_GO},
    ).fetchall()
    found = []
    for turn, at, latest in rows:
        (event,) = log.read(cursor, agent, clock, "AND r.id = $event", start=turn, event=turn) or (None,)
        if isinstance(event, Event):
            found.append(SetAside(turn, event, shown(at, clock), latest))
    return tuple(found)


def go_on(cursor: Cursor, agent: int, call: int, now: datetime, clock: Clock) -> str:
    """Queue the newest turn that was set aside once more, for a call; return its event's text, cut.

    Raises FunctionError when there is none.
    """
    found = waiting(cursor, agent, clock)
    if not found:
        raise FunctionError("no work was interrupted: there is nothing to go on with")
    words = " ".join(found[0].event.text.split())
    quoted = words if len(words) <= QUOTED else f"{words[:QUOTED]} ..."
    cursor.execute(
        "UPDATE interruptions SET waiting = false WHERE agent = ? AND turn = ?", [agent, found[0].turn]
    )
    event = Event(EventKind.HEARTBEAT, f'Go on with what was interrupted: "{quoted}"')
    submit(cursor, agent, event, now, resumes=found[0].turn, call=call)
    return quoted


def drop(cursor: Cursor, agent: int, turn: int) -> None:
    """Take out of the queue what would go on with a turn that was taken back, or came of its calls and timers.

    Work that was set aside and that it meant to go on with waits again.
    """
    given = {"agent": agent, "turn": turn}
    calls = "SELECT id FROM records WHERE agent = $agent AND turn = $turn AND kind = 'call'"
    waits = f"agent = $agent AND turn = 0 AND call IN ({calls})"
    cursor.execute(
        f"""UPDATE interruptions SET waiting = true
            WHERE agent = $agent AND turn IN (SELECT resumes FROM events WHERE {waits})""",
        given,
    )
    cursor.execute(
        f"""UPDATE events SET turn = $turn, text = '', note = ''
            WHERE agent = $agent AND turn = 0 AND (resumes = $turn OR call IN ({calls})
                  OR timer IN (SELECT id FROM timers WHERE agent = $agent AND call IN ({calls})))""",
        given,
    )
    cursor.execute("UPDATE interruptions SET waiting = false WHERE agent = ? AND turn = ?", [agent, turn])


def muted_until(cursor: Cursor, agent: int, now: datetime) -> datetime | None:
    """Return until when timed events are to wait, as the store keeps it; None when they are not."""
    sql = f"SELECT until FROM pauses WHERE agent = ? AND {STANDING} ORDER BY created_at DESC, until DESC LIMIT 1"
    row = cursor.execute(sql, [agent]).fetchone()
    return row[0] if row and row[0] > now else None


def submitted(event: Event, ticket: int, now: datetime, clock: Clock) -> Event:
    """Return an event as it stands in the queue: with its ticket and the time at which it came."""
    return replace(event, ticket=ticket, created_at=shown(now, clock))
