"""`localmem load`: documents go into an agent's archive, or into a named one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localmem.cli.common import as_json, counted, note, one_line, open_home, open_session, safe, to_json
from localmem.cli.progress import Meter, size
from localmem.cli.served import refuse_there
from localmem.cli.turns import on_ctrl_c
from localmem.errors import UsageError
from localmem.runtime import DEFAULT_AGENT, memory_of

if TYPE_CHECKING:
    from localmem.loading import FileLoaded
    from localmem.memory.archive import Archive
    from localmem.memory.home import Home

_DONE = {"loaded": "loaded", "changed": "loaded anew", "unchanged": "unchanged"}


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--agent", metavar="A", help="Whose archive they go into.  [default: default]")
@click.option("--archive", "name", metavar="NAME", help="The named archive they go into, made if need be.")
@click.option("--remove", is_flag=True, help="Take them out instead, with every passage.")
@click.option("--read", "task", metavar="TASK", help="Then read the document to its end, for a task.")
@click.option("--model", metavar="NAME|FILE.gguf", help="Model to read it with (else the agent's own).")
@as_json
def command(
    paths: tuple[Path, ...],
    agent: str | None,
    name: str | None,
    remove: bool,
    task: str | None,
    model: str | None,
    json_: bool,
) -> None:
    """Load documents: text, Markdown, HTML, PDF, DOCX, JSONL.

    Folders are loaded with all they hold, hidden files left out. What was loaded and has not changed is left as it
    is; a load that was stopped goes on where it was. A line of JSONL is {"text": ...}, with an "embedding" if you
    have one.
    """
    if agent and name:
        raise UsageError("say --agent or --archive, not both")
    if task is not None and (remove or len(paths) > 1 or paths[0].is_dir() or not task.strip()):
        raise UsageError("--read takes one file and says what to find out or to summarise")
    if task is not None and model is not None:
        refuse_there("which runs the agents: leave --model away here")
    with open_home() as home:
        archive = _archive(home, agent, name, remove)
        if remove:
            gone = _remove(archive, paths)
            if json_:
                click.echo(to_json({"removed": gone}))
            click.get_current_context().exit(int(len(gone) < len(paths)))
        if task is not None and name:
            _refuse_unread(home, name)
        files = load_into(archive, paths)
    skipped = any(file.state == "skipped" for file in files)
    summary = (
        read(agent or DEFAULT_AGENT, model, paths[0], task) if task is not None and not skipped else None
    )
    if json_:
        rows = [asdict(file) for file in files]
        click.echo(to_json(rows if task is None else {"files": rows, "summary": summary}))
    elif summary:
        click.echo(safe(summary))
    named = {str(path.resolve()) for path in paths} | {str(path) for path in paths}
    if any(file.state == "skipped" and file.path in named for file in files):
        click.get_current_context().exit(1)


def read(agent: str, model: str | None, path: Path, task: str) -> str | None:
    """Let an agent read a document to its end and return the summary; stopped, the same command goes on.

    Where `localmem run` owns the home it is read there: then there is no summary yet.
    """
    from localmem.cli.served import home_here
    from localmem.loading import key
    from localmem.records import PageRead

    name, where = safe(path.name), key(path)
    if (home := home_here()) is not None:
        home.agent(agent).readings.start(where, task)
        click.echo(f"{agent} reads {name} from now on, and tells what comes of it", err=True)
        return None
    with open_session({"agent": agent, "model": model}) as session:
        reading = session.memory.readings.start(where, task)
        meter = Meter("reading", " chars", lambda count: f"{count:,.0f}")
        stopped: list[int] = []

        def stop(number: int, frame: object) -> None:
            stopped.append(number)
            session.agent.interrupt()

        with on_ctrl_c(stop):
            for item in session.agent.read_on(reading.id):
                assert isinstance(item, PageRead)
                if item.note:
                    meter.clear()
                    for line in item.note.splitlines():
                        note(f"{item.source}: {one_line(line, 200)}")
                meter(item.position, item.characters, name)
        meter.clear()
        done = session.memory.readings.get(reading.id)
    if stopped:
        click.echo("stopped; the same command goes on from here", err=True)
        raise KeyboardInterrupt
    return done.summary


def _refuse_unread(home: Home, name: str) -> None:
    """Raise UsageError where the agent that is to read does not search an archive."""
    if name not in [archive for archive, _ in memory_of(home, DEFAULT_AGENT).attachments()]:
        raise UsageError(f"{DEFAULT_AGENT} does not search {name} yet: localmem archives attach {name}")


def _archive(home: Home, agent: str | None, name: str | None, there: bool) -> Archive:
    """Return the archive that is meant; unless it must be `there`, one that is not is made."""
    if name:
        known = [row.name for row in home.archives()]
        return home.archive(name) if there or name in known else home.create_archive(name)
    return home.archive_of(memory_of(home, agent or DEFAULT_AGENT).name)


def load_into(archive: Archive, paths: Sequence[Path]) -> list[FileLoaded]:
    """Load, showing how far it is; return what came of each file."""
    from localmem.loading import Advance, load

    files: list[FileLoaded] = []
    meter = Meter("loading", "", size)
    items = load(archive, paths)
    try:
        with closing(items):  # type: ignore[type-var]
            for item in items:
                if isinstance(item, Advance):
                    meter(item.done, item.total, item.name)
                    continue
                files.append(item)
                if item.state != "unchanged":
                    meter.clear()
                    click.echo(_line(item), err=True)
    except KeyboardInterrupt:
        meter.clear()
        click.echo("stopped; the same command goes on from here", err=True)
        raise
    finally:
        meter.clear()
    click.echo(_total(files), err=True)
    return files


def _line(file: FileLoaded) -> str:
    if file.state == "skipped":
        return f"  skipped {safe(file.path)}: {safe(file.reason)}"
    new = "" if file.new == file.passages else f", {file.new:,} of them new"
    return f"  {_DONE[file.state]} {safe(Path(file.path).name)}: {counted(file.passages, 'passage')}{new}"


def _total(files: list[FileLoaded]) -> str:
    states = {state: sum(f.state == state for f in files) for state in (*_DONE, "skipped")}
    said = [f"{count:,} {_DONE.get(state, state)}" for state, count in states.items() if count]
    new = sum(file.new for file in files)
    return f"{', '.join(said) or 'there is nothing to load'}; {counted(new, 'new passage')}"


def _remove(archive: Archive, paths: tuple[Path, ...]) -> list[Path]:
    """Take files out, saying which were in there, and return those."""
    from localmem.loading import key

    gone = [path for path in paths if archive.remove(key(path))]
    for path in paths:
        click.echo(f"{path} is {'taken out' if path in gone else 'not in there'}", err=True)
    return gone
