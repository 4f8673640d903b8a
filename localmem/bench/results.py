"""What runs came to: run files read, rows of figures with their cases, means over tasks and paired differences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from localmem.bench.bootstrap import Interval, interval, rounded
from localmem.bench.tasks import LETTA
from localmem.errors import BadInput

LETTA_MEAN = "letta"
"""The pseudo-task: the mean of the four tasks of Letta's memory leaderboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a run was made with. `stamp` is a hash of all that decides an answer, `sha256` that of the weights."""

    task: str
    system: str
    model: str
    sha256: str
    window: int
    seed: int
    stamp: str
    settings: str
    commit: str
    version: str
    machine: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one case: its score and its cost. `calls` are the function calls made for it.

    The cost, `seconds` too, is that of the answer: what was prepared beforehand, for this case and others, is
    no part of it.
    """

    case: str
    level: int | None
    score: float
    fits: bool
    failed: bool
    seconds: float
    commit: str
    calls: int
    completions: int
    legal: int
    prompt_tokens: int
    completion_tokens: int
    forward_passes: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run file: one task under one system on one model."""

    header: Header
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one task (and level) under one system on one model, and the cases they rest on.

    `score` is the mean of `scores`, which stand in the order of `cases`; a case that did not fit into the window
    counts as it was scored (0). `fits` is the share of cases that did; where none did `score` and `interval` are
    None. An interval of one point means that all cases scored alike. `legal` is the share of legal calls, None
    where the system makes none. Calls, tokens, passes and seconds are means over the cases that fit. `failed`
    cases ended in an error: they are not scored and not in `n`.
    """

    task: str
    system: str
    model: str
    level: int | None
    n: int
    score: float | None
    interval: Interval | None
    legal: float | None
    calls: float
    prompt_tokens: float
    completion_tokens: float
    forward_passes: float
    seconds: float
    fits: float
    failed: int
    window: int
    seed: int
    sha256: str
    stamp: str
    commit: str
    version: str
    machine: str
    date: str
    cases: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one system is ahead of another on the `n` cases that both were asked."""

    mean: float
    interval: Interval
    n: int


def read_run(path: Path) -> Run | None:
    """Return a run, or None where not even its header was finished. Raises BadInput for a line that is no JSON.

    A last line that is not whole, of a process that was killed, is left out. A case that failed and was done
    again stands in the file twice: its last line counts.
    """
    data = path.read_bytes()
    lines = list(_objects(path, data[: data.rfind(b"\n") + 1]))
    if not lines:
        return None
    try:
        header = Header(**{each.name: lines[0]["header"][each.name] for each in fields(Header)})
        answers = {line["case"]: _answer({"commit": header.commit, **line}) for line in lines[1:]}
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path} is no run file ({type(error).__name__}: {error})") from error
    return Run(header, tuple(answers.values()))


def read_runs(folder: Path) -> list[Run]:
    """Return every run of a folder of runs, by path."""
    runs = (read_run(path) for path in sorted(folder.glob("*/*.jsonl")))
    return [run for run in runs if run is not None]


def rows(run: Run) -> list[Row]:
    """Return a run's figures: one row a level where there are levels, else one; none where nothing is scored."""
    levels = sorted(
        {answer.level for answer in run.answers}, key=lambda level: (level is not None, level or 0)
    )
    found = (_row(run.header, level, [a for a in run.answers if a.level == level]) for level in levels)
    return [row for row in found if row is not None]


def _answer(line: Mapping[str, Any]) -> Answer:
    usage = line["usage"]
    return Answer(
        case=line["case"],
        level=line["level"],
        score=float(line["score"]),
        fits=line["fits"],
        failed=bool(line["error"]),
        seconds=line["seconds"],
        commit=line["commit"],
        calls=len(line["steps"]),
        completions=line["completions"],
        legal=line["legal"],
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        forward_passes=usage["forward_passes"],
    )


def _row(header: Header, level: int | None, answers: Sequence[Answer]) -> Row | None:
    scored = [answer for answer in answers if not answer.failed]
    if not scored:
        return None
    fitting = [answer for answer in scored if answer.fits]
    scores = tuple(answer.score for answer in scored)
    completions = sum(answer.completions for answer in fitting)

    def mean(of: Callable[[Answer], float]) -> float:
        return rounded(sum(map(of, fitting)) / max(1, len(fitting)))

    return Row(
        task=header.task,
        system=header.system,
        model=header.model,
        level=level,
        n=len(scored),
        score=rounded(sum(scores) / len(scores)) if fitting else None,
        interval=interval(scores) if fitting else None,
        legal=rounded(sum(answer.legal for answer in fitting) / completions) if completions else None,
        calls=mean(lambda answer: answer.calls),
        prompt_tokens=mean(lambda answer: answer.prompt_tokens),
        completion_tokens=mean(lambda answer: answer.completion_tokens),
        forward_passes=mean(lambda answer: answer.forward_passes),
        seconds=mean(lambda answer: answer.seconds),
        fits=rounded(len(fitting) / len(scored)),
        failed=len(answers) - len(scored),
        window=header.window,
        seed=header.seed,
        sha256=header.sha256,
        stamp=header.stamp,
        commit=", ".join(dict.fromkeys(answer.commit for answer in scored)),
        version=header.version,
        machine=header.machine,
        date=header.date,
        cases=tuple(answer.case for answer in scored),
        scores=scores,
    )


def as_data(row: Row) -> dict[str, Any]:
    """Return a row as plain JSON, the keys in the order of `bench run --json`."""
    return asdict(row)


def read_rows(path: Path) -> list[Row]:
    """Return the published rows of a file, one a line. Raises BadInput for a line that is none."""
    try:
        return [_as_row(line) for line in _objects(path, path.read_bytes())]
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path} holds a line that is no row of results ({error})") from error


def write_rows(path: Path, found: Iterable[Row]) -> None:
    """Write rows to a file, one a line, in an order of their own, so that the same rows make the same file."""
    lines = [json.dumps(as_data(row), ensure_ascii=False) + "\n" for row in sorted(found, key=_order)]
    path.write_text("".join(lines), "utf-8")


def newest(found: Iterable[Row]) -> list[Row]:
    """Return the rows without those that a later run of the same (task, system, model, ...) replaces."""
    kept: dict[tuple[object, ...], Row] = {}
    for row in found:
        key = (row.task, row.system, row.model, row.level, row.window, row.seed)
        before = kept.get(key)
        if before is None or datetime.fromisoformat(row.date) >= datetime.fromisoformat(before.date):
            kept[key] = row
    return sorted(kept.values(), key=_order)


def merged(strata: Sequence[Sequence[Row]]) -> Row:
    """Return one row for several: strata count alike, and cases alike within each. Rows of one stratum are pooled.

    The interval is drawn within each stratum. Where a row has no score (nothing fits) the whole has none. What
    is not the same in all rows is "" (`level`: None); `date` is the newest, `seed` the lowest. Raises ValueError
    without rows.
    """
    every = list(chain.from_iterable(strata))
    if len(every) == 1:
        return every[0]
    pooled = [tuple(chain.from_iterable(row.scores for row in stratum)) for stratum in strata]
    lost = any(row.score is None for row in every)
    legal = [row.legal for row in every if row.legal is not None]

    def mean(of: Callable[[Row], float]) -> float:
        """The mean of the strata's means, in which every case counts alike."""
        means = [
            sum(of(row) * row.n for row in stratum) / sum(row.n for row in stratum) for stratum in strata
        ]
        return rounded(sum(means) / len(means))

    def shared(of: Callable[[Row], str]) -> str:
        return of(every[0]) if len({of(row) for row in every}) == 1 else ""

    return replace(
        every[0],
        level=every[0].level if len({row.level for row in every}) == 1 else None,
        n=sum(row.n for row in every),
        score=None if lost else rounded(sum(sum(scores) / len(scores) for scores in pooled) / len(pooled)),
        interval=None if lost else interval(*pooled),
        legal=rounded(sum(legal) / len(legal)) if legal else None,
        calls=mean(lambda row: row.calls),
        prompt_tokens=mean(lambda row: row.prompt_tokens),
        completion_tokens=mean(lambda row: row.completion_tokens),
        forward_passes=mean(lambda row: row.forward_passes),
        seconds=mean(lambda row: row.seconds),
        fits=mean(lambda row: row.fits),
        failed=sum(row.failed for row in every),
        seed=min(row.seed for row in every),
        stamp=shared(lambda row: row.stamp),
        commit=shared(lambda row: row.commit),
        version=shared(lambda row: row.version),
        machine=shared(lambda row: row.machine),
        date=max(row.date for row in every),
        cases=tuple("/".join(map(str, (*_place(row), case))) for row in every for case in row.cases),
        scores=tuple(chain.from_iterable(pooled)),
    )


def letta_average(found: Iterable[Row]) -> list[Row]:
    """Return the mean of the four Letta tasks for each (system, model, window) that has all four, as rows."""
    groups: dict[tuple[str, str, int], dict[str, list[Row]]] = {}
    for row in found:
        if row.task in LETTA:
            group = groups.setdefault((row.system, row.model, row.window), {})
            group.setdefault(row.task, []).append(row)
    return [
        replace(merged([group[task] for task in LETTA]), task=LETTA_MEAN)
        for group in groups.values()
        if len(group) == len(LETTA)
    ]


def difference(a: Row, b: Row) -> Difference | None:
    """Return the mean paired difference a - b; None where they share no case or one of them fits none."""
    return paired([a], [b])


def paired(a: Sequence[Row], b: Sequence[Row]) -> Difference | None:
    """Return the mean paired difference of two systems over rows of several tasks, levels and seeds.

    Every task and level counts alike, as in `merged`. None where a task or level lacks a score or shared cases.
    """
    if any(row.score is None for row in (*a, *b)):
        return None
    others = {
        (_place(row), case): value for row in b for case, value in zip(row.cases, row.scores, strict=True)
    }
    strata: dict[object, list[float]] = {}
    for row in a:
        stratum = strata.setdefault(_place(row)[:2], [])
        for case, value in zip(row.cases, row.scores, strict=True):
            if (key := (_place(row), case)) in others:
                stratum.append(value - others[key])
    if not strata or not all(strata.values()):
        return None
    means = [sum(stratum) / len(stratum) for stratum in strata.values()]
    count = sum(map(len, strata.values()))
    return Difference(rounded(sum(means) / len(means)), interval(*strata.values()), count)


def _place(row: Row) -> tuple[str, int | None, int]:
    return row.task, row.level, row.seed


def _order(row: Row) -> tuple[object, ...]:
    level = -1 if row.level is None else row.level
    return row.task, row.model, row.window, row.system, level, row.seed, row.date


def _objects(path: Path, data: bytes) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BadInput(f"{path}, line {number}: no JSON ({error})") from error


def _as_row(data: Mapping[str, Any]) -> Row:
    row = Row(**data)
    limits = row.interval and (row.interval[0], row.interval[1])
    return replace(row, interval=limits, cases=tuple(row.cases), scores=tuple(row.scores))
