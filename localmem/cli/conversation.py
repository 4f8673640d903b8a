"""A conversation: messages and commands go in, turns come out, until the person leaves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from localmem.cli import permission, slash
from localmem.cli.common import decoded, note, whole, wrapped
from localmem.cli.idle import Idle
from localmem.cli.others import watch
from localmem.cli.progress import size
from localmem.cli.turns import Printer, on_ctrl_c, play
from localmem.errors import LocalmemError
from localmem.functions.schema import Function
from localmem.permission import Answer
from localmem.records import Call, Event, EventKind, Item
from localmem.serve.talk import Talk


class Conversation:
    """Reads messages, runs turns and commands, and says in one line what went wrong."""

    def __init__(self, talk: Talk, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._typed = sys.stdin.isatty()
        self._chat = slash.Chat(talk, verbose=verbose, editor=self._typed and sys.stdout.isatty())
        self._idle = Idle(talk.settle)
        self._failed = False
        self._show: Printer | None = None

    def run(self) -> None:
        """Talk until the end of the input; exit code 1 where a piped message failed."""
        note(self._greeting())
        for line in self._chat.talk.state().notices:
            note(line)
        with suppress(slash.Leave):
            if self._typed and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
                self._at_the_prompt()
            else:
                self._line_by_line()
        self._idle.begin()
        self._idle.finish()
        if self._failed and not self._typed:
            click.get_current_context().exit(1)

    def _greeting(self) -> str:
        state = self._chat.talk.state()
        who = f"{state.agent} on {Path(state.model).name}"
        return f"{who}, window {state.report.window:,}, memory {size(state.memory)}. /help for help."

    def _at_the_prompt(self) -> None:
        """Talk in a terminal: the prompt stands while the agent works."""
        from localmem.cli.live import Stage

        stage = Stage(self._chat, self._idle, quiet=self._quiet)
        left = self._unanswered()
        click.echo()
        watch(self._chat.talk)
        try:
            while (line := stage.ask(left)) is not None:
                left = self._command(line)
        finally:
            try:
                stage.close()
            except LocalmemError as error:
                self._fail(error)

    def _line_by_line(self) -> None:
        """Talk through a pipe, or in a terminal that can do nothing but print."""
        if permission.can_ask():
            self._chat.talk.ask_with(self._ask)
        left = self._unanswered()
        if left is not None:
            self._play(left)
        self._play_waiting()
        for line in self._lines():
            self._idle.finish()
            self._take(line)
            self._play_waiting()
            if self._typed:
                self._idle.begin()
                click.echo()

    def _lines(self) -> Iterator[str]:
        if not self._typed:
            for number, line in enumerate(sys.stdin.buffer, 1):
                yield decoded(line, f"line {number} of standard input").rstrip("\r\n")
            return
        while True:
            try:
                yield input("> ")
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                note("Ctrl-D or /exit leaves")

    def _take(self, line: str) -> None:
        """Do what one line asks for."""
        if not line.strip():
            return
        if slash.parse(line):
            items = self._command(line)
            if items is not None:
                self._play(items)
            return
        try:
            event = Event(EventKind.USER, whole(slash.message(line)))
        except LocalmemError as error:
            self._fail(error)
            return
        self._play(self._chat.talk.turn(event))

    def _command(self, line: str) -> Iterator[Item] | None:
        """Run a command, and return the turn that it asks for, if any."""
        turn = None
        name, rest = slash.parse(line) or ("", "")
        try:
            whole(line)
            with on_ctrl_c(signal.default_int_handler):
                for shown in slash.run(self._chat, name, rest):
                    if isinstance(shown, slash.Play):
                        turn = shown.items
                    else:
                        click.echo(wrapped(shown, sys.stdout))
        except LocalmemError as error:
            self._fail(error)
        except KeyboardInterrupt:
            if not self._typed:
                raise
            note("interrupted")
        if self._typed and turn is None:
            click.echo()
        return turn

    def _play_waiting(self) -> None:
        """Play what came while nobody ran the agent: events that were handed in, timers that were missed."""
        if self._chat.talk.state().waits:
            note("Events came meanwhile; running them now")
            self._play(self._chat.talk.catch_up())

    def _play(self, items: Iterator[Item]) -> None:
        """Show a turn where there is no prompt meanwhile."""
        self._show = Printer(quiet=self._quiet, verbose=self._chat.verbose)
        try:
            _, stopped = play(self._chat.talk, items, self._show)
        except LocalmemError as error:
            self._fail(error)
            return
        finally:
            self._chat.count()
        if stopped and not self._typed:
            raise KeyboardInterrupt
        if stopped:
            note("interrupted")

    def _fail(self, error: LocalmemError) -> None:
        self._failed = True
        click.echo(f"localmem: {error}", err=True)

    def _ask(self, call: Call, function: Function) -> Answer:
        """Ask the person whether a function may run; Ctrl-C is a no that ends the turn."""
        if self._show is not None:
            self._show.pause()
        try:
            with on_ctrl_c(signal.default_int_handler):
                return permission.ask(call, function)
        except KeyboardInterrupt:
            note("interrupted")
            self._chat.talk.interrupt()
            return Answer.NO

    def _unanswered(self) -> Iterator[Item] | None:
        """Return the turn that a process that was killed left open, if there is one."""
        if not self._chat.talk.state().unfinished:
            return None
        note("The last message was not answered (localmem stopped in the middle); answering it now")
        return self._chat.talk.resume()
