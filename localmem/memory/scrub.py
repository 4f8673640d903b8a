"""Takes a text out of the plain files of a home: the history of what was typed, and whatever else lies there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

KEPT = ("models", "index", "traces", "snapshots")
"""Folders that hold no plain text of a conversation, or are dropped as a whole."""

MARK = "forgetting"
"""The file of the home that says of which agents something is being forgotten."""

LARGEST = 32 << 20
"""Bytes of a file that is looked through."""


def scrub(home: Path, texts: Sequence[str]) -> None:
    """Drop every line that holds one of the texts from the text files of a home; each file is replaced whole.

    A text of several lines takes each of its lines with it, where that stands alone behind a mark (`+line`).
    """
    whole = [text.casefold() for text in texts]
    lines = {line.strip() for text in whole if "\n" in text for line in text.splitlines() if line.strip()}
    for path in _files(home):
        try:
            before = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        kept = [
            line
            for line in before.splitlines(keepends=True)
            if not any(text in line.casefold() for text in whole)
            and line.casefold().strip().removeprefix("+").strip() not in lines
        ]
        if (after := "".join(kept)) != before:
            fresh = path.with_name(path.name + ".new")
            with open(
                os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(after)
            os.replace(fresh, path)


def _files(home: Path) -> Iterator[Path]:
    for path in sorted(home.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir() and path.name not in KEPT:
            yield from _files(path)
        elif path.is_file() and _is_text(path) and path.stat().st_size <= LARGEST:
            yield path


def _is_text(path: Path) -> bool:
    other = path.name == MARK or path.name.startswith("localmem.duckdb")
    return not other and path.suffix not in (".lock", ".py", ".toml")
