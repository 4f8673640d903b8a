"""Several agents: eight that generate at once in one batch, against one after another.

Every agent has a prompt of its own behind the same system instructions, which are evaluated and stored once. The
prompts are in the cache when the time starts; each writes a message of the same length.
"""

from __future__ import annotations

import time

from benchmarks.perf.common import Outcome, alternating, compared, loaded, median
from benchmarks.perf.talk import head, opening, queue
from localmem.processor.decoding import LlamaGeneration
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Limits, Prose, Segment
from localmem.records import Event, EventKind

AGENTS = 8
FILLED = 200
WRITTEN = 64
"""Tokens that each agent writes."""


def measure(model: str | None, n: int | None) -> Outcome:
    """Time eight agents, at once and one after another, in turn, with drafts and without."""
    count = n or 3
    found = {}
    with loaded(model, agents=AGENTS) as processor:
        prompts = [prompt_of(processor, number) for number in range(AGENTS)]
        for drafts in (False, True):
            processor.drafts = drafts
            found[drafts] = alternating(
                count, lambda _: rate(processor, prompts, True), lambda _: rate(processor, prompts, False)
            )
        held = {owner: len(processor.held(owner)) for owner in map(str, range(AGENTS))}
    at_once, in_turn = found[False]
    return compared(
        "agents",
        "tokens a second",
        at_once,
        in_turn,
        agents=AGENTS,
        with_drafts_ratio=median(found[True][0]) / median(found[True][1]),
        with_drafts=median(found[True][0]),
        cached_tokens=sum(held.values()),
    )


def prompt_of(processor: LlamaProcessor, number: int) -> list[Segment]:
    asked = processor.encode(Event(EventKind.USER, "Tell me a long story about all of this."))
    return [*head(processor), *queue(processor, FILLED, number), asked, opening(processor)]


def rate(processor: LlamaProcessor, prompts: list[list[Segment]], together: bool) -> float:
    """Return the tokens a second that all agents make together."""
    for number, prompt in enumerate(prompts):
        for _ in processor.generate(prompt, Prose(1), Limits(0, owner=str(number))):
            pass
    made = [
        processor.generate(prompt, Prose(2000), Limits(WRITTEN, owner=str(number)))
        for number, prompt in enumerate(prompts)
    ]
    started = time.perf_counter()
    if together:
        for generation in made:
            generation.start()
    tokens = sum(map(finished, made))
    return tokens / (time.perf_counter() - started)


def finished(generation: LlamaGeneration) -> int:
    for _ in generation:
        pass
    return generation.completion.usage.completion_tokens
