"""The FAISS index of an agent's or archive's passages: a stamped cache of the vectors in the store."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localmem.crash import reach
from localmem.errors import DiskFault
from localmem.memory import archival

if TYPE_CHECKING:
    import numpy as np

    from localmem.memory.embedder import Embedder
    from localmem.memory.store import Cursor


class VectorIndex:
    """Exact search by cosine over the vectors of one agent and one embedder.

    It is in step with the store when its generation equals the agent's. Where it is not (after a crash,
    with a damaged file), `sync` rebuilds it from the store.
    """

    def __init__(self, path: Path, agent: int, embedder: str) -> None:
        self._path = path
        self._agent = agent
        self._embedder = embedder
        self._lock = threading.RLock()
        self._index: Any = None  # made with its first vectors, which say how long they are
        self._loaded = False
        self._generation = 0
        self._saved = 0

    def sync(self, cursor: Cursor) -> None:
        """Bring the index in step with the store as `cursor` sees it."""
        generation = archival.generation(cursor, self._agent)
        with self._lock:
            if not self._loaded:
                self._load()
            if self._generation != generation:
                self._rebuild(cursor, generation)

    def near(self, cursor: Cursor, vector: np.ndarray, floor: float) -> list[tuple[int, float]]:
        """Return the passages whose cosine with `vector` is over `floor`, nearest first."""
        with self._lock:
            self.sync(cursor)
            if self._index is None:
                return []
            _, scores, ids = self._index.range_search(vector.reshape(1, -1), floor)
        return sorted(zip(ids.tolist(), scores.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))

    def extend(self, ids: list[int], vectors: np.ndarray, generation: int) -> None:
        """Add vectors that the store holds since `generation`; an index not one behind waits for `sync`."""
        import numpy as np

        with self._lock:
            if self._loaded and self._generation == generation - 1:
                self._add(vectors, np.array(ids, np.int64))
                self._generation = generation

    def state(self, cursor: Cursor) -> tuple[int, bool]:
        """Return how many vectors the index (on disk, until loaded) holds, and whether it is in step."""
        with self._lock:
            if not self._loaded:
                self._load()
            held = self._index.ntotal if self._index is not None else 0
            return held, self._generation == archival.generation(cursor, self._agent)

    def save(self) -> None:
        """Write the index to its file, whole or not at all. Does nothing when the file has this state.

        Raises DiskFault when the disk refuses; the store lost nothing then.
        """
        import faiss

        with self._lock:
            if self._index is None or self._generation == self._saved:
                return
            body = faiss.serialize_index(self._index).tobytes()
            generation = self._generation
        try:
            self._replace(self._stamp(generation, body) + body)
        except OSError as error:
            reason = error.strerror or "input/output error"
            raise DiskFault(f"the index {self._path} cannot be written ({reason}): make room") from error
        self._saved = generation

    def _replace(self, content: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        reach("index.replace")
        os.replace(fresh, self._path)
        reach("index.replaced")

    def _stamp(self, generation: int, body: bytes) -> bytes:
        return f"localmem-index-1 {generation} {self._embedder} {hashlib.sha256(body).hexdigest()}\n".encode()

    def _add(self, vectors: np.ndarray, ids: np.ndarray) -> None:
        import faiss

        if self._index is None:
            self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
        self._index.add_with_ids(vectors, ids)

    def _load(self) -> None:
        """Read the file; one that is absent, damaged or of another embedder leaves the index empty."""
        import faiss
        import numpy as np

        # an empty index is in step with a store that never had a vector, and with no other
        self._index, self._generation, self._saved, self._loaded = None, 0, -1, True
        try:
            head, _, body = self._path.read_bytes().partition(b"\n")
        except OSError:
            return
        fields = head.split(b" ")
        if len(fields) == 4 and fields[1].isdigit() and head + b"\n" == self._stamp(int(fields[1]), body):
            self._index = faiss.deserialize_index(np.frombuffer(body, np.uint8))
            self._generation = self._saved = int(fields[1])

    def _rebuild(self, cursor: Cursor, generation: int) -> None:
        import numpy as np

        sql = "SELECT passage, vector FROM vectors WHERE agent = ? AND embedder = ?"
        rows = cursor.execute(sql, [self._agent, self._embedder]).fetchall()
        self._index = None
        if rows:
            vectors = np.frombuffer(b"".join(row[1] for row in rows), np.float32).reshape(len(rows), -1)
            self._add(vectors, np.array([row[0] for row in rows], np.int64))
        self._generation = generation


@dataclass(frozen=True, slots=True)
class Meaning:
    """Search by meaning: an embedder, and the index over what it made of the passages of an agent or archive."""

    embedder: Embedder
    index: Callable[[int], VectorIndex]


class Indexes:
    """The indexes of a home, one for each agent and archive, made with the embedder that is at hand."""

    def __init__(self, folder: Path, embedder: Callable[[], Embedder | None]) -> None:
        self._folder = folder
        self._embedder = embedder
        self._open: dict[tuple[int, str], VectorIndex] = {}
        self._lock = threading.Lock()

    def meaning(self) -> Meaning | None:
        """Return what a search by meaning needs, None without an embedder."""
        embedder = self._embedder()
        if embedder is None:
            return None
        name = embedder.name
        return Meaning(embedder, lambda owner: self._of(owner, name))

    def drop(self, owner: int) -> None:
        """Forget an index, its file too."""
        with self._lock:
            for key in [key for key in self._open if key[0] == owner]:
                del self._open[key]
        self._file(owner).unlink(missing_ok=True)

    def _of(self, owner: int, embedder: str) -> VectorIndex:
        with self._lock:
            if (owner, embedder) not in self._open:
                self._open[owner, embedder] = VectorIndex(self._file(owner), owner, embedder)
            return self._open[owner, embedder]

    def _file(self, owner: int) -> Path:
        return self._folder / f"{owner}.faiss"
