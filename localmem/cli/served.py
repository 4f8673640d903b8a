"""Commands of other processes, run in this one: on its home, with their output caught and sent back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from localmem.errors import UsageError

if TYPE_CHECKING:
    from localmem.memory.home import Home
    from localmem.serve.client import Client

Show = Callable[[str, str], object]
"""Takes "out" or "err", and what was written there."""

_SHOW: ContextVar[Show | None] = ContextVar("show", default=None)
_HOME: ContextVar[Home | None] = ContextVar("home", default=None)


def home_here() -> Home | None:
    """Return the home that this process serves, inside a command that it runs for another one."""
    return _HOME.get()


def refuse_there(why: str) -> None:
    """Raise UsageError inside a command that is run for another process, where it cannot be done."""
    if _HOME.get() is not None:
        raise UsageError(f"not through `localmem run`, {why}")


def forward(client: Client) -> None:
    """Run the command that is being run here in the process that serves the home instead. Raises Exit.

    What it was given goes there as it was parsed, with paths made absolute: it may not ask or edit in a terminal.
    """
    context = click.get_current_context()
    words = context.command_path.split()[1:]
    given = {name: _sent(name, value) for name, value in context.params.items()}
    code = client.command(words, given, _print)
    raise click.exceptions.Exit(code)


@contextmanager
def run_here(home: Home) -> Iterator[Callable[[list[str], Mapping[str, Any], Show], int]]:
    """Yield what runs a command for another process. Meanwhile there is nobody at standard input."""
    streams = sys.stdin, sys.stdout, sys.stderr

    def run(words: list[str], given: Mapping[str, Any], show: Show) -> int:
        from localmem.cli.main import outcome

        home_token, show_token = _HOME.set(home), _SHOW.set(show)
        try:
            return outcome(lambda: _invoke(home.path, words, given))
        finally:
            _HOME.reset(home_token)
            _SHOW.reset(show_token)

    with open(os.devnull, encoding="utf-8") as nothing:
        sys.stdin = nothing
        sys.stdout = cast(TextIO, _Routed("out", sys.stdout))
        sys.stderr = cast(TextIO, _Routed("err", sys.stderr))
        try:
            yield run
        finally:
            sys.stdin, sys.stdout, sys.stderr = streams


def _invoke(home: Path, words: Sequence[str], given: Mapping[str, Any]) -> None:
    """Run a command by its names, with parameters that were parsed already."""
    from localmem.cli.main import main

    command: click.Command = main
    context = click.Context(main, info_name="localmem", obj=home, color=False)
    for word in words:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            raise UsageError(f"`localmem run` knows no command {' '.join(words)!r}")
        command, context = found, click.Context(found, parent=context, info_name=word)
    parameters = {parameter.name: parameter for parameter in command.params}
    if command.callback is None or set(given) - set(parameters):
        raise UsageError(f"`localmem run` knows no command {' '.join(words)!r} with {', '.join(given)}")
    context.params = {name: parameters[name].type_cast_value(context, value) for name, value in given.items()}
    with context:
        context.invoke(command.callback, **context.params)


OWN = [("/", "dev", name) for name in ("stdin", "stdout", "stderr", "fd", "tty")]
"""Where paths begin that are a process's own."""

NAME_OR_FILE = ("model", "what")
"""Parameters that are a file where there is one of that name, and else a name."""


def _sent(name: str, value: object) -> object:
    """Return a parameter as it goes over the wire. Raises UsageError for what cannot."""
    if isinstance(value, Path):
        if value.absolute().parts[:2] == ("/", "proc") or value.absolute().parts[:3] in OWN:
            raise UsageError(
                f"{value} is not the same in `localmem run`: give a file, or stop that process first"
            )
        return str(value.absolute())
    if isinstance(value, str) and name in NAME_OR_FILE and Path(value).is_file():
        return str(Path(value).absolute())
    if isinstance(value, tuple | list):
        return [_sent(name, one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise UsageError("this command does not go through `localmem run`: stop that process first")


def _print(stream: str, text: str) -> None:
    click.echo(text, nl=False, err=stream == "err")


class _Routed:
    """Standard output or error: what a served command writes goes to who asked for it, the rest where it went."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream = name, stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("text is written here, no bytes")
        show = _SHOW.get()
        if show is None:
            return self._stream.write(text)
        show(self._name, text)
        return len(text)

    def flush(self) -> None:
        if _SHOW.get() is None:
            self._stream.flush()

    def isatty(self) -> bool:
        return _SHOW.get() is None and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
