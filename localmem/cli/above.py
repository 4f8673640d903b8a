"""What is written above a prompt that stands: whole lines from any thread, and the text that still grows."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

Growing = Callable[[int], Sequence[str]]
"""Lays out, for so many columns, what may still change."""


def nothing_grows(columns: int) -> Sequence[str]:
    """Nothing is being written."""
    return ()


class Above:
    """Stands in for standard output and error while a prompt is shown; whoever draws that takes the lines out.

    Written text becomes visible line by line; `put` adds lines and changes what grows below them in one step.
    `changed` is called, in the thread that wrote, when there is something to draw.
    """

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, stream: TextIO, changed: Callable[[], None]) -> None:
        self._stream, self._changed = stream, changed
        self._lock = threading.Lock()
        self._text = ""
        self.growing: Growing = nothing_grows

    def write(self, text: str) -> int:
        with self._lock:
            self._text += text
        if "\n" in text:
            self._changed()
        return len(text)

    def put(self, lines: Sequence[str], growing: Growing = nothing_grows) -> None:
        """Show lines for good, and what is growing below them from now on."""
        with self._lock:
            self._text += "".join(f"{line}\n" for line in lines)
            self.growing = growing
        self._changed()

    def take(self, last: bool = False) -> tuple[str, Growing]:
        """Return the whole lines that were written (`last`: the rest too), and what is growing."""
        with self._lock:
            lines, end, rest = self._text.rpartition("\n")
            self._text = "" if last else rest
            return lines + end + (f"{rest}\n" if last and rest else ""), self.growing

    def flush(self) -> None:
        """Nothing waits here: it is the terminal's turn."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Take the place of sys.stdout and sys.stderr."""
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = self
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
