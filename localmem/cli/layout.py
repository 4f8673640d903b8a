"""Styled text as cells of a terminal: broken at words, painted with escape sequences."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Flag
from functools import cache
from itertools import groupby


class Style(Flag):
    """How a cell looks."""

    PLAIN = 0
    BOLD = 1
    DIM = 2
    ITALIC = 4
    STRIKE = 8
    CODE = 16


PLAIN, BOLD, DIM, ITALIC = Style.PLAIN, Style.BOLD, Style.DIM, Style.ITALIC
STRIKE, CODE = Style.STRIKE, Style.CODE

Cell = tuple[str, Style]
Cells = list[Cell]

_CODES = {BOLD: "1", DIM: "2", ITALIC: "3", STRIKE: "9", CODE: "36"}


def cells(text: str, style: Style = PLAIN) -> Cells:
    """Return a text as cells of one style."""
    return [(character, style) for character in text]


@cache
def width_of(character: str) -> int:
    """Return how many columns a character takes."""
    from prompt_toolkit.utils import get_cwidth

    return max(0, get_cwidth(character))


def width(line: Sequence[Cell]) -> int:
    """Return how many columns cells take."""
    return sum(width_of(character) for character, _ in line)


def wrap(
    text: Cells,
    columns: int,
    *,
    first: Sequence[Cell] = (),
    rest: Sequence[Cell] = (),
    words: bool = True,
) -> list[Cells]:
    """Break cells into lines of at most `columns`, at spaces or (with `words` off, or in a long word) anywhere.

    The first line begins with `first`, the others with `rest`.
    """
    lines: list[Cells] = []
    line: Cells = list(first)
    used = least = width(line)
    for word in _pieces(text, words):
        size = width(word)
        blank = words and word[0][0] == " "
        if used + size > columns and used > least:
            lines.append(line)
            line, used = list(rest), width(rest)
            least = used
            if blank:
                continue
        for cell in word:
            if used + width_of(cell[0]) > columns and used > least:
                lines.append(line)
                line, used = list(rest), width(rest)
                least = used
            line.append(cell)
            used += width_of(cell[0])
    return [*lines, line]


def _pieces(text: Cells, words: bool) -> list[Cells]:
    """Return words, the blanks between them, and each wide character by itself."""
    if not words:
        return [[cell] for cell in text]
    pieces: list[Cells] = []
    kinds = [0 if c == " " else 2 if width_of(c) > 1 else 1 for c, _ in text]
    for cell, kind, before in zip(text, kinds, [-1, *kinds], strict=False):
        if kind == before and kind != 2:
            pieces[-1].append(cell)
        else:
            pieces.append([cell])
    return pieces


def painted(line: Sequence[Cell]) -> str:
    """Return cells as text with the terminal's escape sequences; blanks at the end are left out."""
    shown = list(line)
    while shown and shown[-1][0] == " ":
        shown.pop()
    out = ""
    for style, group in groupby(shown, key=lambda cell: cell[1]):
        text = "".join(character for character, _ in group)
        codes = ";".join(code for flag, code in _CODES.items() if flag in style)
        out += f"\x1b[{codes}m{text}\x1b[0m" if codes else text
    return out
