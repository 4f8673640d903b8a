"""Files whose text was loaded: which passages each one has, and where in it they stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.memory import archival, bm25
from localmem.memory.clock import Clock, shown
from localmem.memory.core import Origin
from localmem.records import Event, EventKind

if TYPE_CHECKING:
    import numpy as np

    from localmem.memory.store import Cursor

DOCUMENT = Origin("document")
MANY = 12  # files named in one event


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: its text, and where it stands (characters from the start, page, heading).

    `vector` is one that came with the text.
    """

    text: str
    first: int
    last: int
    page: int = 0
    heading: str = ""
    vector: np.ndarray | None = None

    @property
    def hash(self) -> int:
        """64 bits of the SHA-256 of the text, as passages carry it."""
        return archival.digest(self.text)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was loaded: `whole` once everything of it is in, `hash` that of its bytes."""

    id: int
    path: str
    name: str
    hash: str
    bytes: int
    characters: int
    passages: int
    whole: bool
    loaded_at: datetime


def listing(cursor: Cursor, owner: int, clock: Clock, path: str | None = None) -> tuple[Loaded, ...]:
    """Return the files of an agent or archive, in the order in which they came; of a `path` that one alone."""
    rows = cursor.execute(
        """SELECT f.id, f.path, f.name, f.hash, f.bytes, f.characters, coalesce(p.n, 0), f.whole, f.loaded_at
           FROM files f
           LEFT JOIN (SELECT file, count(*) AS n FROM places WHERE agent = $owner
                      AND ($path IS NULL OR file IN (SELECT id FROM files WHERE path = $path))
                      GROUP BY file) p ON p.file = f.id
           WHERE f.agent = $owner AND ($path IS NULL OR f.path = $path) ORDER BY f.id""",
        {"owner": owner, "path": path},
    ).fetchall()
    return tuple(
        Loaded(number, path, name, hash, size, characters, passages, whole, shown(when, clock))
        for number, path, name, hash, size, characters, passages, whole, when in rows
    )


def begin(
    cursor: Cursor, owner: int, path: str, name: str, digest: str, size: int, characters: int, now: datetime
) -> int:
    """Write down that a file is being loaded, and return its id: the one it has had before, if it was."""
    row = cursor.execute("SELECT id FROM files WHERE agent = ? AND path = ?", [owner, path]).fetchone()
    if row is None:
        row = cursor.execute("SELECT nextval('file_ids')").fetchone()
    assert row is not None
    cursor.execute("DELETE FROM files WHERE agent = ? AND path = ?", [owner, path])
    cursor.execute(
        "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, false, false, ?)",
        [row[0], owner, path, name, digest, size, characters, now],
    )
    return int(row[0])


def known(cursor: Cursor, owner: int, hashes: Iterable[int]) -> dict[int, int]:
    """Return the passages that documents have brought already, by the hash of their text."""
    cursor.execute(
        """SELECT hash, min(id) FROM passages
           WHERE agent = ? AND author = 'document' AND hash IN (SELECT unnest(?::BIGINT[])) GROUP BY hash""",
        [owner, str(list(hashes))],
    )
    return dict(cursor.fetchall())


def unembedded(cursor: Cursor, owner: int, passages: Iterable[int], embedder: str) -> set[int]:
    """Return which of these passages have no vector of an embedder."""
    rows = cursor.execute(
        """SELECT unnest(?::BIGINT[]) EXCEPT SELECT passage FROM vectors WHERE agent = ? AND embedder = ?""",
        [str(list(passages)), owner, embedder],
    ).fetchall()
    return {row[0] for row in rows}


def store(cursor: Cursor, owner: int, chunks: Sequence[Chunk], name: str, now: datetime) -> list[int]:
    """Store chunks as passages, findable by their words at once, and return their ids."""
    if not chunks:
        return []
    numbered = cursor.execute(f"SELECT nextval('passage_ids') FROM range({len(chunks)})").fetchall()
    ids = sorted(row[0] for row in numbered)
    cursor.execute(
        """INSERT INTO passages
           SELECT unnest($ids::BIGINT[]), $owner, unnest(from_json($texts, '["VARCHAR"]')),
                  unnest($hashes::BIGINT[]), $name, []::VARCHAR[], 'document', 0, 0, []::BIGINT[], $now""",
        {
            "ids": str(ids),
            "owner": owner,
            "texts": json.dumps([chunk.text for chunk in chunks]),
            "hashes": str([chunk.hash for chunk in chunks]),
            "name": name,
            "now": now,
        },
    )
    texts = [(number, chunk.text) for number, chunk in zip(ids, chunks, strict=True)]
    bm25.add_many(cursor, owner, bm25.ARCHIVAL, texts)
    return ids


def finish(cursor: Cursor, owner: int, file: int, chunks: Sequence[Chunk]) -> None:
    """Write down where each chunk stands, drop what the file no longer holds, and call the file whole."""
    found = known(cursor, owner, {chunk.hash for chunk in chunks})
    before, text = _passages(cursor, owner, file), _text(cursor, owner, file)
    cursor.execute("DELETE FROM places WHERE agent = ? AND file = ?", [owner, file])
    if chunks:
        cursor.execute(
            """INSERT INTO places
               SELECT $owner, $file, unnest($ids::BIGINT[]), unnest(range($count)), unnest($pages::INTEGER[]),
                      unnest(from_json($headings, '["VARCHAR"]')), unnest($first::BIGINT[]),
                      unnest($last::BIGINT[])""",
            {
                "owner": owner,
                "file": file,
                "count": len(chunks),
                "ids": str([found[chunk.hash] for chunk in chunks]),
                "pages": str([chunk.page for chunk in chunks]),
                "headings": json.dumps([chunk.heading for chunk in chunks]),
                "first": str([chunk.first for chunk in chunks]),
                "last": str([chunk.last for chunk in chunks]),
            },
        )
    cursor.execute("UPDATE files SET whole = true WHERE agent = ? AND id = ?", [owner, file])
    if text and text != _text(cursor, owner, file):
        _begin_again(cursor, file)
    _drop_unplaced(cursor, owner, before)


def _text(cursor: Cursor, owner: int, file: int) -> list[tuple[int, int]]:
    """Return what stands where in a file: the ids of its passages, and their positions."""
    sql = "SELECT passage, first FROM places WHERE agent = ? AND file = ? ORDER BY ordinal"
    return [(int(passage), int(first)) for passage, first in cursor.execute(sql, [owner, file]).fetchall()]


def _begin_again(cursor: Cursor, file: int) -> None:
    """Let readings of a file that has changed begin anew: what was noted is of a text that is no longer there."""
    cursor.execute(
        """UPDATE notes SET condensed = true
           WHERE (agent, reading) IN (SELECT (agent, id) FROM readings WHERE file = ? AND state = 'open')""",
        [file],
    )
    cursor.execute(
        "UPDATE readings SET position = 0, steps = steps + 1 WHERE file = ? AND state = 'open'", [file]
    )


def remove(cursor: Cursor, owner: int, file: int) -> None:
    """Take a file out, with every passage that no other file holds: text, vectors and all."""
    before = _passages(cursor, owner, file)
    for table, column in (("places", "file"), ("files", "id")):
        cursor.execute(f"DELETE FROM {table} WHERE agent = ? AND {column} = ?", [owner, file])
    _drop_unplaced(cursor, owner, before)


def sweep(cursor: Cursor, owner: int) -> None:
    """Drop the passages of documents that stand in no file: a load was stopped, and its file has changed since."""
    if cursor.execute("SELECT 1 FROM files WHERE agent = ? AND NOT whole", [owner]).fetchone():
        return
    rows = cursor.execute(
        "SELECT id FROM passages WHERE agent = ? AND author = 'document'", [owner]
    ).fetchall()
    _drop_unplaced(cursor, owner, [row[0] for row in rows])


def news(cursor: Cursor, owner: int, archive: str) -> Event | None:
    """Return what the agents are to be told of files that have come in since, once; None where there are none."""
    rows = cursor.execute(
        """SELECT f.name, f.characters, count(p.passage) FROM files f
           LEFT JOIN places p ON p.file = f.id AND p.agent = f.agent
           WHERE f.agent = ? AND f.whole AND NOT f.told GROUP BY f.id, f.name, f.characters ORDER BY f.id""",
        [owner],
    ).fetchall()
    if not rows:
        return None
    cursor.execute("UPDATE files SET told = true WHERE agent = ? AND whole", [owner])
    named = [f"{name} ({characters:,} characters, {count:,} passages)" for name, characters, count in rows]
    more = f" and {len(rows) - MANY:,} more" if len(rows) > MANY else ""
    where = f"the archive {archive}" if archive else "your archive"
    return Event(EventKind.DOCUMENT, f"Loaded into {where}: {', '.join(named[:MANY])}{more}.")


def digest(data: bytes) -> str:
    """Return the hash that tells a file's content from another."""
    return hashlib.sha256(data).hexdigest()


def _passages(cursor: Cursor, owner: int, file: int) -> list[int]:
    sql = "SELECT DISTINCT passage FROM places WHERE agent = ? AND file = ?"
    return [row[0] for row in cursor.execute(sql, [owner, file]).fetchall()]


def _drop_unplaced(cursor: Cursor, owner: int, passages: Sequence[int]) -> None:
    """Delete those passages that stand in no file any more; the vector index is then made anew."""
    rows = cursor.execute(
        "SELECT unnest(?::BIGINT[]) EXCEPT SELECT passage FROM places WHERE agent = ?",
        [str(list(passages)), owner],
    ).fetchall()
    gone = [row[0] for row in rows]
    if not gone:
        return
    for table, column in (
        ("passages", "id"),
        ("retired", "passage"),
        ("vectors", "passage"),
        ("documents", "doc"),
        ("postings", "doc"),
    ):
        tier = f"AND tier = {bm25.ARCHIVAL}" if column == "doc" else ""
        cursor.execute(
            f"DELETE FROM {table} WHERE agent = ? AND {column} IN (SELECT unnest(?::BIGINT[])) {tier}",
            [owner, str(gone)],
        )
    archival.touch(cursor, owner)
