"""`localmem archives`: named archives of documents, and which agents search them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localmem.cli.common import agent_option, as_json, open_home, safe, to_json
from localmem.errors import UsageError

if TYPE_CHECKING:
    from localmem.memory.archives import ArchiveRow


@click.group()
def command() -> None:
    """Named archives of documents, shared by agents."""


@command.command("list")
@as_json
def list_(json_: bool) -> None:
    """List the archives of this home."""
    from localmem.cli.views import table, when

    with open_home() as home:
        rows = home.archives()
    if json_:
        click.echo(to_json([asdict(row) for row in rows]))
    elif not rows:
        click.echo("there is no archive yet: `localmem load PATH --archive NAME` makes one", err=True)
    else:
        shown = [
            (row.name, f"{row.files:,}", f"{row.passages:,}", _agents(row), when(row.created_at))
            for row in rows
        ]
        click.echo("\n".join(table(("NAME", "FILES", "PASSAGES", "ATTACHED TO", "MADE"), shown)))


def _agents(row: ArchiveRow) -> str:
    return ", ".join(a.agent + (" (writes)" if a.writable else "") for a in row.attached) or "-"


@command.command()
@click.argument("name")
def create(name: str) -> None:
    """Make an archive."""
    with open_home() as home:
        home.create_archive(name)
    click.echo(f"{name} is made: fill it by `localmem load PATH --archive {name}`", err=True)


@command.command()
@click.argument("name")
@as_json
def show(name: str, json_: bool) -> None:
    """Show the files of an archive, or those that an agent holds itself (NAME is then agent:A)."""
    from localmem.cli.views import table, when

    with open_home() as home:
        agent = name.removeprefix("agent:")
        files = (home.archive(name) if agent == name else home.archive_of(agent)).files()
    if json_:
        click.echo(to_json([asdict(file) for file in files]))
    elif not files:
        click.echo(f"{name} holds no file yet", err=True)
    else:
        shown = [
            (
                safe(file.name),
                f"{file.characters:,}",
                f"{file.passages:,}" if file.whole else "stopped",
                when(file.loaded_at),
                safe(file.path),
            )
            for file in files
        ]
        click.echo("\n".join(table(("FILE", "CHARACTERS", "PASSAGES", "LOADED", "PATH"), shown)))


@command.command()
@click.argument("name")
@agent_option
@click.option("--write", is_flag=True, help="Let the agent write notes there too.")
def attach(name: str, agent: str, write: bool) -> None:
    """Let an agent search an archive. Said again, it changes whether it may write."""
    with open_home() as home:
        home.attach(name, agent, writable=write)
    click.echo(f"{agent} searches {name}{' and writes there' if write else ''} from now on", err=True)


@command.command()
@click.argument("name")
@agent_option
def detach(name: str, agent: str) -> None:
    """Let an agent search an archive no longer; nothing is lost."""
    with open_home() as home:
        home.detach(name, agent)
    click.echo(f"{agent} no longer searches {name}", err=True)


@command.command()
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def remove(name: str, paths: tuple[Path, ...]) -> None:
    """Take files or folders out of an archive, with every passage of theirs."""
    from localmem.loading import key

    with open_home() as home:
        archive = home.archive(name)
        gone = [path for path in paths if archive.remove(key(path))]
    for path in paths:
        click.echo(f"{path} is {'taken out' if path in gone else 'not in there'}", err=True)
    if len(gone) < len(paths):
        click.get_current_context().exit(1)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete an archive with all that was loaded into it. There is no way back."""
    with open_home() as home:
        home.archive(name)
        row = next(row for row in home.archives() if row.name == name)
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError(f"deleting {name} loses all that it holds: say --yes")
            held = f"{row.files:,} files and {row.passages:,} passages"
            click.confirm(f"Delete {name} with {held}, for good?", abort=True, err=True)
        home.delete_archive(name)
    click.echo(f"{name} is deleted", err=True)
