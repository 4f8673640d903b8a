"""What of a cached sequence a new prompt can use: its beginning, and stretches that only moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST_MOVE = 16
"""Tokens of the shortest stretch that is moved; a shorter one is evaluated again as fast."""


@dataclass(frozen=True, slots=True)
class Move:
    """A stretch of `length` cached tokens from position `start`, wanted at position `to`."""

    start: int
    to: int
    length: int

    @property
    def end(self) -> int:
        return self.to + self.length


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many ids two sequences share from the first on."""
    least = min(len(one), len(other))
    if one[:least] == other[:least]:
        return least
    low, high = 0, least  # one[:low] is equal, one[:high] is not
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def moves(cached: Sequence[int], wanted: Sequence[int], start: int, end: int, movable: int = 0) -> list[Move]:
    """Return the stretches of `cached` from position `start` on that stand in `wanted[start:end]`, in both in order.

    Each is as long as it goes, and at least SHORTEST_MOVE tokens long. None begins before position `movable`.
    """
    size, first = SHORTEST_MOVE, max(start, movable)
    places: dict[tuple[int, ...], int] = {}
    for at in range(len(cached) - size, first - 1, -1):
        places[tuple(cached[at : at + size])] = at  # the first of equal ones stays
    found: list[Move] = []
    at, behind = start, first
    while at <= end - size:
        place = places.get(tuple(wanted[at : at + size]), -1)
        if place < behind:
            at += 1
            continue
        length = size
        while (
            at + length < end
            and place + length < len(cached)
            and cached[place + length] == wanted[at + length]
        ):
            length += 1
        found.append(Move(place, at, length))
        at, behind = at + length, place + length
    return found


def in_order(found: Sequence[Move]) -> list[Move]:
    """Return moves so that none lands on a stretch that has not moved yet."""
    right = [move for move in reversed(found) if move.to > move.start]
    return right + [move for move in found if move.to < move.start]
