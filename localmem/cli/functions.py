"""`localmem functions`: what the model may call, who has it, and what it was permitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localmem.cli.common import agent_option, as_json, home_folder, open_home, to_json
from localmem.errors import UsageError

if TYPE_CHECKING:
    from localmem.functions.own import Library
    from localmem.functions.schema import Function


@click.group()
def command() -> None:
    """List, check, add, remove or permit functions that the model may call.

    A function of your own is a typed Python function in a file; `add` copies the file into the home.
    """


@command.command("list")
@as_json
def list_(json_: bool) -> None:
    """List the functions: where each comes from, what it touches, who has it and who permitted it."""
    from localmem.cli.views import table
    from localmem.functions.shelf import library

    found = library(home_folder())
    with open_home() as home:
        choices = {row.name: home.agent(row.name).choices for row in home.agents()}
        given = {name: each.names() for name, each in choices.items()}
        permits = {name: each.permits() for name, each in choices.items()}
    rows = [_row(function, given, permits) for function in found.functions]
    if json_:
        click.echo(to_json({"functions": rows, "refused": _refused(found)}))
        return
    head = ("NAME", "FROM", "TOUCHES", "SETS", "GIVEN TO", "PERMITTED TO")
    click.echo("\n".join(table(head, map(_cells, rows))))
    _say_refused(found)


def _row(
    function: Function, given: Mapping[str, Sequence[str]], permits: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    from localmem.functions.standard import SETS

    asks = bool(function.touches)
    return {
        "name": function.name,
        "doc": " ".join(function.doc.split()),
        "signature": function.signature(),
        "from": function.origin,
        "touches": function.touches or ("memory" if function.desk else ""),
        "asks": asks,
        "sets": [name for name, pythons in SETS.items() if function.name in {p.__name__ for p in pythons}],
        "given_to": [agent for agent, names in given.items() if function.name in names],
        "permitted_to": [
            agent for agent, held in permits.items() if asks and held.get(function.name) == function.digest
        ],
    }


def _cells(row: Mapping[str, object]) -> Sequence[str]:
    def joined(key: str) -> str:
        names = row[key]
        return ", ".join(map(str, names)) if isinstance(names, list) and names else "-"

    permitted = joined("permitted_to") if row["asks"] else ""
    return (
        *(str(row["name"]), str(row["from"]), str(row["touches"] or "nothing")),
        *(joined("sets"), joined("given_to"), permitted),
    )


@command.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def check(files: tuple[Path, ...], json_: bool) -> None:
    """Say what FILES hold, and the line and the reason of what is wrong. Without FILES: all of your shelf.

    The files are run to read them. Exit code 1 where something is refused.
    """
    from localmem.functions import shelf

    found = shelf.judged(home_folder(), files)
    if json_:
        rows = [
            {"name": f.name, "signature": f.signature(), "doc": f.doc, "touches": f.touches, "from": f.origin}
            for f in found.functions
        ]
        click.echo(to_json({"functions": rows, "refused": _refused(found)}))
    else:
        for function in found.functions:
            click.echo(f"{function.signature()}  ({function.origin})")
            click.echo(f"  {' '.join(function.doc.split())}")
            if function.touches:
                click.echo(f"  {function.touches}: asks first")
        if not found.functions and not found.refused:
            click.echo(f"there are no functions of your own in {home_folder() / shelf.FOLDER}", err=True)
        _say_refused(found)
    if found.refused:
        raise click.exceptions.Exit(1)


@command.command()
@click.argument("what", nargs=-1, required=True, metavar="FILE.py|NAME...")
@agent_option
@as_json
def add(what: tuple[str, ...], agent: str, json_: bool) -> None:
    """Give an agent functions: those of a Python file, which is copied into the home, or any by NAME."""
    from localmem.functions import shelf
    from localmem.runtime import memory_of

    with open_home() as home:
        memory = memory_of(home, agent)
        names = [name for one in what for name in shelf.add(home.path, one)]
        memory.choices.add(names)
        found = shelf.library(home.path)
    _told(agent, names, json_, f"{agent} has {', '.join(names)}")
    for made in (found.find(name) for name in names):
        if made is not None and made.touches and not json_:
            click.echo(
                f"{made.name} {made.touches}: the chat asks first; elsewhere it is refused until "
                f"`localmem functions permit {made.name} --agent {agent}`",
                err=True,
            )


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME|FILE.py...")
@agent_option
@as_json
def remove(names: tuple[str, ...], agent: str, json_: bool) -> None:
    """Take functions from an agent, with their permission; a FILE.py is deleted from the home."""
    from localmem.functions import shelf

    with open_home() as home:
        choices = home.agent(agent).choices
        held = {*choices.names(), *choices.permits()}
        if strange := [name for name in names if not name.endswith(".py") and name not in held]:
            raise UsageError(
                f"{agent} was not given {strange[0]}; it was given {', '.join(sorted(held)) or 'none'}"
            )
        gone = [name for one in names for name in shelf.named(home.path, one)]
        for row in home.agents():
            if row.name == agent or any(name.endswith(".py") for name in names):
                home.agent(row.name).choices.remove(gone)
        shelf.delete(home.path, names)
    _told(agent, gone, json_, f"{', '.join(gone) or 'nothing'} removed")


@command.command()
@click.argument("name")
@agent_option
@click.option("--ask", "ask_again", is_flag=True, help="Take the permission back: it asks again.")
@as_json
def permit(name: str, agent: str, ask_again: bool, json_: bool) -> None:
    """Let a function touch what it touches without asking, until its code changes."""
    from localmem.functions import shelf

    with open_home() as home:
        memory = home.agent(agent)
        if ask_again:
            if name not in memory.choices.permits():
                permitted = ", ".join(memory.choices.permits()) or "none"
                raise UsageError(f"{name} has no permission; those that have: {permitted}")
            memory.choices.ask_again(name)
            _told(agent, [name], json_, f"{name} asks again")
            return
        made = shelf.to_permit(home.path, name)
        memory.choices.permit(name, made.digest)
    _told(agent, [name], json_, f"{agent} may use {name} without asking: it {made.touches}")


def _told(agent: str, names: Sequence[str], json_: bool, text: str) -> None:
    if json_:
        click.echo(to_json({"agent": agent, "functions": list(names)}))
    else:
        click.echo(text, err=True)


def _refused(found: Library) -> list[dict[str, object]]:
    return [{"file": each.where, "line": each.line, "reason": each.reason} for each in found.refused]


def _say_refused(found: Library) -> None:
    for line in _lines(found):
        click.echo(line, err=True)


def _lines(found: Library) -> Iterator[str]:
    return (f"refused: {refusal}" for refusal in found.refused)
