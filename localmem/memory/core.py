"""Core memory: named blocks of bounded size; every version says who wrote it and on what grounds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.errors import FunctionError, UsageError
from localmem.memory.clock import Clock, shown
from localmem.memory.standing import STANDING
from localmem.records import Block

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

PERSONA = "I am a friendly companion with a good memory. The person is somebody else: I call them you."

DEFAULT_BLOCKS = (
    Block("persona", PERSONA, 2000, "Who you are and how you speak."),
    Block("human", "", 2000, "What you know about the person you talk with."),
)
LABEL = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a memory comes from: author ("agent", "user", "document"), turn, call, records it rests on."""

    author: str
    turn: int = 0
    call: int = 0
    rests_on: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockVersion:
    """A block as it was from `created_at` until the next version, and where that version came from."""

    id: int
    block: Block
    origin: Origin
    created_at: datetime


def blocks(cursor: Cursor, agent: int) -> tuple[Block, ...]:
    """Return the blocks as an agent sees them now, in the order in which they came; shared ones included."""
    found = {row[0]: (row[5], Block(*row[:5])) for row in cursor.execute(_NOW, [agent]).fetchall()}
    for share, label, owner, fixed in cursor.execute(_SHARED, [agent]).fetchall():
        row = cursor.execute(f"FROM ({_NOW}) WHERE label = ?", [owner, label]).fetchone()
        block = Block(*row[:5])
        place = found[label][0] if label in found else share
        found[label] = (place, replace(block, read_only=block.read_only or fixed))
    return tuple(block for _, block in sorted(found.values(), key=lambda pair: pair[0]))


_NOW = f"""
    SELECT label, arg_max(value, id) AS value, arg_max("limit", id) AS "limit",
           arg_max(description, id) AS description, arg_max(read_only, id) AS read_only, min(id) AS place
    FROM blocks WHERE agent = ? AND {STANDING} GROUP BY label ORDER BY place"""
_SHARED = "SELECT id, label, owner, read_only FROM shares WHERE agent = ?"


def holder(cursor: Cursor, agent: int, label: str) -> tuple[int, bool]:
    """Return whose block an agent sees under a label, its own or a shared one, and whether only to read."""
    sql = "SELECT owner, read_only FROM shares WHERE agent = ? AND label = ?"
    row = cursor.execute(sql, [agent, label]).fetchone()
    return (int(row[0]), bool(row[1])) if row else (agent, False)


def versions(cursor: Cursor, agent: int, clock: Clock, label: str | None = None) -> tuple[BlockVersion, ...]:
    """Return every version of one block, or of all, oldest first; of a shared block those of whose it is."""
    rows = cursor.execute(
        """SELECT b.id, b.label, value, "limit", description, b.read_only, author, turn, call, rests_on,
                  b.created_at
           FROM blocks b LEFT JOIN shares s ON s.agent = $agent AND s.label = b.label
           WHERE b.agent = coalesce(s.owner, $agent) AND ($label IS NULL OR b.label = $label)
           ORDER BY b.id""",
        {"agent": agent, "label": label},
    ).fetchall()
    return tuple(
        BlockVersion(
            row[0], Block(*row[1:6]), Origin(row[6], row[7], row[8], tuple(row[9])), shown(row[10], clock)
        )
        for row in rows
    )


def put(cursor: Cursor, agent: int, block: Block, origin: Origin, now: datetime) -> Block:
    """Write a block as its newest version; a shared one changes for all who see it.

    Raises UsageError for a label that is no plain name, for a value over the block's limit, and for another
    agent's block that this one may only read.
    """
    check(block)
    owner, fixed = holder(cursor, agent, block.label)
    if fixed:
        raise UsageError(f"block {block.label} is another agent's, shared read-only: edit it there")
    cursor.execute(
        "INSERT INTO blocks VALUES (nextval('version_ids'), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?::BIGINT[], ?)",
        [
            *(owner, block.label, block.value, block.limit, block.description, block.read_only),
            *(origin.author, origin.turn, origin.call, str(list(origin.rests_on)), now),
        ],
    )
    return block


def check(block: Block) -> None:
    """Raise UsageError for a label that is no plain name, and for a value over the block's limit."""
    if not LABEL.fullmatch(block.label):
        raise UsageError(f"block label {block.label!r}: use 1 to 64 letters, digits, - and _")
    if block.limit < 1:
        raise UsageError(f"block {block.label}: its limit must be at least 1 character")
    if len(block.value) > block.limit:
        raise UsageError(_over(block, block.value))


def appended(found: Sequence[Block], label: str, content: str) -> Block:
    """Return a block with `content` as a new last line.

    Raises FunctionError for an unknown or read-only block, nothing to add, a line that is there already, and
    a value over the limit.
    """
    block = _writable(found, label)
    if not content.strip():
        raise FunctionError("there is nothing to add: content is empty")
    if f"\n{content}\n" in f"\n{block.value}\n":
        raise FunctionError(f"block {label} holds exactly this already")
    return _within(block, f"{block.value}\n{content}" if block.value else content)


def replaced(found: Sequence[Block], label: str, old: str, new: str) -> Block:
    """Return a block with `old`, which must occur exactly once, replaced by `new`.

    Raises FunctionError as `appended` does, and when `old` occurs never or several times.
    """
    block = _writable(found, label)
    if not old:
        raise FunctionError("old text is empty: give the exact text to replace")
    matches = block.value.count(old)
    if matches != 1:
        raise FunctionError(
            f"the old text matches {matches} times in block {label}, it must match exactly once: "
            + ("quote it exactly, or rewrite the block" if not matches else "quote more of it")
        )
    if old == new:
        raise FunctionError("the new text is the same as the old text")
    return _within(block, block.value.replace(old, new))


def rewritten(found: Sequence[Block], label: str, content: str) -> Block:
    """Return a block with `content` in place of its whole value.

    Raises FunctionError for an unknown or read-only block, no change, and a value over the limit.
    """
    block = _writable(found, label)
    if block.value == content:
        raise FunctionError(f"block {label} holds exactly this already")
    return _within(block, content)


def _writable(found: Sequence[Block], label: str) -> Block:
    for block in found:
        if block.label == label:
            if block.read_only:
                raise FunctionError(f"block {label} is read-only")
            return block
    there = ", ".join(block.label for block in found) or "none"
    raise FunctionError(f"there is no block {label}; the blocks are: {there}")


def _within(block: Block, value: str) -> Block:
    if len(value) > block.limit:
        raise FunctionError(_over(block, value))
    return replace(block, value=value)


def _over(block: Block, value: str) -> str:
    return (
        f"block {block.label} would hold {len(value)} characters, {len(value) - block.limit} over its limit "
        f"of {block.limit}: nothing was changed, write less or rewrite the block shorter"
    )
