"""Markdown tables on a terminal: columns of one width each, cells broken at words where they do not fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

from localmem.cli.layout import BOLD, DIM, PLAIN, Cells, cells, painted, width, wrap

_DELIMITER = re.compile(r":?-+:?")
_BETWEEN = 3  # columns of " │ "
_NARROWEST = 4


def is_row(line: str) -> bool:
    """Return whether a line is one of a table."""
    return line.lstrip().startswith("|")


def laid_out(rows: Sequence[str], columns: int) -> list[str]:
    """Return the lines of a table, however much of it has come so far."""
    from localmem.cli.markdown import inline

    split = [_split(row) for row in rows]
    ruled = len(split) > 1 and all(_DELIMITER.fullmatch(cell) or not cell for cell in split[1])
    aligned = split[1] if ruled else []
    texts = [row for number, row in enumerate(split) if not (ruled and number == 1)]
    count = max(len(row) for row in texts)
    body = [
        [inline(cell, PLAIN if number else BOLD) for cell in [*row, *[""] * (count - len(row))]]
        for number, row in enumerate(texts)
    ]
    widths = _fitted([max(1, *(width(row[at]) for row in body)) for at in range(count)], columns)
    shown: list[str] = []
    for number, row in enumerate(body):
        shown += _row(row, widths, aligned)
        if number == 0 and (ruled or len(body) > 1):
            shown.append(painted(cells("─┼─".join("─" * size for size in widths), DIM)))
    return shown


def _split(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _fitted(widths: list[int], columns: int) -> list[int]:
    """Narrow the widest columns until all fit."""
    room = columns - _BETWEEN * (len(widths) - 1)
    widths = list(widths)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _row(row: list[Cells], widths: list[int], aligned: Sequence[str]) -> list[str]:
    parts = [wrap(cell, size) for cell, size in zip(row, widths, strict=True)]
    lines = []
    for together in zip_longest(*parts, fillvalue=[]):
        line: Cells = []
        for at, (part, size) in enumerate(zip(together, widths, strict=True)):
            line += cells(" │ ", DIM) if at else []
            line += _aligned(part, size, aligned[at] if at < len(aligned) else "")
        lines.append(painted(line))
    return lines


def _aligned(part: Cells, size: int, how: str) -> Cells:
    gap = max(0, size - width(part))
    left = gap if how.endswith(":") and not how.startswith(":") else gap // 2 if how.endswith(":") else 0
    return [*cells(" " * left), *part, *cells(" " * (gap - left))]
