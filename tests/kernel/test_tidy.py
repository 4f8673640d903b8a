"""Tidying: duplicates go, full blocks give way, and all of it is a turn that can be taken back."""

from __future__ import annotations

import pytest
from awake import Bench, calls, run, says

from localmem.kernel.tidy import NOTE, changes, is_tidying, plan, says_both
from localmem.records import Block, Call, Event, EventKind, Eviction, Result

BOTH = "You have a dog called Bruno\nYour dog is named Bruno"


@pytest.mark.parametrize(
    ("text", "tidies"),
    [
        (f"Timer 3: {NOTE}", True),
        (f"Timer 3: {NOTE} (due 2026-03-04 09:00:00, 2 hours late)", True),
        (f"Timer 3: {NOTE} card photos", False),
        (f"Timer 3: ask: {NOTE}", False),
    ],
)
def test_only_the_timer_of_that_note_tidies(text: str, tidies: bool) -> None:
    assert is_tidying(Event(EventKind.TIMER, text)) == tidies


def held(bench: Bench) -> object:
    memory = bench.memory
    return memory.blocks(), memory.passages(), memory.summary(), memory.queue(), memory.search_archive("dog")


def note(bench: Bench, text: str, label: str = "human") -> None:
    """Let the agent itself write a line: what a person wrote is never merged by the model."""
    event = bench.memory.open_turn(Event(EventKind.USER, f"I say: {text}"))
    call = bench.memory.add(Call("", "f", {}), event.turn)
    bench.memory.perform(call, lambda desk: Result(True, str(desk.append(label, text))), close=True)
    bench.clock.wait(minutes=1)


def store(bench: Bench, text: str) -> None:
    event = bench.memory.open_turn(Event(EventKind.USER, f"I say: {text}"))
    call = bench.memory.add(Call("", "f", {}), event.turn)
    bench.memory.perform(call, lambda desk: Result(True, str(desk.insert_passage(text))), close=True)


def test_what_is_the_same_is_dropped_without_asking_and_undo_brings_it_back(bench: Bench) -> None:
    note(bench, "You have a dog called Bruno")
    store(bench, "you have a DOG called Bruno")
    before = held(bench)
    agent, processor = bench.wake([])
    told = changes(list(agent.tidy()))
    assert [line[:18] for line in told] == ["passage 1, dropped"]
    assert bench.memory.search_archive("dog").total == 0
    assert bench.memory.block("human").value == "You have a dog called Bruno"
    assert bench.memory.undo().event.kind is EventKind.TIDY
    assert held(bench) == before
    assert processor.prompts == []


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (calls("keep_first"), "You have a dog called Bruno"),
        (calls("keep_second"), "Your dog is named Bruno"),
        (calls("keep_both"), BOTH),
        (
            calls("keep_one_line", line="Your dog is named or called Bruno"),
            "Your dog is named or called Bruno",
        ),
        (
            calls("keep_one_line", line="Your cat is called Mia"),
            "You have a dog called Bruno\nYour dog is named Bruno",
        ),
    ],
)
def test_the_model_is_asked_what_stays_of_two(bench: Bench, answer: Call, left: str) -> None:
    note(bench, "You have a dog called Bruno")
    note(bench, "Your dog is named Bruno")
    before = held(bench)
    agent, processor = bench.wake([answer])
    list(agent.tidy())
    assert bench.memory.block("human").value == left
    assert "First note: You have a dog called Bruno" in processor.prompts[0]
    bench.memory.undo()
    assert held(bench) == before


def test_a_full_block_gives_its_oldest_lines_to_the_archive(bench: Bench) -> None:
    bench.memory.put_block(Block("human", "", 120, "the person"), "user")
    for word in ("apples", "tea", "rye bread", "old maps"):
        note(bench, f"You like {word} since {word[:3]}")
    assert [step.what for step in plan(bench.memory)] == []
    agent, _ = bench.wake([])
    bench.memory.edit(lambda desk: desk.append("human", "x" * 12))
    told = changes(list(agent.tidy()))
    assert told[0] == "human, to the archive: You like apples since app"
    assert len(bench.memory.block("human").value) <= 84
    passage = bench.memory.passages()[0]
    assert (passage.text, passage.origin.author) == ("You like apples since app", "agent")


def test_it_shows_in_no_prompt_and_the_turns_after_it_go_on(bench: Bench) -> None:
    note(bench, "You have a dog called Bruno")
    store(bench, "You have a dog called bruno")
    agent, processor = bench.wake([says("hello")])
    list(agent.tidy())
    run(agent, "hi")
    assert "tidy" not in processor.prompts[0]
    assert agent.memory.unfinished() is None


def test_nothing_to_do_stores_nothing(bench: Bench) -> None:
    agent, _ = bench.wake([])
    assert list(agent.tidy()) == []
    assert bench.memory.records() == ()


def test_it_keeps_to_its_steps_and_stops_when_its_iterator_is_closed(bench: Bench) -> None:
    for word in ("dog", "cat", "cow"):
        note(bench, f"You have a {word} called Bruno{word}")
        store(bench, f"You have a {word} called bruno{word}")
    agent, _ = bench.wake([])
    assert len(changes(list(agent.tidy(2)))) == 2
    items = agent.tidy()
    assert isinstance(next(items), Event)
    assert isinstance(next(items), Call)
    items.close()  # type: ignore[attr-defined]
    assert bench.memory.unfinished() is None
    assert len(plan(bench.memory)) == 1


def test_a_call_of_a_tidying_that_is_interrupted_has_a_result(bench: Bench) -> None:
    note(bench, "You have a dog called Bruno")
    store(bench, "You have a dog called bruno")
    agent, _ = bench.wake([])
    for item in agent.tidy():
        if isinstance(item, Call):
            agent.interrupt()
    assert bench.memory.unfinished() is None
    calls_made, results = (
        [record for record in bench.memory.records() if isinstance(record, kind)] for kind in (Call, Result)
    )
    assert [result.call for result in results] == [call.id for call in calls_made]


def test_a_tidying_that_was_killed_is_not_taken_for_a_conversation(bench: Bench) -> None:
    event = bench.memory.open_turn(Event(EventKind.TIDY, NOTE))
    bench.memory.add(Call("", "tidy_move", {}, aside=True), event.turn)
    agent, processor = bench.wake([])
    assert list(agent.resume()) == []
    assert bench.memory.unfinished() is None
    assert processor.prompts == []


def test_old_talk_becomes_summary(bench: Bench) -> None:
    for number in range(30):
        event = bench.memory.open_turn(Event(EventKind.USER, f"number {number} " + "word " * 30))
        bench.memory.close_turn(event.turn)
    before = held(bench)
    agent, _ = bench.wake(["It was numbers and words."])
    items = list(agent.tidy())
    assert any(isinstance(item, Eviction) for item in items)
    assert bench.memory.summary() == "It was numbers and words."
    bench.memory.undo()
    assert held(bench) == before


def test_a_timer_with_its_note_tidies(bench: Bench) -> None:
    note(bench, "You have a dog called Bruno")
    store(bench, "You have a dog called bruno")
    agent, _ = bench.wake([])
    event = bench.memory.submit(Event(EventKind.TIMER, f"Timer 1: {NOTE}"))
    list(agent.turn(event))
    assert bench.memory.search_archive("dog").total == 0
    assert bench.memory.inbox.pending() == ()


def test_one_line_says_both_and_nothing_else() -> None:
    assert says_both("Your dog Bruno is called a hound", "a hound, Bruno", "your dog is called Bruno")
    assert not says_both("Your dog Bruno likes cheese", "a hound, Bruno", "your dog is called Bruno")
    assert not says_both("Bruno", "a hound, Bruno", "your dog is called Bruno")


def test_an_edit_from_outside_is_in_the_next_prompt(bench: Bench) -> None:
    agent, processor = bench.wake([says("hello"), says("again")])
    run(agent, "hi")
    bench.memory.edit(lambda desk: desk.append("human", "Likes rye"))
    run(agent, "and now")
    assert "rye" in processor.prompts[1]
    bench.memory.undo()
    bench.memory.undo()
    assert [record for record in bench.memory.queue() if isinstance(record, Call)] == []
