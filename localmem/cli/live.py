"""A chat in a terminal: the agent works through its queue of events while the prompt stands."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import cast

import click

from localmem.cli import permission, slash
from localmem.cli.common import note, whole
from localmem.cli.idle import Idle
from localmem.cli.offers import Commands
from localmem.cli.reply import Live
from localmem.cli.terminal import Prompt, unechoed
from localmem.cli.turns import Printer, came_from_outside, nothing, on_ctrl_c
from localmem.cli.views import speed
from localmem.errors import LocalmemError
from localmem.functions.schema import Function
from localmem.kernel.arrival import refuse_unusable
from localmem.permission import Answer
from localmem.records import Call, Event, EventKind, Item
from localmem.serve.worker import RETRY


class Stage:
    """Where a conversation takes place in a terminal: a prompt, and the status line under it."""

    def __init__(self, chat: slash.Chat, idle: Idle, *, quiet: bool) -> None:
        self.chat, self.idle, self._quiet = chat, idle, quiet
        self.prompt = Prompt(chat.talk.home, Commands(chat), self._status)
        self._out = Live(
            self.prompt.above, lambda: self.prompt.columns, plain=bool(os.environ.get("NO_COLOR"))
        )
        self.said: deque[Event] = deque()
        """What was said and not handed in yet: where the agent is awake in another process, a turn at a time is."""
        self._state = chat.talk.state()
        self._report = self._state.report
        self._rate = ""

    def ask(self, left: Iterator[Item] | None = None) -> str | None:
        """Return the command that is entered next, None for leaving.

        Meanwhile the agent works: at a turn that was `left` open, at what is said, at timers.
        """
        self._refresh()
        self.chat.talk.ask_with(self._permit)
        with unechoed(), on_ctrl_c(nothing):
            return self.prompt.ask(Attendance(self, left))

    def close(self) -> None:
        """Hand in what was said while the agent was at work: it is answered later."""
        while self.said:
            self.chat.talk.hand_in(self.said.popleft())

    def begin(self) -> None:
        """Show that the agent is at work."""
        self._out.busy("thinking")

    def rest(self) -> None:
        """Show that it is done."""
        click.echo()
        self._out.rest()

    def play(self, items: Iterator[Item]) -> None:
        """Show a turn. Raises what the turn raises."""
        turn = cast("Generator[Item, None, None]", items)
        show = Printer(self._out, quiet=self._quiet, verbose=self.chat.verbose)
        try:
            with closing(turn), show:
                for item in turn:
                    show(item)
                    if isinstance(item, Call):
                        self._rate = speed(item.usage) or self._rate
                        if self.chat.here:
                            self._report = self.chat.session.agent.report()
        finally:
            self.chat.count()
            self._refresh()

    def _refresh(self) -> None:
        """See anew how the agent stands."""
        with suppress(LocalmemError):  # a service that is gone is told of where it is needed
            self._state = self.chat.talk.state()
            self._report = self._state.report

    def _permit(self, call: Call, function: Function) -> Answer:
        question = f"{permission.question(call, function)}\n{permission.CHOICE}"
        return permission.answer(self.prompt.question(question))

    def _status(self) -> Sequence[str]:
        """Return the status line in shorter and shorter forms, for terminals of any width."""
        report = self._report
        parts = report.sections
        fixed = parts["system"] + parts["functions"]
        used = f"{report.used:,}/{report.window:,} tokens"
        core, queue = f"core {parts['core']:,}", f"queue {parts['queue']:,}"
        summary = f"summary {parts['summary']:,}"
        who, model = self._state.agent, Path(self._state.model).name
        doing, rate = self._doing(), f" · {self._rate}" if self._rate else ""
        return (
            f" {doing}{who} · {model} · {used}: system {fixed:,} · {core} · {summary} · {queue}{rate}",
            f" {doing}{who} · {model} · {used} · {core} · {queue}{rate}",
            f" {doing}{who} · {used} · {core} · {queue}{rate}",
            f" {doing}{used} · {core}{rate}",
            f" {doing}{used}",
        )

    def _doing(self) -> str:
        if not self._out.doing:
            return ""
        seconds = int(time.monotonic() - self._out.since)
        return f"{self._out.doing} ...{f' {seconds} s' if seconds else ''} · "


class Attendance:
    """The work while the prompt stands: one event after the other, and in between what idle time is for."""

    def __init__(self, stage: Stage, left: Iterator[Item] | None) -> None:
        self._stage, self._left = stage, left
        self._chat = stage.chat
        self._busy = left is not None
        self._over = threading.Event()
        self._stopped = False
        self._failed = 0, 0.0

    def run(self) -> None:
        """Play what was left open, then events as they come, until a command was entered or the person leaves."""
        if self._left is not None:
            self._play(self._left)
        while not self._over.is_set():
            event = self._stage.said.popleft() if self._stage.said else self._chat.next_event()
            if event is None or self._failed_just_now(event):
                self._rest()
                continue
            self._stage.begin()
            self._stage.idle.finish()
            if event.kind is EventKind.USER:
                self._stage.prompt.echo(event.text)
            else:
                note(came_from_outside(event))
            if not self._play(self._chat.talk.turn(event)):
                self._failed = event.ticket, time.monotonic()

    def _failed_just_now(self, event: Event) -> bool:
        """Return whether the turn of an event could not begin a moment ago (a full disk, say): it waits a while."""
        ticket, when = self._failed
        return 0 < event.ticket == ticket and time.monotonic() - when < RETRY

    def heard(self, text: str) -> bool:
        """Take a message to the agent, which ends its turn for it; return False for a command, which waits."""
        if slash.parse(text) is not None:
            self._over.set()
            return False
        try:
            self._submit(Event(EventKind.USER, whole(slash.message(text))))
            if self._busy:
                self._stage.prompt.waiting.append(text)
        except LocalmemError as error:
            self._stage.prompt.echo(text)
            click.echo(f"localmem: {error}\n", err=True)
        return True

    def stop(self) -> bool:
        """End the turn and keep what was said; return False where there is none."""
        if not self._busy:
            return False
        self._stopped = True
        with suppress(LocalmemError):  # of a service that is gone the turn tells itself
            self._chat.talk.interrupt()
        return True

    def leave(self) -> None:
        """End as soon as the turn under way has been stopped; what waits in the queue stays there."""
        self._over.set()
        self.stop()

    def _play(self, items: Iterator[Item]) -> bool:
        """Show a turn, and say in a line what went wrong or that it was stopped; return whether all went well."""
        self._busy, self._stopped, well = True, False, True
        self._stage.prompt.waiting.clear()
        try:
            self._stage.play(items)
        except LocalmemError as error:
            click.echo(f"localmem: {error}", err=True)
            well = False
        self._busy = False
        if self._stopped or self._stage.prompt.waiting:
            note("interrupted")
        self._stage.rest()
        return well

    def _rest(self) -> None:
        """Index new passages and wait until something is said, a timer is due or a command was entered."""
        self._stage.idle.begin()
        if self._chat.here is None:
            while not self._over.is_set() and not self._stage.said:
                self._over.wait(0.05)
            return
        inbox = self._chat.session.memory.inbox
        due = inbox.next_due()
        while not self._over.is_set() and not inbox.wait(0.05):
            if due is not None and datetime.now().astimezone() >= due:
                return

    def _submit(self, event: Event) -> None:
        """Hand in what a person says: to the agent's queue here, or for the process in which it is awake."""
        self._failed = 0, 0.0
        if self._chat.here is not None:
            self._chat.session.agent.submit(event)
            return
        refuse_unusable(event)
        self._stage.said.append(event)
        if self._busy:
            with suppress(LocalmemError):  # of a service that is gone the turn tells itself
                self._chat.talk.interrupt()
