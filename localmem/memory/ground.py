"""Whether a message says what is to be kept of it: a small model that has nothing to keep makes something up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

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

REPEATED = 0.6
"""Share of a question's words from which on a sentence out of it only says it again."""

ASKING = re.compile(r"\b(?:who|whom|whose|what|which|where|when|why|how)\b", re.IGNORECASE)
"""A word that asks, in English."""

_WORDS = re.compile(r"\w+")
_TITLES = ("Mr", "Mrs", "Ms", "Dr", "St")
_SENTENCES = re.compile(r"(?<=[.!?])(?<!Mr\.|Ms\.|Dr\.|St\.)(?<!Mrs\.)\s+|(?<=[\u3002\uff01\uff1f])")


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


def names(text: str) -> set[str]:
    """Return the capitalised words of a text that do not only stand at the beginning of sentences, folded."""
    found = (word for sentence in _SENTENCES.split(text.strip()) for word in _WORDS.findall(sentence)[1:])
    return {word.casefold() for word in found if word[0].isupper() and len(word) > 1 and word not in _TITLES}


def may_answer(page: str, question: str) -> bool:
    """Return whether a page may have the answer to a question: one of its names, or what begins like one.

    In doubt it may: where the question has no names, is all capitals, or where either is in no Latin script.
    """
    asked = set() if question.isupper() else names(question)
    if not asked or not (question.isascii() or _is_latin(question)) or not _is_latin(page):
        return True
    begun = tuple(name[: max(LONG, min(ALIKE, len(name) - 1))] for name in asked)
    return any(word.startswith(begun) for word in _WORDS.findall(page.casefold()))


def _is_latin(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(character < "\u0250" for character in letters) >= len(letters)


def borne_out(note: str, page: str, question: str) -> str:
    """Return the sentences of a note on a page that the page can bear out, for a question in English.

    A small model that finds nothing makes something up of the names that it was asked for: every name within a
    sentence that the question has not has to stand on the page. Nor is the question, said again, a note.
    """
    if not (_english(question) or ASKING.search(question)):
        return note.strip()
    there, asked = set(_WORDS.findall(page.casefold())), " ".join(question.casefold().split())
    known, most = names(note) - names(question), REPEATED * len(asked.split())
    kept = []
    for sentence in _SENTENCES.split(note.strip()):
        said = known & set(_WORDS.findall(sentence.casefold()))
        words = sentence.casefold().split()
        repeated = len(words) >= most and " ".join(words) in asked
        if sentence and not repeated and said <= there:
            kept.append(sentence)
    return " ".join(kept)


def agreed(answers: Sequence[str], question: str) -> list[tuple[str, int]]:
    """Return answers to a question that differ, each with how many agree with it, the most agreed first.

    Two agree by a telling word that the question has not (as in self-consistency, Wang et al. 2022).
    """
    left, found = [(answer, telling(answer) - telling(question)) for answer in answers], []
    while left:
        count = Counter(word for _, words in left for word in words)
        best, words = max(left, key=lambda each: max((count[word] for word in each[1]), default=0))
        word = max(sorted(words), key=lambda word: count[word], default=None)
        with_it = [each for each in left if each[0] == best or word in each[1]]
        found.append((best, len(with_it)))
        left = [each for each in left if each not in with_it]
    return found


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, "Mr." and the like at the end of none."""
    return [sentence for sentence in _SENTENCES.split(text.strip()) if sentence]


def whole_sentences(said: str) -> str:
    """Return what a model wrote that did not come to an end: without the sentence that was cut, each once.

    A small model that does not come to an end says the same again and again.
    """
    found = list(dict.fromkeys(sentences(said)))
    if len(found) > 1 and found[-1][-1].isalnum():
        found.pop()
    return " ".join(found)


def shares(one: str, other: str) -> bool:
    """Return whether two texts have a telling word in common, or are the same."""
    return bool(telling(one) & telling(other)) or one.strip() == other.strip()


def _english(message: str) -> bool:
    return sum(word.stop and len(word.terms[0]) >= LONG for word in query_words(message)) >= ENGLISH
