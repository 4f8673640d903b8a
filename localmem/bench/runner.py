"""Runs tasks: every case once, its outcome on disk before the next; a stopped run goes on where it was."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localmem.bench import tasks
from localmem.bench.case import ALL, Case, Outcome, Task
from localmem.bench.runfile import RunFile, commit, machine
from localmem.bench.systems import System, build, instructions
from localmem.errors import LocalmemError, UsageError
from localmem.kernel.context import documentation
from localmem.kernel.policy import Policy
from localmem.kernel.prompts import prompt
from localmem.kernel.settings import Settings
from localmem.memory.embedder import find_embedder
from localmem.runtime import Options, load_processor, settings_of

if TYPE_CHECKING:
    from localmem.memory.embedder import Embedder
    from localmem.processor.engine import LlamaProcessor
    from localmem.processor.profile import Profile
    from localmem.processor.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run: tasks under systems on one model. `n` None takes each task's own number of cases.

    `runs` is the folder of run files, `data` that of the official data sets, `only` a choice of systems (else
    each task's own), `changed` settings of the kernel that differ from the profile's.
    """

    tasks: tuple[Task, ...]
    runs: Path
    data: Path | None = None
    n: int | None = None
    only: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    changed: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `done` of `total` cases of one task and system, the mean score so far, one case's cost.

    `left` is the time that the remaining cases of this file take at the pace so far, in seconds; `error` is
    what went wrong with the last case.
    """

    task: str
    system: str
    file: Path
    done: int
    total: int
    score: float
    left: float
    error: str = ""


def plan(
    names: Sequence[str],
    systems: Sequence[str] = (),
    *,
    runs: Path,
    data: Path | None = None,
    n: int | None = None,
    options: Options | None = None,
    changed: Sequence[str] = (),
) -> Plan:
    """Return a plan from what was typed: names of tasks, "letta" or "all", and settings as "name=value".

    Raises UsageError for a name there is not.
    """
    groups = {"letta": tasks.LETTA, "all": tasks.NAMES}
    chosen_names = dict.fromkeys(each for name in names for each in groups.get(name, (name,)))
    if unknown := [system for system in systems if system not in ALL]:
        raise UsageError(f"no system {unknown[0]!r}; there are {', '.join(ALL)}")
    return Plan(
        tasks=tuple(tasks.load(name) for name in chosen_names),
        runs=runs,
        data=data,
        n=n,
        only=tuple(systems),
        options=options or Options(),
        changed=dict(_setting(each) for each in changed),
    )


def _setting(text: str) -> tuple[str, Any]:
    """Return a setting written as "name=value", its value read as JSON where it is. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or name not in Settings.__dataclass_fields__:
        raise UsageError(f"no setting {name!r}; there are {', '.join(Settings.__dataclass_fields__)}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def run(plan: Plan, registry: Registry, profile: Profile) -> Iterator[Progress]:
    """Run a plan, yielding after every case, and once for what is done already.

    A case that fails is recorded with its error and tried again by the next run. Raises UsageError for missing
    data, ModelMissing and ModelBroken.
    """
    embedding = registry[registry.embedder]
    folder = registry.locate(embedding)
    embedder = find_embedder(folder) if folder else None
    planned = [(task, system) for task in plan.tasks for system in plan.only or task.systems]
    loaded: dict[bool, LlamaProcessor] = {}
    try:
        for grammar in (True, False):
            for task, name in planned:
                if (name == "ours") == grammar:
                    cases = chosen(task, plan)
                    if grammar not in loaded:
                        options = replace(plan.options, grammar=grammar)
                        loaded[grammar] = load_processor(registry, profile, options)
                    yield from _run(plan, task, name, cases, loaded[grammar], profile, embedder)
            if grammar in loaded:
                loaded.pop(grammar).close()
    finally:
        for processor in loaded.values():
            processor.close()


def chosen(task: Task, plan: Plan) -> list[Case]:
    """Return the cases that a plan takes: the first n, or the first n of every level."""
    most, taken, cases = plan.n or task.n, Counter[int | None](), []
    for case in task.cases(plan.data, plan.options.seed):
        if taken[case.level] < most:
            taken[case.level] += 1
            cases.append(case)
    return cases


def _run(
    plan: Plan,
    task: Task,
    name: str,
    cases: Sequence[Case],
    processor: LlamaProcessor,
    profile: Profile,
    embedder: Embedder | None,
) -> Iterator[Progress]:
    settings = replace(settings_of(profile, plan.options), **plan.changed)
    file = RunFile(plan.runs, _header(plan, task, name, processor, settings))
    scores = file.begin()
    prepared = plan.runs / "prepared" / file.path.stem
    prepared.mkdir(parents=True, exist_ok=True)
    system = build(name, task, processor, settings, prepared, embedder)
    waiting = [case for case in cases if case.id not in scores]
    left = Counter(case.material.id for case in waiting)
    spent = 0.0
    for number, case in enumerate(waiting, 1):
        started = time.perf_counter()
        outcome, error = _answer(system, case)
        seconds = time.perf_counter() - started
        spent += seconds
        score = 0.0 if error else task.score(case, outcome)
        file.add(case, outcome, score, seconds, error, system)
        if not error:
            scores[case.id] = score
        left[case.material.id] -= 1
        if not left[case.material.id]:
            system.drop(case.material)
        mean = sum(scores.values()) / max(1, len(scores))
        ahead = spent / number * (len(waiting) - number)
        yield Progress(
            task.name, name, file.path, len(cases) - len(waiting) + number, len(cases), mean, ahead, error
        )
    if not waiting:
        mean = sum(scores.values()) / max(1, len(scores))
        yield Progress(task.name, name, file.path, len(cases), len(cases), mean, 0.0)
    shutil.rmtree(prepared, ignore_errors=True)


def _answer(system: System, case: Case) -> tuple[Outcome, str]:
    try:
        return system.answer(case), ""
    except LocalmemError as failure:
        return Outcome(), str(failure)


def _header(
    plan: Plan, task: Task, name: str, processor: LlamaProcessor, settings: Settings
) -> dict[str, Any]:
    """Return what a run file begins with: what was run, on what, and a hash of all that decides an answer."""
    profile = processor.profile
    shown = [prompt(each) for each in ("remember", "summarise", "alert")]
    offered = documentation(Policy(settings).functions, processor.abilities.howto)
    decides = (
        task.name,
        name,
        processor.model,
        processor.window,
        repr(settings),
        instructions(task),
        shown,
        offered,
    )
    return {
        "task": task.name,
        "system": name,
        "model": Path(profile.name).name,
        "sha256": processor.model,
        "window": processor.window,
        "chunk": processor.llama.chunk,
        "dialect": profile.dialect,
        "gpu_layers": plan.options.gpu_layers,
        "seed": plan.options.seed,
        "stamp": sha256(repr(decides).encode()).hexdigest()[:8],
        "settings": repr(settings),
        "commit": commit(),
        "version": version("localmem-runtime"),
        "machine": machine(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
