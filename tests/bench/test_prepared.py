"""What an agent is given before it is asked: complete, once, begun anew where it was half made, copied."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from localmem.bench.case import Material, Said
from localmem.bench.prepared import BETWEEN_SESSIONS, PART, Clock, Shelf, record
from localmem.memory.memory import Memory
from localmem.records import Block, Call, Event, EventKind, Record, Result, spoken
from localmem.testing import HashEmbedder

CHAT = (
    (Said("I keep bees.", "How many hives?"), Said("Three.", "Lovely.")),
    (Said("One swarmed.", "Oh no."), Said("I caught it.")),
)
FULL = Material(
    id="one",
    blocks=(Block("facts", "1. Tin floats.", 2000, "what is so", read_only=True),),
    passages=("Moss is green.", "Fog is grey."),
    sessions=CHAT,
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path, "You are asked.\n", HashEmbedder())


def said(memory: Memory) -> list[str]:
    return [text for text in map(spoken, memory.records()) if text]


def refuse(memory: Memory, clock: Clock, text: str, reply: str | None) -> None:
    raise AssertionError("nothing is to be talked about")


def test_everything_is_there_before_the_question(shelf: Shelf) -> None:
    with shelf.copy(FULL, record) as (memory, clock):
        blocks = {block.label: block for block in memory.blocks()}
        assert list(blocks) == ["persona", "human", "facts"]
        assert blocks["facts"] == FULL.blocks[0]
        assert memory.system == "You are asked.\n"
        assert [passage.text for passage in memory.passages()] == list(FULL.passages)
        state = memory.index_state()
        assert state is not None
        assert (state.stored, state.indexed, state.agrees) == (2, 2, True)
        assert said(memory) == [
            "I keep bees.", "How many hives?", "Three.", "Lovely.", "One swarmed.", "Oh no.", "I caught it.",
        ]  # fmt: skip
        assert memory.search_recall("which one swarmed").hits[0].text == "One swarmed."
        assert (memory.queue(), memory.unfinished()) == ((), None)
        times = [record.created_at for record in memory.records() if isinstance(record, Event)]
        assert all(time is not None for time in times)
        first, second, third, _ = [time for time in times if time]
        assert second - first == timedelta(minutes=1)
        assert third - first == BETWEEN_SESSIONS + 2 * timedelta(minutes=1)
        assert clock() - third > BETWEEN_SESSIONS - timedelta(hours=1)


def test_what_is_wiped_keeps_blocks_and_passages_alone(shelf: Shelf) -> None:
    def kept(memory: Memory, clock: Clock, text: str, reply: str | None) -> None:
        record(memory, clock, text, reply)
        number = memory.edit(lambda desk: desk.insert_passage(f"archived: {text}"))
        if text == "Three.":
            memory.edit(lambda desk: desk.retire_passage(number))
        memory.edit(lambda desk: desk.append("human", text))

    wiped = Material(id="w", passages=("Moss is green.",), sessions=CHAT, wiped=True)
    with shelf.copy(wiped, kept) as (memory, _):
        assert memory.block("human").value.endswith("I keep bees.\nThree.\nOne swarmed.\nI caught it.")
        assert [passage.text for passage in memory.passages()] == [
            "Moss is green.", "archived: I keep bees.", "archived: One swarmed.", "archived: I caught it.",
        ]  # fmt: skip
        assert (memory.records(), memory.queue(), memory.summary()) == ((), (), "")
        assert memory.counts().recall == 0
        assert memory.search_recall("bees hives three swarmed").total == 0
        assert memory.search_archive("who keeps bees").hits[0].text == "archived: I keep bees."
        state = memory.index_state()
        assert state is not None
        assert (state.stored, state.agrees) == (4, True)


def test_earlier_records_stand_in_the_queue(tmp_path: Path) -> None:
    earlier: tuple[Record, ...] = (
        Event(EventKind.USER, "What is delta?"),
        Call("", "archival_memory_search", {"query": "delta", "page": 1}),
        Result(False, "no such page"),
        Call("", "send_message", {"message": "I do not know."}),
        Result(True, ""),
        Event(EventKind.USER, "And amber?"),
        Call("", "send_message", {"message": "A resin."}),
        Result(True, ""),
    )
    shelf = Shelf(tmp_path, "be brief", None, earlier=earlier)
    with shelf.copy(Material(id="e", sessions=CHAT), record) as (memory, _):
        queue = memory.queue()
        assert [type(each) for each in queue] == [type(each) for each in earlier]
        assert [getattr(each, "text", "") for each in queue] == [
            getattr(each, "text", "") for each in earlier
        ]
        for call, result in pairwise(queue):
            if isinstance(result, Result):
                assert result.call == call.id
        assert [each.ok for each in queue if isinstance(each, Result)] == [False, True, True]
        assert memory.unfinished() is None
        assert memory.search_recall("amber").total == 1


def test_a_preparation_is_made_once_and_copied(shelf: Shelf) -> None:
    talks: list[str] = []

    def talk(memory: Memory, clock: Clock, text: str, reply: str | None) -> None:
        talks.append(text)
        record(memory, clock, text, reply)

    with shelf.copy(FULL, talk) as (one, _), shelf.copy(FULL, talk) as (other, _):
        one.edit(lambda desk: desk.append("human", "a change"))
        one.edit(lambda desk: desk.insert_passage("a new passage"))
        assert "a change" not in other.block("human").value
        assert len(other.passages()) == 2
    with shelf.copy(FULL, refuse) as (again, _):
        assert "a change" not in again.block("human").value
        assert again.search_archive("a new passage").total == 0
        assert len(again.passages()) == 2
    assert len(talks) == 4
    shelf.drop(FULL)
    with shelf.copy(FULL, talk):
        assert len(talks) == 8


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_half_made_preparation_is_begun_anew(
    shelf: Shelf, tmp_path: Path, stop: type[BaseException]
) -> None:
    def breaks(memory: Memory, clock: Clock, text: str, reply: str | None) -> None:
        if text == "One swarmed.":
            raise stop("in its midst")
        record(memory, clock, text, reply)

    with pytest.raises(stop), shelf.copy(FULL, breaks):
        pass
    assert [path.suffix for path in tmp_path.iterdir()] == [".begun"]
    with shelf.copy(FULL, record) as (memory, _):
        assert said(memory).count("I keep bees.") == 1
        assert len(said(memory)) == 7
        assert len(memory.passages()) == 2


def test_material_is_known_by_what_it_holds(shelf: Shelf) -> None:
    for text in ("Moss is green.", "Moss is brown."):
        with shelf.copy(Material(id="same", passages=(text,)), refuse) as (memory, _):
            assert [passage.text for passage in memory.passages()] == [text]


def test_passages_are_stored_once_and_blank_ones_never(shelf: Shelf) -> None:
    with shelf.copy(Material(id="p", passages=("a b", " ", "a b", "c")), refuse) as (memory, _):
        assert [passage.text for passage in memory.passages()] == ["a b", "c"]


def test_it_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[str] = []
    count = PART + 10
    passages = tuple(f"passage number {number}" for number in range(count))
    shelf = Shelf(tmp_path, "", None, told.append)
    with shelf.copy(Material(id="p", passages=passages, sessions=CHAT), record) as (memory, _):
        assert memory.counts().archival == count
    assert told[:3] == [
        f"storing passages, 0 of {count}",
        f"storing passages, {PART} of {count}",
        "holding conversations, message 1 of 4",
    ]
    before = len(told)
    with shelf.copy(Material(id="p", passages=passages, sessions=CHAT), refuse):
        assert len(told) == before
