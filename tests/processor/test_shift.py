"""What only moved in a prompt: `shift` moves it in the cache too, `exact` evaluates it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import MESSAGE, flat, load, prompt, run

from localmem.functions import executor
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Completion, Limits, Prose, Segment
from localmem.processor.llama import Llama

pytestmark = pytest.mark.model

OLD = [
    "My parrot is called Quicksilver, and it was born in Valparaiso.",
    "It sings at noon, and at six again.",
]
REST = [
    "Yesterday I bought three chairs and a lamp from the shop at the corner of the market.",
    "They cost me eighty crowns together, and the lamp does not work.",
    "What should I write to them?",
]
SUMMARY = "\nSummary: a parrot, Quicksilver.\n"
OWNER = "one"


@pytest.fixture
def shifting(smollm2: Path) -> Iterator[LlamaProcessor]:
    made = load(smollm2, reuse="shift", agents=2)
    yield made
    assert made._scheduler._mover is None
    made._scheduler.ask(lambda: _books(made))
    made.close()


def _books(engine: LlamaProcessor) -> None:
    lib, memory = engine.llama._lib, engine.llama._memory
    for slot in engine._slots:
        assert lib.llama_memory_seq_pos_max(memory, slot.sequence) == len(slot.ids) - 1
    assert lib.llama_memory_seq_pos_max(memory, engine._slots._aside) == -1


def before(engine: LlamaProcessor) -> list[Segment]:
    return prompt(engine, *OLD, *REST)


def after(engine: LlamaProcessor) -> list[Segment]:
    """The prompt when the head of the queue has left, and a summary came in its place."""
    return prompt(engine, *REST, summary=SUMMARY)


def rest(engine: LlamaProcessor) -> int:
    return sum(map(len, after(engine)[4:]))


def head(engine: LlamaProcessor) -> int:
    return sum(map(len, prompt(engine)[:3]))


def legal(completion: Completion) -> None:
    assert completion.call is not None
    executor.checked(completion.call, MESSAGE.functions, ())


def test_an_eviction_reuses_what_stays(shifting: LlamaProcessor) -> None:
    legal(run(shifting, before(shifting), owner=OWNER))
    moved = run(shifting, after(shifting), owner=OWNER)
    legal(moved)
    assert moved.usage.reused_tokens >= head(shifting) + rest(shifting) - 4
    ids = [*flat(after(shifting)), *moved.ids]
    held = shifting.held(OWNER)
    assert held == ids[: len(held)]
    again = run(shifting, prompt(shifting, *REST, "And then?", summary=SUMMARY), owner=OWNER)
    legal(again)
    assert again.usage.reused_tokens >= len(flat(after(shifting)[:-1]))


def test_exact_evaluates_what_stays_again(smollm2: Path) -> None:
    engine = load(smollm2)
    try:
        run(engine, before(engine), owner=OWNER)
        moved = run(engine, after(engine), owner=OWNER)
        legal(moved)
        assert head(engine) - 2 <= moved.usage.reused_tokens <= head(engine) + 2
    finally:
        engine.close()


def summarise(engine: LlamaProcessor) -> None:
    """Generate a summary of what leaves beside the agent's own prompt, as the kernel does."""
    said = prompt(engine, *OLD, "Write a summary of all this.")
    generation = engine.generate(said, Prose(200), Limits(20, owner=OWNER, ahead=True))
    list(generation)
    assert generation.completion.usage.reused_tokens >= len(flat(prompt(engine, *OLD)[:-1])) - 2


def test_a_summary_made_in_between_leaves_what_stays(shifting: LlamaProcessor) -> None:
    run(shifting, before(shifting), owner=OWNER)
    summarise(shifting)
    moved = run(shifting, after(shifting), owner=OWNER)
    legal(moved)
    assert moved.usage.reused_tokens >= head(shifting) + rest(shifting) - 4


def test_what_was_evaluated_ahead_is_gone_on_with(shifting: LlamaProcessor) -> None:
    run(shifting, before(shifting), owner=OWNER)
    summarise(shifting)
    run(shifting, after(shifting)[:-1], tokens=0, owner=OWNER, ahead=True)
    moved = run(shifting, after(shifting), owner=OWNER)
    legal(moved)
    assert moved.usage.reused_tokens >= len(flat(after(shifting)[:-1]))
    slot = max(shifting._slots, key=lambda slot: slot.used)
    assert not slot.shifted  # it was evaluated, not moved


def test_an_edit_in_the_middle_reuses_both_sides(shifting: LlamaProcessor) -> None:
    run(shifting, prompt(shifting, *OLD, *REST, core="human: Ada\n"), owner=OWNER)
    moved = run(shifting, prompt(shifting, *OLD, *REST, core="human: Ada, a painter\n"), owner=OWNER)
    legal(moved)
    queue = len(flat(prompt(shifting, *OLD, *REST)[4:]))
    assert moved.usage.reused_tokens >= queue


def test_a_cancel_on_the_way_leaves_the_books_right(shifting: LlamaProcessor) -> None:
    run(shifting, before(shifting), owner=OWNER)
    many = [REST[0], "A new one. " * 20, *REST[1:]]
    generation = shifting.generate(prompt(shifting, *many, summary=SUMMARY), MESSAGE, Limits(90, owner=OWNER))
    evaluate = shifting.llama.evaluate

    def cancel(rows: object) -> bool:
        generation.cancel()
        return evaluate(rows)  # type: ignore[arg-type]

    shifting.llama.evaluate = cancel  # type: ignore[method-assign, assignment]
    list(generation)
    del shifting.llama.evaluate  # type: ignore[method-assign]
    assert generation.completion.cancelled
    assert shifting._scheduler._mover is None
    legal(run(shifting, after(shifting), owner=OWNER))


def test_two_agents_evict_at_once(shifting: LlamaProcessor) -> None:
    for owner in ("one", "two"):
        run(shifting, before(shifting), owner=owner)
    both = [shifting.generate(after(shifting), MESSAGE, Limits(90, owner=owner)) for owner in ("one", "two")]
    for each in both:
        each.start()
    for each in both:
        list(each)
        legal(each.completion)
    assert max(each.completion.usage.reused_tokens for each in both) >= rest(shifting)


def test_a_model_that_cannot_shift_evaluates_again(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Llama, "can_shift", property(lambda self: False))
    engine = load(smollm2, reuse="shift")
    try:
        run(engine, before(engine), owner=OWNER)
        moved = run(engine, after(engine), owner=OWNER)
        legal(moved)
        assert moved.usage.reused_tokens <= head(engine) + 2
    finally:
        engine.close()
