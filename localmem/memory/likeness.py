"""Finds texts that say nearly the same, by the telling words they share."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from localmem.memory.correction import telling

SHARE = 0.5
"""Of the telling words of both together: a dog called Bruno, a dog named Bruno."""

LEAST = 2
"""Telling words that both must hold."""


NEARLY = 0.99
"""The most that texts share which are not the same: who loves whom is not told by the words alone."""

COMMON = 100
"""Texts that may hold a word for two to be compared because they share it: what many hold tells little."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Two of a row of texts, by their places in it, and the share of telling words that they have in common."""

    first: int
    second: int
    share: float


def alike(texts: Sequence[str], share: float = SHARE) -> tuple[Alike, ...]:
    """Return the pairs that have at least `share` of their telling words in common, the most alike first.

    Texts that are the same but for case and space have a share of 1, and no others. Only pairs that meet in a rare
    word are compared (prefix filtering, Chaudhuri et al. 2006), so that thousands of texts take seconds.
    """
    words = [telling(text) for text in texts]
    plain = [" ".join(text.casefold().split()) for text in texts]
    common = Counter(word for each in words for word in each)
    holders: dict[str, list[int]] = defaultdict(list)
    pairs: set[tuple[int, int]] = set()
    for place, each in enumerate(words):
        rare = sorted(each, key=lambda word: (common[word], word))
        prefix = rare[: len(rare) - math.ceil(share * len(rare)) + 1]
        for key in [f"={plain[place]}", *(word for word in prefix if common[word] <= COMMON)]:
            pairs.update((other, place) for other in holders[key])
            holders[key].append(place)
    found = []
    for first, second in pairs:
        shared, both = words[first] & words[second], words[first] | words[second]
        same = plain[first] == plain[second]
        measured = 1.0 if same else min(NEARLY, len(shared) / len(both))
        if same or (len(shared) >= LEAST and measured >= share):
            found.append(Alike(first, second, round(measured, 3)))
    return tuple(sorted(found, key=lambda pair: (-pair.share, pair.first, pair.second)))
