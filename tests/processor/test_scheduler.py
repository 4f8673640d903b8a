"""Many completions at once on one thread: legal, fair, each stopped alone, and nobody waits for ever."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from engines import MESSAGE, SMALL, flat, load, prompt, run

from localmem.errors import ModelBroken
from localmem.functions import executor
from localmem.processor import engine as engine_module
from localmem.processor.choosing import Choice
from localmem.processor.decoding import LlamaGeneration
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Completion, Limits, Prose, Sampling
from localmem.processor.llama import Llama, Row
from localmem.processor.reuse import common
from localmem.processor.work import Work

pytestmark = pytest.mark.model

AGENTS = [f"agent{number}" for number in range(8)]
PATIENCE = 60
"""Seconds after which a test that waits for a thread has failed."""


@pytest.fixture(scope="module")
def eight(smollm2: Path) -> Iterator[LlamaProcessor]:
    made = load(smollm2, agents=8)
    yield made
    made.close()


@pytest.fixture
def engine(eight: LlamaProcessor) -> Iterator[LlamaProcessor]:
    """An engine that keeps eight agents."""
    yield eight
    _sound(eight)


@pytest.fixture
def few(smollm2: Path) -> Iterator[LlamaProcessor]:
    """An engine that keeps one agent, and one state ahead of need."""
    made = load(smollm2, agents=1)
    yield made
    _sound(made)
    made.close()


def _sound(engine: LlamaProcessor) -> None:
    """Whatever a test did: nothing is left under way, and the books say what is in the cache."""
    assert engine._scheduler._works == []
    assert engine._scheduler._mover is None
    engine._scheduler.ask(lambda: _books(engine))


def _books(engine: LlamaProcessor) -> None:
    for slot in engine._slots:
        assert not slot.busy
        last = engine.llama._lib.llama_memory_seq_pos_max(engine.llama._memory, slot.sequence)
        assert last == len(slot.ids) - 1


def start(
    engine: LlamaProcessor, said: str, owner: str = "", *, tokens: int = 90, **how: object
) -> LlamaGeneration:
    sampling = how.pop("sampling", Sampling())
    limits = Limits(tokens, sampling, owner, **how)  # type: ignore[arg-type]
    return engine.generate(prompt(engine, said), MESSAGE, limits)


def finish(generation: LlamaGeneration) -> Completion:
    list(generation)
    return generation.completion


def legal(completion: Completion) -> None:
    assert not completion.cancelled
    assert completion.call is not None
    executor.checked(completion.call, SMALL.functions, SMALL.labels)


def within(generations: list[LlamaGeneration], seconds: float = PATIENCE) -> list[Completion]:
    """Read generations, each in a thread of its own."""
    with ThreadPoolExecutor(len(generations)) as pool:
        return list(pool.map(finish, generations, timeout=seconds))


def until(happens: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


# ---- several at once


def test_eight_agents_at_once_each_make_a_legal_call(engine: LlamaProcessor) -> None:
    said = {owner: f"Tell me of the number {7 * number}." for number, owner in enumerate(AGENTS)}
    together = within([start(engine, said[owner], owner) for owner in AGENTS])
    for owner, completion in zip(AGENTS, together, strict=True):
        legal(completion)
        ids = [*flat(prompt(engine, said[owner])), *completion.ids]
        held = engine.held(owner)
        assert held == ids[: len(held)]
        assert len(held) >= completion.usage.prompt_tokens
    assert sum(done.usage.reused_tokens > 0 for done in together) >= 7  # the head is stored once


def test_eight_agents_at_once_take_fewer_decodes_than_one_after_the_other(engine: LlamaProcessor) -> None:
    counted: list[int] = []
    evaluate = engine.llama.evaluate
    engine.llama.evaluate = lambda rows: (counted.append(1), evaluate(rows))[1]  # type: ignore[method-assign]
    try:
        for each in AGENTS:
            finish(start(engine, "How are you?", each))
        alone = len(counted)
        counted.clear()
        generations = [start(engine, "How are you today?", each) for each in AGENTS]
        engine._scheduler.ask(lambda: [each.start() for each in generations])
        within(generations)
        assert len(counted) < 0.6 * alone
    finally:
        del engine.llama.evaluate  # type: ignore[method-assign]


def test_each_has_its_turn_where_a_decode_holds_fewer(
    engine: LlamaProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "drafts", False)
    monkeypatch.setattr(engine._scheduler, "_most", 3)
    for each in AGENTS:  # the prompts are in the cache
        list(engine.generate(prompt(engine, "Count."), Prose(300), Limits(0, owner=each)))
    served: Counter[str] = Counter()
    decode = engine._scheduler._decode

    def watched(rows: list[Row], works: list[Work]) -> bool:
        if sum(work.begun for work in engine._scheduler._works) == len(AGENTS):
            served.update(work.limits.owner for work in works)
            assert len(works) <= 3
            assert max(served.values()) - min(served[each] for each in AGENTS) <= 1, served
        return decode(rows, works)

    monkeypatch.setattr(engine._scheduler, "_decode", watched)
    asked = [engine.generate(prompt(engine, "Count."), Prose(300), Limits(30, owner=each)) for each in AGENTS]
    engine._scheduler.ask(lambda: [each.start() for each in asked])
    within(asked)
    assert min(served[each] for each in AGENTS) > 5


def test_one_is_cancelled_and_the_others_are_not_disturbed(engine: LlamaProcessor) -> None:
    others = [start(engine, f"Tell me of {owner}.", owner) for owner in AGENTS[1:5]]
    stopped = start(engine, "Tell me a long story.", AGENTS[0])
    pieces = iter(stopped)
    for other in others:
        other.start()
    next(pieces)
    stopped.cancel()
    list(pieces)
    assert stopped.completion.cancelled
    assert stopped.completion.call is None
    for done in within(others):
        legal(done)


def test_who_generates_is_not_held_up_by_a_long_prompt(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    order: list[str] = []
    talking = engine.generate(prompt(engine, "Tell me a story."), Prose(4000), Limits(60, owner="one"))
    talking.overrule = lambda choice: (order.append("talks"), choice.token)[1]
    reading = start(engine, "word " * 300, "two")
    reading.overrule = lambda choice: (order.append("reads"), choice.token)[1]
    engine._scheduler.ask(lambda: (talking.start(), reading.start()))
    within([talking, reading])
    assert order.index("reads") >= 4  # the prompt took several decodes, and the other spoke in each
    assert "talks" in order[order.index("reads") :]


def test_an_agent_may_generate_twice_at_once(engine: LlamaProcessor) -> None:
    for done in within([start(engine, f"Say {number}.", "same") for number in range(4)]):
        legal(done)
    legal(finish(start(engine, "Say more.", "same")))


def test_more_agents_than_slots_wait_their_turn(few: LlamaProcessor) -> None:
    for done in within([start(few, f"Hello from {owner}.", owner) for owner in AGENTS]):
        legal(done)


# ---- ahead of need


def ahead(engine: LlamaProcessor, owner: str = "one", tokens: int = 60) -> LlamaGeneration:
    """A summary that nobody waits for; without a grammar's end it runs for all its tokens."""
    said = prompt(engine, "Tell me everything.")
    return engine.generate(said, Prose(4000), Limits(tokens, Sampling(), owner, ahead=True))


def test_what_is_made_ahead_waits_while_somebody_else_is_served(engine: LlamaProcessor) -> None:
    order: list[str] = []
    prepared, urgent = ahead(engine), start(engine, "Hello.", "two")

    def prepares(choice: Choice) -> int:
        order.append("ahead")
        if len(order) == 4:
            urgent.start()
        return choice.token

    prepared.overrule = prepares
    urgent.overrule = lambda choice: (order.append("urgent"), choice.token)[1]
    prepared.start()
    until(lambda: "urgent" in order)
    legal(finish(urgent))
    until(lambda: prepared.over)
    first, last = order.index("urgent"), len(order) - order[::-1].index("urgent")
    assert set(order[first:last]) == {"urgent"}
    assert "ahead" in order[last:]
    assert not prepared.completion.cancelled
    assert prepared.completion.usage.seconds == 0  # nobody waited


def test_what_is_made_ahead_comes_out_the_same_after_a_pause(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    whole = finish(ahead(engine)).ids
    engine.begin_with([])
    prepared = ahead(engine)
    prepared.start()
    finish(start(engine, "Hello.", "two"))
    paused = finish(prepared).ids
    shared = common(whole, paused)
    assert shared == min(len(whole), len(paused)) or shared > 3  # the same until a batch's shape tells


def test_what_is_made_ahead_gives_up_its_slot_and_begins_again(few: LlamaProcessor) -> None:
    legal(finish(start(few, "Hello.", "one")))
    prepared = ahead(few, "one")
    prepared.start()
    until(lambda: prepared.completion.usage.completion_tokens > 2)
    for done in within([start(few, "Who are you?", "one"), start(few, "And you?", "two")]):
        legal(done)
    until(lambda: prepared.over)
    assert not prepared.completion.cancelled


def test_two_things_made_ahead_share_one_slot_in_turn(few: LlamaProcessor) -> None:
    legal(finish(start(few, "Hello.", "one")))
    both = [ahead(few, "one", 20), ahead(few, "one", 20)]
    for each in both:
        each.start()
    until(lambda: all(each.over for each in both))
    assert not any(each.completion.cancelled for each in both)


def test_somebody_who_comes_to_wait_for_it_is_served_at_once(few: LlamaProcessor) -> None:
    prepared, urgent = ahead(few, "one"), start(few, "Tell me a long story.", "two", tokens=150)
    prepared.start()
    pieces = iter(urgent)
    next(pieces)
    done = finish(prepared)
    assert not done.cancelled
    assert done.usage.seconds > 0
    urgent.cancel()
    list(pieces)


def test_what_follows_is_called_between_decodes_and_may_ask(engine: LlamaProcessor) -> None:
    held: list[list[int]] = []
    prepared = ahead(engine, "one", 8)
    prepared.start(lambda: held.append(engine.held("one")))
    until(lambda: bool(held))
    assert held[0][:4] == flat(prompt(engine))[:4]


def test_what_follows_harms_nobody_when_it_fails(engine: LlamaProcessor) -> None:
    def fail() -> None:
        raise ValueError("too long")

    other = start(engine, "Tell me a story.", "two")
    prepared = ahead(engine, "one", 8)
    prepared.start(fail)
    until(lambda: prepared.over)
    legal(finish(other))


def test_nothing_follows_what_was_stopped(engine: LlamaProcessor) -> None:
    followed: list[int] = []
    prepared = ahead(engine)
    prepared.start(lambda: followed.append(1))
    prepared.cancel()
    until(lambda: prepared.over)
    finish(start(engine, "Hello."))
    assert followed == []


# ---- threads


def test_submitted_and_cancelled_from_many_threads(engine: LlamaProcessor) -> None:
    def work(seed: int) -> list[Completion]:
        dice, done = random.Random(seed), []
        for turn in range(4):
            generation = start(
                engine, f"Turn {turn} of {seed}.", dice.choice(AGENTS), ahead=dice.random() < 0.3
            )
            if dice.random() < 0.6:
                threading.Timer(dice.random() / 10, generation.cancel).start()
            done.append(finish(generation))
        return done

    with ThreadPoolExecutor(6) as pool:
        found = [done for made in pool.map(work, range(6), timeout=PATIENCE) for done in made]
    assert any(done.cancelled for done in found)
    for done in found:
        if not done.cancelled:
            legal(done)


def test_several_readers_all_come_to_the_end(engine: LlamaProcessor) -> None:
    generation = start(engine, "Tell me a story.")
    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda _: "".join(generation), range(3), timeout=PATIENCE))
    message = str(generation.completion.call.arguments["message"])  # type: ignore[union-attr]
    assert said == [message] * 3
    assert "".join(generation) == message  # and once more, when it is over


def test_one_that_nobody_reads_costs_nothing(engine: LlamaProcessor) -> None:
    start(engine, "Never begun.")
    unread = start(engine, "Begun, and never read.")
    unread.start()
    del unread
    gc.collect()
    legal(finish(start(engine, "Hello.")))


def test_an_engine_without_work_takes_no_time(engine: LlamaProcessor) -> None:
    finish(ahead(engine, "one", 4))
    until(lambda: not engine._scheduler._works)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


# ---- failures


def test_a_failure_in_one_choice_ends_that_completion_alone(engine: LlamaProcessor) -> None:
    def fail(choice: Choice) -> int:
        if choice.position > 8:
            raise ArithmeticError("no choice")
        return choice.token

    broken, other = start(engine, "Tell me a story.", "one"), start(engine, "Tell me a story.", "two")
    broken.overrule = fail
    other.start()
    with pytest.raises(ArithmeticError):
        list(broken)
    legal(finish(other))
    assert broken.completion.cancelled
    held = engine.held("one")
    assert held == [*flat(prompt(engine, "Tell me a story.")), *broken.completion.ids][: len(held)]
    with pytest.raises(ArithmeticError):
        list(broken)


def test_a_token_that_is_not_allowed_ends_that_completion_alone(engine: LlamaProcessor) -> None:
    broken = start(engine, "Hello.", "one")
    broken.overrule = lambda choice: 0 if choice.position > 8 else choice.token
    with pytest.raises(ValueError, match="not allowed"):
        list(broken)
    legal(finish(start(engine, "Hello.", "one")))


def test_what_chooses_cannot_wait_for_its_own_thread(engine: LlamaProcessor) -> None:
    broken = start(engine, "Hello.", "one")
    broken.overrule = lambda choice: len(engine.held()) * 0 + choice.token
    with pytest.raises(RuntimeError, match="chooses"):
        list(broken)


def test_an_unforeseen_failure_is_told_to_all_and_forgotten(few: LlamaProcessor) -> None:
    take, calls = few._slots.take, []

    def fail(*args: object, **how: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("no memory")
        return take(*args, **how)  # type: ignore[arg-type]

    few._slots.take = fail  # type: ignore[method-assign, assignment]
    both = [start(few, "Tell me a long story.", "one"), start(few, "Tell me a story.", "two")]
    for each in both:
        each.start()
    for each in both:
        with pytest.raises(MemoryError):
            list(each)
    legal(finish(start(few, "Hello.", "one")))


def test_a_cache_too_small_for_all_serves_them_one_after_the_other(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "Llama", lambda path, **how: Llama(path, **{**how, "cells": 512}))
    small = load(smollm2, agents=4)
    try:
        said = [" ".join(f"word{number * n}" for n in range(60)) for number in range(1, 5)]
        assert sum(len(flat(prompt(small, text))) for text in said) > 1.5 * 512
        made = [start(small, text, owner) for text, owner in zip(said, AGENTS, strict=False)]
        prepared = ahead(small, "x", 30)
        prepared.start()
        for done in within(made):
            legal(done)
        until(lambda: prepared.over)
        assert not prepared.completion.cancelled
        small._scheduler.ask(lambda: _books(small))
    finally:
        small.close()


def test_a_cache_too_small_for_one_says_so(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "Llama", lambda path, **how: Llama(path, **{**how, "cells": 256}))
    small = load(smollm2)
    try:
        with pytest.raises(ModelBroken, match="too small"):
            finish(start(small, "word " * 300))
        legal(finish(start(small, "Hello.")))
    finally:
        small.close()


# ---- the end


def test_closing_ends_what_is_under_way_and_lets_its_readers_go(smollm2: Path) -> None:
    made = load(smollm2, agents=3)
    under_way = [start(made, f"Tell {number}.", AGENTS[number], tokens=200) for number in range(4)]
    under_way.append(ahead(made, "other"))
    under_way[-1].start()
    with ThreadPoolExecutor(8) as pool:
        reading = [pool.submit(finish, each) for each in under_way[:-1]]
        until(lambda: any(each.completion.usage.completion_tokens for each in under_way[:-1]))
        closing = [pool.submit(made.close) for _ in range(3)]
        for each in [*closing, *reading]:
            each.result(timeout=PATIENCE)
    assert all(each.over for each in under_way)
    assert not made._scheduler._thread.is_alive()


def test_what_is_closed_says_so(smollm2: Path) -> None:
    made = load(smollm2)
    said, waiting = prompt(made, "Hello."), start(made, "Hello.")
    made.close()
    for refused in (
        lambda: made.generate(said, MESSAGE, Limits(90)),
        lambda: list(waiting),
        lambda: list(waiting),
        lambda: made.logits([1, 2]),
        lambda: prompt(made, "Hello."),
        made.held,
    ):
        with pytest.raises(ModelBroken, match="freed"):
            refused()
    made.rest("one")
    waiting.cancel()
    assert waiting.completion.cancelled


def test_an_engine_that_nobody_holds_any_more_is_freed(smollm2: Path) -> None:
    made = load(smollm2)
    run(made, prompt(made, "Hello."))
    thread = made._scheduler._thread
    del made
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_cache_is_not_cleared_under_a_generation(few: LlamaProcessor) -> None:
    generation = start(few, "Tell me a long story.", "one", tokens=150)
    pieces = iter(generation)
    next(pieces)
    with pytest.raises(ValueError, match="in use"):
        few.begin_with([])
    generation.cancel()
    list(pieces)
    few.begin_with([])
    assert few.held("one") == []


def test_first_come_first_served(few: LlamaProcessor) -> None:
    first: dict[str, float] = {}

    def watch(name: str) -> Callable[[Choice], int]:
        def seen(choice: Choice) -> int:
            first.setdefault(name, time.perf_counter())
            return choice.token

        return seen

    made = []
    for owner in AGENTS[:5]:
        generation = start(few, f"Hello from {owner}.", owner)
        generation.overrule = watch(owner)
        made.append(generation)
    few._scheduler.ask(lambda: [each.start() for each in made])
    within(made)
    times = [first[owner] for owner in AGENTS[:5]]
    assert all(one < other for one, other in pairwise(times))
