"""The agents of a home: who there is, and their coming and going."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.errors import UnknownAgent, UsageError
from localmem.memory import core, sharing
from localmem.memory.clock import Clock, shown
from localmem.memory.core import Origin
from localmem.memory.migrations import AGENT_TABLES
from localmem.memory.standing import STANDING
from localmem.records import Block

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

NAME = re.compile(r"(?!\.+$)[A-Za-z0-9_.-]{1,64}")
"""What an agent or archive may be called. It names folders: dots alone would be another one."""


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One line of the list of agents: what it is called and how much it holds."""

    name: str
    model: str | None
    functions: str | None
    created_at: datetime
    last_active: datetime | None
    records: int
    passages: int


def listing(cursor: Cursor, clock: Clock) -> tuple[AgentRow, ...]:
    """Return every agent, in the order in which they were made."""
    rows = cursor.execute(
        f"""SELECT a.name, a.model, a.functions, a.created_at, r.last, coalesce(r.n, 0), coalesce(d.n, 0)
           FROM agents a
           LEFT JOIN (SELECT agent, max(created_at) AS last, count(*) AS n FROM records
                      WHERE {STANDING} GROUP BY agent) r
                     ON r.agent = a.id
           LEFT JOIN (SELECT agent, count(*) AS n FROM documents WHERE tier = 1 GROUP BY agent) d
                     ON d.agent = a.id
           ORDER BY a.id"""
    ).fetchall()
    return tuple(
        AgentRow(
            name,
            model,
            functions,
            shown(made, clock),
            shown(last, clock) if last else None,
            records,
            passages,
        )
        for name, model, functions, made, last, records, passages in rows
    )


def find(cursor: Cursor, name: str) -> int:
    """Return the id of an agent. Raises UnknownAgent, naming those there are."""
    row = cursor.execute("SELECT id FROM agents WHERE name = ?", [name]).fetchone()
    if row:
        return int(row[0])
    there = [found[0] for found in cursor.execute("SELECT name FROM agents ORDER BY id").fetchall()]
    raise UnknownAgent(
        f"there is no agent {name!r}; " + (f"there are: {', '.join(there)}" if there else "there is none yet")
    )


def numbers(cursor: Cursor) -> list[tuple[int, str]]:
    """Return the id and the name of every agent."""
    return [(row[0], row[1]) for row in cursor.execute("SELECT id, name FROM agents").fetchall()]


def create(
    cursor: Cursor,
    name: str,
    model: str | None,
    system: str | None,
    functions: str | None,
    blocks: Sequence[Block],
    now: datetime,
) -> int:
    """Make an agent with its first blocks and return its id.

    Raises UsageError for a bad or taken name and for a block over its limit.
    """
    check(cursor, name)
    row = cursor.execute("SELECT nextval('agent_ids')").fetchone()
    assert row is not None
    cursor.execute(
        """INSERT INTO agents (id, name, model, system, functions, generation, created_at)
           VALUES (?, ?, ?, ?, ?, 0, ?)""",
        [row[0], name, model, system, functions, now],
    )
    for block in blocks:
        core.put(cursor, row[0], block, Origin("user"), now)
    return int(row[0])


def check(cursor: Cursor, name: str, hint: str = "choose another name") -> None:
    """Raise UsageError unless a new agent may be called `name`; `hint` says what to do where it is taken."""
    if not NAME.fullmatch(name):
        raise UsageError(f"agent name {name!r}: use 1 to 64 letters, digits, - _ and . (not dots alone)")
    if cursor.execute("SELECT 1 FROM agents WHERE name = ?", [name]).fetchone():
        raise UsageError(f"there is an agent {name!r} already: {hint}")


def delete(cursor: Cursor, name: str, now: datetime) -> int:
    """Delete an agent with everything it holds, and return the id it had. Raises UnknownAgent.

    Who saw a block of its keeps that block.
    """
    agent = find(cursor, name)
    sharing.bequeath(cursor, agent, now)
    for table in AGENT_TABLES:
        if table != "undone":  # what it took back in blocks and archives of others stays taken back
            cursor.execute(f"DELETE FROM {table} WHERE agent = ?", [agent])
    cursor.execute("DELETE FROM agents WHERE id = ?", [agent])
    return agent


def rename(cursor: Cursor, name: str, new: str) -> None:
    """Give an agent another name. Raises UnknownAgent, and UsageError for a bad or taken name."""
    agent = find(cursor, name)
    check(cursor, new)
    cursor.execute("UPDATE agents SET name = ? WHERE id = ?", [new, agent])
