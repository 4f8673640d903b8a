"""Resuming: the first token of a new process that finds a snapshot, against one that evaluates the prompt.

Both are new processes on the same model and prompt; loading the model is not counted. `second_turn_reused` is the
share of a second turn's prompt that was not evaluated, in one process, measured on the agent itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.perf.common import Outcome, alternating, awake, compared, loaded
from benchmarks.perf.talk import head, opening, queue
from benchmarks.perf.window import SAYS
from localmem.memory.home import Home
from localmem.processor.interface import Limits
from localmem.records import Call, Event, EventKind

FILLED = 1500


def measure(model: str | None, n: int | None) -> Outcome:
    """Start processes of both kinds in turn."""
    count = n or 3
    with TemporaryDirectory() as folder:
        started(model, folder)  # makes the snapshot
        resumed, afresh = alternating(
            count, lambda _: started(model, folder)[0], lambda _: started(model, "")[0]
        )
        reused = started(model, folder)[1]
    return compared(
        "resume",
        "seconds to the first token",
        resumed,
        afresh,
        reused_share=reused,
        second_turn_reused=second_turn(model),
    )


def started(model: str | None, snapshots: str) -> tuple[float, float]:
    """Return a new process's seconds to the first token, and the share of its prompt that it did not evaluate."""
    run = [sys.executable, "-m", "benchmarks.perf.resume", model or "", snapshots]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    seconds, reused = json.loads(done.stdout)
    return seconds, reused


def once(model: str | None, snapshots: Path | None) -> tuple[float, float]:
    """Generate in this process, and leave a snapshot behind."""
    with loaded(model, snapshots=snapshots) as processor:
        prompt = [*head(processor), *queue(processor, FILLED), opening(processor)]
        processor.grammars  # noqa: B018  compiled before the time starts, for both
        generation = processor.generate(prompt, SAYS, Limits(160, owner="default"))
        for _ in generation:
            generation.cancel()
        usage = generation.completion.usage
        return usage.first_token_seconds, usage.reused_tokens / usage.prompt_tokens


def second_turn(model: str | None) -> float:
    """Return the share of the second turn's prompt tokens that were in the cache."""
    with loaded(model) as processor, TemporaryDirectory() as folder, Home.open(Path(folder)) as home:
        agent = awake(home, processor)
        prompts = reused = 0
        for number, said in enumerate(
            ("My name is Mira and I live in Bergen.", "What is the weather like there?")
        ):
            for item in agent.turn(Event(EventKind.USER, said)):
                if number and isinstance(item, Call) and not prompts:
                    prompts, reused = item.usage.prompt_tokens, item.usage.reused_tokens
        return reused / prompts


if __name__ == "__main__":
    print(json.dumps(once(sys.argv[1] or None, Path(sys.argv[2]) if sys.argv[2] else None)))
