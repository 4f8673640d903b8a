"""Forgetting for good: everything that holds a text goes, from every table, index and file of the home."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from localmem.errors import UsageError
from localmem.memory import archival, bm25, log
from localmem.memory.clock import Clock, shown
from localmem.memory.ground import shares
from localmem.records import Record

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

FORGOTTEN = "[forgotten]"
"""What stands where a text was."""

ID = re.compile(r"(record|passage):(\d+)")
SHORTEST = 2
"""Characters of a text that can be forgotten: one letter stands everywhere."""

SUMMARISED = 200
"""Records before the head of a queue of which a summary is made anew."""

Digest = Callable[[Sequence[Record], str, int], str]
"""Makes a summary of records, behind an older one, in at most so many characters (`kernel.summary.digest`)."""


@dataclass(frozen=True, slots=True)
class Going:
    """One thing that is to be forgotten: what it is ("record", "passage", a block's label, a table), and its text."""

    what: str
    id: int
    text: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What forgetting a text takes away. `texts` is what is looked for, in any case of letters.

    `summaries` are made anew. `elsewhere` names agents and archives of this home that hold the text too and keep it.
    """

    texts: tuple[str, ...]
    going: tuple[Going, ...]
    summaries: int
    elsewhere: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing holds the text."""
        return not self.going and not self.summaries


def plan(cursor: Cursor, agent: int, clock: Clock, what: str) -> Plan:
    """Return what goes when `what` is forgotten: a text, or "record:N" or "passage:N" with all that rests on it.

    Raises UsageError for a text that is too short, and for a record or passage that there is not.
    """
    named = ID.fullmatch(what.strip())
    texts = _named(cursor, agent, named[1], int(named[2])) if named else (what.strip(),)
    if any(len(text) < SHORTEST for text in texts):
        raise UsageError(f"{what!r} is too short to be forgotten: give at least {SHORTEST} characters")
    holds = _finder(texts)
    going = [
        *(
            Going("record", row[0], _shown(row), shown(row[5], clock))
            for row in _records(cursor, agent, holds)
        ),
        *(Going("passage", row[0], row[1], shown(row[2], clock)) for row in _passages(cursor, agent, holds)),
        *_lines(cursor, agent, holds, clock),
        *(Going(table, row, text) for table, _, row, text in _others(cursor, agent, texts)),
    ]
    held = {each.id for each in going if each.what == "record"}
    summaries = len(_summaries(cursor, agent, holds, held))
    return Plan(texts, tuple(going), summaries, _elsewhere(cursor, agent, holds))


def forget(cursor: Cursor, agent: int, clock: Clock, plan: Plan, digest: Digest) -> None:
    """Take away what holds the texts of a plan as the store is now; what is left of the file is `compact`'s work."""
    holds = _finder(plan.texts)
    passages = [row[0] for row in _passages(cursor, agent, holds)]
    if passages:
        archival.delete(cursor, agent, passages)
    records = _records(cursor, agent, holds)
    for number, kind, payload, _, _, _ in records:
        body = _emptied(kind, json.loads(payload), holds)
        cursor.execute(
            "UPDATE records SET text = NULL, payload = ?, ids = ? WHERE agent = ? AND id = ?",
            [json.dumps(body, ensure_ascii=False), array("i").tobytes(), agent, number],
        )
        bm25.remove(cursor, agent, bm25.RECALL, number)
    gone = {row[0] for row in records}
    _forget_versions(cursor, agent, holds, plan.texts)
    _forget_stubs(cursor, agent, holds, gone)
    for number, head, characters in _summaries(cursor, agent, holds, gone):
        text = digest(_before(cursor, agent, clock, head), "", max(characters, 200))
        kept = FORGOTTEN if holds(text) else text
        cursor.execute("UPDATE summaries SET text = ? WHERE agent = ? AND id = ?", [kept, agent, number])
    for table, column, row, text in _others(cursor, agent, plan.texts):
        cursor.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', [_cut(text, plan.texts), row])
    archival.touch(cursor, agent)


def _named(cursor: Cursor, agent: int, kind: str, number: int) -> tuple[str, ...]:
    """Return the texts of a record or passage, and of what it rests on or what rests on it and says the same."""
    if kind == "passage":
        sql = "SELECT text, call, rests_on FROM passages WHERE agent = ? AND id = ?"
        row = cursor.execute(sql, [agent, number]).fetchone()
        if row is None:
            raise UsageError(f"there is no passage {number}: `localmem memory search --json` shows the ids")
        text, call, grounds = row
        return _all(text, _texts(cursor, agent, [call, *grounds], text))
    found = _texts(cursor, agent, [number])
    if not found:
        raise UsageError(f"there is no record {number}: `localmem memory search --json` shows the ids")
    sql = "SELECT text FROM passages WHERE agent = ? AND list_contains(rests_on, ?)"
    rests = [row[0] for row in cursor.execute(sql, [agent, number]).fetchall()]
    sql = "SELECT value FROM blocks WHERE agent = ? AND list_contains(rests_on, ?)"
    lines = [line for row in cursor.execute(sql, [agent, number]).fetchall() for line in row[0].splitlines()]
    return _all(found[0], [each for each in (*found[1:], *rests, *lines) if shares(each, found[0])])


def _all(text: str, others: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in (text, *others) if len(each.strip()) >= SHORTEST))


def _texts(cursor: Cursor, agent: int, ids: Sequence[int], like: str = "") -> list[str]:
    """Return the texts of records, those alone that share a telling word with `like` if it is given."""
    marks = ", ".join(str(int(number)) for number in ids) or "NULL"
    sql = f"SELECT kind, payload FROM records WHERE agent = ? AND id IN ({marks}) ORDER BY id"
    found: list[str] = []
    for kind, payload in cursor.execute(sql, [agent]).fetchall():
        body = json.loads(payload)
        found += list(_strings(body["arguments"])) if kind == "call" else [body["text"]]
    return [text for text in found if text.strip() and (not like or shares(text, like))]


def _finder(texts: Sequence[str]) -> Callable[[str], bool]:
    wanted = [text.casefold() for text in texts]
    flat = [" ".join(text.split()) for text in wanted]

    def holds(text: str) -> bool:
        folded = text.casefold()
        return any(each in folded for each in wanted) or any(
            each in " ".join(folded.split()) for each in flat
        )

    return holds


def _records(cursor: Cursor, agent: int, holds: Callable[[str], bool]) -> list[tuple[Any, ...]]:
    sql = "SELECT id, kind, payload, call, turn, created_at FROM records WHERE agent = ? ORDER BY id"
    rows = cursor.execute(sql, [agent]).fetchall()
    return [row for row in rows if any(map(holds, _said(row[1], json.loads(row[2]))))]


def _said(kind: str, body: dict[str, Any]) -> Iterable[str]:
    """Yield what a record's payload says; its other strings are names of kinds, functions and models."""
    for name in ("thought", "arguments") if kind == "call" else ("text", "note", "stub"):
        yield from _strings(body.get(name))


def _shown(row: Sequence[Any]) -> str:
    body = json.loads(row[2])
    return " ".join(_strings(body["arguments"])) if row[1] == "call" else str(body["text"])


def _strings(value: object) -> Iterable[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _strings(each)
        case list():
            for each in value:
                yield from _strings(each)


def _emptied(kind: str, body: dict[str, Any], holds: Callable[[str], bool]) -> dict[str, Any]:
    """Return the payload of a record without what it says; how it came about stays."""
    if kind == "call":
        return body | {"thought": "", "arguments": _blank(body["arguments"], holds), "model": ""}
    return body | {name: FORGOTTEN for name in ("text", "note") if body.get(name)}


def _blank(value: object, holds: Callable[[str], bool]) -> object:
    match value:
        case str():
            return FORGOTTEN if holds(value) else value
        case dict():
            return {name: _blank(each, holds) for name, each in value.items()}
        case list():
            return [_blank(each, holds) for each in value]
    return value


def _passages(cursor: Cursor, agent: int, holds: Callable[[str], bool]) -> list[tuple[Any, ...]]:
    sql = "SELECT id, text, created_at FROM passages WHERE agent = ? ORDER BY id"
    return [row for row in cursor.execute(sql, [agent]).fetchall() if holds(row[1])]


def _lines(cursor: Cursor, agent: int, holds: Callable[[str], bool], clock: Clock) -> list[Going]:
    """Return the lines of blocks that go, of every version, each once."""
    found: dict[tuple[str, str], Going] = {}
    sql = "SELECT id, label, value, created_at FROM blocks WHERE agent = ? ORDER BY id"
    for number, label, value, created_at in cursor.execute(sql, [agent]).fetchall():
        lines = [line for line in value.splitlines() if holds(line)]
        for line in lines or ([value] if holds(value) else []):
            found.setdefault((label, line), Going(label, number, line, shown(created_at, clock)))
    return list(found.values())


def _forget_versions(cursor: Cursor, agent: int, holds: Callable[[str], bool], texts: Sequence[str]) -> None:
    sql = "SELECT id, value FROM blocks WHERE agent = ? ORDER BY id"
    for number, value in cursor.execute(sql, [agent]).fetchall():
        if holds(value):
            kept = "\n".join(line for line in value.splitlines() if not holds(line))
            kept = _cut(kept, texts, "") if holds(kept) else kept
            cursor.execute("UPDATE blocks SET value = ? WHERE agent = ? AND id = ?", [kept, agent, number])


def _forget_stubs(cursor: Cursor, agent: int, holds: Callable[[str], bool], gone: set[int]) -> None:
    sql = "SELECT record, text FROM stubs WHERE agent = ?"
    for record, text in cursor.execute(sql, [agent]).fetchall():
        if record in gone or holds(text):
            stub = f"[paged out: record {record}: {FORGOTTEN}]"
            cursor.execute("UPDATE stubs SET text = ? WHERE agent = ? AND record = ?", [stub, agent, record])


def _summaries(
    cursor: Cursor, agent: int, holds: Callable[[str], bool], gone: set[int]
) -> list[tuple[int, int, int]]:
    """Return the summaries that hold a text or were made of a record that goes: id, head, characters."""
    oldest = min(gone, default=0)
    sql = "SELECT id, head, text FROM summaries WHERE agent = ? ORDER BY id"
    return [
        (number, head, len(text))
        for number, head, text in cursor.execute(sql, [agent]).fetchall()
        if holds(text) or (oldest and head > oldest)
    ]


def _before(cursor: Cursor, agent: int, clock: Clock, head: int) -> tuple[Record, ...]:
    """Return the last records in front of the head of a queue, in order."""
    where = "AND r.id < $head ORDER BY r.id DESC LIMIT $most"
    return log.read(cursor, agent, clock, where, head=head, most=SUMMARISED)[::-1]


OTHERS = (
    ("agents", "system"),
    ("blocks", "description"),
    ("events", "text"),
    ("events", "note"),
    ("files", "name"),
    ("files", "path"),
    ("letters", "answer"),
    ("notes", "text"),
    ("places", "heading"),
    ("readings", "task"),
    ("readings", "summary"),
    ("timers", "note"),
)
"""Columns in which people, models and documents say something, beside the tables that are seen to one by one."""


def _others(cursor: Cursor, agent: int, texts: Sequence[str]) -> list[tuple[str, str, int, str]]:
    """Return every other text of the agent that holds one: table, column, row, text."""
    holds = _finder([written for text in texts for written in _written(text)])
    found = []
    for table, column in OTHERS:
        owner = "id" if table == "agents" else "agent"
        sql = f'SELECT rowid, "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL AND {owner} = ?'
        rows = cursor.execute(sql, [agent]).fetchall()
        found += [(table, column, int(row), str(text)) for row, text in rows if holds(str(text))]
    return found


def _cut(text: str, texts: Sequence[str], mark: str = FORGOTTEN) -> str:
    """Return a text without the texts, as they are and as JSON writes them."""
    for each in sorted(texts, key=len, reverse=True):
        for written in _written(each):
            text = re.sub(re.escape(written).replace(r"\ ", r"\s+"), mark, text, flags=re.IGNORECASE)
    return text


def _written(text: str) -> tuple[str, ...]:
    """Return a text as it is, and as it is written within JSON."""
    return text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def _elsewhere(cursor: Cursor, agent: int, holds: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the names of other agents and of the archives that hold a text."""
    rows = cursor.execute("SELECT id, name FROM agents WHERE id <> ? ORDER BY id", [agent]).fetchall()
    found = []
    for other, name in rows:
        values = cursor.execute("SELECT value FROM blocks WHERE agent = ?", [other]).fetchall()
        held = _passages(cursor, other, holds) or _records(cursor, other, holds)
        if held or any(holds(row[0]) for row in values):
            found.append(f"agent {name}")
    rows = cursor.execute("SELECT id, name FROM archives ORDER BY id").fetchall()
    return (*found, *(f"archive {name}" for number, name in rows if _passages(cursor, number, holds)))
