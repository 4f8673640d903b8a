"""What a new prompt can use of a cached one: beginnings, and stretches that only moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localmem.processor.reuse import SHORTEST_MOVE, common, in_order, moves

ids = st.lists(st.integers(0, 3), max_size=120)
"""Few different ids, so that equal stretches are frequent."""

blocks = st.lists(st.integers(0, 5), max_size=8)
"""Which of six long stretches stand in a sequence, and in which order."""


def written(order: list[int], extra: list[int]) -> list[int]:
    """A sequence of long stretches, each its own ids, with some other ids between them."""
    return [
        token
        for at, block in enumerate(order)
        for token in [*range(100 * block, 100 * block + 20 + block), *extra[at : at + 2]]
    ]


@given(ids, ids)
def test_the_common_beginning_is_as_long_as_it_goes(one: list[int], other: list[int]) -> None:
    length = common(one, other)
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]
    assert common(other, one) == length


@given(ids, ids, st.integers(0, 40))
def test_the_common_beginning_is_found_behind_a_long_one(one: list[int], other: list[int], same: int) -> None:
    head = [7] * same
    assert common(head + one, head + other) == same + common(one, other)


@given(blocks, blocks, ids, ids, st.integers(0, 60))
def test_moves_are_equal_disjoint_and_in_order(
    before: list[int], after: list[int], one: list[int], other: list[int], movable: int
) -> None:
    cached, wanted = written(before, one), written(after, other)
    start = common(cached, wanted)
    end = max(start, len(wanted) - 1)
    source, target = max(start, movable), start
    for move in moves(cached, wanted, start, end, movable):
        assert move.length >= SHORTEST_MOVE
        assert move.start >= source
        assert move.to >= target
        assert move.end <= end
        source, target = move.start + move.length, move.end
        assert source <= len(cached)
        assert cached[move.start : source] == wanted[move.to : target]


@given(blocks, blocks, ids, ids)
def test_moving_in_order_overwrites_nothing(
    before: list[int], after: list[int], one: list[int], other: list[int]
) -> None:
    cached, wanted = written(before, one), written(after, other)
    start = common(cached, wanted)
    found = moves(cached, wanted, start, len(wanted))
    cells = {at: (cached[at], move) for move in found for at in range(move.start, move.start + move.length)}
    for move in in_order(found):
        shifted = range(move.start, move.start + move.length)
        assert all(cells[at][1] is move for at in shifted)  # nothing else stands there any more, or yet
        taken = {at + move.to - move.start: cells.pop(at) for at in shifted}
        assert not taken.keys() & cells.keys()
        cells |= taken
    for move in found:
        assert [cells[at][0] for at in range(move.to, move.end)] == wanted[move.to : move.end]


def test_a_queue_whose_head_left_is_one_move() -> None:
    system, old, rest = list(range(50)), list(range(100, 160)), list(range(200, 280))
    summary = [300, 301, 302]
    cached, wanted = [*system, *old, *rest], [*system, *summary, *rest, 400, 401]
    (move,) = moves(cached, wanted, 50, len(wanted) - 1)
    assert (move.start, move.to, move.length) == (110, 53, 80)


def test_what_others_share_is_not_moved_and_what_stands_behind_is() -> None:
    cached = [*range(50), *range(100, 160), *range(200, 280)]
    wanted = [*range(50), *range(100, 160)[20:], *range(200, 280), 400]
    (whole,) = moves(cached, wanted, 50, len(wanted) - 1)
    assert (whole.start, whole.length) == (70, 120)
    (behind,) = moves(cached, wanted, 50, len(wanted) - 1, movable=110)
    assert (behind.start, behind.length) == (110, 80)


def test_short_stretches_are_not_worth_a_move() -> None:
    wanted = [1, 2, *range(100, 100 + SHORTEST_MOVE - 1), 3]
    assert moves(list(range(100, 200)), wanted, 0, len(wanted)) == []
