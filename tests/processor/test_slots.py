"""The books of the cache: what a slot says it holds is what evaluating those ids anew would put there."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from localmem.processor.llama import CacheFull, Llama, Row
from localmem.processor.reuse import common
from localmem.processor.slots import Slot, Slots

pytestmark = pytest.mark.model

MARGIN = 1.0
"""How far logits differ by the shape of a batch and what else is cached, a clear difference being above 3."""


@pytest.fixture(scope="module")
def llama(smollm2: Path) -> Iterator[Llama]:
    made = Llama(smollm2, cells=1024, sequences=5, gpu_layers=0, threads=1)
    made.open()
    yield made
    made.close()


@pytest.fixture
def slots(llama: Llama) -> Slots:
    llama.clear()
    llama.stop.clear()
    return Slots(llama, 3)


def said(number: int, length: int) -> list[int]:
    """Some ids, always the same for a number."""
    return random.Random(number).choices(range(300, 40_000), k=length)


def fill(slots: Slots, ids: list[int], owner: str, *, ahead: bool = False) -> Slot:
    slot = slots.take(ids, owner, ahead=ahead)
    assert slot is not None
    slots.evaluate(slot, ids)
    slots.release(slot)
    return slot


def sound(llama: Llama, slots: Slots, slot: Slot, margin: float = MARGIN) -> None:
    """The logits behind what a slot holds, and one probe more, are those of a sequence evaluated anew."""
    for probe in (1000, 2000):
        at = len(slot.ids)
        assert llama.evaluate([Row(probe, at, slot.sequence, True)])
        found = llama.logits(0).copy()
        llama.remove(slot.sequence, at)
        spare = 4
        llama.remove(spare, 0)
        ids = [*slot.ids, probe]
        for start in range(0, len(ids), llama.chunk):
            part = ids[start : start + llama.chunk]
            assert llama.evaluate(
                [Row(token, at, spare, at == len(ids) - 1) for at, token in enumerate(part, start)]
            )
        anew = llama.logits(len(part) - 1).copy()
        llama.remove(spare, 0)
        assert np.abs(found - anew).max() < margin


def books(slots: Slots) -> None:
    """What must hold of the books whatever was done."""
    by_sequence = {slot.sequence: slot for slot in slots}
    for slot in slots:
        for sequence, length in slot.shares.items():
            other = by_sequence[sequence]
            assert other.shares[slot.sequence] == length
            assert 0 < length <= common(slot.ids, other.ids)
        assert slot.inexact is None or slot.inexact < len(slot.ids)


def test_a_slot_goes_on_with_its_agent(llama: Llama, slots: Slots) -> None:
    head = said(1, 40)
    one = fill(slots, [*head, *said(2, 20)], "one")
    other = fill(slots, [*head, *said(3, 20)], "other")
    assert one is not other
    assert (one.owner, other.owner) == ("one", "other")
    assert slots.take([*head, *said(2, 20), 5], "one", ahead=False) is one
    assert slots.take([*head, *said(3, 20), 5], "other", ahead=False) is other


def test_a_shared_beginning_is_stored_once_and_serves_both(llama: Llama, slots: Slots) -> None:
    head = said(1, 600)  # twice as long would not fit
    one = fill(slots, [*head, *said(2, 20)], "one")
    other = fill(slots, [*head, *said(3, 20)], "other")
    assert one.shares == {other.sequence: 600}
    books(slots)
    sound_short = [*one.ids], [*other.ids]
    slots.forget(one)
    assert other.shares == {}
    assert other.ids == sound_short[1]
    slots.keep(other, 200)
    sound(llama, slots, other)


def test_sharing_passes_on(llama: Llama, slots: Slots) -> None:
    head = said(1, 60)
    one = fill(slots, [*head, 400, 401], "one")
    two = fill(slots, [*head, 500], "two")
    three = fill(slots, [*head[:40], 600], "three")
    books(slots)
    assert one.shared == two.shared == 60
    assert three.shared == 40
    slots.forget(two)  # one and three still share what they had through it
    assert one.shared == three.shared == 40
    books(slots)
    sound(llama, slots, one)
    sound(llama, slots, three)


def test_what_is_made_ahead_leaves_the_agents_own_slot_alone(slots: Slots) -> None:
    own = fill(slots, said(1, 60), "one")
    ahead = fill(slots, [*said(1, 50), *said(2, 30)], "one", ahead=True)
    assert ahead is not own
    assert own.ids == said(1, 60)
    assert (ahead.owner, ahead.ahead) == ("one", True)
    again = slots.take([*said(1, 50), *said(3, 30)], "one", ahead=True)
    assert again is ahead


def test_what_was_prepared_takes_the_place_of_the_own_slot_only_where_it_serves_better(slots: Slots) -> None:
    own = fill(slots, said(1, 60), "one")
    ahead = fill(slots, [*said(1, 30), *said(2, 60)], "one", ahead=True)
    assert slots.take([*said(1, 30), *said(9, 9)], "one", ahead=False) is own
    slots.release(own)
    assert slots.take([*said(1, 30), *said(2, 60), 7], "one", ahead=False) is ahead
    assert not ahead.ahead
    assert own.ids == []


def test_work_ahead_finds_a_slot_where_the_agent_has_taken_several(slots: Slots) -> None:
    three = [slots.take(said(n, 20), "one", ahead=False) for n in range(3)]
    assert all(three)
    assert slots.take(said(9, 20), "one", ahead=False) is None
    for slot in three:
        assert slot is not None
        slots.evaluate(slot, said(three.index(slot), 20))
        slots.release(slot)
    assert slots.take(said(9, 20), "one", ahead=True) in three[:2]


def test_the_least_recently_used_agent_leaves(slots: Slots) -> None:
    left: list[tuple[str | None, int]] = []
    slots.leaves = lambda slot: left.append((slot.owner, len(slot.ids)))
    for number, owner in enumerate(["a", "b", "c"]):
        fill(slots, said(number, 30), owner)
    fill(slots, said(0, 31), "a")
    fill(slots, said(7, 30), "d")
    assert left == [("b", 30)]


def aside(llama: Llama, slots: Slots, slot: Slot, ids: list[int]) -> None:
    """Let a slot hold ids, moving what can be moved."""
    for move in slots.set_aside(slot, ids):
        slots.evaluate(slot, ids[: move.to])
        slots.bring_back(slot, move, ids)
    slots.evaluate(slot, ids)


def test_what_moved_is_near_what_evaluating_anew_gives(llama: Llama, slots: Slots) -> None:
    head, old, rest = said(1, 40), said(2, 60), said(3, 80)
    slot = fill(slots, [*head, *old, *rest], "one")
    wanted = [*head, *said(4, 10), *rest, 9]
    aside(llama, slots, slot, wanted)
    assert slot.ids == wanted
    assert slot.inexact == 50
    sound(llama, slots, slot, margin=12.0)  # an approximation; other positions would be far off
    slots.keep(slot, 50)
    assert not slot.shifted
    sound(llama, slots, slot)


def test_moving_leaves_what_others_share_in_its_place(llama: Llama, slots: Slots) -> None:
    head, old, rest = said(1, 40), said(2, 60), said(3, 80)
    slot = fill(slots, [*head, *old, *rest], "one")
    other = fill(slots, [*head, *old, 77], "one", ahead=True)
    assert slot.shared == 100
    aside(llama, slots, slot, [*head, *said(4, 10), *rest, 9])
    assert slot.shifted
    assert slot.shared == 40
    assert not other.shifted
    books(slots)
    sound(llama, slots, other)


def test_a_stop_does_not_reach_a_decode_that_has_keys_to_turn(llama: Llama, slots: Slots) -> None:
    """Stopped in its midst, some layers would be turned twice by the next decode."""
    ids = [*said(1, 40), *said(2, 60), *said(3, 80)]
    wanted = [*said(1, 40), *said(3, 80)]
    found = []
    for stopped in (False, True):
        llama.clear()
        llama.stop.clear()
        fresh = Slots(llama, 3)
        slot = fill(fresh, ids, "one")
        llama.remove(0, 40, 100)
        llama.shift(0, 100, 180, -60)
        if stopped:
            llama.stop.set()
            llama.evaluate([Row(9, len(wanted), 0, True)])
            llama.stop.clear()
            llama.remove(0, len(wanted))
        assert llama.evaluate([Row(9, len(wanted), 0, True)])
        found.append(llama.logits(0).copy())
        slot.ids[:] = wanted
    assert np.abs(found[0] - found[1]).max() < 0.01


def test_a_stop_that_comes_late_loses_no_token(llama: Llama, slots: Slots) -> None:
    slot = slots.take(said(1, 100), "one", ahead=False)
    assert slot is not None
    llama.stop.set()
    slots.evaluate(slot, said(1, 100))
    sound(llama, slots, slot)


def test_a_cache_that_is_full_says_so_and_keeps_its_books(llama: Llama, slots: Slots) -> None:
    one = fill(slots, said(1, 600), "one")
    two = slots.take(said(2, 600), "two", ahead=False)
    assert two is not None
    with pytest.raises(CacheFull):
        slots.evaluate(two, said(2, 600))
    held = len(two.ids)
    assert 0 < held < 600
    assert held % llama.chunk == 0
    assert slots.free()
    assert one.ids == []
    slots.evaluate(two, said(2, 600))
    slots.keep(two, 100)
    sound(llama, slots, two)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_the_books_are_right(llama: Llama, slots: Slots, seed: int) -> None:
    dice = random.Random(seed)
    prompts = [
        [*said(1, 40), *said(dice.randrange(4), 30), *said(dice.randrange(9), dice.randrange(1, 60))]
        for _ in range(12)
    ]

    def take() -> None:
        fill(slots, dice.choice(prompts), dice.choice("abc"), ahead=dice.random() < 0.3)

    def cut() -> None:
        slot = dice.choice(list(slots))
        slots.keep(slot, dice.randrange(len(slot.ids) + 1))

    def move() -> None:
        slot, ids = dice.choice(list(slots)), dice.choice(prompts)
        aside(llama, slots, slot, ids)

    def forget() -> None:
        slots.forget(dice.choice(list(slots)))

    acts: list[Callable[[], None]] = [take] * 4 + [cut, cut, move, move, forget]
    for _ in range(25):
        dice.choice(acts)()
        books(slots)
    for slot in slots:
        if slot.ids and not slot.shifted:
            sound(llama, slots, slot)
