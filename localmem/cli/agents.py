"""`localmem agents`: list, show, create, copy, rename, export, import or delete agents."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import click

from localmem.cli.common import as_json, decoded, note, open_home, open_memory, to_json
from localmem.errors import BadInput, UsageError

_TEXT = click.Path(exists=True, dir_okay=False, path_type=Path)
_SETS = click.Choice(["small", "full"])


@click.group()
def command() -> None:
    """List, show, create, copy, rename, export, import or delete agents."""


@command.command("list")
@as_json
def list_(json_: bool) -> None:
    """List the agents of this home."""
    from localmem.cli.views import agent_lines

    with open_home() as home:
        rows = home.agents()
    if json_:
        click.echo(to_json([asdict(row) for row in rows]))
    elif not rows:
        click.echo("there is no agent yet: `localmem chat` makes the first", err=True)
    else:
        click.echo("\n".join(agent_lines(rows)))


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
        own = f", offered the {memory.functions} set of functions" if memory.functions else ""
        own += ", with instructions of its own" if memory.system else ""
        click.echo(f"{memory.name} on {memory.model or 'the model chosen when it runs'}{own}")
        click.echo("\n".join(memory_lines(memory)))


@command.command()
@click.argument("name")
@click.option("--model", metavar="NAME|FILE.gguf", help="The model it runs on.")
@click.option("--persona", type=_TEXT, help="File with what it is and how it speaks.")
@click.option("--human", type=_TEXT, help="File with what it knows about you.")
@click.option("--system", type=_TEXT, help="File with its instructions, in place of the usual ones.")
@click.option("--functions", type=_SETS, help="What it is offered, whatever its model's profile says.")
def create(name: str, model: str | None, functions: str | None, **files: Path | None) -> None:
    """Make an agent."""
    from localmem.memory.core import DEFAULT_BLOCKS
    from localmem.runtime import Options, choose_model, registry_of

    texts = {label: decoded(file.read_bytes(), str(file)) for label, file in files.items() if file}
    if "system" in texts and not texts["system"].strip():
        raise BadInput(f"{files['system']} is empty: an agent needs instructions")
    blocks = [replace(block, value=texts.get(block.label, "").strip()) for block in DEFAULT_BLOCKS]
    with open_home() as home:
        if model is not None:
            model = choose_model(registry_of(home.path), Options(model=model), None).name
        home.create_agent(name, model=model, blocks=blocks, system=texts.get("system"), functions=functions)
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


@command.command()
@click.argument("name")
@click.argument("new")
def copy(name: str, new: str) -> None:
    """Make another agent that is what NAME is now, and goes its own way from there."""
    with open_home() as home:
        home.copy_agent(name, new)
    click.echo(f"{new} is a copy of {name}: talk with it by `localmem chat --agent {new}`", err=True)


@command.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def export(name: str, file: Path | None, force: bool) -> None:
    """Write an agent with all that it holds into one FILE (else NAME.agent, here)."""
    target = click.get_current_context().params["file"] = file or Path(f"{name}.agent")
    with open_home() as home:
        size = home.export_agent(name, target, overwrite=force)
    click.echo(f"{name} is in {target}, {size:,} bytes: `localmem agents import {target}` loads it", err=True)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="What to call it here (else as it was called).")
def import_(file: Path, name: str | None) -> None:
    """Make an agent of an exported FILE, with all that it held."""
    from localmem.errors import UnknownModel
    from localmem.runtime import registry_of

    with open_home() as home:
        memory = home.import_agent(file, name)
        try:
            registry_of(home.path).resolve(memory.model or "")
        except UnknownModel:
            if memory.model:
                note(f"its model {memory.model} is not known here: give another with --model")
    click.echo(f"{memory.name} is here: talk with it by `localmem chat --agent {memory.name}`", err=True)
