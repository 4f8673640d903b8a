"""Core blocks: bounded, edited exactly or not at all, every version kept with where it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from memory_acts import within

from localmem.errors import FunctionError, UsageError
from localmem.memory.core import Origin
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Block


def value(memory: Memory, label: str = "human") -> str:
    return next(block.value for block in memory.blocks() if block.label == label)


def test_append_replace_rewrite(memory: Memory) -> None:
    within(memory, lambda desk: desk.append("human", "Name: Ada"))
    within(memory, lambda desk: desk.append("human", "Likes tea"))
    assert value(memory) == "Name: Ada\nLikes tea"
    within(memory, lambda desk: desk.replace("human", "tea", "coffee"))
    assert value(memory) == "Name: Ada\nLikes coffee"
    within(memory, lambda desk: desk.rewrite("human", "Ada, coffee"))
    assert value(memory) == "Ada, coffee"


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda desk: desk.append("human", "x" * 25), "11 over its limit of 20"),
        (lambda desk: desk.rewrite("human", "x" * 21), "1 over its limit of 20"),
        (lambda desk: desk.replace("human", "b", "x" * 30), "over its limit"),
        (lambda desk: desk.append("nobody", "x"), "persona, human, fixed"),
        (lambda desk: desk.append("fixed", "x"), "read-only"),
        (lambda desk: desk.rewrite("fixed", "x"), "read-only"),
        (lambda desk: desk.append("human", " "), "empty"),
        (lambda desk: desk.append("human", "a b a"), "exactly this already"),
        (lambda desk: desk.rewrite("human", "a b a"), "exactly this already"),
        (lambda desk: desk.replace("human", "a", "c"), "matches 2 times"),
        (lambda desk: desk.replace("human", "z", "c"), "matches 0 times"),
        (lambda desk: desk.replace("human", "", "c"), "empty"),
    ],
)
def test_a_bad_edit_is_refused_whole(tmp_path: Path, work: Callable[[Desk], object], says: str) -> None:
    blocks = [
        Block("persona", "", 20),
        Block("human", "a b a", 20),
        Block("fixed", "rule", 20, read_only=True),
    ]
    with Home.open(tmp_path) as home:
        memory = home.create_agent("a", blocks=blocks)
        result = within(memory, work)
        assert not result.ok
        assert says in result.text
        assert "\n" not in result.text
        assert memory.blocks() == tuple(blocks)
    with Home.open(tmp_path) as home:
        assert home.agent("a").blocks() == tuple(blocks)


def test_an_edit_may_fill_a_block_to_its_limit(memory: Memory) -> None:
    assert within(memory, lambda desk: desk.rewrite("human", "😀" * 2000)).ok
    assert value(memory) == "😀" * 2000


def test_the_user_edits_too_and_every_version_is_kept(memory: Memory) -> None:
    result = within(memory, lambda desk: desk.append("human", "Name: Ada"))
    memory.put_block(Block("human", "Name: Bob", 50, "who"), "user")
    memory.edit(lambda desk: desk.append("human", "Likes tea"))
    versions = memory.block_versions("human")
    assert [version.block.value for version in versions] == [
        "",
        "Name: Ada",
        "Name: Bob",
        "Name: Bob\nLikes tea",
    ]
    assert versions[1].origin == Origin("agent", result.turn, result.call, (result.turn,))
    assert [version.origin.author for version in versions[2:]] == ["user", "user"]
    assert memory.blocks()[1] == Block("human", "Name: Bob\nLikes tea", 50, "who")


def test_a_block_keeps_its_place(memory: Memory) -> None:
    memory.put_block(Block("goals", "", 100), "user")
    within(memory, lambda desk: desk.append("persona", "kind"))
    assert [block.label for block in memory.blocks()] == ["persona", "human", "goals"]


def test_the_user_is_held_to_limits_as_well(memory: Memory) -> None:
    with pytest.raises(UsageError, match="over its limit"):
        memory.put_block(Block("human", "x" * 11, 10), "user")
    with pytest.raises(UsageError, match="label"):
        memory.put_block(Block("two words", "", 10), "user")
    with pytest.raises(FunctionError):
        memory.edit(lambda desk: desk.append("nobody", "x"))
    assert len(memory.block_versions()) == 2
