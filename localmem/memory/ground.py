"""Whether a message says what is to be kept of it: a small model that has nothing to keep makes something up."""

from __future__ import annotations

from localmem.memory.correction import telling
from localmem.memory.terms import query_words

FEW = 2
"""Telling words up to which a message rests on what was said before it: "Yes, a dog." """

ENGLISH = 2
"""English words of every sentence from which on a message is in English: others may be kept in translation."""

LONG = 3
"""Letters that such a word has: shorter ones are words of other languages too."""

ALIKE = 4
"""Letters that two words begin with alike when they may be one: Krakow and Krakowie."""


def told(fact: str, message: str) -> bool:
    """Return whether a message may say a fact: a telling word of one stands in the other, or something like it."""
    kept = telling(fact)
    if not kept or not _english(message):
        return True
    said = telling(message)
    if len(said) <= FEW or kept & said:
        return True
    begun = {word[:ALIKE] for word in said if len(word) >= ALIKE}
    return any(word[:ALIKE] in begun for word in kept)


def shares(one: str, other: str) -> bool:
    """Return whether two texts have a telling word in common, or are the same."""
    return bool(telling(one) & telling(other)) or one.strip() == other.strip()


def _english(message: str) -> bool:
    return sum(word.stop and len(word.terms[0]) >= LONG for word in query_words(message)) >= ENGLISH
