"""Markdown for a terminal, line by line while it is still being written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from localmem.cli.layout import BOLD, CODE, DIM, ITALIC, PLAIN, STRIKE, Cells, Style, cells, painted, wrap
from localmem.cli.tables import is_row, laid_out

_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})\s*([^\s`]*)")
_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_ITEM = re.compile(r"(\s*)([-*+]|\d{1,9}[.)])\s+(.*)")
_QUOTE = re.compile(r"\s{0,3}>\s?(.*)")
_RULE = re.compile(r"\s{0,3}([-*_])(?:\s*\1){2,}\s*$")
_INLINE = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|(?P<ticks>`+)(?P<code>.+?)(?:(?P<closed>(?P=ticks)(?!`))|$)"
    r"|(?P<mark>\*\*\*|\*\*|__|~~|(?<!\w)_(?=\S)|(?<=\S)_(?!\w)|\*(?=\S)|(?<=\S)\*)"
    r"|!?\[(?P<label>[^\]]*)\]\((?P<link>[^)\s]*)[^)]*\)"
)
_MARKS: dict[str, Style] = {
    "***": BOLD | ITALIC,
    "**": BOLD,
    "__": BOLD,
    "~~": STRIKE,
    "*": ITALIC,
    "_": ITALIC,
}


@dataclass(slots=True)
class Markdown:
    """Takes a stream of text in; gives lines out as soon as nothing can change them.

    `feed` and `end` return whole lines, laid out for `columns`, with the terminal's escape sequences;
    `growing` what has come since, as it looks now: the line, or the table, that is still being written.
    With `plain` nothing is taken for Markdown: lines are broken at words, and that is all.
    """

    plain: bool = False
    _line: str = ""
    _fence: str = ""
    _rows: tuple[str, ...] = ()

    def feed(self, text: str, columns: int) -> list[str]:
        """Take in a piece of text and return the lines that it completes."""
        *whole, self._line = (self._line + text).split("\n")
        return [shown for line in whole for shown in self._complete(line, columns)]

    def end(self, columns: int) -> list[str]:
        """Return the last lines: nothing more comes."""
        line, self._line = self._line, ""
        shown = list(self._complete(line, columns)) if line else []
        shown += self._table(columns)
        self._fence = ""
        return shown

    def growing(self, columns: int) -> list[str]:
        """Return what has come and may still change."""
        rows = self._rows
        if is_row(self._line) and not self.plain and not self._fence:
            return laid_out([*rows, self._line], columns)
        shown = laid_out(rows, columns) if rows else []
        if self._line and not (self._fence and _FENCE.match(self._line)):
            shown += self._lay_out(self._line, columns, growing=True)
        return shown

    def _complete(self, line: str, columns: int) -> Iterator[str]:
        line = line.rstrip("\r")
        if self.plain:
            yield from self._lay_out(line, columns)
            return
        if not self._fence and is_row(line):
            self._rows += (line,)
            return
        yield from self._table(columns)
        fence = _FENCE.match(line)
        if fence and (not self._fence or fence[1].startswith(self._fence)):
            self._fence = "" if self._fence else fence[1]
            yield painted(cells(f"{fence[1]}{fence[2]}", DIM))
            return
        yield from self._lay_out(line, columns)

    def _table(self, columns: int) -> list[str]:
        rows, self._rows = self._rows, ()
        return laid_out(rows, columns) if rows else []

    def _lay_out(self, line: str, columns: int, *, growing: bool = False) -> list[str]:
        """Return one line of the source as lines of the terminal."""
        if self._fence:
            return [painted(part) for part in wrap(cells(line.expandtabs(4), CODE), columns, words=False)]
        shown = wrap(cells(line), columns) if self.plain else block(line, columns, growing)
        return [painted(part) for part in shown]


def block(line: str, columns: int, growing: bool = False) -> list[Cells]:
    """Lay out a line outside of code and tables: a heading, an item, a quote, a rule or a line of text."""
    if _RULE.fullmatch(line):
        return [cells("─" * min(columns, 40), DIM)]
    if heading := _HEADING.fullmatch(line):
        return wrap(inline(heading[2], BOLD, growing=growing), columns)
    if item := _ITEM.fullmatch(line):
        mark = "•" if item[2] in "-*+" else item[2]
        first = cells(f"{item[1].expandtabs(4)[:12]}{mark} ")
        return wrap(inline(item[3], growing=growing), columns, first=first, rest=cells(" " * len(first)))
    if quote := _QUOTE.fullmatch(line):
        bar = cells("│ ", DIM)
        return wrap(inline(quote[1], ITALIC, growing=growing), columns, first=bar, rest=bar)
    return wrap(inline(line, growing=growing), columns)


def inline(text: str, style: Style = PLAIN, *, growing: bool = False) -> Cells:
    """Return a text with its bold, italic, code and links as styled cells.

    A mark that opens what nothing closes stands for itself; in a `growing` text it may still be closed.
    """
    literal: set[int] = set()
    while True:
        shown, left = _parsed(text, style, growing, literal)
        if growing or not left:
            return shown
        literal |= left


def _parsed(text: str, style: Style, growing: bool, literal: set[int]) -> tuple[Cells, set[int]]:
    """Return the cells of a text, and where marks stand that nothing closes; those in `literal` are no marks."""
    out: Cells = []
    opened: dict[str, int] = {}
    at = 0
    for found in _INLINE.finditer(text):
        out += cells(text[at : found.start()], _styled(style, opened))
        at = found.end()
        now = _styled(style, opened)
        if found.start() in literal:
            at = found.start() + len(found["mark"])
            out += cells(found["mark"], now)
        elif found["escaped"]:
            out += cells(found["escaped"], now)
        elif found["ticks"]:
            closed = found["closed"] is not None
            shown = found["code"].strip() or found["code"]
            out += cells(shown, now | CODE) if closed or growing else cells(found[0], now)
        elif found["label"] is not None:
            out += _linked(found["label"], found["link"], now)
        elif not _marked(text, found, opened):
            out += cells(found["mark"], now)
    return out + cells(text[at:], _styled(style, opened)), set(opened.values())


def _styled(style: Style, opened: Iterable[str]) -> Style:
    for mark in opened:
        style = style | _MARKS[mark]
    return style


def _marked(text: str, found: re.Match[str], opened: dict[str, int]) -> bool:
    """Open or close an emphasis; return False for a mark that can do neither."""
    mark = found["mark"]
    before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
    if mark in opened and before.strip():
        del opened[mark]
        return True
    if mark in opened or (after and not after.strip()) or (mark == "_" and before.isalnum()):
        return False
    opened[mark] = found.start()
    return True


def _linked(label: str, link: str, now: Style) -> Cells:
    inner = inline(label, now)
    return inner if link in ("", label) else [*inner, *cells(f" ({link})", now | DIM)]
