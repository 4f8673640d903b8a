"""Benchmarks on a scripted model: a processor with the parts that a run needs, and as a program, `localmem` on it.

Used as a program: python scripted.py ARGUMENTS OF localmem. SCRIPTED_DELAY gives the seconds that an answer takes,
SCRIPTED_FAILS a word: the answer to a prompt that holds it fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from localmem import runtime
from localmem.errors import ModelBroken
from localmem.processor.interface import Calls, Limits, Segment, Shape
from localmem.processor.registry import Profile, Registry
from localmem.records import Call
from localmem.testing import Move, ScriptedGeneration, ScriptedProcessor

PROGRAM = Path(__file__)
MODEL = "smollm2-135m-instruct"


class Scripted(ScriptedProcessor):
    """A scripted processor to be benchmarked; `began` are the ids cached when each generation began."""

    chunk, drafts, reuse, cache = 4, True, "exact", "f16"

    def __init__(self, script: Callable[[Shape], Move], window: int = 4096) -> None:
        super().__init__(script, window=window)
        self.profile: Profile = Registry.load(Path("nowhere"))[MODEL]
        self.model = "scripted"
        self.cached: list[int] = []
        self.began: list[list[int]] = []
        self.closed = False

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> ScriptedGeneration:
        self.began.append(list(self.cached))
        generation = super().generate(prompt, shape, limits)
        self.cached = [token for segment in prompt for token in segment.ids]
        return generation

    def begin_with(self, ids: Sequence[int]) -> None:
        self.cached = list(ids)

    def close(self) -> None:
        self.closed = True

    def question(self) -> str:
        """Return what the person said last, as the newest prompt has it."""
        return self.prompts[-1].rpartition("<user>")[2].partition("</user>")[0].strip()


def answer(shape: Shape, text: str) -> Move:
    """Return a move that says a text, and remembers nothing."""
    if not isinstance(shape, Calls):
        return text
    if any(function.name == "nothing_to_remember" for function in shape.functions):
        return Call("", "nothing_to_remember", {})
    return Call("", "send_message", {"message": text})


class Echo(Scripted):
    """Answers every question with itself."""

    def __init__(self, window: int = 4096) -> None:
        super().__init__(self._move, window)

    def _move(self, shape: Shape) -> Move:
        time.sleep(float(os.environ.get("SCRIPTED_DELAY", "0")))
        fails = os.environ.get("SCRIPTED_FAILS")
        if fails and fails in self.question():
            raise ModelBroken("the model fell over")
        return answer(shape, self.question())


def load(registry: object, profile: object, options: runtime.Options) -> Echo:
    """Stand in for `runtime.load_processor`."""
    return Echo(options.window or 8192)


if __name__ == "__main__":
    from localmem.cli.main import run

    runtime.load_processor = load  # type: ignore[assignment]
    run()
