"""What a search compares: the terms of a text, in any language."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# Words that every English question is made of: they help to rank, but a text is no hit for them alone.
_STOP = """
    a about am an and any are as at be been but by can could did do does for from had has have he her hers him
    his how i if in is it its me my of on or our please s she should so t tell that the their them then there
    these they this to us was we were what when where which who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP.split())

_JOINED = re.compile(r"[^\W]+(?:[-_.:/@#+][^\W]+)*")
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
_ACCENTS = re.compile("[\u0300-\u036f]")
_VOWEL = re.compile("[aeiouy]")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a query: its terms, any of which matches; a `name` is found as a whole before its parts."""

    terms: tuple[str, ...]
    name: str = ""
    stop: bool = False


def terms(text: str) -> list[str]:
    """Return the terms under which a text is found, with repetitions.

    Letters without case and accents, English words by their stem, scripts without spaces as single characters
    and pairs, identifiers (a UUID, a date, an e-mail address, a snake_case name) whole and by part.
    """
    found: list[str] = []
    for word in _words(text):
        found.extend(word.terms)
        if word.name:
            found.append(word.name)
        found.extend(
            char for term in word.terms if len(term) == 2 and _SPACELESS.fullmatch(term) for char in term
        )
    return found


def query_words(text: str) -> list[Word]:
    """Return the words of a query, each once, in order."""
    return list(dict.fromkeys(_words(text)))


@lru_cache(maxsize=50_000)
def number(term: str) -> int:
    """Return the 64-bit number that stands for a term in the index (BLAKE2b: the same on every machine)."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "big", signed=True)


def _words(text: str) -> list[Word]:
    words = []
    for match in _JOINED.finditer(_fold(text)):
        joined = match.group()
        parts: list[str] = []
        for part in re.split(r"[-_.:/@#+]+", joined):
            parts.extend(_split(part))
        if not parts:
            continue
        name = (
            joined
            if len(parts) > 1 and re.search(r"[\d@_]", joined) and not _SPACELESS.search(joined)
            else ""
        )
        if name:
            words.append(Word(tuple(_stem(part) for part in parts), name))
        else:
            words.extend(Word((_stem(part),), stop=part in STOP_WORDS) for part in parts)
    return words


def _fold(text: str) -> str:
    folded = text.casefold()
    if not folded.isascii():
        folded = _ACCENTS.sub("", unicodedata.normalize("NFKD", folded))
        folded = unicodedata.normalize("NFC", folded).replace("\u2019", "'")
        # marks (Hindi and Thai vowels) belong to their letter, but `re` takes them for punctuation
        folded = "".join("" if unicodedata.category(char) in ("Mn", "Mc") else char for char in folded)
    return re.sub(r"'s\b", "", folded)


def _split(part: str) -> list[str]:
    """Return a run of word characters as words; runs of a spaceless script become overlapping pairs."""
    found: list[str] = []
    at = 0
    for run in _SPACELESS.finditer(part):
        if run.start() > at:
            found.append(part[at : run.start()])
        chars = run.group()
        found.extend([chars] if len(chars) == 1 else [chars[i : i + 2] for i in range(len(chars) - 1)])
        at = run.end()
    if at < len(part):
        found.append(part[at:])
    return found


def _stem(word: str) -> str:
    """Return an English word without its common endings; a word that is no plain English stays as it is."""
    if len(word) < 4 or not (word.isascii() and word.isalpha()):
        return word
    if word.endswith("ies") or word.endswith("ied"):
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and _VOWEL.search(stem):
            word = stem
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
