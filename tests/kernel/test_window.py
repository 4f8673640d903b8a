"""The window: exact counts, no prompt over budget, eviction in whole groups, nothing lost from recall storage."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from awake import Bench, Clock, calls, run, says, user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmem.errors import WindowTooSmall
from localmem.kernel.agent import Agent
from localmem.kernel.context import MainContext
from localmem.kernel.settings import Settings
from localmem.memory.home import Home
from localmem.processor.interface import Calls, Prose
from localmem.records import Block, Call, Event, EventKind, Eviction, Result, spoken
from localmem.testing import HashEmbedder, Move, ScriptedProcessor


def words(count: int, word: str = "word") -> str:
    return " ".join(f"{word}{number}" for number in range(count))


def test_a_full_window_is_evicted_to_half_and_everything_stays_in_recall(bench: Bench) -> None:
    agent, _ = bench.wake(lambda shape: "It was about words." if isinstance(shape, Prose) else says("noted"))
    evictions = [i for n in range(30) for i in run(agent, words(90, f"m{n}x")) if isinstance(i, Eviction)]
    assert evictions
    assert all(eviction.after <= 0.6 * agent.context.room for eviction in evictions)
    said = [spoken(r) for r in bench.memory.records() if isinstance(r, Event) and r.kind is EventKind.USER]
    assert said == [words(90, f"m{n}x") for n in range(30)]
    assert bench.memory.search_recall("m0x7").total == 1
    assert bench.memory.summary() == "It was about words."


def test_an_alert_comes_once_a_period(bench: Bench) -> None:
    agent, _ = bench.wake(lambda shape: "Summary." if isinstance(shape, Prose) else says("noted"))
    alerts = evictions = 0
    for number in range(120):
        for item in run(agent, words(40, f"m{number}x")):
            alerts += isinstance(item, Event) and item.kind is EventKind.ALERT
            evictions += isinstance(item, Eviction)
    assert evictions > 2
    assert evictions <= alerts <= evictions + 1


def test_an_alert_replaces_neither_an_error_nor_a_heartbeat(bench: Bench) -> None:
    script = iter([says("one"), calls("conversation_search", query="x", page=99), says("two")])
    agent, processor = bench.wake(lambda shape: next(script), window=2048, warn_at=0.02)
    run(agent, words(100))
    run(agent, "go")
    alerted = next(prompt for prompt in processor.prompts if "<alert>" in prompt)
    assert "<user>" in alerted
    assert len(processor.prompts) == 3


@pytest.mark.parametrize("answer", ["", "   \n "])
def test_an_empty_summary_gives_way_to_a_digest(bench: Bench, answer: str) -> None:
    agent, _ = bench.wake(lambda shape: answer if isinstance(shape, Prose) else says("noted"))
    for number in range(20):
        run(agent, f"fact{number} " + words(90))
    assert "fact" in bench.memory.summary()
    assert "Person:" in bench.memory.summary()


def test_one_message_larger_than_the_window_is_shown_cut_and_kept_whole(bench: Bench) -> None:
    agent, processor = bench.wake(lambda shape: "S." if isinstance(shape, Prose) else says("long"))
    text = words(20_000)
    run(agent, text)
    assert "characters cut here" in processor.prompts[0]
    assert "word0 " in processor.prompts[0]
    assert "word19999" in processor.prompts[0]
    assert text in [spoken(record) for record in bench.memory.records()]


def test_a_long_result_is_shown_cut(bench: Bench) -> None:
    agent, processor = bench.wake([calls("conversation_search", query="zebra"), says("ok")], result_tokens=80)
    for number in range(5):
        event = bench.memory.open_turn(user(f"zebra {words(200, f'z{number}')}"))
        bench.memory.close_turn(event.turn)
    agent, processor = bench.wake(
        [calls("conversation_search", query="zebra"), says("ok")], window=4096, result_tokens=80
    )
    run(agent, "look for zebra")
    assert "characters cut here" in processor.prompts[1]


def test_a_smaller_window_still_loads_the_agent(bench: Bench) -> None:
    agent, _ = bench.wake(lambda shape: "S." if isinstance(shape, Prose) else says("noted"), window=16_000)
    bench.memory.put_block(Block("human", words(150), 2000), "user")
    for number in range(60):
        run(agent, words(120, f"m{number}x"))
    agent, _ = bench.wake(lambda shape: "S." if isinstance(shape, Prose) else says("noted"), window=1300)
    assert run(agent, "hello")
    assert bench.memory.blocks()[1].value == words(150)


def test_a_window_too_small_names_the_smallest_that_works(bench: Bench) -> None:
    with pytest.raises(WindowTooSmall, match="the smallest that works is") as refusal:
        bench.wake([], window=500)
    least = int(str(refusal.value).split("--window ")[1].split()[0])
    bench.wake([], window=least)
    with pytest.raises(WindowTooSmall):
        bench.wake([], window=least - 1)


def test_a_message_that_is_evicted_before_its_answer_is_kept_in_the_summary(bench: Bench) -> None:
    searches = [calls("conversation_search", query=f"elephant {n}") for n in range(12)]
    script = [*searches, says("done")]
    moves = iter(script)
    for number in range(10):
        event = bench.memory.open_turn(user(f"elephant {words(120, f'z{number}')}"))
        bench.memory.close_turn(event.turn)
    agent, processor = bench.wake(
        lambda shape: "S." if isinstance(shape, Prose) else next(moves), window=1600, max_steps=14
    )
    run(agent, "please find the elephant")
    assert "please find the elephant" in processor.prompts[-1]


texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.integers(1, 3000).map(words),
)


def moves(shape: Calls | Prose, draw: st.DataObject) -> Move:
    if isinstance(shape, Prose):
        return draw.draw(texts)[: shape.characters]
    offered = [function.name for function in shape.functions]
    name = draw.draw(st.sampled_from(offered))
    text = draw.draw(texts)[:500] or "x"
    arguments = {
        "send_message": {"message": text},
        "core_memory_append": {"label": "human", "content": text},
        "core_memory_replace": {"label": "human", "old_content": text[:3], "new_content": text},
        "conversation_search": {"query": text[:100]},
        "archival_memory_insert": {"content": text},
        "archival_memory_search": {"query": text[:100], "page": 2},
        "nothing_to_remember": {},
    }[name]
    return Call("", name, arguments)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), window=st.integers(1250, 6000), messages=st.lists(texts, min_size=1, max_size=12))
def test_any_conversation_stays_within_budget_and_loses_nothing(
    data: st.DataObject, window: int, messages: list[str]
) -> None:
    """The scripted processor asserts the budget at every generation; the log must hold every word, in order."""
    with TemporaryDirectory() as folder, Home.open(Path(folder), embedder=HashEmbedder()) as home:
        memory = home.create_agent("default")
        processor = ScriptedProcessor(lambda shape: moves(shape, data), window=window)
        agent = Agent(memory, processor, Settings(memory_step=True), clock=Clock())
        kept = [message for message in messages if message.strip()]
        for message in kept:
            list(agent.turn(user(message)))
            assert agent.context.used == sum(map(len, agent.context.prompt())) - static(agent.context)
        said = [r.text for r in memory.records() if isinstance(r, Event) and r.kind is EventKind.USER]
        assert said == kept
        pairs = {r.call for r in memory.records() if isinstance(r, Result)}
        assert pairs == {r.id for r in memory.records() if isinstance(r, Call)}
        again = Agent(memory, processor, Settings(memory_step=True), clock=Clock())
        visible = [r.id for r in agent.context.queue]
        assert [r.id for r in again.context.queue] == visible


def static(context: MainContext) -> int:
    sections = context.report().sections
    return sections["system"] + sections["functions"]
