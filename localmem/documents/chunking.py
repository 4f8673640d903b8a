"""Cuts a document into chunks of some 200 tokens at natural boundaries, so that a change moves few of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any

from localmem.documents.parsing import Document
from localmem.memory.files import Chunk

TOKENS = (140, 220)
"""A chunk is filled up to the first and takes at most the second; the usual embedder reads 256."""

CHARACTERS = (560, 880)
"""The same where no tokenizer is at hand: four characters a token, as in English."""

MOST = 2000
"""Characters that no chunk exceeds, whatever it counts in tokens."""

ANCHOR = 12
"""One paragraph in so many always begins a chunk, chosen by its text: behind it, chunks stand as they stood."""

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")


def chunks(document: Document, tokenizer: str = "") -> Iterator[Chunk]:
    """Yield the chunks of a document in order, with where they stand.

    `tokenizer` is the JSON of a Hugging Face tokenizer that counts without cutting. Positions are in characters of
    the sections' texts, joined by an empty line. A section with a vector of its own is one chunk.
    """
    import numpy as np

    splitter = _splitter(document.markdown, tokenizer)
    at = 0
    for section in document.sections:
        if section.vector:
            vector = np.array(section.vector, np.float32)
            vector /= np.linalg.norm(vector)
            yield Chunk(section.text, at, at + len(section.text), section.page, section.heading, vector)
        else:
            for start, text in _pieces(section.text, splitter):
                first = at + start
                yield Chunk(text, first, first + len(text), section.page, section.heading)
        at += len(section.text) + 2


def characters(document: Document) -> int:
    """Return how long a document is, as `chunks` counts."""
    return sum(len(section.text) + 2 for section in document.sections) - 2


def _pieces(text: str, splitter: Any) -> Iterator[tuple[int, str]]:
    for start, end in _stretches(text):
        for offset, piece in splitter.chunk_indices(text[start:end]):
            for more, part in _narrow(piece):
                if part.strip():
                    yield start + offset + more, part


def _narrow(piece: str) -> Iterator[tuple[int, str]]:
    """Yield a piece in parts of no more characters than MOST: a run without spaces counts as one token."""
    if len(piece) <= MOST:
        yield 0, piece
    else:
        yield from _splitter(False, "", (MOST // 2, MOST)).chunk_indices(piece)


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Yield the stretches between two paragraphs that always begin a chunk."""
    start = 0
    breaks = list(_PARAGRAPH.finditer(text))
    ends = [found.start() for found in breaks[1:]] + [len(text)]
    for found, end in zip(breaks, ends, strict=False):
        if zlib.crc32(text[found.end() : end].encode()) % ANCHOR == 0:
            yield start, found.end()
            start = found.end()
    yield start, len(text)


def _splitter(markdown: bool, tokenizer: str, most: tuple[int, int] = CHARACTERS) -> Any:
    import semantic_text_splitter as splitting

    kind: Any = splitting.MarkdownSplitter if markdown else splitting.TextSplitter
    return kind.from_huggingface_tokenizer_str(tokenizer, TOKENS) if tokenizer else kind(most)
