"""The calls that `decode` uses: taken from runs of tasks that need no data, fixed, and committed.

    localmem bench run calls -n 32 --system ours --runs RUNS
    localmem bench run nested_key_value -n 4 --system ours --runs RUNS
    python -m benchmarks.perf.record RUNS... [-n 100] [--seed 0]

Each line is a prompt as text, with the markup of the model's template, the shape of the call, and its limit.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from benchmarks.perf.common import CALLS, RecordedCall, loaded
from localmem.processor.interface import Calls
from localmem.recording import of_case
from localmem.trace import shape_as_data


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-n", "count", default=100, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--model", help="The model of the runs; else the default.")
def main(runs: tuple[Path, ...], count: int, seed: int, model: str | None) -> None:
    """Choose calls of both tasks in equal parts and write them beside this file."""
    with loaded(model) as processor:
        every = [[*calls_of(folder, processor.tokenizer.bytes)] for folder in runs]
    chosen: list[RecordedCall] = []
    for left, calls in zip(range(len(every), 0, -1), sorted(every, key=len), strict=True):
        some = random.Random(seed).sample(calls, min(len(calls), (count - len(chosen)) // left))
        chosen += sorted(some, key=lambda call: call.prompt)  # neighbours share what the cache can keep
    with CALLS.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        for call in chosen:
            line = {
                "task": call.task,
                "prompt": call.prompt,
                "shape": shape_as_data(call.shape),
                "tokens": call.tokens,
            }
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    click.echo(f"{len(chosen)} calls of {sum(map(len, every))} in {CALLS}")


def calls_of(folder: Path, spelled: Callable[[Sequence[int]], bytes]) -> Iterator[RecordedCall]:
    """Yield the calls of every case of the runs in a folder."""
    for run in sorted(folder.rglob("*.jsonl")):
        for line in run.read_text("utf-8").splitlines()[1:]:
            case = json.loads(line)["case"]
            for generation in of_case(run, case).generations:
                if isinstance(generation.shape, Calls) and not generation.cancelled:
                    text = spelled(generation.prompt).decode()
                    yield RecordedCall(run.parent.name, text, generation.shape, generation.limits.tokens)


if __name__ == "__main__":
    main()
