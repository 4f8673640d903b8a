"""Archival storage: passages of text with provenance, and the vectors that let them be found by meaning."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.crash import reach
from localmem.errors import FunctionError
from localmem.memory import bm25
from localmem.memory.clock import Clock, shown
from localmem.memory.core import Origin
from localmem.memory.standing import STANDING, standing

if TYPE_CHECKING:
    import numpy as np

    from localmem.memory.store import Cursor


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage and where it comes from; `retired` when it is kept but no longer found."""

    id: int
    text: str
    source: str
    tags: tuple[str, ...]
    origin: Origin
    created_at: datetime
    retired: bool = False


def digest(text: str) -> int:
    """Return the 64 bits of a text's SHA-256 that passages carry."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def insert(
    cursor: Cursor, agent: int, text: str, source: str, tags: Sequence[str], origin: Origin, now: datetime
) -> int:
    """Store a passage, findable by its words at once, and return its id; its vector comes later.

    Raises FunctionError for an empty text and for one that is stored already, letter for letter.
    """
    if not text.strip():
        raise FunctionError("there is nothing to store: the text is empty")
    same = cursor.execute(
        f"""SELECT id FROM passages WHERE agent = $agent AND hash = $hash AND text = $text
           AND {STANDING} AND id NOT IN (SELECT passage FROM retired WHERE agent = $agent AND {STANDING})""",
        {"agent": agent, "hash": digest(text), "text": text},
    ).fetchone()
    if same:
        raise FunctionError(f"exactly this text is stored already, as passage {same[0]}")
    row = cursor.execute("SELECT nextval('passage_ids')").fetchone()
    assert row is not None
    number = int(row[0])
    cursor.execute(
        "INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?::BIGINT[], ?)",
        [
            *(number, agent, text, digest(text), source, list(tags)),
            *(origin.author, origin.turn, origin.call, str(list(origin.rests_on)), now),
        ],
    )
    bm25.add(cursor, agent, bm25.ARCHIVAL, number, text)
    reach("passage.inserted")
    return number


def retire(cursor: Cursor, agent: int, passage: int, origin: Origin, now: datetime) -> None:
    """Take a passage out of every search; its text and provenance are kept.

    Raises FunctionError when there is no such passage to find.
    """
    there = cursor.execute("SELECT 1 FROM passages WHERE agent = ? AND id = ?", [agent, passage]).fetchone()
    if not there or passage in gone(cursor, agent):
        raise FunctionError(f"there is no passage {passage}")
    row = [passage, agent, origin.author, origin.turn, origin.call, now]
    cursor.execute("INSERT INTO retired VALUES (?, ?, ?, ?, ?, ?)", row)
    bm25.remove(cursor, agent, bm25.ARCHIVAL, passage)


def retired(cursor: Cursor, agent: int) -> set[int]:
    """Return the passages that were taken out of search."""
    sql = f"SELECT passage FROM retired WHERE agent = ? AND {STANDING}"
    return {row[0] for row in cursor.execute(sql, [agent]).fetchall()}


def gone(cursor: Cursor, agent: int) -> set[int]:
    """Return the passages that no search may find: retired ones, and those of turns that were taken back."""
    sql = f"SELECT id FROM passages WHERE agent = ? AND NOT {STANDING}"
    undone = {row[0] for row in cursor.execute(sql, [agent]).fetchall()}
    return undone | retired(cursor, agent)


def passages(cursor: Cursor, agent: int, clock: Clock) -> tuple[Passage, ...]:
    """Return every passage of the turns that stand, oldest first, retired ones included."""
    out = retired(cursor, agent)
    rows = cursor.execute(
        f"""SELECT id, text, source, tags, author, turn, call, rests_on, created_at
           FROM passages WHERE agent = ? AND {STANDING} ORDER BY id""",
        [agent],
    ).fetchall()
    found = []
    for number, text, source, tags, author, turn, call, rests_on, created_at in rows:
        origin = Origin(author, turn, call, tuple(rests_on))
        when = shown(created_at, clock)
        found.append(Passage(number, text, source, tuple(tags), origin, when, number in out))
    return tuple(found)


def count(cursor: Cursor, owners: Sequence[int]) -> int:
    """Return how many passages can be found in all."""
    sql = f"SELECT count(*) FROM documents WHERE agent IN ({bm25.listed(owners)}) AND tier = ?"
    row = cursor.execute(sql, [bm25.ARCHIVAL]).fetchone()
    return int(row[0]) if row else 0


def waiting(cursor: Cursor, agent: int, embedder: str, most: int) -> list[tuple[int, str]]:
    """Return passages without a vector of this embedder, oldest first, at most `most`."""
    rows = cursor.execute(
        f"""SELECT p.id, p.text FROM passages p
           ANTI JOIN (SELECT passage FROM vectors WHERE agent = $agent AND embedder = $embedder
                      UNION ALL SELECT passage FROM retired WHERE agent = $agent AND {STANDING}) v ON v.passage = p.id
           WHERE p.agent = $agent AND {standing("p.turn")} ORDER BY p.id LIMIT $most""",
        {"agent": agent, "embedder": embedder, "most": most},
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def add_vectors(cursor: Cursor, agent: int, embedder: str, ids: Sequence[int], vectors: np.ndarray) -> int:
    """Store vectors, drop older ones of the same passages, and return the new generation."""
    fresh = drop_vectors(cursor, agent, ids)
    rows = [[number, agent, embedder, vector.tobytes()] for number, vector in zip(ids, vectors, strict=True)]
    cursor.executemany("INSERT INTO vectors VALUES (?, ?, ?, ?)", rows)
    return fresh


def touch(cursor: Cursor, owner: int) -> int:
    """Say that the vectors of an agent or archive have changed, and return their new generation."""
    for table in ("agents", "archives"):
        cursor.execute(f"UPDATE {table} SET generation = generation + 1 WHERE id = ?", [owner])
    return generation(cursor, owner)


def generation(cursor: Cursor, owner: int) -> int:
    """Return the generation of an agent's or archive's vectors: it grows with every change of them."""
    row = cursor.execute(
        """SELECT generation FROM agents WHERE id = $owner
           UNION ALL SELECT generation FROM archives WHERE id = $owner""",
        {"owner": owner},
    ).fetchone()
    return int(row[0]) if row else 0


def delete(cursor: Cursor, agent: int, ids: Sequence[int]) -> None:
    """Delete passages for good, with their vectors and their words in the index."""
    drop_vectors(cursor, agent, ids)
    for passage in ids:
        bm25.remove(cursor, agent, bm25.ARCHIVAL, passage)
        cursor.execute("DELETE FROM retired WHERE agent = ? AND passage = ?", [agent, passage])
        cursor.execute("DELETE FROM places WHERE agent = ? AND passage = ?", [agent, passage])
        cursor.execute("DELETE FROM passages WHERE agent = ? AND id = ?", [agent, passage])


def drop_vectors(cursor: Cursor, owner: int, ids: Sequence[int]) -> int:
    """Delete the vectors of passages and return the new generation: an index of an older one is rebuilt."""
    marks = ", ".join(str(int(number)) for number in ids)
    cursor.execute(f"DELETE FROM vectors WHERE agent = ? AND passage IN ({marks})", [owner])
    return touch(cursor, owner)
