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
from localmem.bench.bed import instructions
from localmem.bench.case import ALL, Case, Outcome, Task
from localmem.bench.prepared import Doing, unheard
from localmem.bench.runfile import RunFile, commit, machine, tidy
from localmem.bench.systems import System, build
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
class Job:
    """One task under one system: the cases of one run file."""

    task: Task
    system: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `done` of `total` cases of one task and system, the mean score so far, one case's cost.

    `left` is the time that the remaining cases of this file take at the pace so far, in seconds; `error` is
    what went wrong with the last case. `note` is something the person should know of this run.
    """

    task: str
    system: str
    file: Path
    done: int
    total: int
    score: float
    left: float
    error: str = ""
    note: str = ""


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


_SETTINGS = {name: getattr(Settings(), name) for name in Settings.__dataclass_fields__ if name != "sampling"}
"""The settings that may be changed, each with its usual value; seed and temperature are options of their own."""
_CHOICES = {"functions": ("small", "full"), "heartbeat": ("derived", "asked")}


def _setting(text: str) -> tuple[str, Any]:
    """Return a setting written as "name=value", its value read as JSON where it is. Raises UsageError."""
    name, _, written = text.partition("=")
    if name not in _SETTINGS:
        raise UsageError(f"no setting {name!r}; there are {', '.join(_SETTINGS)}")
    try:
        value = json.loads(written)
    except ValueError:
        value = written
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UsageError(f"{name} is {' or '.join(_CHOICES[name])}, not {written!r}")
    if not _alike(value, _SETTINGS[name]):
        usual = json.dumps(_SETTINGS[name], default=dict)
        raise UsageError(f"{name} cannot be {written!r}: write it as in --set {name}={usual}")
    return name, value


def _alike(value: object, usual: object) -> bool:
    """Return whether a value is of the kind of the usual one."""
    match usual:
        case bool():
            return isinstance(value, bool)
        case float():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Mapping():
            return isinstance(value, dict) and all(_alike(each, 0.0) for each in value.values())
        case _:
            return type(value) is type(usual)


def jobs(plan: Plan, profile: Profile) -> list[Job]:
    """Return what a plan comes to on a model, in the order in which it is run: our agent first.

    Raises UsageError for missing data and for settings that contradict each other, ModelMissing where a score
    needs an embedder that is not here: all that can be known before a model is loaded.
    """
    _settings(plan, profile)
    found = []
    for task in plan.tasks:
        cases = tuple(chosen(task, plan))
        if not cases:
            raise UsageError(f"{task.name} finds no case in {plan.data}: check --data")
        task.score(cases[0], Outcome())
        found += [Job(task, system, cases) for system in plan.only or task.systems]
    return sorted(found, key=lambda job: job.system != "ours")


def run(plan: Plan, registry: Registry, profile: Profile, doing: Doing = unheard) -> Iterator[Progress]:
    """Run a plan, yielding after every case, and once for what is done already or was begun by other code.

    A case that fails is recorded with its error and tried again by the next run. A run that is stopped keeps
    what it prepared; the next one that comes to its end clears that away. `doing` is told what goes on between
    two cases. Raises what `jobs` does, ModelMissing, ModelBroken, and HomeInUse where another process
    runs the same.
    """
    planned = jobs(plan, profile)
    embedder = embedder_of(registry)
    for grammar in (True, False):
        own = [job for job in planned if (job.system == "ours") == grammar]
        if not own:
            continue
        doing(f"loading {Path(profile.name).name}")
        processor = load_processor(registry, profile, replace(plan.options, grammar=grammar))
        try:
            for job in own:
                yield from _run(plan, job, processor, profile, embedder, doing)
        finally:
            processor.close()
    tidy(plan.runs)


def embedder_of(registry: Registry) -> Embedder | None:
    """Return the embedder that archives are searched with, None where it is not on this machine."""
    folder = registry.locate(registry[registry.embedder])
    return find_embedder(folder) if folder else None


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
    job: Job,
    processor: LlamaProcessor,
    profile: Profile,
    embedder: Embedder | None,
    doing: Doing,
) -> Iterator[Progress]:
    settings = _settings(plan, profile)
    file = RunFile(plan.runs, _header(plan, job, processor, settings, embedder is not None))
    with file.owned():
        scores = file.begin()
        before = [scores[case.id] for case in job.cases if case.id in scores]
        waiting = [case for case in job.cases if case.id not in scores]
        so_far = Progress(
            job.task.name, job.system, file.path, len(before), len(job.cases), _mean(before), 0.0
        )
        if waiting and file.begun != file.code:
            shutil.rmtree(file.prepared, ignore_errors=True)
            yield replace(so_far, note=_mixed(file))
        if waiting:
            file.prepared.mkdir(parents=True, exist_ok=True)
            doing(f"beginning {job.task.name} {job.system}")
            system = build(job.system, job.task, processor, settings, file.prepared, embedder, doing)
            yield from _cases(job, file, system, waiting, before)
        else:
            yield so_far
        shutil.rmtree(file.prepared, ignore_errors=True)


def _cases(
    job: Job, file: RunFile, system: System, waiting: Sequence[Case], before: Sequence[float]
) -> Iterator[Progress]:
    """Answer the cases that wait; `before` are the scores of those done by earlier runs."""
    left = Counter(case.material.id for case in waiting)
    scores, done, spent = list(before), len(job.cases) - len(waiting), 0.0
    for number, case in enumerate(waiting, 1):
        started = time.perf_counter()
        outcome, error, seconds = _answer(system, case)
        spent += time.perf_counter() - started
        score = 0.0 if error or not outcome.fits else job.task.score(case, outcome)
        file.add(case, outcome, score, seconds, error, system)
        if not error:
            scores.append(score)
        left[case.material.id] -= 1
        if not left[case.material.id]:
            system.drop(case.material)
        ahead = spent / number * (len(waiting) - number)
        yield Progress(
            job.task.name, job.system, file.path, done + number, len(job.cases), _mean(scores), ahead, error
        )


def _mixed(file: RunFile) -> str:
    return f"begun under {file.begun}, goes on under {file.code}: to have all its cases from one, remove {file.path}"


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / max(1, len(scores))


def _answer(system: System, case: Case) -> tuple[Outcome, str, float]:
    """Return what came out of a case, what went wrong, and the seconds that the answer took.

    The first case of a material prepares it: that takes minutes where conversations are held, and is not counted.
    """
    started, outcome, error = time.perf_counter(), Outcome(), ""
    try:
        system.prepare(case)
        started = time.perf_counter()
        outcome = system.answer(case)
    except LocalmemError as failure:
        error = str(failure)
    return outcome, error, time.perf_counter() - started


def _settings(plan: Plan, profile: Profile) -> Settings:
    return replace(settings_of(profile, plan.options), **plan.changed)


def _header(
    plan: Plan, job: Job, processor: LlamaProcessor, settings: Settings, vectors: bool
) -> dict[str, Any]:
    """Return what a run file begins with: what was run, on what, and a hash of all that decides an answer.

    `vectors` says that archives are searched by meaning too.
    """
    profile = processor.profile
    engine = {"drafts": processor.drafts, "reuse": processor.reuse, "cache": processor.cache}
    shown = [prompt(each) for each in ("remember", "summarise", "alert")]
    offered = documentation(Policy(settings).functions, processor.abilities.howto)
    decides = (
        job.task.name,
        job.system,
        processor.model,
        processor.window,
        repr(settings),
        instructions(job.task),
        *((repr(job.task.earlier),) if job.task.earlier else ()),
        shown,
        offered,
        *(() if vectors else ("by words alone",)),
        *(f"{name} {value}" for name, value in engine.items() if value != getattr(profile, name)),
    )
    return {
        "task": job.task.name,
        "system": job.system,
        "model": Path(profile.name).name,
        "sha256": processor.model,
        "window": processor.window,
        "chunk": processor.chunk,
        "engine": engine,
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
