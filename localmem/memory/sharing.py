"""Blocks that several agents share: one agent's block, which others see in place of their own of that label."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.errors import UsageError
from localmem.memory import core
from localmem.memory.core import Origin

if TYPE_CHECKING:
    from localmem.memory.store import Cursor


@dataclass(frozen=True, slots=True)
class SharedBlock:
    """One line of the list of shared blocks: whose it is, who else sees it, and whether only to read."""

    label: str
    agent: str
    shared_with: str
    read_only: bool


def listing(cursor: Cursor) -> tuple[SharedBlock, ...]:
    """Return which blocks are shared with whom, in the order in which that was arranged."""
    rows = cursor.execute(
        """SELECT s.label, o.name, a.name, s.read_only FROM shares s
           JOIN agents o ON o.id = s.owner JOIN agents a ON a.id = s.agent ORDER BY s.id"""
    ).fetchall()
    return tuple(SharedBlock(*row) for row in rows)


def seen_by(cursor: Cursor, owner: int) -> list[int]:
    """Return the agents that see a block of another one."""
    rows = cursor.execute(
        "SELECT DISTINCT agent FROM shares WHERE owner = ? ORDER BY agent", [owner]
    ).fetchall()
    return [int(row[0]) for row in rows]


def share(
    cursor: Cursor, label: str, owner: int, agent: int, read_only: bool, replace: bool, now: datetime
) -> None:
    """Let `agent` see a block of `owner`, and edit it unless `read_only`.

    A block of its own of that label is set aside, history and all, until the sharing ends; where it holds a
    text, `replace` must say that this is meant. A block that `owner` sees of a third agent is shared as that
    agent's, to read only where the owner may only read it. Raises UsageError.
    """
    there = {block.label: block for block in core.blocks(cursor, owner)}
    if label not in there:
        raise UsageError(f"there is no block {label!r} to share; there are: {', '.join(there) or 'none'}")
    holder, fixed = core.holder(cursor, owner, label)
    if agent in (owner, holder):
        raise UsageError(f"an agent cannot share block {label} with itself: name another")
    if core.holder(cursor, agent, label)[0] != agent:
        raise UsageError(f"it sees another agent's block {label} already: end that first (memory unshare)")
    if cursor.execute("SELECT 1 FROM shares WHERE owner = ? AND label = ?", [agent, label]).fetchone():
        raise UsageError(f"it shares its own block {label} with others: end that first (memory unshare)")
    own = {block.label: block.value for block in core.blocks(cursor, agent)}.get(label, "")
    if own and own != there[label].value and not replace:
        raise UsageError(
            f"it has a block {label} of its own with {len(own)} characters: --replace sets that aside "
            "until the sharing ends"
        )
    cursor.execute(
        "INSERT INTO shares VALUES (nextval('version_ids'), ?, ?, ?, ?, ?)",
        [agent, label, holder, read_only or fixed, now],
    )


def unshare(cursor: Cursor, label: str, owner: int, agent: int) -> None:
    """End a sharing: the agent no longer sees that block; its own one of that label, if any, is back.

    Raises UsageError when they do not share it.
    """
    holder, _ = core.holder(cursor, owner, label)
    found = [holder, agent, label]
    if not cursor.execute(
        "SELECT 1 FROM shares WHERE owner = ? AND agent = ? AND label = ?", found
    ).fetchone():
        raise UsageError(
            f"they do not share a block {label!r}: `localmem memory shares` lists what is shared"
        )
    cursor.execute("DELETE FROM shares WHERE owner = ? AND agent = ? AND label = ?", found)


def bequeath(cursor: Cursor, owner: int, now: datetime) -> None:
    """End every sharing of an agent that is about to go: who saw a block of its keeps that as its own."""
    rows = cursor.execute(
        "SELECT agent, label, id FROM shares WHERE owner = ? ORDER BY id", [owner]
    ).fetchall()
    own = {block.label: block for block in core.blocks(cursor, owner)}
    cursor.execute("DELETE FROM shares WHERE owner = ?", [owner])
    for agent, label, _ in rows:
        core.put(cursor, agent, own[label], Origin("user"), now)
