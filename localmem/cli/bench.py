"""localmem bench: the memory benchmarks: what there is, running them, and what came out."""

from __future__ import annotations

import json
import os
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localmem.cli.common import engine_options, home_folder, loading, note, safe, to_json
from localmem.cli.screen import Status, columns

if TYPE_CHECKING:
    from localmem.bench.case import Task
    from localmem.bench.results import Row
    from localmem.bench.runner import Plan, Progress
    from localmem.processor.profile import Profile
    from localmem.processor.registry import Registry

_RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of run files (else bench/ in the home).",
)


NAMES = 19
"""Columns of the names in a list of tasks."""
QUIET = 30
"""Seconds after which something is said where no line can be drawn over."""


@click.group(name="bench")
def command() -> None:
    """Measure how well a model manages memory."""


@command.command(name="list")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def list_(json_: bool) -> None:
    """List the tasks and the systems each compares."""
    from localmem.bench import tasks

    rows = [tasks.load(name) for name in tasks.NAMES]
    if json_:
        fields = ("name", "title", "source", "metric", "systems", "level", "n", "needs_data")
        click.echo(to_json([{field: getattr(task, field) for field in fields} for task in rows]))
        return
    for task in rows:
        click.echo("\n".join(_described(task)))


def _described(task: Task) -> Iterator[str]:
    yield f"{task.name:{NAMES}} {task.title}"
    each = f" a {task.level} level" if task.level else ""
    needs = "needs --data" if task.needs_data else "no data needed"
    for text in (f"{task.metric}; usually {task.n} cases{each}; {needs}", ", ".join(task.systems)):
        indent = " " * (NAMES + 1)
        yield textwrap.fill(
            text, columns() - 1, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )


@command.command()
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@click.option("--system", "systems", multiple=True, metavar="NAME", help="Only this system; may be repeated.")
@click.option("--model", metavar="NAME|FILE.gguf", help="Model to measure (else the default).")
@click.option("-n", "n", type=click.IntRange(1), metavar="N", help="Cases (per level) instead of the usual.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
              envvar="LOCALMEM_DATA", help="Folder of the official data sets.")  # fmt: skip
@click.option("--window", type=click.IntRange(1), metavar="N", help="Tokens served (else the profile's).")
@click.option("--seed", type=int, default=0, metavar="S", help="Seed of cases and sampling.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="T", help="0: always the best token.")
@engine_options
@click.option(
    "--set", "changed", multiple=True, metavar="NAME=VALUE", help="A kernel setting other than the profile's."
)
@_RUNS
@click.option("--json", "json_", is_flag=True, help="End with one line of JSON.")
def run(
    tasks: tuple[str, ...],
    systems: tuple[str, ...],
    n: int | None,
    data: Path | None,
    runs: Path | None,
    json_: bool,
    changed: tuple[str, ...],
    **asked: Any,
) -> None:
    """Run TASKs ("letta": the four of Letta's leaderboard; "all"); what is done already is not run again."""
    from localmem.bench import runner
    from localmem.runtime import Options

    os.environ["LOCALMEM_HOME"] = str(home_folder())  # where scores look for their embedder
    options = Options(**asked)
    plan = runner.plan(tasks, systems, n=n, data=data, runs=_folder(runs), options=options, changed=changed)
    registry, profile = _model(plan)
    if runner.embedder_of(registry) is None:
        note(
            f"{registry.embedder} is not here: archives are searched by words alone "
            f"(`localmem models pull {registry.embedder}` fetches it)"
        )
    shown, files, failed = _Line(), [], 0
    shown.draw("reading the cases ...")
    try:
        for progress in runner.run(plan, registry, profile, shown.doing):
            shown.show(progress)
            failed += bool(progress.error)
            if progress.file not in files:
                files.append(progress.file)
    except KeyboardInterrupt:
        shown.end()
        click.echo("stopped; no case that was done is lost: the same command goes on from here", err=True)
        raise
    finally:
        shown.end()
    _report(files, json_)
    if failed:
        cases = "a case" if failed == 1 else f"{failed} cases"
        click.echo(f"{cases} failed: the same command tries once more", err=True)
        raise SystemExit(1)


def _model(plan: Plan) -> tuple[Registry, Profile]:
    """Return the model to measure; where it is fetched first, after all that may be wrong with the plan."""
    from localmem.bench import runner
    from localmem.runtime import choose_model, registry_of

    registry = registry_of(home_folder())
    profile = choose_model(registry, plan.options, None)
    if registry.locate(profile) is None:
        runner.jobs(plan, profile)
        with loading(home_folder(), registry, profile, Status(False)):
            registry = registry_of(home_folder())
        profile = choose_model(registry, plan.options, None)
    return registry, profile


def _report(files: list[Path], json_: bool) -> None:
    from localmem.bench import report, results

    runs = [run for file in files if (run := results.read_run(file)) is not None]
    rows = [row for run in runs for row in results.rows(run)]
    if json_:
        click.echo(json.dumps({"rows": [results.as_data(row) for row in rows]}))
    else:
        click.echo(safe(report.table(rows, width=columns())))


@command.command()
@_RUNS
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Also write pictures (PNG, SVG) and one HTML page there.")  # fmt: skip
@click.option("--publish", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.jsonl",
              help="Also write the rows there, with every case's score: what a leaderboard is made of.")  # fmt: skip
@click.option("--json", "json_", is_flag=True, help="Print the rows as JSON.")
def report(runs: Path | None, markdown: bool, out: Path | None, publish: Path | None, json_: bool) -> None:
    """Show what came out of the runs so far: tables, and on demand pictures and a page."""
    from localmem.bench import report, results

    folder = _folder(runs)
    rows = results.newest(row for run in results.read_runs(folder) for row in results.rows(run))
    if not rows:
        click.echo(f"no runs in {folder} yet: `localmem bench run TASK` makes one", err=True)
    if json_:
        click.echo(json.dumps({"rows": [results.as_data(row) for row in rows]}))
    elif rows:
        width = columns()
        click.echo(safe(report.table(rows, markdown=markdown, width=width)))
        click.echo(safe(report.leaderboard(rows, markdown=markdown, width=width)))
    if publish is not None and rows:
        publish.parent.mkdir(parents=True, exist_ok=True)
        results.write_rows(publish, rows)
    if out is not None and rows:
        _draw(rows, out)


def _draw(rows: list[Row], out: Path) -> None:
    from localmem.bench import page, pictures

    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(page.page(rows), encoding="utf-8")
    for path in [out / "index.html", *pictures.save(rows, out)]:
        click.echo(str(path), err=True)


def _folder(runs: Path | None) -> Path:
    return runs or home_folder() / "bench"


class _Line:
    """The progress of a run on standard error: one line that is written anew, or, without a terminal, few."""

    def __init__(self) -> None:
        self._status = Status(True)
        self._head = self._stage = ""
        self._said = time.monotonic()

    def draw(self, text: str) -> None:
        """Show what is going on where it can be taken away again."""
        self._status.show(text)

    def doing(self, text: str) -> None:
        """Show what goes on before the next case is done."""
        stage = text.partition(",")[0]
        self.draw(f"{self._head}{text} ...")
        if not self._status.live and (stage != self._stage or self._is_late()):
            self._say(f"{self._head}{text}")
        self._stage = stage

    def show(self, progress: Progress) -> None:
        """Show how far the run is."""
        name = f"{progress.task} {progress.system}"
        left = f", {_time(progress.left)} left" if progress.left else ""
        line = f"{name}: {progress.done}/{progress.total}, score {progress.score:.3f}{left}"
        over = progress.done == progress.total
        if progress.error:
            self._status.clear()
            self._say(f"{name}: a case failed: {progress.error}")
        if progress.note:
            self._status.clear()
            self._say(f"{name}: {progress.note}")
        self.draw(line)
        if over:
            self._status.keep()
        if not self._status.live and (over or progress.done % 10 == 0 or self._is_late()):
            self._say(line)
        self._head = "" if over else f"{line}; "

    def end(self) -> None:
        """Take the line away."""
        self._status.clear()

    def _is_late(self) -> bool:
        return time.monotonic() - self._said > QUIET

    def _say(self, line: str) -> None:
        click.echo(safe(line), err=True)
        self._said = time.monotonic()


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
