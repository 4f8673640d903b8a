"""A table of figures as data, and how it is laid out as lines of text and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

GAP = "  "


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure; `rest` (its interval, other systems' figures) stands behind it in smaller letters."""

    text: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table. Lines with the same `group` (a model) stand together under it; `first` leads."""

    group: str
    name: str
    cells: tuple[Cell, ...]
    first: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `head` names group, line and each column; `name` is "" where each group is one line.

    The first `scores` columns belong together: where not all fit into one width, the others follow below.
    `notes` say how its figures came about, `published` are other people's figures for the same task.
    """

    title: str
    caption: str
    group: str
    name: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    scores: int = 0

    def without_empty_columns(self) -> Table:
        """Return the table less the columns that say nothing in any line."""
        kept = [at for at in range(len(self.columns)) if any(line.cells[at].text for line in self.lines)]
        lines = tuple(replace(line, cells=tuple(line.cells[at] for at in kept)) for line in self.lines)
        columns = tuple(self.columns[at] for at in kept)
        return replace(self, columns=columns, lines=lines, scores=sum(at < self.scores for at in kept))


def text(table: Table, width: int) -> str:
    """Return a table as text; columns that do not fit beside the others follow below, with their names again."""
    names = _names(table)
    columns = [_column(table, at) for at in range(len(table.columns))]
    blocks = _blocks(columns, table.scores, width - len(names[0]))
    published = [f"Published: {said}" for said in table.published]
    return "\n\n".join(
        [
            filled(f"{table.title}: {table.caption}", width),
            *("\n".join(_joined(table, names, block)) for block in blocks),
            *(filled(said, width) for said in (*table.notes, *published)),
        ]
    )


def filled(text: str, width: int) -> str:
    """Return a text in lines of at most that width; a long word is left whole."""
    return textwrap.fill(text, max(20, width), break_long_words=False, break_on_hyphens=False)


def _names(table: Table) -> list[str]:
    """Return what stands left of the figures, in one width: the heading first."""
    if table.name:
        names = [f"  {name}" for name in (table.name, *(line.name for line in table.lines))]
    else:
        names = [table.group, *(line.group for line in table.lines)]
    width = max(map(len, names))
    return [name.ljust(width) for name in names]


def _column(table: Table, at: int) -> list[str]:
    """Return a column in one width: figures to the right, intervals to the left behind them."""
    cells = [line.cells[at] for line in table.lines]
    texts = max((len(cell.text) for cell in cells if cell.rest), default=0)
    whole = [f"{cell.text:>{texts}} {cell.rest}" if cell.rest else cell.text for cell in cells]
    intervals = max((len(cell.rest) for cell in cells), default=0)
    if intervals:
        whole = [each.ljust(texts + 1 + intervals) for each in whole]
    width = max(len(table.columns[at]), *map(len, whole))
    return [table.columns[at].rjust(width), *(each.rjust(width) for each in whole)]


def _blocks(columns: Sequence[list[str]], scores: int, room: int) -> list[Sequence[list[str]]]:
    """Return the columns in one block if there is room; else the scores and the others, in as many as it takes."""
    if sum(map(_wide, columns)) <= room:
        return [columns]
    return [*_filling(columns[:scores], room), *_filling(columns[scores:], room)]


def _filling(columns: Sequence[list[str]], room: int) -> Iterator[Sequence[list[str]]]:
    """Yield columns by as many as there is room for; one that is too wide alone stands alone."""
    block: list[list[str]] = []
    for column in columns:
        if block and sum(map(_wide, [*block, column])) > room:
            yield block
            block = []
        block.append(column)
    if block:
        yield block


def _wide(column: Sequence[str]) -> int:
    return len(GAP) + len(column[0])


def _joined(table: Table, names: Sequence[str], block: Sequence[list[str]]) -> Iterator[str]:
    """Yield the lines of one block; where lines have names, each group's name stands above its lines."""
    rows = [GAP.join((name, *cells)).rstrip() for name, *cells in zip(names, *block, strict=True)]
    yield rows[0]
    before = None
    for line, row in zip(table.lines, rows[1:], strict=True):
        if table.name and line.group != before:
            yield line.group
        before = line.group
        yield row


def markdown(table: Table) -> str:
    """Return a table as Markdown, with its title as a heading of the third level."""
    labels = [table.group, table.name] if table.name else [table.group]
    head = [*labels, *table.columns]
    rules = [*("---" for _ in labels), *("---:" for _ in table.columns)]
    lines = [_pipes(head), _pipes(rules)]
    before = None
    for line in table.lines:
        shown = [escaped(line.group) if line.group != before else ""]
        if table.name:
            shown.append(f"**{escaped(line.name)}**" if line.first else escaped(line.name))
        before = line.group
        lines.append(_pipes([*shown, *(escaped(f"{cell.text} {cell.rest}") for cell in line.cells)]))
    parts = [f"### {table.title}", f"{table.caption[:1].upper()}{table.caption[1:]}.", "\n".join(lines)]
    parts += table.notes
    parts += [f"*Published: {escaped(said)}*" for said in table.published]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.strip() for cell in cells)} |"


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, also between the bars of a table."""
    for mark in "\\|*_<`":
        text = text.replace(mark, f"\\{mark}")
    return text
