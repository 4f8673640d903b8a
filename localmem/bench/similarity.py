"""How near texts are in meaning: the embedder behind scores of answers that have no one right wording."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Encode = Callable[[Sequence[str]], np.ndarray]
    """Turns texts into rows of length 1: a dot product of two is their cosine."""


def encoder() -> Encode:
    """Return all-MiniLM-L6-v2 of the home that LOCALMEM_HOME names, else of the usual one.

    Always this one, whatever embedder an agent searches with: scores of different embedders do not compare.
    It is loaded when the first text is encoded. Raises ModelMissing with the line that fetches it.
    """
    from localmem.memory.home import default_home

    return _of(Path(os.environ.get("LOCALMEM_HOME") or default_home()))


@cache
def _of(home: Path) -> Encode:
    from localmem.memory.embedder import FOLDER, SentenceEmbedder
    from localmem.runtime import registry_of

    registry = registry_of(home)
    return SentenceEmbedder(registry.require(registry[FOLDER])).encode
