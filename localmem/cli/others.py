"""What else happens to an agent while a person talks with it: other terminals, timers, documents."""

from __future__ import annotations

import threading
from contextlib import suppress

import click

from localmem.answer import Answer
from localmem.cli.common import one_line, safe
from localmem.cli.screen import columns, dim
from localmem.errors import ServerGone
from localmem.records import Event, EventKind
from localmem.serve.talk import Talk
from localmem.serve.wire import Begin, End

_WHO = {EventKind.USER: "another terminal"}


def watch(talk: Talk) -> None:
    """Show from now on, whole and one after the other, the turns that others begin."""
    threading.Thread(target=_show, args=(talk,), name="others", daemon=True).start()


def _show(talk: Talk) -> None:
    answer, asked = Answer(), ""
    with suppress(ServerGone):  # the next message says so
        for frame in talk.others():
            match frame:
                case Begin():
                    answer, asked = Answer(), ""
                case Event(kind=EventKind.LOGIN | EventKind.ALERT | EventKind.MEMORY):
                    pass
                case Event(kind=kind, text=text):
                    asked = one_line(f"{_WHO.get(kind, kind.value)}: {text}", columns() - 3)
                case End():
                    if asked or answer.reply:
                        click.echo(f"{dim(f'· {asked}')}\n{safe(answer.reply)}\n")
                case _:
                    answer.add(frame)
