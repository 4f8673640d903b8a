"""The rows of one agent, out of a store and into one: as lines of JSON, their ids moved where they are taken."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from localmem.errors import BadInput, UsageError
from localmem.memory import archival, bm25, core, log
from localmem.memory.carried import CARRIED, Carried
from localmem.memory.clock import Clock
from localmem.memory.standing import STANDING

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

BATCH = 500
LARGEST = 2**53
"""Ids are below: larger ones are no ids that a store gives."""


@dataclass(frozen=True, slots=True)
class Cargo:
    """An agent on the move: what it was called, and its rows of each table, read as often as they are asked for."""

    name: str
    columns: Mapping[str, tuple[str, ...]]
    lines: Callable[[str], Iterable[str]]


def types(cursor: Cursor, carried: Carried) -> dict[str, str]:
    """Return the carried columns of a table and their types: all but the agent and, of itself, its name."""
    rows = cursor.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
        [carried.table],
    ).fetchall()
    kept = {carried.agent, "name"} if carried.table == "agents" else {carried.agent}
    return {name: kind for name, kind in rows if name not in kept}


def unload(cursor: Cursor, agent: int, carried: Carried) -> Iterator[str]:
    """Yield the rows of an agent in one table, in the order in which they came.

    The cursor is in use until the last one: run nothing else on it meanwhile.
    """
    columns = list(types(cursor, carried))
    names = ", ".join(f'"{column}"' for column in columns)
    there = {table: _ids(cursor, agent, table) for table in set(carried.foreign.values())}
    # what another agent took back must not count again because its turn is no longer named
    own = (
        f"AND ({STANDING} OR turn IN (SELECT turn FROM undone WHERE agent = $agent))"
        if "turn" in carried.foreign
        else ""
    )
    cursor.execute(
        f"SELECT {names} FROM {carried.table} WHERE {carried.agent} = $agent {own} ORDER BY rowid",
        {"agent": agent},
    )
    while rows := cursor.fetchmany(BATCH):
        for row in rows:
            line = dict(zip(columns, map(_plain, row), strict=True))
            for column, table in carried.foreign.items():
                line[column] = _known(line[column], there[table])
            yield json.dumps(line, ensure_ascii=False)
    if carried.table == "blocks":
        yield from _shared(cursor, agent, there["records"])


def pack(cursor: Cursor, agent: int, name: str) -> Cargo:
    """Return an agent on the move, its rows in memory."""
    rows = {carried.table: list(unload(cursor, agent, carried)) for carried in CARRIED}
    columns = {carried.table: tuple(types(cursor, carried)) for carried in CARRIED}
    return Cargo(name, columns, rows.__getitem__)


def load(cursor: Cursor, cargo: Cargo, name: str, clock: Clock) -> int:
    """Make an agent of what was packed and return its id. Raises BadInput for rows that no store has written."""
    import duckdb

    try:
        shifts = _make_room(cursor, cargo)
        row = cursor.execute("SELECT nextval('agent_ids')").fetchone()
        assert row is not None
        agent = int(row[0])
        for carried in CARRIED:
            if carried.table in cargo.columns:
                _insert(cursor, agent, carried, cargo, shifts)
        cursor.execute("UPDATE agents SET name = ? WHERE id = ?", [name, agent])
        _make_searchable(cursor, agent)
        _check(cursor, agent, clock)
    except UsageError as error:
        raise BadInput(f"what it holds is no agent ({error})") from error
    except (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError) as error:
        raise BadInput(f"what it holds is no agent ({str(error).splitlines()[0][:120]})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"what it holds is no agent ({type(error).__name__}: {str(error)[:120]})") from error
    return agent


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return str(value) if isinstance(value, datetime) else value


def _ids(cursor: Cursor, agent: int, table: str) -> set[int]:
    return {row[0] for row in cursor.execute(f"SELECT id FROM {table} WHERE agent = ?", [agent]).fetchall()}


def _known(value: Any, there: set[int]) -> object:
    if isinstance(value, list):
        return [number for number in value if number in there]
    return value if value in there else 0


def _shared(cursor: Cursor, agent: int, there: set[int]) -> Iterator[str]:
    """Yield a version of each block that the agent sees of another, as it stands now, behind all of its own."""
    sql = "SELECT coalesce(max(id), 0) FROM blocks WHERE agent = ?"
    row = cursor.execute(sql, [agent]).fetchone()
    assert row is not None
    found = cursor.execute("SELECT label, owner FROM shares WHERE agent = ? ORDER BY id", [agent]).fetchall()
    for number, (label, owner) in enumerate(found, row[0] + 1):
        block = next(each for each in core.blocks(cursor, owner) if each.label == label)
        last = cursor.execute(
            f"""SELECT author, turn, call, rests_on, created_at FROM blocks
                WHERE agent = ? AND label = ? AND {STANDING} ORDER BY id DESC LIMIT 1""",
            [owner, label],
        ).fetchone()
        line = {
            "id": number,
            "label": label,
            "value": block.value,
            "limit": block.limit,
            "description": block.description,
            "read_only": block.read_only,
            "author": last[0],
            "turn": _known(last[1], there),
            "call": _known(last[2], there),
            "rests_on": _known(last[3], there),
            "created_at": str(last[4]),
        }
        yield json.dumps(line, ensure_ascii=False)


def _make_room(cursor: Cursor, cargo: Cargo) -> dict[str, int]:
    """Return by how much the ids of each sequence move, and draw those numbers, so that nobody else gets them."""
    spans: dict[str, tuple[int, int]] = {}
    for carried in CARRIED:
        if carried.table not in cargo.columns:
            continue
        for text in cargo.lines(carried.table):
            line = json.loads(text)
            for column, sequence in carried.ids.items():
                ids = [number for number in _numbers(line.get(column)) if number > 0]
                if ids:
                    low, high = spans.get(sequence, (ids[0], ids[0]))
                    spans[sequence] = min(low, *ids), max(high, *ids)
    shifts = {sequence: 0 for carried in CARRIED for sequence in carried.ids.values()}
    for sequence, (low, high) in spans.items():
        row = cursor.execute(f"SELECT nextval('{sequence}')").fetchone()
        assert row is not None
        shifts[sequence] = max(0, int(row[0]) - low)
        cursor.execute(f"CREATE OR REPLACE SEQUENCE {sequence} START WITH {high + shifts[sequence] + 1}")
    return shifts


def _numbers(value: object) -> list[int]:
    numbers: list[Any] = value if isinstance(value, list) else [value or 0]
    if any(type(number) is not int or not -1 <= number < LARGEST for number in numbers):
        raise ValueError(f"{value!r:.40} is no id")
    return numbers


def _insert(cursor: Cursor, agent: int, carried: Carried, cargo: Cargo, shifts: Mapping[str, int]) -> None:
    known = types(cursor, carried)
    columns = cargo.columns[carried.table]
    if unknown := [column for column in columns if column not in known]:
        raise BadInput(f"its table {carried.table} has an unknown column {unknown[0]!r:.60}")
    form = json.dumps([{column: _form(known[column]) for column in columns}])
    names = ", ".join(f'"{column}"' for column in (carried.agent, *columns))
    values = ", ".join(_value(carried, column, known[column], shifts) for column in columns)
    extra, name = (", name", ", ''") if carried.table == "agents" else ("", "")
    sql = f"""INSERT INTO {carried.table} ({names}{extra})
              SELECT $agent, {values}{name} FROM (SELECT unnest(from_json_strict($rows, $form)) AS r)"""
    left = iter(cargo.lines(carried.table))
    while lines := list(islice(left, BATCH)):
        cursor.execute(sql, {"agent": agent, "rows": f"[{','.join(lines)}]", "form": form})


def _form(kind: str) -> object:
    """Return the type of a column as it stands in JSON, in the words of from_json."""
    if kind == "BLOB":
        return "VARCHAR"
    return [kind.removesuffix("[]")] if kind.endswith("[]") else kind


def _value(carried: Carried, column: str, kind: str, shifts: Mapping[str, int]) -> str:
    """Return the SQL for what is written into a column."""
    value = f'r."{column}"'
    if column in carried.named:
        number = f'r."{carried.named[column]}"'
        moved = f"({number} + {shifts[carried.ids[carried.named[column]]]})"
        return f"regexp_replace({value}, 'record ' || {number}, 'record ' || {moved})"
    if column in carried.ending:
        key, sequence = carried.ending[column]
        number = f"""regexp_extract({value}, ', "{key}": (\\d+)}}$', 1)"""
        moved = f"""', "{key}": ' || ({number}::BIGINT + {shifts[sequence]}) || '}}'"""
        changed = f"""regexp_replace({value}, ', "{key}": \\d+}}$', {moved})"""
        return f"CASE WHEN {number} = '' THEN {value} ELSE {changed} END"
    if column in carried.ids:
        shift = shifts[carried.ids[column]]
        if kind.endswith("[]"):
            return f"list_transform({value}, lambda x: x + {shift})"
        return f"CASE WHEN {value} <= 0 THEN {value} ELSE {value} + {shift} END"
    return f"from_base64({value})" if kind == "BLOB" else value


def _make_searchable(cursor: Cursor, agent: int) -> None:
    said = f"SELECT id, text FROM records WHERE agent = ? AND text IS NOT NULL AND {STANDING} ORDER BY id"
    gone = archival.gone(cursor, agent)
    kept = "SELECT id, text FROM passages WHERE agent = ? ORDER BY id"
    for tier, sql in ((bm25.RECALL, said), (bm25.ARCHIVAL, kept)):
        rows = cursor.execute(sql, [agent]).fetchall()
        texts = [row for row in rows if tier == bm25.RECALL or row[0] not in gone]
        for start in range(0, len(texts), BATCH):
            bm25.add_many(cursor, agent, tier, texts[start : start + BATCH])


def _check(cursor: Cursor, agent: int, clock: Clock) -> None:
    """Read everything back as the kernel will: an agent that was taken in always wakes."""
    sizes = (
        "SELECT count(*) FROM agents WHERE id = $agent HAVING count(*) <> 1",
        """SELECT 1 FROM vectors WHERE agent = $agent
           GROUP BY embedder HAVING count(DISTINCT octet_length(vector)) > 1""",
        "SELECT 1 FROM vectors WHERE agent = $agent AND octet_length(vector) % 4 <> 0",
        """SELECT 1 FROM turns t LEFT JOIN records r ON r.id = t.id AND r.agent = t.agent
           WHERE t.agent = $agent AND r.kind IS DISTINCT FROM 'event'""",
    )
    for sql in sizes:
        if cursor.execute(sql, {"agent": agent}).fetchone():
            raise ValueError("its tables contradict each other")
    log.read(cursor, agent, clock)
    archival.passages(cursor, agent, clock)
    for version in core.versions(cursor, agent, clock):
        core.check(version.block)
