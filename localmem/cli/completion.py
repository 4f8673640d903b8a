"""Shell completion: the script for a shell, and the names of agents, models, archives, blocks and functions."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # not generic in older versions of click

VARIABLE = "_LOCALMEM_COMPLETE"
"""Set by the shell when it asks; the words so far come with it."""

_LINES = {
    "bash": ("~/.bashrc", 'eval "$(localmem completion bash)"'),
    "zsh": ("~/.zshrc, after compinit", 'eval "$(localmem completion zsh)"'),
    "fish": ("~/.config/fish/config.fish", "localmem completion fish | source"),
}


@click.command()
@click.argument("shell", type=click.Choice(list(_LINES)))
def command(shell: str) -> None:
    """Print the script that lets a shell complete localmem's commands and names."""
    found = get_completion_class(shell)
    assert found is not None
    made = found(click.get_current_context().find_root().command, {}, "localmem", VARIABLE)
    where, line = _LINES[shell]
    click.echo(f"# in {where}:  {line}")
    click.echo(made.source_template % made.source_vars())


class Named(_Type):
    """The type of a parameter that stands for something with a name; what it converts to is that of another type."""

    def __init__(self, names: Callable[[click.Context], Iterator[str]], other: click.ParamType[Any]) -> None:
        self.name = other.name
        self._names, self._other = names, other

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._other.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin so, and what the other type would; never an error."""
        try:
            found = sorted({name for name in self._names(ctx) if name.startswith(incomplete)})
        except Exception:  # a shell that completes shows no errors
            found = []
        return [*map(CompletionItem, found), *self._other.shell_complete(ctx, param, incomplete)]


def equipped(command: click.Command, path: tuple[str, ...]) -> click.Command:
    """Return a command whose parameters know the names that they may be; `path` are the words that lead to it."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            equipped(below, (*path, name))
    for parameter in command.params:
        names = _names_for(path, parameter)
        if names is not None:
            parameter.type = Named(names, parameter.type)
    return command


def _names_for(
    path: tuple[str, ...], parameter: click.Parameter
) -> Callable[[click.Context], Iterator[str]] | None:
    """Return what names a parameter may be, by what it is called and where it stands; None for anything else."""
    options = set(parameter.opts)
    group, name = path[0], parameter.name or ""
    new = path[-1] in ("create", "import", "new")  # a name that must not be there yet
    if "--archive" in options or (group == "archives" and name == "name" and not new):
        return _archives
    if "--model" in options or (group == "models" and name in ("name", "names") and path[-1] != "add"):
        return _models
    if options & {"--agent", "--with", "--from", "--to"} or name in ("agent", "other", "old"):
        return _agents
    if group == "agents" and name in ("name", "names") and not new:
        return _agents
    if name == "label":
        return _labels
    if group == "functions" and name in ("name", "names", "what"):
        return _functions
    if path == ("bench", "run") and name == "tasks":
        return _tasks
    return None


def _home(ctx: click.Context) -> Path:
    given = ctx.find_root().params.get("home")
    if given is not None:
        return Path(given).expanduser()
    from localmem.memory.home import default_home

    return default_home()


def _agents(ctx: click.Context) -> Iterator[str]:
    from localmem.memory import names

    yield from names.read(_home(ctx)).agents


def _archives(ctx: click.Context) -> Iterator[str]:
    from localmem.memory import names

    yield from names.read(_home(ctx)).archives


def _labels(ctx: click.Context) -> Iterator[str]:
    """Yield the blocks of the agent that the line names, else of all: an option may still come."""
    from localmem.memory import names

    blocks: Mapping[str, Any] = names.read(_home(ctx)).blocks
    source = ctx.get_parameter_source("agent")
    given = ctx.params.get("agent") if source is click.core.ParameterSource.COMMANDLINE else None
    for agent, labels in blocks.items():
        if given in (None, agent):
            yield from labels


def _models(ctx: click.Context) -> Iterator[str]:
    from localmem.runtime import registry_of

    yield from (profile.name for profile in registry_of(_home(ctx)))


def _functions(ctx: click.Context) -> Iterator[str]:
    """Yield the names of functions; the files of the home are read and not run."""
    from localmem.functions.shelf import files
    from localmem.functions.shipped import SHIPPED
    from localmem.functions.standard import SETS

    yield from (python.__name__ for python in SHIPPED)
    if ctx.command.name == "add":
        yield from (python.__name__ for python in SETS["full"])
    for file in files(_home(ctx)):
        yield file.name
        nodes = ast.parse(file.read_bytes()).body
        yield from (n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.name[0] != "_")


def _tasks(ctx: click.Context) -> Iterator[str]:
    from localmem.bench import tasks

    yield from ("all", "letta", *tasks.NAMES)


def answer(main: click.Group) -> None:
    """Answer the shell that asks, and print nothing else, whatever happens."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    try:
        main.main(prog_name="localmem", complete_var=VARIABLE)
    except BaseException:  # a shell that completes shows no errors
        pass
