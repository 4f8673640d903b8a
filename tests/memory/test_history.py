"""How core memory came about, and what a look through all memories finds."""

from __future__ import annotations

import time

import pytest
from memory_acts import run, say

from localmem.errors import UsageError
from localmem.memory.likeness import alike
from localmem.memory.memory import Memory


def test_each_change_has_its_author_turn_and_lines_and_an_undo_is_one(memory: Memory) -> None:
    turn = say(memory, "I have a dog, Bruno").turn
    run(memory, turn, lambda desk: desk.append("human", "You have a dog, Bruno"))
    memory.edit(lambda desk: desk.append("human", "You like tea"))
    wrong = say(memory, "whatever").turn
    run(memory, wrong, lambda desk: desk.replace("human", "Bruno", "Rex"))
    memory.undo()
    first, dog, tea, rex, back = memory.history("human")
    assert (first.author, first.added) == ("user", ())
    assert (dog.author, dog.turn, dog.rests_on, dog.removed) == ("agent", turn, (turn,), ())
    assert dog.added == ("You have a dog, Bruno",)
    assert (tea.author, tea.turn, tea.added) == ("user", 0, ("You like tea",))
    assert (rex.removed, rex.added) == (("You have a dog, Bruno",), ("You have a dog, Rex",))
    assert [each.undone for each in (first, dog, tea, rex, back)] == [False, False, False, True, False]
    assert (back.author, back.turn, back.added) == ("undo", wrong, ("You have a dog, Bruno",))
    assert len(memory.history()) == 6
    with pytest.raises(UsageError, match="no block 'nothing'"):
        memory.history("nothing")


def test_a_memory_that_no_record_supports_is_found(memory: Memory) -> None:
    turn = say(memory, "My brother Paul keeps bees and sells the honey").turn
    run(memory, turn, lambda desk: desk.append("human", "Your brother Paul keeps bees"))
    run(memory, turn, lambda desk: desk.append("human", "You were born in Oslo"))
    run(memory, turn, lambda desk: desk.insert_passage("The capital of Peru is Lima"))
    memory.edit(lambda desk: desk.insert_passage("what I wrote myself", source="user"))
    found = memory.audit()
    assert [each.text for each in found.unsupported] == [
        "You were born in Oslo",
        "The capital of Peru is Lima",
    ]
    bees = next(each for each in found.memories if "bees" in each.text)
    assert [(ground.record, ground.text[:10]) for ground in bees.rests_on] == [(turn, "My brother")]
    assert (bees.where, bees.passage) == ("human", 0)


def test_a_line_keeps_the_origin_that_it_first_had(memory: Memory) -> None:
    first = say(memory, "I have a dog called Bruno, and the cat is Mia").turn
    run(memory, first, lambda desk: desk.append("human", "You have a dog called Bruno"))
    second = say(memory, "I also have the cat").turn
    run(memory, second, lambda desk: desk.append("human", "You have a cat"))
    assert [each.turn for each in memory.audit().memories if each.where == "human"] == [first, second]


def test_near_duplicates_are_found_wherever_they_stand(memory: Memory) -> None:
    memory.edit(lambda desk: desk.append("human", "You have a dog called Bruno"))
    memory.edit(lambda desk: desk.insert_passage("The dog is called Bruno."))
    memory.edit(lambda desk: desk.insert_passage("The weather in Porto was fine in March"))
    (pair,) = memory.audit().alike
    assert {pair.first.where, pair.second.where} == {"human", "archive"}


def test_likeness_is_the_share_of_telling_words() -> None:
    texts = ["Your dog is called Bruno", "your dog  is CALLED bruno", "Your dog is named Bruno", "Bruno"]
    found = {(pair.first, pair.second): pair.share for pair in alike(texts)}
    assert found == {(0, 1): 1.0, (0, 2): 0.5, (1, 2): 0.5}


def test_the_same_words_in_another_order_are_not_the_same() -> None:
    (pair,) = alike(["Anna Berg admires Bruno Stone", "Bruno Stone admires Anna Berg"])
    assert pair.share < 1


def test_thousands_of_texts_are_compared_in_seconds() -> None:
    texts = [f"note {n} on the river {n % 97} and the mill {n * 7919 % 1009}" for n in range(2000)]
    began = time.process_time()
    assert alike([*texts, texts[7]])[0].share == 1
    assert time.process_time() - began < 20
