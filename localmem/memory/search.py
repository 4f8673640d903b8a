"""Search over the tiers: matches by words and by meaning become pages with a true total."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from localmem.errors import FunctionError
from localmem.memory import archival, archives, bm25
from localmem.memory.clock import Clock, shown, span
from localmem.memory.standing import STANDING
from localmem.records import Hit, Page

if TYPE_CHECKING:
    from localmem.memory.index import Meaning
    from localmem.memory.store import Cursor

# all-MiniLM-L6-v2, 12 facts and 12 questions in other words: right pairs .28 to .78, wrong ones 2 % over .25
FLOOR = 0.25
FUSE = 60

Ranked = list[tuple[int, float]]
Rows = dict[int, tuple[str, datetime, str]]
"""What a page shows of an id: text, stored time, source."""

_SOURCE = """CASE WHEN kind = 'call' THEN 'agent' ELSE payload::JSON ->> 'kind' END"""


_PASSAGES = """
    SELECT p.id, p.text, p.created_at, coalesce(s.place, p.source) FROM passages p
    LEFT JOIN (SELECT passage, arg_min(f.name || CASE WHEN heading <> '' THEN ', ' || heading ELSE '' END
                                       || CASE WHEN page > 0 THEN ', p. ' || page ELSE '' END,
                                       (f.id, ordinal)) AS place
               FROM places JOIN files f ON f.id = places.file WHERE passage IN ({ids}) GROUP BY passage) s
              ON s.passage = p.id
    WHERE p.id IN ({ids})"""


def archive(
    cursor: Cursor, agent: int, query: str, page: int, size: int, meaning: Meaning | None, clock: Clock
) -> Page:
    """Return passages that share words with the query or are near it in meaning, best first.

    They are the agent's own and those of every archive attached to it.

    Two rankings are fused by reciprocal rank (Cormack et al. 2009, k 60); passages that hold an identifier of
    the query come first. A passage is a hit by its words, or by a cosine over FLOOR.
    Raises FunctionError for a page or size under 1.
    """
    owners = archives.owners(cursor, agent)
    words = bm25.search(cursor, owners, bm25.ARCHIVAL, query)
    return _archive(cursor, owners, query, words, page, size, meaning, clock)


def _archive(
    cursor: Cursor,
    owners: Sequence[int],
    query: str,
    words: bm25.Matches,
    page: int,
    size: int,
    meaning: Meaning | None,
    clock: Clock,
) -> Page:
    near: Ranked = []
    if meaning is not None and query.strip() and not words.only_names and archival.count(cursor, owners):
        vector = meaning.embedder.encode([query])[0]
        for owner in owners:
            gone = archival.gone(cursor, owner)
            found = meaning.index(owner).near(cursor, vector, FLOOR)
            near += [hit for hit in found if hit[0] not in gone]
        near.sort(key=lambda hit: (-hit[1], hit[0]))
    ranked = _fuse(words, near) if near else words.ranked

    def rows(ids: str) -> Iterable[tuple[int, str, datetime, str]]:
        return list(cursor.execute(_PASSAGES.format(ids=ids)).fetchall())

    return _page(ranked, page, size, rows, clock)


def recall(cursor: Cursor, agent: int, query: str, page: int, size: int, turn: int, clock: Clock) -> Page:
    """Return what was said that shares words with the query, best first.

    What was said in `turn` itself is no hit: the question that led to the search shares its words.
    Raises FunctionError for a page or size under 1.
    """
    ranked = bm25.search(cursor, [agent], bm25.RECALL, query).ranked
    if turn:
        ranked = [hit for hit in ranked if hit[0] < turn]
    return _page(ranked, page, size, _said(cursor), clock)


def related(
    cursor: Cursor, agent: int, text: str, size: int, turn: int, meaning: Meaning | None, clock: Clock
) -> tuple[tuple[Hit, ...], tuple[Hit, ...]]:
    """Return what memory holds on a text, best first: at most `size` passages, and at most `size` things said.

    Nothing said in `turn` or after it counts. There is nothing on a text with identifiers that memory knows: to
    follow those is the model's work, and shown the first hop it takes that for the answer.
    """
    owners = archives.owners(cursor, agent)
    said = bm25.search(cursor, [agent], bm25.RECALL, text)
    stored = bm25.search(cursor, owners, bm25.ARCHIVAL, text)
    if stored.named or any(record < turn for record in said.named):
        return (), ()
    older = [hit for hit in said.ranked if hit[0] < turn]
    passages = _archive(cursor, owners, text, stored, 1, size, meaning, clock).hits
    return passages, _page(older, 1, size, _said(cursor), clock).hits


def recall_dates(
    cursor: Cursor, agent: int, start: date, end: date, page: int, size: int, clock: Clock
) -> Page:
    """Return what was said from `start` to `end`, both days included, oldest first; every score is 0.

    Raises FunctionError when start is after end, and for a page or size under 1.
    """
    if start > end:
        raise FunctionError(f"the start {start} is after the end {end}")
    since, until = span(start, end, clock)
    rows = cursor.execute(
        f"""SELECT id FROM records WHERE agent = ? AND text IS NOT NULL AND created_at >= ? AND created_at < ?
           AND {STANDING} ORDER BY created_at, id""",
        [agent, since, until],
    ).fetchall()
    return _page([(row[0], 0.0) for row in rows], page, size, _said(cursor), clock)


def _said(cursor: Cursor) -> Callable[[str], Iterable[tuple[int, str, datetime, str]]]:
    return lambda ids: cursor.execute(
        f"SELECT id, text, created_at, {_SOURCE} FROM records WHERE id IN ({ids})"
    ).fetchall()


def _fuse(words: bm25.Matches, near: Ranked) -> Ranked:
    fused: dict[int, float] = {}
    for rank, (number, _) in enumerate(words.ranked, 1):
        fused[number] = 1 / (FUSE + rank)
    for rank, (number, _) in enumerate(near, 1):
        fused[number] = fused.get(number, 0.0) + 1 / (FUSE + rank)
    by_words = {number: rank for rank, (number, _) in enumerate(words.ranked)}
    return sorted(
        fused.items(),
        key=lambda hit: (hit[0] not in words.named, -hit[1], by_words.get(hit[0], len(by_words)), -hit[0]),
    )


def _page(
    ranked: Sequence[tuple[int, float]],
    page: int,
    size: int,
    rows: Callable[[str], Iterable[tuple[int, str, datetime, str]]],
    clock: Clock,
) -> Page:
    if page < 1 or size < 1:
        raise FunctionError("pages are counted from 1, and hold at least 1 hit")
    chosen = ranked[(page - 1) * size : page * size]
    found: Rows = {}
    if chosen:
        found = {
            row[0]: (row[1], row[2], row[3]) for row in rows(", ".join(str(number) for number, _ in chosen))
        }
    hits = []
    for number, score in chosen:
        text, created_at, source = found[number]
        hits.append(Hit(number, text, shown(created_at, clock), score, source))
    return Page(tuple(hits), len(ranked), page, max(1, -(-len(ranked) // size)))
