"""The look-ahead: an eviction is prepared while nobody waits, used once, thrown away when it is no longer true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from awake import Bench, run, says, user

from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.processor.interface import Limits, Prose, Segment, Shape
from localmem.records import Call, Event, EventKind, Eviction, Item
from localmem.testing import Move, ScriptedGeneration, ScriptedProcessor


class Pending(ScriptedGeneration):
    """A generation that, once started, waits until there is time for it or somebody reads it."""

    started = False
    then: Callable[[], None] | None = None
    reading: Callable[[], None] | None = None

    def start(self, then: Callable[[], None] | None = None) -> None:
        self.started, self.then = True, then

    def make(self) -> None:
        if self.started and not self.over:
            super().start(self.then)

    def __iter__(self) -> Iterator[str]:
        if self.reading is not None:
            self.reading()
        return super().__iter__()


class Unhurried(ScriptedProcessor):
    """A processor that makes what is ahead of need only in `idle`; `asked` are all generations with their limits."""

    def __init__(self, script: Callable[[Shape], Move], window: int = 2048) -> None:
        super().__init__(script, window=window)
        self.asked: list[tuple[Shape, Limits, Pending]] = []

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> Pending:
        made = super().generate(prompt, shape, limits)
        pending = Pending(made._move, made._prompt_tokens)
        self.asked.append((shape, limits, pending))
        return pending

    def idle(self) -> None:
        """Let there be time for everything that was begun."""
        for _, _, pending in self.asked:
            pending.make()

    @property
    def summaries(self) -> list[Pending]:
        return [made for shape, limits, made in self.asked if isinstance(shape, Prose) and limits.tokens]

    @property
    def read(self) -> list[str]:
        """The prompts that were evaluated and no more."""
        return [
            text for text, (_, limits, _) in zip(self.prompts, self.asked, strict=True) if not limits.tokens
        ]


class Awake:
    """An agent whose window fills with what it is told."""

    def __init__(self, bench: Bench, **settings: object) -> None:
        self.summary = "They spoke of words."
        self.processor = Unhurried(lambda shape: self.summary if isinstance(shape, Prose) else says("noted"))
        chosen = Settings(read_ahead=0, **settings)  # type: ignore[arg-type]
        self.agent = Agent(bench.memory, self.processor, chosen, clock=bench.clock)
        self.told = 0

    def tell(self, words: int = 60) -> list[Item]:
        self.told += 1
        return run(self.agent, " ".join(f"m{self.told}x{n}" for n in range(words)))

    def fill(self, pressure: float = 0.72) -> None:
        while self.agent.context.pressure <= pressure:
            assert not any(isinstance(item, Eviction) for item in self.tell())

    def overflow(self) -> Eviction:
        while True:
            for item in self.tell():
                if isinstance(item, Eviction):
                    return item


@pytest.fixture
def awake(bench: Bench) -> Awake:
    return Awake(bench)


def test_a_summary_that_was_prepared_is_the_one_that_is_used(awake: Awake, bench: Bench) -> None:
    awake.fill()
    awake.agent.look_ahead()
    awake.processor.idle()
    assert len(awake.processor.summaries) == 1
    awake.summary = "Made too late."
    eviction = awake.overflow()
    assert eviction.summary == bench.memory.summary() == "They spoke of words."
    assert len(awake.processor.summaries) == 1
    assert eviction.after < awake.agent.context.room * 0.85


def test_the_prompt_behind_the_eviction_goes_on_from_what_was_evaluated(awake: Awake) -> None:
    awake.fill()
    awake.agent.look_ahead()
    assert awake.processor.read == []
    awake.processor.idle()
    (read,) = awake.processor.read
    assert awake.summary in read
    awake.overflow()
    assert awake.processor.prompts[-1].startswith(read)
    assert "m1x1 " not in read


def test_it_is_prepared_once_and_what_came_since_is_evaluated_too(awake: Awake) -> None:
    awake.fill()
    for _ in range(3):
        awake.agent.look_ahead()
        awake.processor.idle()
    awake.tell()
    awake.agent.look_ahead()
    awake.processor.idle()
    assert len(awake.processor.summaries) == 1
    assert awake.processor.read[-1].startswith(awake.processor.read[0])
    assert f"m{awake.told}x59" in awake.processor.read[-1]


def test_it_begins_near_the_eviction_and_not_before(bench: Bench) -> None:
    for settings in ({}, {"prepare_at": 1.0}):
        awake = Awake(bench, **settings)
        awake.tell()
        awake.agent.look_ahead()
        if settings:
            awake.fill(0.9)
            awake.agent.look_ahead()
        assert awake.processor.summaries == []
        awake.overflow()


def test_every_summary_is_made_beside_the_agents_own_prompt(awake: Awake) -> None:
    awake.overflow()
    awake.fill()
    awake.agent.look_ahead()
    made = [limits for shape, limits, _ in awake.processor.asked if isinstance(shape, Prose)]
    assert len(made) >= 2
    assert all(limits.ahead and limits.owner == "default" for limits in made)
    turns = [limits for shape, limits, _ in awake.processor.asked if not isinstance(shape, Prose)]
    assert not any(limits.ahead for limits in turns)


def test_one_that_is_not_ready_is_waited_for(awake: Awake) -> None:
    awake.fill()
    awake.agent.look_ahead()
    eviction = awake.overflow()
    assert eviction.summary == awake.summary
    assert len(awake.processor.summaries) == 1
    assert awake.processor.read == []  # who waits is served first


def test_an_eviction_after_the_next_is_prepared_anew(awake: Awake) -> None:
    for number in range(3):
        awake.summary = f"Summary {number}."
        awake.fill()
        awake.agent.look_ahead()
        awake.processor.idle()
        assert awake.overflow().summary == f"Summary {number}."
    assert len(awake.processor.summaries) == 3


# ---- what is no longer true


def stopped(pending: Pending) -> bool:
    return pending._stopped


def test_a_turn_taken_back_throws_it_away(awake: Awake, bench: Bench) -> None:
    awake.fill()
    awake.agent.look_ahead()
    bench.memory.undo()
    awake.agent.reload()
    assert stopped(awake.processor.summaries[0])
    awake.summary = "Made anew."
    assert awake.overflow().summary == "Made anew."


def test_another_queue_is_not_evicted_by_what_was_prepared_for_the_old(awake: Awake, bench: Bench) -> None:
    awake.fill()
    awake.agent.look_ahead()
    records = bench.memory.queue()
    bench.memory.evict(records[4].id, bench.memory.summary())
    awake.agent.context.load(bench.memory)
    awake.summary = "Made anew."
    eviction = awake.overflow()
    assert eviction.summary == "Made anew."
    assert stopped(awake.processor.summaries[0])


def test_another_summary_is_not_replaced_by_what_did_not_know_it(awake: Awake, bench: Bench) -> None:
    awake.fill()
    awake.agent.look_ahead()
    awake.processor.idle()
    bench.memory.evict(bench.memory.queue()[0].id, "Something else was written.")
    awake.agent.context.load(bench.memory)
    awake.summary = "Made anew."
    assert awake.overflow().summary == "Made anew."
    assert "Something else was written." in awake.processor.prompts[-2]


def test_one_that_would_not_make_room_enough_is_made_anew(awake: Awake) -> None:
    """What was prepared takes too little away when much came since, and then a long message."""
    awake.fill()
    awake.agent.look_ahead()
    awake.fill(0.93)
    awake.summary = "Made anew."
    room = awake.agent.context.room
    evictions = [item for item in awake.tell(int(room * 0.28)) if isinstance(item, Eviction)]
    assert [eviction.summary for eviction in evictions] == ["Made anew."]
    assert evictions[0].after < 0.85 * room
    assert stopped(awake.processor.summaries[0])


def test_a_new_one_stops_the_old(awake: Awake, bench: Bench) -> None:
    awake.fill()
    awake.agent.look_ahead()
    bench.memory.evict(bench.memory.queue()[2].id, "Other.")
    awake.agent.context.load(bench.memory)
    awake.fill()
    awake.agent.look_ahead()
    first, second = awake.processor.summaries
    assert stopped(first)
    assert not stopped(second)


# ---- interrupts, failures, usage


def digested(eviction: Eviction) -> bool:
    """Whether its summary was made without the model: the beginnings of what was said."""
    return "\nPerson: m" in eviction.summary and eviction.summary.endswith(" ...")


def test_an_interrupt_while_it_is_waited_for_leaves_the_digest(awake: Awake, bench: Bench) -> None:
    awake.fill(0.95)
    awake.agent.look_ahead()
    pending = awake.processor.summaries[0]
    pending.reading = awake.agent.interrupt
    items = awake.tell(120)
    eviction = next(item for item in items if isinstance(item, Eviction))
    assert digested(eviction)
    assert bench.memory.summary() == eviction.summary
    assert not any(isinstance(item, Call) for item in items)  # and the turn is over
    awake.agent.processor.asked[-1][2].reading = None  # type: ignore[attr-defined]
    assert any(isinstance(item, Call) for item in awake.tell())


def test_a_message_while_it_is_waited_for_goes_first_and_leaves_the_digest(
    awake: Awake, bench: Bench
) -> None:
    awake.fill(0.95)
    awake.agent.look_ahead()
    awake.processor.summaries[0].reading = lambda: awake.agent.submit(user("Wait!")) and None
    items = list(awake.agent.turn(Event(EventKind.TIMER, "x " * 120)))
    eviction = next(item for item in items if isinstance(item, Eviction))
    assert digested(eviction)
    assert bench.memory.inbox.next() is not None


@pytest.mark.parametrize("text", ["", "  \n "])
def test_a_summary_of_no_use_gives_way_to_the_digest_at_once(awake: Awake, text: str) -> None:
    awake.summary = text
    awake.fill()
    awake.agent.look_ahead()
    awake.processor.idle()
    assert len(awake.processor.read) == 1, "the prompt with the digest was evaluated ahead"
    assert digested(awake.overflow())
    assert len(awake.processor.summaries) == 1, "asked again, the model would say the same"


def test_usage_counts_what_was_used_and_not_what_was_thrown_away(awake: Awake, bench: Bench) -> None:
    awake.fill()
    before = awake.agent.usage.completion_tokens
    awake.agent.look_ahead()
    awake.processor.idle()
    assert awake.agent.usage.completion_tokens == before
    told = awake.told
    awake.overflow()
    turns = awake.told - told
    assert awake.agent.usage.completion_tokens == before + turns + 1
    awake.fill()
    awake.agent.look_ahead()
    bench.memory.undo()
    awake.agent.reload()
    assert awake.agent.usage.completion_tokens <= before + awake.told + 1
