"""A conversation at the terminal: messages and commands go in, turns come out, until the person leaves."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from localmem.cli import permission, slash
from localmem.cli.common import decoded, note, whole, wrapped
from localmem.cli.idle import Idle
from localmem.cli.turns import Printer, nothing, on_ctrl_c, play
from localmem.errors import LocalmemError
from localmem.functions.schema import Function
from localmem.permission import Answer
from localmem.records import Call, Event, EventKind, Item
from localmem.serve.talk import Talk


class Conversation:
    """Reads messages, runs turns and commands, and says in one line what went wrong."""

    def __init__(self, talk: Talk, *, quiet: bool = False, verbose: bool = False) -> None:
        self._talk, self._quiet, self._verbose = talk, quiet, verbose
        self._interactive = sys.stdin.isatty()
        self._idle = Idle(talk.settle)
        self._failed = False
        self._show: Printer | None = None
        if permission.can_ask():
            talk.ask_with(self._ask)

    def run(self) -> None:
        """Talk until the end of the input; exit code 1 where a piped message failed."""
        note(self._greeting())
        for line in self._talk.state().notices:
            note(line)
        with self._terminal(), suppress(slash.Leave):
            self._resume()
            self._catch_up()
            for line in self._lines():
                self._idle.finish()
                self._take(line)
        self._idle.begin()
        self._idle.finish()
        if self._failed and not self._interactive:
            click.get_current_context().exit(1)

    @contextmanager
    def _terminal(self) -> Iterator[None]:
        """Between prompts a terminal echoes nothing, and Ctrl-C does nothing outside a turn or a command."""
        if not self._interactive:
            yield
            return
        from localmem.cli.terminal import unechoed

        with unechoed(), on_ctrl_c(nothing):
            yield

    def _greeting(self) -> str:
        state = self._talk.state()
        who = f"{state.agent} on {Path(state.model).name}"
        return f"{who}, window {state.report.window:,} tokens. /help shows the commands."

    def _lines(self) -> Iterator[str]:
        if not self._interactive:
            for number, line in enumerate(sys.stdin.buffer, 1):
                yield decoded(line, f"line {number} of standard input").rstrip("\r\n")
            return
        from localmem.cli.terminal import Prompt

        prompt = Prompt(self._talk.home)
        self._idle.begin()
        while (line := prompt.ask(self._status())) is not None:
            yield line
            self._idle.begin()
            click.echo()

    def _take(self, line: str) -> None:
        """Do what one line asks for."""
        if not line.strip():
            return
        try:
            asked = slash.parse(whole(line))
            if asked is not None:
                self._command(*asked)
            else:
                text = line[1:] if line.startswith("//") else line
                self._play(self._talk.turn(Event(EventKind.USER, text)))
                self._catch_up()
        except LocalmemError as error:
            self._failed = True
            click.echo(f"localmem: {error}", err=True)

    def _command(self, name: str, rest: str) -> None:
        if name == "exit":  # of this terminal, wherever the agent is awake
            raise slash.Leave
        try:
            with on_ctrl_c(signal.default_int_handler):
                for shown in self._talk.slash(name, rest):
                    click.echo(wrapped(shown, sys.stdout))
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            note("interrupted")

    def _play(self, items: Iterator[Item]) -> None:
        show = Printer(quiet=self._quiet, verbose=self._verbose)
        self._show = show
        _, stopped = play(self._talk, items, show)
        if stopped and not self._interactive:
            raise KeyboardInterrupt
        if stopped:
            note("interrupted")

    def _ask(self, call: Call, function: Function) -> Answer:
        """Ask the person whether a function may run; Ctrl-C is a no that ends the turn."""
        if self._show is not None:
            self._show.pause()
        try:
            with on_ctrl_c(signal.default_int_handler):
                return permission.ask(call, function)
        except KeyboardInterrupt:
            note("interrupted")
            self._talk.interrupt()
            return Answer.NO

    def _resume(self) -> None:
        """Answer what a process that was killed left unanswered."""
        if not self._talk.state().unfinished:
            return
        note("The last message was not answered (localmem stopped in the middle); answering it now")
        try:
            self._play(self._talk.resume())
        except LocalmemError as error:
            click.echo(f"localmem: {error}", err=True)

    def _catch_up(self) -> None:
        """Run what came while nobody ran the agent: events that were handed in, timers that were missed."""
        if not self._talk.state().waits:
            return
        note("Events came meanwhile; running them now")
        try:
            self._play(self._talk.catch_up())
        except LocalmemError as error:
            click.echo(f"localmem: {error}", err=True)

    def _status(self) -> tuple[str, ...]:
        """Return the status line in shorter and shorter forms, for terminals of any width."""
        state = self._talk.state()
        use = f"{state.report.used:,}/{state.report.window:,} tokens · core {state.core:.0%}"
        who, model = state.agent, Path(state.model).name
        return f" {who} · {model} · {use}", f" {who} · {use}", f" {use}"
