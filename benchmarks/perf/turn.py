"""A whole turn of the agent: a message, the memory step, the reply; with drafts and without, in turn.

`ratio` is the median time of a turn with drafts by that without.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.perf.common import Outcome, alternating, awake, compared, loaded
from localmem.memory.home import Home
from localmem.processor.engine import LlamaProcessor
from localmem.records import Event, EventKind

SAID = (
    "My name is Mira and I live in Bergen.",
    "I have a dog called Bruno, he is four years old.",
    "What is my dog called?",
    "My sister Clara moved to Lisbon last spring.",
    "Where does my sister live?",
    "Please remember that I am allergic to nuts.",
)


def measure(model: str | None, n: int | None) -> Outcome:
    """Hold the same conversation with drafts and without."""
    count = n or 3
    with loaded(model) as processor:
        drafted, plain = alternating(
            count, lambda _: conversation(processor, True), lambda _: conversation(processor, False)
        )
        used = processor.drafts = True
    return compared("turn", "seconds a turn", drafted, plain, n=count * len(SAID), drafts=used)


def conversation(processor: LlamaProcessor, drafts: bool) -> float:
    """Return the mean seconds of a turn."""
    processor.drafts = drafts
    processor.begin_with([])
    with TemporaryDirectory() as folder, Home.open(Path(folder)) as home:
        agent = awake(home, processor)
        for _ in agent.turn(Event(EventKind.USER, "Hello!")):  # fills the cache
            pass
        started = time.perf_counter()
        for said in SAID:
            for _ in agent.turn(Event(EventKind.USER, said)):
                pass
        return (time.perf_counter() - started) / len(SAID)
