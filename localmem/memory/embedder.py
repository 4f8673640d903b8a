"""Meaning as numbers: the embedding model, loaded from a local folder when a vector is first needed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

FOLDER = "all-minilm-l6-v2"
"""The embedder that is used where no other is asked for, by the name of its folder."""


class Embedder(Protocol):
    """Turns texts into vectors whose dot product says how near their meanings are."""

    @property
    def name(self) -> str:
        """What the vectors are stored under: vectors of different names do not compare."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 rows of length 1, of shape (len(texts), numbers in a vector)."""


class SentenceEmbedder:
    """A sentence-transformers model in a local folder, on the CPU, without network or telemetry."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path
        self._model: Any = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts; the first call loads the model (4 s, 560 MB)."""
        import numpy as np

        if self._model is None:
            self._model = _load(self.path)
        rows = self._model.encode(
            list(texts),
            batch_size=32,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.ascontiguousarray(rows, np.float32)


def find_embedder(folder: Path) -> Embedder | None:
    """Return the embedder whose files lie in a folder, or None (search is by words alone)."""
    return SentenceEmbedder(folder) if (folder / "modules.json").is_file() else None


def tokenizer_of(embedder: Embedder) -> str:
    """Return the tokenizer that an embedder counts with, as JSON and without cutting; "" where it has none."""
    if not isinstance(embedder, SentenceEmbedder):
        return ""
    try:
        found = json.loads((embedder.path / "tokenizer.json").read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return json.dumps(found | {"truncation": None, "padding": None})


def _load(path: Path) -> Any:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ[name] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the variables come late if others import it
    return SentenceTransformer(str(path), device="cpu", local_files_only=True)
