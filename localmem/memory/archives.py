"""Named archives: passages that belong to no agent, attached to as many of them as want to search there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.errors import FunctionError, UnknownArchive, UsageError
from localmem.memory.agents import NAME
from localmem.memory.clock import Clock, shown
from localmem.memory.migrations import OWNER_TABLES

if TYPE_CHECKING:
    from localmem.memory.store import Cursor


@dataclass(frozen=True, slots=True)
class Attachment:
    """An agent that searches an archive, and whether it may write there."""

    agent: str
    writable: bool


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """One line of the list of archives: what it is called, how much it holds, and who searches it."""

    name: str
    created_at: datetime
    files: int
    passages: int
    attached: tuple[Attachment, ...]


def listing(cursor: Cursor, clock: Clock) -> tuple[ArchiveRow, ...]:
    """Return every archive, in the order in which they were made."""
    rows = cursor.execute(
        """SELECT a.id, a.name, a.created_at,
                  (SELECT count(*) FROM files f WHERE f.agent = a.id),
                  (SELECT count(*) FROM documents d WHERE d.agent = a.id AND d.tier = 1)
           FROM archives a ORDER BY a.id"""
    ).fetchall()
    return tuple(
        ArchiveRow(name, shown(made, clock), files, passages, _attached(cursor, number))
        for number, name, made, files, passages in rows
    )


def find(cursor: Cursor, name: str) -> int:
    """Return the id of an archive. Raises UnknownArchive, naming those there are."""
    row = cursor.execute("SELECT id FROM archives WHERE name = ?", [name]).fetchone()
    if row:
        return int(row[0])
    there = [found[0] for found in cursor.execute("SELECT name FROM archives ORDER BY id").fetchall()]
    known = f"there are: {', '.join(there)}" if there else "`localmem archives create` makes the first"
    raise UnknownArchive(f"there is no archive {name!r}; {known}")


def create(cursor: Cursor, name: str, now: datetime) -> int:
    """Make an archive and return its id, which no agent has. Raises UsageError for a bad or taken name."""
    if not NAME.fullmatch(name):
        raise UsageError(f"archive name {name!r}: use 1 to 64 letters, digits, - _ and . (not dots alone)")
    if cursor.execute("SELECT 1 FROM archives WHERE name = ?", [name]).fetchone():
        raise UsageError(f"there is an archive {name!r} already: choose another name")
    row = cursor.execute("SELECT nextval('agent_ids')").fetchone()
    assert row is not None
    cursor.execute("INSERT INTO archives VALUES (?, ?, 0, ?)", [row[0], name, now])
    return int(row[0])


def delete(cursor: Cursor, name: str) -> int:
    """Delete an archive with everything in it and return the id it had. Raises UnknownArchive."""
    number = find(cursor, name)
    for table in OWNER_TABLES:
        cursor.execute(f"DELETE FROM {table} WHERE agent = ?", [number])
    cursor.execute("DELETE FROM attachments WHERE archive = ?", [number])
    cursor.execute("DELETE FROM archives WHERE id = ?", [number])
    return number


def attach(cursor: Cursor, agent: int, name: str, writable: bool, now: datetime) -> None:
    """Let an agent search an archive; done again, it changes whether it may write. Raises UnknownArchive."""
    number = find(cursor, name)
    cursor.execute("DELETE FROM attachments WHERE agent = ? AND archive = ?", [agent, number])
    cursor.execute("INSERT INTO attachments VALUES (?, ?, ?, ?)", [agent, number, writable, now])


def detach(cursor: Cursor, agent: int, name: str) -> None:
    """Let an agent search an archive no longer. Raises UnknownArchive, and UsageError where it does not."""
    number = find(cursor, name)
    if number not in owners(cursor, agent):
        raise UsageError(f"the archive {name!r} is not attached to this agent")
    cursor.execute("DELETE FROM attachments WHERE agent = ? AND archive = ?", [agent, number])


def copy(cursor: Cursor, agent: int, other: int) -> None:
    """Attach to another agent what is attached to one."""
    cursor.execute(
        "INSERT INTO attachments SELECT ?, archive, writable, created_at FROM attachments WHERE agent = ?",
        [other, agent],
    )


def owners(cursor: Cursor, agent: int) -> list[int]:
    """Return whose passages an agent finds: its own id first, then those of the archives attached to it."""
    rows = cursor.execute(
        "SELECT archive FROM attachments WHERE agent = ? ORDER BY archive", [agent]
    ).fetchall()
    return [agent, *(row[0] for row in rows)]


def readers(cursor: Cursor, owner: int) -> list[int]:
    """Return the agents that find what `owner` (an agent or an archive) holds."""
    if cursor.execute("SELECT 1 FROM agents WHERE id = ?", [owner]).fetchone():
        return [owner]
    rows = cursor.execute(
        "SELECT agent FROM attachments WHERE archive = ? ORDER BY agent", [owner]
    ).fetchall()
    return [row[0] for row in rows]


def attached(cursor: Cursor, agent: int) -> list[tuple[str, bool]]:
    """Return the archives attached to an agent by name, and whether it may write there."""
    rows = cursor.execute(
        """SELECT a.name, t.writable FROM attachments t JOIN archives a ON a.id = t.archive
           WHERE t.agent = ? ORDER BY a.id""",
        [agent],
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def writable(cursor: Cursor, agent: int, name: str) -> int:
    """Return the id of an archive that an agent may write to. Raises FunctionError, naming those it may."""
    names = [found for found, may in attached(cursor, agent) if may]
    if name not in names:
        raise FunctionError(
            f"there is no archive {name!r} that you may write to; " + (f"you may write to {', '.join(names)}")
            if names
            else "no archive that you may write to is attached to you"
        )
    return find(cursor, name)


def _attached(cursor: Cursor, archive: int) -> tuple[Attachment, ...]:
    rows = cursor.execute(
        """SELECT g.name, t.writable FROM attachments t JOIN agents g ON g.id = t.agent
           WHERE t.archive = ? ORDER BY g.id""",
        [archive],
    ).fetchall()
    return tuple(Attachment(*row) for row in rows)
