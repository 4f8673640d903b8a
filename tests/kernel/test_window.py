"""The window: exact counts, no prompt over budget, eviction in whole groups, nothing lost from recall storage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from awake import Bench, Clock, any_call, calls, run, says, user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmem.errors import WindowTooSmall
from localmem.kernel.agent import Agent
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
    """The alert comes with a full window, right behind a failed call: the error stands in the same prompt."""
    bench.remember_something()
    wrong = calls("core_memory_replace", label="human", old_content="nowhere", new_content="x")
    search = calls("conversation_search", query="word5")
    agent, processor = bench.wake([wrong, search, says("two")], window=2048, warn_at=0.01)
    event = bench.memory.open_turn(user(words(100)))
    bench.memory.close_turn(event.turn)
    agent.context.load(bench.memory)
    items = run(agent, "go")
    alert = next(item for item in items if isinstance(item, Event) and item.kind is EventKind.ALERT)
    error = next(item for item in items if isinstance(item, Result) and not item.ok)
    assert "<alert>" in processor.prompts[0]
    assert error.text in processor.prompts[1]
    assert alert.id < error.id
    assert len(processor.prompts) == 3


def test_alerts_go_on_counting_after_a_restart(bench: Bench) -> None:
    alerts = evictions = 0
    for number in range(120):
        agent, _ = bench.wake(lambda shape: "Summary." if isinstance(shape, Prose) else says("noted"))
        for item in run(agent, words(40, f"m{number}x")):
            alerts += isinstance(item, Event) and item.kind is EventKind.ALERT
            evictions += isinstance(item, Eviction)
    assert evictions > 2
    assert evictions <= alerts <= evictions + 1


@pytest.mark.parametrize("text", ["猫" * 3000, "word " * 3000, "x" * 9000])
def test_the_memory_step_leaves_room_for_the_answer(bench: Bench, text: str) -> None:
    """One token a character, as with scripts that a vocabulary does not know."""
    script = lambda shape: "S." if isinstance(shape, Prose) else moves_of_the_memory_step(shape)  # noqa: E731
    processor = ScriptedProcessor(script, window=8192, characters=True)
    agent = Agent(bench.memory, processor, Settings(memory_step=True), clock=bench.clock)
    for number in range(12):
        run(agent, f"{number} {text}")


def moves_of_the_memory_step(shape: Calls) -> Call:
    return calls("nothing_to_remember") if shape.verdict else says("noted")


def test_a_full_core_memory_does_not_empty_the_queue(bench: Bench) -> None:
    bench.memory.put_block(Block("human", words(600), 6000), "user")
    agent, _ = bench.wake(lambda shape: "S." if isinstance(shape, Prose) else says("noted"))
    for number in range(30):
        for item in run(agent, words(30, f"m{number}x")):
            if isinstance(item, Eviction):
                assert len(agent.context.queue) >= 6


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
    bench.memory.evict(event.id + 1, "")
    agent, processor = bench.wake(
        [calls("conversation_search", query="zebra"), says("ok")], window=4096, result_tokens=80, read_ahead=0
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


def test_a_message_that_is_evicted_before_its_answer_still_stands_in_front_of_the_queue(bench: Bench) -> None:
    searches = [calls("conversation_search", query=f"elephant {n}") for n in range(12)]
    script = [*searches, says("done")]
    moves = iter([*script, says("welcome")])
    for number in range(10):
        event = bench.memory.open_turn(user(f"elephant {words(120, f'z{number}')}"))
        bench.memory.close_turn(event.turn)
    agent, processor = bench.wake(
        lambda shape: "S." if isinstance(shape, Prose) else next(moves), window=1600, max_steps=14
    )
    run(agent, "please find the elephant")
    asked = "<user> please find the elephant"
    queue = [record.id for record in agent.context.queue]
    assert all(record.id not in queue for record in bench.memory.records() if asked[7:] == spoken(record))
    assert processor.prompts[-1].index(asked) < processor.prompts[-1].index("<call>")
    run(agent, "thanks")
    assert asked not in processor.prompts[-1]


def test_an_alert_never_stands_behind_what_is_to_be_answered(bench: Bench) -> None:
    """A small model takes the last thing that it reads for the thing to answer."""
    agent, processor = bench.wake(
        lambda shape: "Summary." if isinstance(shape, Prose) else says("noted"), window=2048, warn_at=0.3
    )
    for number in range(60):
        items = run(agent, words(40, f"m{number}x"))
        kinds = [item.kind for item in items if isinstance(item, Event)]
        assert kinds[-1] is EventKind.USER
        last = processor.prompts[-1]
        assert last.rindex("<user>") > last.rfind("<alert>") or EventKind.ALERT not in kinds


def test_a_summary_that_only_repeats_core_memory_gives_way_to_a_digest(bench: Bench) -> None:
    bench.memory.put_block(Block("human", "Your name is Ada.\nYou row.", 2000), "user")
    agent, _ = bench.wake(lambda shape: "Your name  is Ada." if isinstance(shape, Prose) else says("noted"))
    evictions = [
        item for n in range(40) for item in run(agent, words(90, f"m{n}x")) if isinstance(item, Eviction)
    ]
    assert evictions
    assert all("Ada" not in eviction.summary and "Person: m" in eviction.summary for eviction in evictions)


texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.integers(1, 3000).map(words),
)


def moves(shape: Calls | Prose, draw: st.DataObject) -> Move:
    if isinstance(shape, Prose):
        return draw.draw(texts)[: shape.characters]
    name = draw.draw(st.sampled_from([function.name for function in shape.functions]))
    call = any_call(name, draw.draw(texts)[:500] or "x")
    heartbeat, cut = draw.draw(st.booleans()), draw.draw(st.integers(0, 9)) == 0
    return replace(call, thought="t" * shape.thought, heartbeat=heartbeat, cut=cut)


chosen = st.builds(
    Settings,
    functions=st.sampled_from(["small", "full"]),
    heartbeat=st.sampled_from(["asked", "derived"]),
    thought=st.sampled_from([0, 80]),
    memory_step=st.booleans(),
    max_steps=st.integers(1, 6),
    max_errors=st.integers(1, 3),
    warn_at=st.floats(0.3, 0.9),
    evict_to=st.floats(0.2, 0.7),
    result_tokens=st.integers(60, 900),
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.data(),
    limits=chosen,
    window=st.integers(1600, 6000),
    messages=st.lists(texts, min_size=1, max_size=10),
)
def test_any_conversation_stays_within_budget_and_loses_nothing(
    data: st.DataObject, limits: Settings, window: int, messages: list[str]
) -> None:
    """The scripted processor asserts budget and answer reserve at every generation; the log holds every word."""
    with TemporaryDirectory() as folder, Home.open(Path(folder), embedder=HashEmbedder()) as home:
        memory = home.create_agent("default")
        processor = ScriptedProcessor(lambda shape: moves(shape, data), window=window)
        agent = Agent(memory, processor, limits, clock=Clock())
        kept = [message for message in messages if message.strip()]
        for message in kept:
            list(agent.turn(user(message)))
            report = agent.report()
            assert report.used == sum(map(len, agent.context.prompt()))
            assert memory.unfinished() is None
        said = [r.text for r in memory.records() if isinstance(r, Event) and r.kind is EventKind.USER]
        assert said == kept
        answered = [r.call for r in memory.records() if isinstance(r, Result)]
        assert answered == [r.id for r in memory.records() if isinstance(r, Call)]
        again = Agent(memory, processor, limits, clock=Clock())
        visible = [r.id for r in agent.context.queue]
        assert [r.id for r in again.context.queue] == visible
