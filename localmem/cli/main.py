"""The `localmem` command: parses, calls the library, prints. Commands are imported when asked for."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localmem import __version__
from localmem.errors import LocalmemError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMPLETE = "_LOCALMEM_COMPLETE"
"""In the environment where a shell asks how a line may go on."""

COMMANDS = {
    "chat": ("localmem.cli.chat", "Talk with an agent in the terminal."),
    "ask": ("localmem.cli.ask", "One turn: print the reply and leave."),
    "run": ("localmem.cli.run", "Run all agents until stopped; the other commands go through it."),
    "agents": ("localmem.cli.agents", "List, show, create, copy, export or delete agents."),
    "memory": ("localmem.cli.memory", "Look into an agent's memory, or edit it."),
    "load": ("localmem.cli.load", "Load documents: text, Markdown, HTML, PDF, DOCX, JSONL."),
    "archives": ("localmem.cli.archives", "Named archives of documents, shared by agents."),
    "timers": ("localmem.cli.timers", "Add, list or remove what wakes an agent at its time."),
    "models": ("localmem.cli.models", "List, fetch, verify or add models."),
    "functions": ("localmem.cli.functions", "What the model may call: list, add, permit."),
    "bench": ("localmem.cli.bench", "Run memory benchmarks on a model, and report them."),
    "replay": ("localmem.cli.replay", "Decode a turn again: why a model said what it said."),
    "doctor": ("localmem.cli.doctor", "Say what works here, and mend what does not."),
    "paths": ("localmem.cli.paths", "Say where everything lies."),
    "completion": ("localmem.cli.completion", "Let the shell complete commands and names."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it runs, so that --help costs no heavy import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        if COMPLETE in os.environ:
            from localmem.cli.completion import equipped

            return equipped(command, (cmd_name,))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, none of them imported; options too."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [item for item in found if item.value.startswith(incomplete)] + options

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="localmem")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="LOCALMEM_HOME",
    help="Folder with the store, the models and the settings.  [env: LOCALMEM_HOME]",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def main(ctx: click.Context, home: Path | None, debug: bool) -> None:
    """A memory for a language model on this machine, without internet.

    Exit codes: 0 done, 1 the work failed, 2 bad usage, 130 interrupted.
    """
    try:
        ctx.obj = home.expanduser().absolute() if home else None
    except RuntimeError as error:
        raise UsageError(f"{home}: there is no such user here") from error
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False


def run() -> None:
    """Run the command line; turn errors into one line on standard error and their exit code."""
    _stand_in_for_closed_streams()
    if COMPLETE in os.environ:
        from localmem.cli.completion import answer

        answer(main)
        sys.exit(0)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a reply may hold what this terminal cannot show
    try:
        sys.exit(outcome(lambda: main.main(prog_name="localmem", standalone_mode=False)))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _stand_in_for_closed_streams() -> None:
    """Put nothing in the place of standard streams that were closed: else the store would get their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def outcome(work: Callable[[], object]) -> int:
    """Run a command; say in one line what went wrong, and return its exit code. Raises BrokenPipeError."""
    try:
        code = work()
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        if not isinstance(error, LocalmemError | OSError) and any(map(_is_broken, sys.argv)):
            error = UsageError("a word of this line is not UTF-8: check the terminal's locale")
        click.echo(f"localmem: {_explained(error)}", err=True)
        return error.exit_code if isinstance(error, LocalmemError) else 1
    return code if isinstance(code, int) else 0


def _is_broken(word: str) -> bool:
    """Return whether a word came as bytes that are no text; a path may be such."""
    return any("\ud800" <= character <= "\udfff" for character in word)


def _explained(error: Exception) -> str:
    """Return what happened, on one line."""
    line = " ".join(str(error).split())
    if isinstance(error, LocalmemError):
        return line
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "the disk is full: free some space and try again" if full else f"the system refused: {line}"
    return f"this is a bug ({type(error).__name__}: {line[:200]}); nothing acknowledged is lost; --debug shows more"
