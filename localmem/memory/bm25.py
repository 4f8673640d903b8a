"""Search by words: Okapi BM25 in plain SQL over two tables, written together with the text itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmem.memory.terms import number, query_words, terms

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

RECALL = 0
ARCHIVAL = 1
K1 = 1.2
B = 0.75


@dataclass(frozen=True, slots=True)
class Matches:
    """The texts that share words with a query, as (id, score), best first.

    `named` are those that hold an identifier of the query whole; they come first. `only_names` says that the
    query was nothing but identifiers that are known here.
    """

    ranked: list[tuple[int, float]]
    named: frozenset[int] = frozenset()
    only_names: bool = False


def add(cursor: Cursor, agent: int, tier: int, doc: int, text: str) -> None:
    """Make a text findable, within the caller's transaction."""
    add_many(cursor, agent, tier, [(doc, text)])


def add_many(cursor: Cursor, agent: int, tier: int, texts: Sequence[tuple[int, str]]) -> None:
    """Make texts findable, each under its id, within the caller's transaction."""
    counted = [(doc, Counter(number(term) for term in terms(text))) for doc, text in texts]
    lengths = [terms.total() for _, terms in counted]
    # a list is bound as text: binding its elements one by one costs .15 ms each
    cursor.execute(
        "INSERT INTO documents SELECT ?, ?, unnest(?::BIGINT[]), unnest(?::INTEGER[])",
        [agent, tier, str([doc for doc, _ in texts]), str(lengths)],
    )
    rows = [
        (term, doc, tf, length)
        for (doc, terms), length in zip(counted, lengths, strict=True)
        for term, tf in terms.items()
    ]
    if rows:
        columns = [str(list(column)) for column in zip(*rows, strict=True)]
        cursor.execute(
            """INSERT INTO postings SELECT ?, ?, unnest(?::BIGINT[]), unnest(?::BIGINT[]),
                                           unnest(?::INTEGER[]), unnest(?::INTEGER[])""",
            [agent, tier, *columns],
        )


def remove(cursor: Cursor, agent: int, tier: int, doc: int) -> None:
    """Make a text unfindable again."""
    for table in ("documents", "postings"):
        cursor.execute(f"DELETE FROM {table} WHERE agent = ? AND tier = ? AND doc = ?", [agent, tier, doc])


def search(cursor: Cursor, owners: Sequence[int], tier: int, query: str) -> Matches:
    """Return every text of these owners in the tier that shares a telling word with the query, by falling BM25 score.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with k1 1.2 and b .75.
    """
    words = query_words(query)
    known = _known(cursor, owners, tier, [word.name for word in words if word.name])
    wanted: set[str] = set()
    telling: set[str] = set()
    for word in words:
        # where the identifier itself is there, what shares only a part of it is no hit
        found = {word.name} if word.name in known else set(word.terms)
        wanted |= found
        if not word.stop:
            telling |= found
    if not wanted:
        return Matches([])
    rows = _score(cursor, owners, tier, wanted, telling or wanted, known)
    named = frozenset(doc for doc, _, named in rows if named) if known else frozenset()
    only_names = bool(known) and all(word.name in known for word in words)
    return Matches([(doc, score) for doc, score, _ in rows], named, only_names)


def _known(cursor: Cursor, owners: Sequence[int], tier: int, names: list[str]) -> set[str]:
    if not names:
        return set()
    sql = f"""SELECT DISTINCT term FROM postings
              WHERE agent IN ({listed(owners)}) AND tier = ? AND term IN ({_numbers(names)})"""
    there = {row[0] for row in cursor.execute(sql, [tier]).fetchall()}
    return {name for name in names if number(name) in there}


def _score(
    cursor: Cursor, owners: Sequence[int], tier: int, wanted: set[str], telling: set[str], names: set[str]
) -> list[tuple[int, float, bool]]:
    # the numbers are ours, not the user's text: they stand in the statement itself, where a filter is fastest
    sql = f"""
        WITH hits AS (SELECT term, doc, tf, length FROM postings
                      WHERE agent IN ({listed(owners)}) AND tier = $tier AND term IN ({_numbers(wanted)})),
             size AS (SELECT count(*) AS n, greatest(avg(length), 1) AS mean FROM documents
                      WHERE agent IN ({listed(owners)}) AND tier = $tier),
             rarity AS (SELECT term, ln(1 + (any_value(n) - count(*) + .5) / (count(*) + .5)) AS idf
                        FROM hits, size GROUP BY term)
        SELECT doc,
               round(sum(idf * tf * ({K1} + 1) / (tf + {K1} * (1 - {B} + {B} * length / mean))), 9) AS score,
               bool_or(term IN ({_numbers(names) or "NULL"})) IS TRUE AS named
        FROM hits JOIN rarity USING (term), size
        GROUP BY doc
        HAVING bool_or(term IN ({_numbers(telling)}))
        ORDER BY named DESC, score DESC, doc DESC"""
    return list(cursor.execute(sql, {"tier": tier}).fetchall())


def listed(ids: Iterable[int]) -> str:
    """Return ids as SQL writes them between the brackets of IN."""
    return ", ".join(str(int(number)) for number in ids)


def _numbers(found: set[str] | list[str]) -> str:
    return ", ".join(str(number(term)) for term in sorted(found))
