"""`localmem run`: owns the home, runs all agents until stopped, and serves the other commands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from localmem.cli.common import loading, model_options, note, one_line, open_home
from localmem.cli.progress import size
from localmem.cli.screen import Status

if TYPE_CHECKING:
    from localmem.records import Event
    from localmem.serve.service import Service
    from localmem.serve.wire import End


@click.command()
@model_options
@click.option(
    "--together",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Agents in a model's cache at once.",
)
@click.option("--verbose", is_flag=True, help="A line for each turn.")
def command(verbose: bool, **asked: Any) -> None:
    """Run all agents, their events and timers, until stopped; serve the other commands.

    Meanwhile `chat`, `ask`, `memory` and the rest go through this process, over a socket in the home that only
    you may open. Ctrl-C or SIGTERM stops it: what was said is kept, what waits is done at the next start.
    """
    from localmem.cli import slash
    from localmem.cli.served import run_here
    from localmem.runtime import Options
    from localmem.serve.server import Server
    from localmem.serve.service import Service

    with open_home(served=False) as home, _signals() as came:
        status = Status()
        service = Service(
            home,
            Options(**asked),
            loading=lambda models, profile: loading(home.path, models, profile, status),
            told=_turn if verbose else _failure,
        )
        with run_here(home) as run:
            server = Server(service, run, slash.lines)
            server.start()
            try:
                service.start()
                for line in _opening(service, server):
                    note(line)
                came.stopped.wait()
            finally:
                with suppress(OSError):  # the terminal may be gone
                    note("stopping ...")
                try:
                    server.stop()
                finally:
                    service.close()
    if came.number == signal.SIGINT:
        raise click.exceptions.Exit(130)


class _Came:
    def __init__(self) -> None:
        self.number, self.stopped = 0, threading.Event()


@contextmanager
def _signals() -> Iterator[_Came]:
    """Yield what Ctrl-C, SIGTERM and the end of the terminal set; a second Ctrl-C breaks off."""
    came = _Came()

    def on_signal(number: int, frame: FrameType | None) -> None:
        came.number = number
        came.stopped.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in every if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    before = [signal.signal(number, on_signal) for number in heard]
    try:
        yield came
    finally:
        for number, handler in zip(heard, before, strict=True):
            signal.signal(number, handler)


def _opening(service: Service, server: object) -> Iterator[str]:
    from localmem.cli.views import when
    from localmem.runtime import choose_model, plan_memory, registry_of
    from localmem.serve.address import socket_of

    home = service.home
    registry = registry_of(home.path)
    profile = choose_model(registry, service.options, None)
    plan = plan_memory(registry, profile, service.options)
    held = f"{plan.agents} agent{'' if plan.agents == 1 else 's'} at once"
    yield f"localmem run: home {home.path}"
    yield f"  socket  {socket_of(home.path)}, for you alone"
    yield f"  agents  {', '.join(row.name for row in home.agents()) or 'none yet: the first message makes one'}"
    yield f"  model   {profile.name}, for agents without one of their own; loaded when it is needed"
    yield f"  memory  {size(plan.need)}: {held}, each with a window of {plan.window:,} tokens"
    due = service.next_due()
    yield f"  timer   {f'next at {when(due)}' if due else 'none'}"
    yield "Ctrl-C stops it; chat, ask and the other commands go through it meanwhile."


def _turn(agent: str, event: Event | None, end: End) -> None:
    if event is not None:
        cost = f"{end.usage.completion_tokens} tokens, {end.usage.seconds:.1f} s"
        note(f"{agent} · {event.kind.value} · {one_line(event.text, 60)} · {cost}")
    _failure(agent, event, end)


def _failure(agent: str, event: Event | None, end: End) -> None:
    if end.error:
        note(f"{agent} failed: {end.message}")
