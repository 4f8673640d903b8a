"""Loaded documents as an agent reads them: by name, a page at a time, each page with where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from localmem.errors import FunctionError
from localmem.memory import archives, bm25
from localmem.memory.standing import standing

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

PAGE = 1600
"""Characters of a page that a function shows."""

NAMED = 8
"""Documents that a refusal names."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document that an agent can read: `characters` is how long it is."""

    file: int
    name: str
    characters: int

    @property
    def pages(self) -> int:
        """How many pages it has, as functions show them."""
        return max(1, -(-self.characters // PAGE))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a document: its text and where it stands; `last` is where the next part begins."""

    text: str
    first: int
    last: int
    page: int = 0
    heading: str = ""

    def source(self, name: str) -> str:
        """Return where this stands in words: "emma.txt, CHAPTER V, p. 12"."""
        where = [name, self.heading, f"p. {self.page}" if self.page else ""]
        return ", ".join(part for part in where if part)


def listing(cursor: Cursor, agent: int) -> list[Document]:
    """Return the documents that an agent finds passages of, in the order in which they came."""
    owners = bm25.listed(archives.owners(cursor, agent))
    rows = cursor.execute(
        f"SELECT id, name, characters FROM files WHERE whole AND agent IN ({owners}) ORDER BY id"
    ).fetchall()
    return [Document(*row) for row in rows]


def find(cursor: Cursor, agent: int, name: str) -> Document:
    """Return a document by its path, its name (of several the one that came last) or a part that no other has.

    Raises FunctionError, naming those there are.
    """
    there = listing(cursor, agent)
    at = cursor.execute("SELECT id FROM files WHERE path = ?", [name]).fetchall()
    if of_path := [document for document in there if (document.file,) in at]:
        return of_path[-1]
    wanted = name.strip().casefold()
    exact = [document for document in there if document.name.casefold() == wanted]
    close = exact or [document for document in there if wanted and wanted in document.name.casefold()]
    if len({document.name for document in close}) == 1:
        return close[-1]
    if not there:
        raise FunctionError("no document was loaded")
    names = [document.name for document in (close or there)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    what = "fits several documents" if close else "is no document"
    raise FunctionError(f"{name[:80]!r} {what}; there are: {', '.join(names[:NAMED])}{more}")


def stretch(cursor: Cursor, file: int, first: int, characters: int) -> Stretch:
    """Return about `characters` characters of a document from position `first` on, whole words.

    Behind the end it is empty.
    """
    rows = cursor.execute(
        """SELECT p.text, l.page, l.heading, l.first FROM places l JOIN passages p ON p.id = l.passage
           WHERE l.file = ? AND l.last > ? AND l.first < ? ORDER BY l.ordinal""",
        [file, first, first + characters],
    ).fetchall()
    parts, at, end = [], first, first + characters
    for text, _, _, start in rows:
        begin = max(0, first - start)
        stop = len(text) if start + len(text) <= end else _word_end(text, end - start)
        if stop > begin:
            parts.append(text[begin:stop])
            at = start + stop
    if not rows or not parts:
        return Stretch("", first, first)
    return Stretch("\n\n".join(parts).strip(), first, at, rows[0][1], rows[0][2])


def page(cursor: Cursor, document: Document, number: int) -> Stretch:
    """Return a page of a document, counted from 1. Raises FunctionError for one that there is not."""
    if not 1 <= number <= document.pages:
        raise FunctionError(f"{document.name} has {document.pages} pages: there is no page {number}")
    start, end = (_boundary(cursor, document, at * PAGE) for at in (number - 1, number))
    found = stretch(cursor, document.file, start, max(1, end - start))
    return found if number < document.pages else stretch(cursor, document.file, start, PAGE * 2)


def opened(cursor: Cursor, agent: int) -> tuple[Document, int]:
    """Return the document that an agent has open, and the page. Raises FunctionError when there is none."""
    row = cursor.execute(
        f"""SELECT file, page FROM openings o LEFT JOIN records r ON r.id = o.call
            WHERE o.agent = ? AND {standing("coalesce(r.turn, 0)")}
            ORDER BY o.call DESC, page DESC LIMIT 1""",
        [agent],
    ).fetchone()
    found = next((each for each in listing(cursor, agent) if row and each.file == row[0]), None)
    if row is None or found is None:
        raise FunctionError("no document is open: open one by open_document")
    return found, int(row[1])


def open_at(cursor: Cursor, agent: int, document: Document, number: int, call: int, now: datetime) -> Stretch:
    """Return a page of a document, and remember that it is open there. Raises as `page`."""
    found = page(cursor, document, number)
    cursor.execute("INSERT INTO openings VALUES (?, ?, ?, ?, ?)", [agent, document.file, number, call, now])
    return found


def _boundary(cursor: Cursor, document: Document, at: int) -> int:
    """Return where the page begins that should begin at a position: at the end of the word that stands there."""
    if at <= 0:
        return 0
    return stretch(cursor, document.file, max(0, at - 1), 1).last if at < document.characters else at


def _word_end(text: str, at: int) -> int:
    """Return the end of the word that stands at a position; a text without spaces is cut right there."""
    for ahead in range(at, min(at + 60, len(text))):
        if text[ahead].isspace():
            return ahead
    return len(text) if len(text) - at < 60 else at
