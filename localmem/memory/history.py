"""How core memory came to be what it is: every change of a block with its author, its turn and what it changed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.memory import core
from localmem.memory.clock import Clock, shown
from localmem.memory.core import BlockVersion

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

UNDO = "undo"
"""The author of a change that took a turn back."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a block; `removed` and `added` are whole lines.

    `author` is "undo" where `turn` was taken back. `undone` says that the change was taken back itself.
    `rests_on` are the records that led to it.
    """

    version: int
    label: str
    created_at: datetime
    author: str
    turn: int
    rests_on: tuple[int, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    characters: int
    limit: int
    undone: bool = False


def history(cursor: Cursor, agent: int, clock: Clock, label: str | None = None) -> tuple[Change, ...]:
    """Return every change of one block, or of all, oldest first; turns that were taken back are among them."""
    versions = core.versions(cursor, agent, clock, label)
    rows = cursor.execute("SELECT id, turn, created_at FROM undone").fetchall()
    undone = {row[1] for row in rows}
    steps: list[tuple[int, BlockVersion | tuple[int, datetime]]] = [(each.id, each) for each in versions]
    steps += [(row[0], (row[1], shown(row[2], clock))) for row in rows]
    stands: dict[str, list[BlockVersion]] = {}
    found: list[Change] = []
    for number, step in sorted(steps, key=lambda each: each[0]):
        if isinstance(step, BlockVersion):
            before = stands.setdefault(step.block.label, [])
            found.append(_written(step, before, step.origin.turn in undone))
            before.append(step)
        else:
            found.extend(_taken_back(number, *step, stands))
    return tuple(found)


def _written(version: BlockVersion, before: Sequence[BlockVersion], undone: bool) -> Change:
    block, origin = version.block, version.origin
    removed, added = difference(before[-1].block.value if before else "", block.value)
    return Change(
        version.id,
        block.label,
        version.created_at,
        origin.author,
        origin.turn,
        origin.rests_on,
        removed,
        added,
        len(block.value),
        block.limit,
        undone,
    )


def _taken_back(
    number: int, turn: int, when: datetime, stands: dict[str, list[BlockVersion]]
) -> list[Change]:
    found = []
    for label, versions in stands.items():
        kept = [each for each in versions if each.origin.turn != turn]
        if len(kept) < len(versions):
            old, new = versions[-1].block, kept[-1].block if kept else None
            removed, added = difference(old.value, new.value if new else "")
            size, limit = (len(new.value), new.limit) if new else (0, old.limit)
            found.append(Change(number, label, when, UNDO, turn, (), removed, added, size, limit))
            stands[label] = kept
    return found


def difference(old: str, new: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines that went from a text and those that came, in order."""
    lines = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    removed = tuple(line[2:] for line in lines if line.startswith("- "))
    added = tuple(line[2:] for line in lines if line.startswith("+ "))
    return removed, added
