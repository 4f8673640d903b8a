"""Several agents awake in one home: an edit of a shared block by one is in the other's next prompt."""

from __future__ import annotations

from awake import Bench, calls, run, says, user

from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.processor.interface import Shape
from localmem.records import Block, Call, Result
from localmem.testing import Move, ScriptedProcessor


def two(bench: Bench) -> None:
    bench.memory.put_block(Block("human", "likes tea", 200), "user")
    bench.home.create_agent("other")
    bench.home.share_block("human", "default", "other", replace=True)


def test_an_edit_is_in_the_next_prompt_of_who_shares_the_block(bench: Bench) -> None:
    two(bench)
    agent, processor = bench.wake([says("one"), says("two")])
    processor_of_other = ScriptedProcessor(
        [calls("core_memory_append", label="human", content="has a boat"), says("kept")]
    )
    other = Agent(bench.home.agent("other"), processor_of_other, Settings(), clock=bench.clock)
    run(agent, "hello")
    assert "boat" not in processor.prompts[-1]
    run(other, "I have a boat")
    run(agent, "hello again")
    assert "<human> likes tea has a boat </human>" in processor.prompts[-1]
    assert agent.report().sections["core"] == other.report().sections["core"]


def test_an_edit_between_two_steps_is_in_the_second_prompt(bench: Bench) -> None:
    two(bench)
    other = bench.home.agent("other")

    def move(shape: Shape) -> Move:
        if len(processor.prompts) == 1:
            other.edit(lambda desk: desk.append("human", "has a boat"))
            return calls("core_memory_append", label="human", content="is tall")
        return says("done")

    agent, processor = bench.wake(move)
    run(agent, "I am tall")
    assert "boat" not in processor.prompts[0]
    assert "<human> likes tea has a boat is tall </human>" in processor.prompts[1]


def test_a_rewrite_of_what_the_model_did_not_see_is_refused(bench: Bench) -> None:
    two(bench)
    other = bench.home.agent("other")

    def move(shape: Shape) -> Move:
        if len(processor.prompts) == 1:
            other.edit(lambda desk: desk.append("human", "has a boat"))
            return calls("core_memory_rewrite", label="human", content="is tall")
        if len(processor.prompts) == 2:
            return calls("core_memory_rewrite", label="human", content="likes tea, is tall, has a boat")
        return says("done")

    agent, processor = bench.wake(move, functions="full")
    items = run(agent, "I am tall")
    first, second, _ = [item for item in items if isinstance(item, Result)]
    assert not first.ok
    assert first.text.endswith("it now holds:\nlikes tea\nhas a boat")
    assert second.ok
    assert other.block("human").value == "likes tea, is tall, has a boat"


def test_after_a_crash_a_rewrite_counts_as_made_when_it_was(bench: Bench) -> None:
    two(bench)
    event = bench.memory.open_turn(user("I am tall"))
    bench.memory.add(calls("core_memory_rewrite", label="human", content="is tall"), event.turn)
    bench.clock.wait(seconds=5)
    bench.home.agent("other").edit(lambda desk: desk.append("human", "has a boat"))
    agent, _ = bench.wake([says("sorry")], functions="full")
    items = list(agent.resume())
    assert [item.ok for item in items if isinstance(item, Result)] == [False, True]
    assert [item.function for item in items if isinstance(item, Call)] == [
        "core_memory_rewrite",
        "send_message",
    ]
    assert bench.memory.block("human").value == "likes tea\nhas a boat"
