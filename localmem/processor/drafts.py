"""Drafts by look-up: what followed the last tokens when they stood in the context before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LONGEST_MATCH = 6
"""Tokens that a match is compared over; a longer one says no more."""

MOST_PLACES = 32
"""Earlier places that are compared, the newest."""

ACCEPTED = (0.35, 0.55, 0.65, 0.75, 0.85, 0.9)
"""How likely the next token of a draft is right, by the length of the match (1, 2, ...): where a draft begins."""

WEIGHT = 6.0
"""How many tokens of experience these figures count as."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What drafts have to be worth on a back end.

    `cost` is the chance from which a drafted token pays, `rows` how many rows a decode with drafts has at most:
    a CPU's kernels take a few rows at once, and one row more is dear.
    """

    cost: float
    rows: int


class Lookup:
    """Drafts for one completion.

    A draft is as long as its last token pays: its chance to be reached and right is above its cost. The chances
    follow what this completion accepted, so the same ids always give the same drafts.
    """

    def __init__(self, prompt: Sequence[int], tokens: int, pace: Pace) -> None:
        self._ids = np.zeros(len(prompt) + tokens + 1, dtype=np.int32)
        self._ids[: len(prompt)] = prompt
        self._count = len(prompt)
        self._pace = pace
        self._right = [WEIGHT * share for share in ACCEPTED]
        self._tried = [WEIGHT] * len(ACCEPTED)
        self._match = 0

    def extend(self, ids: Sequence[int]) -> None:
        """Take in tokens that were generated."""
        self._ids[self._count : self._count + len(ids)] = ids
        self._count += len(ids)

    def draft(self, most: int, rows: int) -> list[int]:
        """Return at most `most` tokens that may come next, beside so many `rows`; none where none stood before."""
        most = min(most, self._pace.rows - rows)
        if most < 1 or self._count < 2:
            return []
        place, self._match = self._find()
        if not self._match:
            return []
        chance = self._right[self._match - 1] / self._tried[self._match - 1]
        length = self._length(chance)
        return [int(token) for token in self._ids[place : min(place + min(most, length), self._count)]]

    def learn(self, drafted: int, accepted: int) -> None:
        """Take in how many tokens of the last draft were right."""
        if drafted:
            self._right[self._match - 1] += accepted
            self._tried[self._match - 1] += min(drafted, accepted + 1)

    def _length(self, chance: float) -> int:
        if chance <= self._pace.cost:
            return 0
        return self._pace.rows if chance >= 0.99 else int(math.log(self._pace.cost) / math.log(chance))

    def _find(self) -> tuple[int, int]:
        """Return the place behind the longest match of the last tokens, the newest of equal ones, and its length."""
        ids, count = self._ids, self._count
        places = np.flatnonzero(ids[: count - 1] == ids[count - 1])[-MOST_PLACES:]
        best, longest = 0, 0
        for place in places[::-1]:
            length = 1
            while length < min(LONGEST_MATCH, place + 1) and ids[place - length] == ids[count - 1 - length]:
                length += 1
            if length > longest:
                best, longest = int(place) + 1, length
        return best, longest
