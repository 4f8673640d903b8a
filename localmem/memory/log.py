"""The log of records: how events, calls and results are written to rows and read back, byte for byte."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_never

from localmem.errors import FunctionError
from localmem.memory import bm25
from localmem.memory.clock import Clock, shown
from localmem.memory.core import Origin
from localmem.memory.standing import STANDING, standing
from localmem.records import Call, Event, EventKind, Record, Result, Usage, spoken

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

SELECT = f"""
    SELECT r.id, r.turn, r.kind, r.call, r.payload, r.ids, r.created_at, s.text
    FROM records r
    LEFT JOIN (SELECT record, any_value(text) AS text FROM stubs WHERE agent = $agent AND {STANDING}
               GROUP BY record) s
           ON s.record = r.id
    WHERE r.agent = $agent AND r.id >= $start AND {standing("r.turn")}"""
STUB = 80  # characters of a result shown in its stub


def insert(cursor: Cursor, agent: int, record: Record, turn: int, now: datetime) -> int:
    """Append a record to the log and return its id; an event with `turn` 0 opens a turn of its own id."""
    row = cursor.execute("SELECT nextval('record_ids')").fetchone()
    assert row is not None
    number = int(row[0])
    kind, call, payload, ids = _to_row(record)
    text = spoken(record) or None
    cursor.execute(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [number, agent, turn or number, kind, call, text, json.dumps(payload, ensure_ascii=False), ids, now],
    )
    if text:
        bm25.add(cursor, agent, bm25.RECALL, number, text)
    return number


def read(cursor: Cursor, agent: int, clock: Clock, where: str = "", **values: object) -> tuple[Record, ...]:
    """Return records of turns that stand, in order, from id `start` on; `where` narrows them (a LIMIT may end it)."""
    found = {"agent": agent, "start": 0, **values}
    sql = f"{SELECT} {where or 'ORDER BY r.id'}"
    return tuple(_from_row(row, clock) for row in cursor.execute(sql, found).fetchall())


def grounds(cursor: Cursor, agent: int, call: Call) -> tuple[int, ...]:
    """Return the ids of what a call may rest on: its turn's events and the results that came before it."""
    sql = """SELECT id FROM records
             WHERE agent = ? AND turn = ? AND id >= ? AND id < ? AND kind <> 'call' ORDER BY id"""
    return tuple(row[0] for row in cursor.execute(sql, [agent, call.turn, call.turn, call.id]).fetchall())


def head(cursor: Cursor, agent: int) -> tuple[int, str]:
    """Return where the queue starts (a record id) and the summary of what left it."""
    sql = f"SELECT head, text FROM summaries WHERE agent = ? AND {STANDING} ORDER BY id DESC LIMIT 1"
    row = cursor.execute(sql, [agent]).fetchone()
    return (int(row[0]), str(row[1])) if row else (0, "")


def evict(cursor: Cursor, agent: int, head: int, summary: str, turn: int | None, now: datetime) -> None:
    """Let the queue start at record `head`, under a new summary of what came before.

    It goes back when `turn` is taken back: None is the turn of the newest record.
    """
    cursor.execute(
        f"""INSERT INTO summaries
            SELECT nextval('version_ids'), $agent, $head, coalesce(max(id), 0), $text, $now,
                   coalesce($turn, arg_max(turn, id), 0)
            FROM records WHERE agent = $agent AND {STANDING}""",
        {"agent": agent, "head": head, "text": summary, "turn": turn, "now": now},
    )


def evicted_at(cursor: Cursor, agent: int) -> int:
    """Return the id of the record that was the newest when the queue was last cut, 0 if it never was."""
    sql = f"SELECT newest FROM summaries WHERE agent = ? AND {STANDING} ORDER BY id DESC LIMIT 1"
    row = cursor.execute(sql, [agent]).fetchone()
    return int(row[0]) if row else 0


def page_out(cursor: Cursor, agent: int, record: int, origin: Origin, now: datetime, clock: Clock) -> str:
    """Put a one-line stub in the place of a result in the queue and return it; the result stays in the log.

    Raises FunctionError when there is no such result in the queue or it is a stub already.
    """
    start, _ = head(cursor, agent)
    found = read(cursor, agent, clock, "AND r.id = $record", start=start, record=record)
    if not found:
        raise FunctionError(f"there is no record {record} in the queue")
    result = found[0]
    if not isinstance(result, Result):
        raise FunctionError(f"record {record} is no result of a function: only results can be paged out")
    if result.stub:
        raise FunctionError(f"record {record} is paged out already")
    start_of_text = " ".join(result.text[: 4 * STUB].split())[:STUB]
    stub = f"[paged out: {len(result.text)} characters, record {record}: {start_of_text}...]"
    row = [record, agent, stub, origin.call, now, origin.turn]
    cursor.execute("INSERT INTO stubs VALUES (?, ?, ?, ?, ?, ?)", row)
    return stub


def _to_row(record: Record) -> tuple[str, int, dict[str, Any], bytes]:
    """Return kind, the call a result answers (0: none), the payload and the token ids of a record."""
    match record:
        case Event():
            said = {"kind": record.kind.value, "text": record.text, "note": record.note}
            return "event", 0, said | ({"ticket": record.ticket} if record.ticket else {}), b""
        case Call():
            payload = {
                "thought": record.thought,
                "function": record.function,
                "arguments": dict(record.arguments),
                "heartbeat": record.heartbeat,
                "model": record.model,
                "cut": record.cut,
                "aside": record.aside,
                "usage": asdict(record.usage),
            }
            return "call", 0, payload, array("i", record.ids).tobytes()
        case Result():
            return "result", record.call, {"ok": record.ok, "text": record.text}, b""
    assert_never(record)


def _from_row(row: Sequence[Any], clock: Clock) -> Record:
    number, turn, kind, call, payload, ids, created_at, stub = row
    found = json.loads(payload)
    when = shown(created_at, clock)
    if kind == "event":
        ticket = found.get("ticket", 0)
        return Event(EventKind(found["kind"]), found["text"], found["note"], number, turn, when, ticket)
    if kind == "result":
        return Result(found["ok"], found["text"], call, stub or "", number, turn, when)
    usage = Usage(**found.pop("usage"))
    return Call(ids=tuple(array("i", ids)), usage=usage, id=number, turn=turn, created_at=when, **found)
