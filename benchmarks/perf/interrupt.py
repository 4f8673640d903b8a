"""A message that arrives while the agent is at work: until the first token of its answer, stopped and not.

The agent tells a story when the message comes, at a random moment. `ours` lets it stop the story, as `Agent.submit`
does; the peer lets it wait until the story is told. What was stopped is looked for in the store, where it must be
nowhere half-done; the run ends there if it is.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer

from benchmarks.perf.common import Outcome, awake, compared, loaded, median
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.processor.engine import LlamaProcessor
from localmem.records import Call, Event, EventKind, Result

BEFORE = (
    "Please remember that my sister Clara lives in Lisbon, then tell me a long story about her and the sea."
)
ARRIVES = "Stop, what is my sister called?"

PEERS = 5
"""Rounds in which the message waits."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds from the arrival of a message: until the turn under way was over, and the first token of its own."""

    over: float
    first: float


def measure(model: str | None, n: int | None) -> Outcome:
    """Let messages arrive at random moments of the turn before."""
    chance, count = random.Random(0), n or 50
    with loaded(model) as processor:
        lasts = whole(processor)
        rounds = [arrival(processor, chance.uniform(0, lasts), stops=True) for _ in range(count)]
        waits = [arrival(processor, chance.uniform(0, lasts), stops=False) for _ in range(min(count, PEERS))]
    first, over = [each.first for each in rounds], [each.over for each in rounds]
    return compared(
        "interrupt",
        "seconds to the first token",
        first,
        [each.first for each in waits],
        ours_most=max(first),
        stopped_after=median(over),
        stopped_after_most=max(over),
        turn_seconds=lasts,
    )


def whole(processor: LlamaProcessor) -> float:
    """Return the seconds of the turn that is to be stopped, undisturbed; its prompt is in the cache then."""
    for _ in range(2):
        with TemporaryDirectory() as folder, Home.open(Path(folder)) as home:
            agent, started = awake(home, processor), time.perf_counter()
            for _ in agent.turn(Event(EventKind.USER, BEFORE)):
                pass
            lasts = time.perf_counter() - started
    return lasts


def arrival(processor: LlamaProcessor, moment: float, *, stops: bool) -> Round:
    """Let a message arrive so many seconds after a turn began."""
    with TemporaryDirectory() as folder, Home.open(Path(folder)) as home:
        agent, arrived = awake(home, processor), 0.0

        def arrive() -> None:
            nonlocal arrived
            arrived = time.perf_counter()
            (agent if stops else agent.memory).submit(Event(EventKind.USER, ARRIVES))

        timer = Timer(moment, arrive)
        timer.start()
        made = [item.id for item in agent.turn(Event(EventKind.USER, BEFORE)) if isinstance(item, Call)]
        over = time.perf_counter()
        timer.join()
        check(agent.memory, made)
        event = agent.next_event()
        if event is None or event.text != ARRIVES:
            raise SystemExit(f"the message is not what comes next: {event}")
        for item in agent.turn(event):
            if isinstance(item, Call):
                chosen = time.perf_counter() - item.usage.seconds + item.usage.first_token_seconds
                return Round(max(0.0, over - arrived), chosen - arrived)
    raise SystemExit("the message was not answered")


def check(memory: Memory, made: list[int]) -> None:
    """Raise SystemExit where a call of the turn that was stopped is half-done."""
    records = memory.records()
    calls = [record for record in records if isinstance(record, Call)]
    done = {record.call for record in records if isinstance(record, Result)}
    stored = [call.id for call in calls]
    if stored != made or not done.issuperset(stored):
        raise SystemExit(f"half-done: calls {stored} are stored, {made} were made, {sorted(done)} are done")
