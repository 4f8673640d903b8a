"""Public fakes: one of each seam, without models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class HashEmbedder:
    """An embedder without a model, a bag of hashed words: texts with words in common are near."""

    def __init__(self, dimension: int = 256, name: str = "hash") -> None:
        self.name = name
        self.dimension = dimension

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 rows of length 1, of shape (len(texts), dimension)."""
        import numpy as np

        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.casefold()) or [""]:
                digest = hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest()
                row[int.from_bytes(digest, "big") % self.dimension] += 1.0
            row /= np.linalg.norm(row)
        return rows
