"""One page of results that needs nothing else: tables and pictures in a single HTML file, without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from string import Template

from localmem.bench.pictures import svg
from localmem.bench.plots import Plot, plots
from localmem.bench.report import LEGEND, compact, full, provenance
from localmem.bench.results import Row, newest
from localmem.bench.tables import Cell, Line, Table

TITLE = "localmem: memory benchmarks"


def page(rows: Iterable[Row], title: str = TITLE) -> str:
    """Return the page. Raises UsageError without matplotlib, which draws its pictures."""
    found = newest(rows)
    template = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
    return template.substitute(title=escape(title), body="\n".join(_body(found)))


def _body(rows: list[Row]) -> Iterator[str]:
    if not rows:
        yield "<p>No results yet.</p>"
        return
    board = compact(rows)
    if board is not None:
        yield from _table(board)
    for number, plot in enumerate(plots(rows), 1):
        yield _picture(plot, f"p{number}-")
    for table in full(rows):
        yield from _table(table)
    yield f'<h2>How to read this</h2>\n<p class="legend">{escape(LEGEND)}</p>'
    yield f'<p class="legend">{escape(provenance(rows))}</p>'


def _table(table: Table) -> Iterator[str]:
    yield f"<section{'' if table.name else ' class=board'}>\n<h2>{escape(table.title)}</h2>"
    yield f'<p class="caption">{escape(table.caption[:1].upper() + table.caption[1:])}.</p>'
    yield '<div class="scroll" tabindex="0">\n<table>'
    heads = "".join(
        f'<th scope="col">{escape(head)}</th>' for head in (table.name or table.group, *table.columns)
    )
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>"
    before = None
    for line in table.lines:
        if table.name and line.group != before:
            across = f'colspan="{len(table.columns) + 1}" scope="rowgroup"'
            yield f'<tr class="group"><th {across}><span>{escape(line.group)}</span></th></tr>'
        before = line.group
        yield _line(line, line.name if table.name else line.group, table.name != "")
    yield "</tbody>\n</table>\n</div>"
    for said in table.notes:
        yield f'<p class="caption">{escape(said)}</p>'
    for said in table.published:
        yield f'<p class="published">Published: {escape(said)}</p>'
    yield "</section>"


def _line(line: Line, name: str, marked: bool) -> str:
    cells = "".join(f"<td>{_figure(cell)}</td>" for cell in line.cells)
    ours = ' class="first"' if line.first and marked else ""
    return f'<tr{ours}><th scope="row">{escape(name)}</th>{cells}</tr>'


def _figure(cell: Cell) -> str:
    rest = f" <small>{escape(cell.rest)}</small>" if cell.rest else ""
    return f"{escape(cell.text)}{rest}"


def _picture(plot: Plot, prefix: str) -> str:
    """Return a picture to stand in a page: without its own head, its ids apart from other pictures' ids."""
    drawn = svg(plot)
    drawn = drawn[drawn.index("<svg") :]
    head, rest = drawn.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    rest = re.sub(r'\bid="', f'id="{prefix}', rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", rest)
    opening = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ' + (
        f'{view.group() if view else ""} role="img" aria-label="{escape(plot.title)}">'
    )
    return f'<figure>\n<div class="scroll" tabindex="0">\n{opening}{rest}</div>\n</figure>'
