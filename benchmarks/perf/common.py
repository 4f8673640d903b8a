"""What every measurement shares: the model, the recorded calls, alternating runs, the table and the JSON line."""

from __future__ import annotations

import gzip
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from localmem.bench.runfile import commit, machine
from localmem.kernel.agent import Agent
from localmem.memory.home import Home, default_home
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Calls
from localmem.processor.profile import Profile
from localmem.processor.registry import Registry
from localmem.runtime import Options, choose_model, registry_of, settings_of
from localmem.trace import shape_from_data

CALLS = Path(__file__).with_name("calls.jsonl.gz")


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call to be decoded: the task it is from, the prompt with its markup, the shape, the most tokens."""

    task: str
    prompt: str
    shape: Calls
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One measurement. `ours` and `peer` are medians in `unit`, `ratio` is what the table in README.md asks for."""

    name: str
    ratio: float
    ours: float
    peer: float
    unit: str
    n: int
    details: Mapping[str, Any]


def recorded(count: int | None = None) -> list[RecordedCall]:
    """Return the recorded calls; where only some are wanted, neighbours of every task: they share their beginning."""
    with gzip.open(CALLS, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    calls = [RecordedCall(r["task"], r["prompt"], shape_of(r["shape"]), r["tokens"]) for r in rows]
    by_task = [
        [call for call in calls if call.task == task] for task in dict.fromkeys(call.task for call in calls)
    ]
    return calls if count is None else [call for some in by_task for call in some[: count // len(by_task)]]


def shape_of(data: Mapping[str, Any]) -> Calls:
    shape = shape_from_data(data)
    assert isinstance(shape, Calls)
    return shape


def profile_of(model: str | None) -> tuple[Registry, Profile]:
    """Return the model that is asked for, else the default of the home."""
    registry = registry_of(default_home())
    return registry, choose_model(registry, Options(model=model), None)


@contextmanager
def loaded(model: str | None, **how: Any) -> Iterator[LlamaProcessor]:
    """Load a model for a measurement."""
    registry, profile = profile_of(model)
    processor = LlamaProcessor(registry.require(profile), profile, **how)
    try:
        yield processor
    finally:
        processor.close()


def awake(home: Home, processor: LlamaProcessor) -> Agent:
    """Return a new agent of a home on a loaded model, with the model's own settings."""
    return Agent(home.create_agent("default"), processor, settings_of(processor.profile, Options()))


def alternating(count: int, *measures: Callable[[int], float]) -> list[list[float]]:
    """Return what each measure gives `count` times, all in turn; who begins changes with every round."""
    found: list[list[float]] = [[] for _ in measures]
    for number in range(count):
        order = list(range(len(measures)))
        for index in order[number % len(order) :] + order[: number % len(order)]:
            found[index].append(measures[index](number))
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> list[float]:
    """Return the quartiles of values, rounded."""
    if len(values) < 2:
        return [round(value, 4) for value in values]
    return [round(value, 4) for value in statistics.quantiles(values, n=4)]


def compared(
    name: str, unit: str, ours: Sequence[float], peer: Sequence[float], n: int | None = None, **details: Any
) -> Outcome:
    """Return a measurement of medians; `ratio` is ours by the peer's, `n` how many of ours there were."""
    spreads = {"ours_quartiles": spread(ours), "peer_quartiles": spread(peer)}
    return Outcome(
        name=name,
        ratio=median(ours) / median(peer),
        ours=median(ours),
        peer=median(peer),
        unit=unit,
        n=n or len(ours),
        details=spreads | details,
    )


def show(outcome: Outcome, model: str | None, as_json: bool) -> None:
    """Print a measurement: a table, and the JSON line if asked for."""
    _, profile = profile_of(model)
    head = {"name": outcome.name, "model": profile.name}
    figures = {key: getattr(outcome, key) for key in ("ratio", "ours", "peer", "unit", "n")}
    where = {"sha256": profile.sha256, "commit": commit(), "machine": machine()}
    line = head | figures | dict(outcome.details) | where
    width = max(map(len, line))
    for key, value in line.items():
        click.echo(f"{key:{width}}  {_shown(value)}", err=as_json)
    if as_json:
        click.echo(json.dumps(line))


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
