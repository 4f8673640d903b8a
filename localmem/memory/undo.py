"""Taking back a turn: its rows stay on disk and no longer count, in no tier and in no search."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.errors import UsageError
from localmem.memory import archival, bm25, events, letters, log, timers
from localmem.memory.clock import Clock, shown, stamp
from localmem.memory.standing import STANDING, standing
from localmem.records import Call, Event, EventKind

if TYPE_CHECKING:
    from localmem.memory.store import Cursor


@dataclass(frozen=True, slots=True)
class Undone:
    """A turn that was taken back: its event, how much went with it, and what cannot be taken back.

    `blocks` are the labels whose text went back, `passages` how many passages were taken out, `restored` how many
    came back, `outside` the calls that had touched more than the agent's memory: what they did out there stays.
    """

    turn: int
    event: Event
    records: int
    blocks: tuple[str, ...]
    passages: int
    restored: int
    outside: tuple[str, ...]
    at: datetime


def undo(cursor: Cursor, agent: int, clock: Clock) -> Undone:
    """Take back the last turn that stands, with the greeting that opened it, and return what that was.

    Undoing again takes back the turn before it. Raises UsageError where no turn is left.
    """
    turn = last(cursor, agent)
    if turn is None:
        raise UsageError("there is no turn left to take back")
    now = stamp(clock)
    records = log.read(cursor, agent, clock, "AND r.turn = $turn ORDER BY r.id", turn=turn)
    event = next(record for record in records if isinstance(record, Event))
    login = _login(cursor, agent, clock, turn)
    blocks = _edited(cursor, agent, turn)
    cursor.execute("UPDATE turns SET open = false WHERE id = ? AND agent = ?", [turn, agent])
    for gone in (turn, login):
        if gone:
            _withdraw(cursor, agent, gone, now)
    _let_readings_go(cursor, agent, turn)
    events.drop(cursor, agent, turn)
    timers.take_back(cursor, agent, turn)
    inserted = _taken_out(cursor, turn)
    restored = _brought_back(cursor, turn)
    begun = cursor.execute("SELECT call FROM started WHERE agent = ?", [agent]).fetchall()
    reached = {row[0] for row in begun} | letters.withdraw(cursor, agent, turn)
    outside = tuple(each.function for each in records if isinstance(each, Call) and each.id in reached)
    count = len(records) + bool(login)
    return Undone(turn, event, count, blocks, inserted, restored, outside, shown(now, clock))


def retake(cursor: Cursor, agent: int, clock: Clock) -> Event:
    """Take back the last turn and queue what the person said in it once more; return that event.

    Raises UsageError where the last turn is not one that a person began.
    """
    said = undo(cursor, agent, clock).event
    if said.kind is not EventKind.USER:
        raise UsageError("the last turn is no message of yours: say something first")
    now, event = stamp(clock), Event(EventKind.USER, said.text)
    return events.submitted(event, events.submit(cursor, agent, event, now), now, clock)


def last(cursor: Cursor, agent: int) -> int | None:
    """Return the turn that wrote the newest record, of those that stand; None where there is none."""
    row = cursor.execute(
        f"""SELECT r.turn FROM records r SEMI JOIN turns t ON t.id = r.turn
            WHERE r.agent = ? AND {standing("r.turn")} ORDER BY r.id DESC LIMIT 1""",
        [agent],
    ).fetchone()
    return int(row[0]) if row else None


def _login(cursor: Cursor, agent: int, clock: Clock, turn: int) -> int:
    """Return the turn of the greeting that was written for a turn, right before it, 0 if there was none."""
    found = log.read(cursor, agent, clock, "AND r.id < $turn ORDER BY r.id DESC LIMIT 1", turn=turn)
    greeted = bool(found) and isinstance(found[0], Event) and found[0].kind is EventKind.LOGIN
    return found[0].turn if greeted else 0


def _withdraw(cursor: Cursor, agent: int, turn: int, now: datetime) -> None:
    cursor.execute("INSERT INTO undone VALUES (nextval('version_ids'), ?, ?, ?)", [agent, turn, now])
    said = "SELECT id FROM records WHERE agent = ? AND turn = ? AND text IS NOT NULL"
    for (record,) in cursor.execute(said, [agent, turn]).fetchall():
        bm25.remove(cursor, agent, bm25.RECALL, record)


def _edited(cursor: Cursor, agent: int, turn: int) -> tuple[str, ...]:
    """Return the blocks whose newest version is of a turn."""
    rows = cursor.execute(
        f"""SELECT label FROM blocks
            WHERE (agent = $agent OR agent IN (SELECT owner FROM shares WHERE agent = $agent)) AND {STANDING}
            GROUP BY agent, label HAVING arg_max(turn, id) = $turn ORDER BY min(id)""",
        {"agent": agent, "turn": turn},
    ).fetchall()
    return tuple(row[0] for row in rows)


def _let_readings_go(cursor: Cursor, agent: int, turn: int) -> None:
    """Let the readings that a turn began go no further; their next step leaves the queue with its other events."""
    cursor.execute(
        """UPDATE readings SET state = 'undone'
           WHERE agent = $agent AND call IN (SELECT id FROM records WHERE agent = $agent AND turn = $turn)""",
        {"agent": agent, "turn": turn},
    )


def _taken_out(cursor: Cursor, turn: int) -> int:
    """Take the passages of a turn that was withdrawn out of both indexes; return how many there were.

    They may stand in an archive that other agents have too.
    """
    rows = cursor.execute("SELECT id, agent FROM passages WHERE turn = ? ORDER BY id", [turn]).fetchall()
    for passage, owner in rows:
        bm25.remove(cursor, owner, bm25.ARCHIVAL, passage)
    for owner in {row[1] for row in rows}:
        archival.drop_vectors(cursor, owner, [row[0] for row in rows if row[1] == owner])
    return len(rows)


def _brought_back(cursor: Cursor, turn: int) -> int:
    """Make findable again what a turn that was withdrawn had retired; return how many passages that are."""
    rows = cursor.execute(
        """SELECT id, agent, text FROM passages
           WHERE id IN (SELECT passage FROM retired WHERE turn = ?) ORDER BY id""",
        [turn],
    ).fetchall()
    gone = {owner: archival.gone(cursor, owner) for _, owner, _ in rows}
    back = [row for row in rows if row[0] not in gone[row[1]]]
    for passage, owner, text in back:
        bm25.add(cursor, owner, bm25.ARCHIVAL, passage, text)
    return len(back)
