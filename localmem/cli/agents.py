"""`localmem agents`: list, show, create, delete or rename agents."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import click

from localmem.cli.common import as_json, decoded, open_home, open_memory, to_json
from localmem.errors import UsageError

_TEXT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """List, show, create, delete or rename agents."""


@command.command("list")
@as_json
def list_(json_: bool) -> None:
    """List the agents of this home."""
    from localmem.cli.views import table, when

    with open_home() as home:
        rows = home.agents()
    if json_:
        click.echo(to_json([asdict(row) for row in rows]))
    elif not rows:
        click.echo("there is no agent yet: `localmem chat` makes the first", err=True)
    else:
        shown = [
            (row.name, row.model or "-", f"{row.records:,}", f"{row.passages:,}", when(row.last_active))
            for row in rows
        ]
        click.echo("\n".join(table(("NAME", "MODEL", "RECORDS", "PASSAGES", "LAST ACTIVE"), shown)))


@command.command()
@click.argument("name")
@as_json
def show(name: str, json_: bool) -> None:
    """Show what an agent is and what it holds."""
    from localmem.cli.views import memory_data, memory_lines

    with open_memory(name) as memory:
        if json_:
            click.echo(to_json(memory_data(memory)))
            return
        click.echo(f"{memory.name} on {memory.model or 'the model chosen when it runs'}")
        click.echo("\n".join(memory_lines(memory)))


@command.command()
@click.argument("name")
@click.option("--model", metavar="NAME|FILE.gguf", help="The model it runs on.")
@click.option("--persona", type=_TEXT, help="File with what it is and how it speaks.")
@click.option("--human", type=_TEXT, help="File with what it knows about you.")
def create(name: str, model: str | None, persona: Path | None, human: Path | None) -> None:
    """Make an agent."""
    from localmem.memory.core import DEFAULT_BLOCKS
    from localmem.runtime import Options, choose_model, registry_of

    given = {"persona": persona, "human": human}
    texts = {label: decoded(file.read_bytes(), str(file)) for label, file in given.items() if file}
    blocks = [replace(block, value=texts.get(block.label, "").strip()) for block in DEFAULT_BLOCKS]
    with open_home() as home:
        if model is not None:
            model = choose_model(registry_of(home.path), Options(model=model), None).name
        home.create_agent(name, model=model, blocks=blocks)
    click.echo(f"{name} is made: talk with it by `localmem chat --agent {name}`", err=True)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete an agent with all it remembers. There is no way back."""
    with open_home() as home:
        counts = home.agent(name).counts()
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError(f"deleting {name} loses all it remembers: say --yes")
            held = f"{counts.recall:,} messages and {counts.archival:,} passages"
            click.confirm(f"Delete {name} with {held}, for good?", abort=True, err=True)
        home.delete_agent(name)
    click.echo(f"{name} is deleted", err=True)


@command.command()
@click.argument("old")
@click.argument("new")
def rename(old: str, new: str) -> None:
    """Give an agent another name."""
    with open_home() as home:
        home.rename_agent(old, new)
    click.echo(f"{old} is now {new}", err=True)
