"""Looks through an agent's memories: what each rests on, which say the same, which nothing on record supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.memory import archival, core, log
from localmem.memory.clock import Clock
from localmem.memory.core import BlockVersion, Origin
from localmem.memory.correction import SELF
from localmem.memory.ground import told
from localmem.memory.likeness import alike
from localmem.records import Call, Record, spoken

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

OWN = ("agent", "user")
"""Authors whose passages are looked through: documents are many, and say where they come from."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A record that a memory rests on."""

    record: int
    text: str
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """One memory: a line of a block, or a passage (then `where` is "archive" and `passage` its id).

    `supported` is False where the agent wrote it and no record that it rests on says so.
    """

    where: str
    text: str
    author: str
    turn: int
    created_at: datetime
    rests_on: tuple[Ground, ...]
    supported: bool
    passage: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Pair:
    """Two memories that say nearly the same, and the share of telling words they have in common."""

    first: Remembered
    second: Remembered
    share: float


@dataclass(frozen=True, slots=True)
class Audit:
    """All memories of an agent, and the near duplicates among them."""

    memories: tuple[Remembered, ...]
    alike: tuple[Pair, ...]

    @property
    def unsupported(self) -> tuple[Remembered, ...]:
        """The memories that nothing on record supports."""
        return tuple(memory for memory in self.memories if not memory.supported)


def audit(cursor: Cursor, agent: int, clock: Clock) -> Audit:
    """Return every line of core memory and every passage that the agent or its person wrote, looked through."""
    found = [*_lines(cursor, agent, clock), *_passages(cursor, agent, clock)]
    ids = {number for _, _, origin, _, _ in found for number in origin.rests_on}
    records = _records(cursor, agent, clock, ids)
    memories = tuple(
        _judged(where, text, origin, when, passage, records) for where, text, origin, when, passage in found
    )
    pairs = alike([memory.text for memory in memories])
    return Audit(memories, tuple(Pair(memories[p.first], memories[p.second], p.share) for p in pairs))


_Found = tuple[str, str, Origin, datetime, int]


def _lines(cursor: Cursor, agent: int, clock: Clock) -> list[_Found]:
    """Return the lines of the blocks with the version in which each first stood."""
    by_label: dict[str, list[BlockVersion]] = {}
    undone = {row[0] for row in cursor.execute("SELECT turn FROM undone").fetchall()}
    for version in core.versions(cursor, agent, clock):
        if version.origin.turn not in undone:
            by_label.setdefault(version.block.label, []).append(version)
    found: list[_Found] = []
    for label, versions in by_label.items():
        first: dict[str, BlockVersion] = {}
        for version in versions:
            lines = version.block.value.splitlines()
            first = {line: first.get(line, version) for line in lines}
        for line, version in first.items():
            if line.strip():
                found.append((label, line, version.origin, version.created_at, 0))
    return found


def _passages(cursor: Cursor, agent: int, clock: Clock) -> list[_Found]:
    return [
        ("archive", passage.text, passage.origin, passage.created_at, passage.id)
        for passage in archival.passages(cursor, agent, clock)
        if not passage.retired and passage.origin.author in OWN
    ]


def _records(cursor: Cursor, agent: int, clock: Clock, ids: set[int]) -> dict[int, Record]:
    if not ids:
        return {}
    marks = ", ".join(str(int(number)) for number in sorted(ids))
    return {record.id: record for record in log.read(cursor, agent, clock, f"AND r.id IN ({marks})")}


def _judged(
    where: str,
    text: str,
    origin: Origin,
    when: datetime,
    passage: int,
    records: Mapping[int, Record],
) -> Remembered:
    grounds = [records[number] for number in origin.rests_on if number in records]
    mine = origin.author != "agent" or where == SELF
    supported = mine or any(told(text, said(record)) for record in grounds)
    shown = tuple(Ground(record.id, said(record), record.created_at) for record in grounds)
    return Remembered(where, text, origin.author, origin.turn, when, shown, supported, passage, origin)


def said(record: Record) -> str:
    """Return the text of a record that a memory may rest on: what was said, or what a call came to."""
    return spoken(record) if isinstance(record, Call) else record.text
