"""What an agent or a named archive holds of documents: files come in chunk by chunk, change, and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localmem.errors import BadInput
from localmem.memory import archival, archives, events, files
from localmem.memory.clock import Clock, stamp
from localmem.memory.files import Chunk, Loaded
from localmem.memory.settling import settle
from localmem.memory.store import Store

if TYPE_CHECKING:
    import numpy as np

    from localmem.memory.index import Indexes, Meaning
    from localmem.memory.store import Cursor


class Archive:
    """Where documents are loaded to: `name` is that of the archive, "" for an agent's own.

    A file is `begin`, then `store` as often as there are chunks that are `missing`, then `finish`: each is one
    transaction, and a load that was stopped in between finds what it has stored.
    """

    def __init__(self, store: Store, owner: int, name: str, clock: Clock, indexes: Indexes) -> None:
        self.name = name
        self._store = store
        self._owner = owner
        self._clock = clock
        self._indexes = indexes

    def files(self) -> tuple[Loaded, ...]:
        """Return the files that were loaded, in the order in which they came."""
        return self._store.read(lambda cursor: files.listing(cursor, self._owner, self._clock))

    def file(self, path: str) -> Loaded | None:
        """Return the file that was loaded from a path, or None."""
        found = self._store.read(lambda cursor: files.listing(cursor, self._owner, self._clock, path))
        return found[0] if found else None

    def embedder(self) -> str:
        """Return the name of the embedder at hand, "" without one."""
        meaning = self._indexes.meaning()
        return meaning.embedder.name if meaning else ""

    def tokenizer(self) -> str:
        """Return the embedder's tokenizer as JSON, which counts without cutting; "" where there is none."""
        from localmem.memory.embedder import tokenizer_of

        meaning = self._indexes.meaning()
        return tokenizer_of(meaning.embedder) if meaning else ""

    def dimension(self) -> int:
        """Return how many numbers a vector has here, 0 without an embedder."""
        meaning = self._indexes.meaning()
        if meaning is None:
            return 0
        sql = "SELECT octet_length(vector) FROM vectors WHERE embedder = ? LIMIT 1"
        row = self._store.read(lambda cursor: cursor.execute(sql, [meaning.embedder.name]).fetchone())
        return int(row[0]) // 4 if row else int(meaning.embedder.encode(["x"]).shape[1])

    def begin(self, path: str, name: str, digest: str, size: int, characters: int) -> int:
        """Write down that a file is being loaded and return its id."""
        return self._store.write(
            lambda cursor: files.begin(
                cursor, self._owner, path, name, digest, size, characters, stamp(self._clock)
            ),
            "load_file",
        )

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Return the chunks, each text once, that are not stored yet or have no vector of the embedder at hand."""
        meaning = self._indexes.meaning()

        def work(cursor: Cursor) -> set[int]:
            found = files.known(cursor, self._owner, {chunk.hash for chunk in chunks})
            if meaning is None:
                return set(found)
            bare = files.unembedded(cursor, self._owner, found.values(), meaning.embedder.name)
            return {hash for hash, passage in found.items() if passage not in bare}

        there = self._store.read(work)
        return list({chunk.hash: chunk for chunk in chunks if chunk.hash not in there}.values())

    def store(self, chunks: Sequence[Chunk], name: str) -> None:
        """Store chunks of a file as passages, together with their vectors. Raises BadInput for a bad vector."""
        meaning = self._indexes.meaning()
        vectors = self._vectors(chunks, meaning) if meaning else None

        def work(cursor: Cursor) -> tuple[list[int], int]:
            found = files.known(cursor, self._owner, {chunk.hash for chunk in chunks})
            new = [chunk for chunk in chunks if chunk.hash not in found]
            stored = files.store(cursor, self._owner, new, name, stamp(self._clock))
            found |= {chunk.hash: number for chunk, number in zip(new, stored, strict=True)}
            ids = [found[chunk.hash] for chunk in chunks]
            if meaning is None or vectors is None:
                return ids, 0
            return ids, archival.add_vectors(cursor, self._owner, meaning.embedder.name, ids, vectors)

        ids, generation = self._store.write(work, "load")
        if meaning is not None and vectors is not None:
            meaning.index(self._owner).extend(ids, vectors, generation)

    def finish(self, file: int, chunks: Sequence[Chunk]) -> None:
        """Write down where each chunk of a file stands, and drop what the file no longer says."""
        self._store.write(lambda cursor: files.finish(cursor, self._owner, file, chunks), "load_file")

    def remove(self, path: str) -> bool:
        """Take out the file that was loaded from a path, or all that lay under it; return whether there was any."""

        def work(cursor: Cursor) -> bool:
            under = path.rstrip("/") + "/"
            found = files.listing(cursor, self._owner, self._clock)
            gone = [file for file in found if file.path == path or file.path.startswith(under)]
            for file in gone:
                files.remove(cursor, self._owner, file.id)
            if gone:
                files.sweep(cursor, self._owner)
            return bool(gone)

        return self._store.write(work, "load_file")

    def announce(self) -> None:
        """Tell the agents that search here which files have come in, once, and save the index."""
        self._store.write(self._announce, "announce")
        meaning = self._indexes.meaning()
        if meaning is not None:
            settle(self._store, self._owner, meaning)

    def _announce(self, cursor: Cursor) -> None:
        files.sweep(cursor, self._owner)
        event = files.news(cursor, self._owner, self.name)
        if event is not None:
            for agent in archives.readers(cursor, self._owner):
                events.submit(cursor, agent, event, stamp(self._clock))

    def _vectors(self, chunks: Sequence[Chunk], meaning: Meaning) -> np.ndarray:
        """Return a vector for each chunk: the one that came with it, else one that is made now."""
        import numpy as np

        bare = [chunk.text for chunk in chunks if chunk.vector is None]
        made = iter(meaning.embedder.encode(bare)) if bare else iter(())
        rows = [next(made) if chunk.vector is None else chunk.vector for chunk in chunks]
        if len({len(row) for row in rows}) > 1:
            raise BadInput("the vectors of these texts are not all of one length")
        return np.ascontiguousarray(np.stack(rows), np.float32)
