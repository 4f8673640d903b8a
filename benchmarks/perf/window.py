"""The window: the first decode after an eviction, shifted against evaluated again; the user's wait at an eviction.

`ratio` is the time to the first token when half of the queue has left and the rest is shifted, by the time when all
behind the change is evaluated again. `wait` is how long a person waits at an eviction whose summary and prompt were
made ahead, by the wait without.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.perf.common import Outcome, alternating, compared, loaded, median
from benchmarks.perf.talk import head, lines, opening, queue
from localmem.bench.prepared import Clock, record
from localmem.functions.standard import function_set
from localmem.kernel.agent import Agent
from localmem.memory.home import Home
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Calls, Limits, Segment
from localmem.records import Call, Event, EventKind, Eviction
from localmem.runtime import Options, settings_of

SAYS = Calls(tuple(function for function in function_set("small") if function.name == "send_message"))
NEARLY_FULL = 0.93
"""Pressure of the window in which the eviction is awaited."""

FILLED = 2300
"""Tokens of the queue before the eviction; half of it leaves."""


def measure(model: str | None, n: int | None) -> Outcome:
    """Time evictions of both kinds in turn."""
    count = n or 5
    with loaded(model, reuse="shift") as shifting, loaded(model, reuse="exact") as exact:
        shifted, again = alternating(
            count, lambda number: first_token(shifting, number), lambda number: first_token(exact, number)
        )
        moved = reused(shifting)
    with loaded(model) as processor:
        ahead, without = alternating(
            max(2, count // 2),
            lambda number: wait(processor, number, True),
            lambda number: wait(processor, number, False),
        )
    return compared(
        "window",
        "seconds to the first token",
        shifted,
        again,
        reused_share=moved,
        wait_ratio=median(ahead) / median(without),
        wait_ahead=median(ahead),
        wait_without=median(without),
    )


def first_token(processor: LlamaProcessor, seed: int) -> float:
    """Return the seconds to the first token behind an eviction of half of the queue."""
    before, after = prompts(processor, seed)
    generate(processor, before)
    return generate(processor, after)


def prompts(processor: LlamaProcessor, seed: int) -> tuple[list[Segment], list[Segment]]:
    """Return a prompt with a full queue, and the one that follows it when half has left."""
    talk = queue(processor, FILLED, seed)
    kept = talk[len(talk) // 4 * 2 :]
    summary = "\nSummary of what left your window:\n" + " ".join(
        said for (said, _), _ in zip(lines(seed), range(4), strict=False)
    )
    question = processor.encode(Event(EventKind.USER, "Who bought what, and where?"))
    full = [*head(processor), *talk, opening(processor)]
    return full, [*head(processor, summary=summary), *kept, question, opening(processor)]


def generate(processor: LlamaProcessor, prompt: list[Segment]) -> float:
    generation = processor.generate(prompt, SAYS, Limits(160))
    for _ in generation:
        generation.cancel()
    return generation.completion.usage.first_token_seconds


def reused(processor: LlamaProcessor) -> float:
    before, after = prompts(processor, 99)
    generate(processor, before)
    generation = processor.generate(after, SAYS, Limits(160))
    for _ in generation:
        generation.cancel()
    usage = generation.completion.usage
    return usage.reused_tokens / usage.prompt_tokens


def wait(processor: LlamaProcessor, seed: int, ahead: bool) -> float:
    """Return the seconds that an eviction keeps a person waiting: until the first token behind it is chosen."""
    processor.begin_with([])
    with TemporaryDirectory() as folder, Home.open(Path(folder)) as home:
        memory, clock, talk = home.create_agent("default"), Clock(), lines(seed)
        agent = Agent(memory, processor, settings_of(processor.profile, Options()), clock=clock)
        while agent.context.pressure < NEARLY_FULL:
            said, answer = next(talk)
            record(memory, clock, said, answer)
            agent.context.load(memory)
        for _ in processor.generate(agent.context.prompt(), SAYS, Limits(0, owner=memory.name)):
            pass
        if ahead:
            agent.look_ahead()
            while processor.busy:
                time.sleep(0.05)
        return at_eviction(agent, " ".join(said for (said, _), _ in zip(talk, range(8), strict=False)))


def at_eviction(agent: Agent, said: str) -> float:
    """Return the wait in the turn of a message that fills the window."""
    last, relieving = time.perf_counter(), 0.0
    turn = agent.turn(Event(EventKind.USER, said))
    for item in turn:
        if isinstance(item, Eviction):
            relieving = time.perf_counter() - last
        if isinstance(item, Call) and relieving:
            turn.close()  # type: ignore[attr-defined]
            return relieving + item.usage.first_token_seconds
        last = time.perf_counter()
    raise SystemExit("there was no eviction: the measurement is wrong")
