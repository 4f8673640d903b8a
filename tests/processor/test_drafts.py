"""Drafts by look-up: what followed before is offered, as much as pays, the same for the same ids."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmem.processor.drafts import Lookup, Pace

ids = st.lists(st.integers(0, 5), max_size=80)


def lookup(prompt: list[int], cost: float = 0.1, rows: int = 65) -> Lookup:
    return Lookup(prompt, 200, Pace(cost, rows))


@given(ids, ids, st.integers(-2, 70), st.floats(0.01, 2))
def test_a_draft_is_what_followed_somewhere_and_never_longer_than_asked(
    prompt: list[int], generated: list[int], most: int, cost: float
) -> None:
    drafts = []
    for _ in range(2):
        made = lookup(prompt, cost)
        for token in generated:
            made.draft(8, 1)
            made.extend([token])
        drafts.append(made.draft(most, 1))
    first, again = drafts
    assert first == again
    assert len(first) <= max(0, most)
    context = prompt + generated
    if first:
        stretches = [context[at : at + 1 + len(first)] for at in range(len(context) - len(first))]
        assert [context[-1], *first] in stretches


def test_what_was_copied_so_far_is_drafted_on() -> None:
    text = list(range(100, 160))
    made = lookup([*text, 1, 2])
    made.extend(text[10:14])
    draft = made.draft(64, 1)
    assert len(draft) >= 4
    assert draft == text[14 : 14 + len(draft)]


def test_the_longest_match_counts_and_of_equal_ones_the_newest() -> None:
    made = lookup([1, 2, 3, 77, 9, 2, 3, 88, 9, 3, 99, 1, 2])
    made.extend([3])
    assert made.draft(1, 1) == [77]
    newest = lookup([5, 6, 70, 5, 6, 71, 5])
    newest.extend([6])
    assert newest.draft(1, 1) == [71]


def test_wrong_drafts_become_shorter_until_there_are_none() -> None:
    made = lookup([4, 5, 6, 7, 8, 9, 4, 5], cost=0.2)
    lengths = []
    for _ in range(60):
        draft = made.draft(64, 1)
        lengths.append(len(draft))
        made.learn(len(draft), 0)
    assert lengths[0] > 0
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] == 0


def test_right_drafts_become_longer() -> None:
    made = lookup([4, *range(10, 90), 4], cost=0.2)
    first = len(made.draft(64, 1))
    for _ in range(60):
        draft = made.draft(64, 1)
        made.learn(len(draft), len(draft))
    assert first < len(made.draft(64, 1)) <= 64


def test_a_decode_has_no_more_rows_than_pay() -> None:
    made = lookup([1, 2, 3, 4, *range(10, 90), 1, 2, 3, 4], rows=8)
    assert len(made.draft(64, 5)) == 3
    assert made.draft(64, 8) == []
    assert made.draft(64, 20) == []


@pytest.mark.parametrize("cost", [1.0, 1.5])
def test_nothing_is_drafted_where_a_row_costs_a_decode(cost: float) -> None:
    made = lookup([1, 2, 3, 1, 2], cost)
    assert made.draft(8, 1) == []


def test_nothing_is_drafted_from_nothing() -> None:
    assert lookup([]).draft(8, 1) == []
    assert lookup([1]).draft(8, 1) == []
    assert lookup([1, 2, 3]).draft(8, 1) == []
    assert lookup([1, 1]).draft(0, 1) == []


def test_a_look_up_takes_no_time_in_a_full_window() -> None:
    made = lookup([7] * 32_000)
    began = time.perf_counter()
    for _ in range(20):
        made.draft(8, 1)
    assert (time.perf_counter() - began) / 20 < 0.02
