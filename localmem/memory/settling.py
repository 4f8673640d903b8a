"""Passages get the vectors they lack, a batch in a transaction, and the index follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmem.memory import archival
from localmem.memory.store import Store

if TYPE_CHECKING:
    from localmem.memory.index import Meaning

BATCH = 64  # passages that get their vectors in one transaction


def settle(store: Store, owner: int, meaning: Meaning) -> None:
    """Give the passages of an agent or archive their missing vectors, and save the index."""
    while _embed_some(store, owner, meaning):
        pass
    if store.read(lambda cursor: archival.generation(cursor, owner)):
        index = meaning.index(owner)
        store.read(index.sync)
        index.save()


def _embed_some(store: Store, owner: int, meaning: Meaning) -> bool:
    """Give some waiting passages their vectors; return whether there were any."""
    name = meaning.embedder.name
    found = store.read(lambda cursor: archival.waiting(cursor, owner, name, BATCH))
    if not found:
        return False
    ids = [number for number, _ in found]
    vectors = meaning.embedder.encode([text for _, text in found])
    generation = store.write(lambda cursor: archival.add_vectors(cursor, owner, name, ids, vectors), "settle")
    meaning.index(owner).extend(ids, vectors, generation)
    return True
