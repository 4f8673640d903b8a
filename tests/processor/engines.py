"""Hands for the tests of the engine: a small model loaded as asked, prompts, generations run to their end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localmem.functions.standard import function_set
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import (
    Calls,
    Completion,
    CoreMemory,
    Documentation,
    Instructions,
    Limits,
    Opening,
    Sampling,
    Segment,
    Shape,
    Summary,
)
from localmem.processor.registry import Registry
from localmem.records import Event, EventKind

SMALL = Calls(function_set("small"), labels=("human", "persona"))
MESSAGE = Calls(tuple(f for f in function_set("small") if f.name == "send_message"))


def load(path: Path, **how: object) -> LlamaProcessor:
    """Load a model of the registry, by its file, on the CPU, one thread; `how` goes to the processor."""
    settings: dict[str, object] = {"window": 512, "gpu_layers": 0, "threads": 1, **how}
    profile = next(profile for profile in Registry.load(Path("nowhere")) if profile.file == path.name)
    return LlamaProcessor(path, profile, **settings)  # type: ignore[arg-type]


def prompt(
    engine: LlamaProcessor, *said: str, core: str = "", summary: str = "", head: str = ""
) -> list[Segment]:
    """Return a prompt of system message and events, ready for an answer."""
    return [
        engine.encode(Instructions("You call functions.\n" + head)),
        engine.encode(Documentation("send_message(message): says something to the person.\n")),
        engine.encode(CoreMemory(core)),
        engine.encode(Summary(summary)),
        *(engine.encode(Event(EventKind.USER, text)) for text in said),
        engine.encode(Opening()),
    ]


def flat(segments: Sequence[Segment]) -> list[int]:
    return [token for segment in segments for token in segment.ids]


def run(
    engine: LlamaProcessor,
    said: Sequence[Segment],
    shape: Shape = MESSAGE,
    *,
    tokens: int = 90,
    owner: str = "",
    ahead: bool = False,
    sampling: Sampling = Sampling(),
) -> Completion:
    """Generate to the end; return what came out, having checked that the pieces make the text."""
    generation = engine.generate(said, shape, Limits(tokens, sampling, owner, ahead))
    for _ in generation:
        pass
    assert generation.over
    return generation.completion
