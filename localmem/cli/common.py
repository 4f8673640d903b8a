"""What the commands share: options, the open home, a model made ready, text that is safe to show."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from localmem.cli.models import as_json, fetch_model, home_folder
from localmem.cli.screen import Status, columns, dim
from localmem.errors import BadInput, HomeInUse, ServerGone, UsageError
from localmem.runtime import registry_of

if TYPE_CHECKING:
    from localmem.memory.home import Home
    from localmem.memory.memory import Memory
    from localmem.processor.profile import Profile
    from localmem.processor.registry import Registry
    from localmem.serve.client import Client
    from localmem.serve.talk import State, Talk
    from localmem.session import Session

__all__ = ["as_json", "home_folder"]

STARTING = 5.0
"""Seconds that a process which is to serve the home gets for its first breath."""

_AGENT = click.option("--agent", default="default", show_default=True, help="Which agent.")

_ENGINE = (
    click.option("--cache", type=click.Choice(["f16", "q8_0", "q4_0"]), help="How keys and values are kept."),
    click.option(
        "--reuse",
        type=click.Choice(["exact", "shift"]),
        help="What only moved in a prompt: evaluate or shift it.",
    ),
    click.option("--drafts/--no-drafts", default=None, help="Guess copied text and verify it in one pass."),
)

_TURN = (
    click.option("--model", metavar="NAME|FILE.gguf", help="Model to run it on (else the agent's own)."),
    click.option("--window", type=click.IntRange(1), metavar="N", help="Tokens served (else the profile's)."),
    click.option("--seed", type=click.IntRange(0), default=0, metavar="S", help="Seed of the sampling."),
    click.option("--temperature", type=click.FloatRange(0, 2), metavar="T", help="0: always the best token."),
    click.option("--gpu-layers", type=click.IntRange(0), metavar="N", help="Layers on the GPU (else all)."),
    *_ENGINE,
    click.option("--grammar/--no-grammar", default=True, hidden=True),
)


def agent_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --agent."""
    return _with((_AGENT,), command)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `runtime.Options` has but for the agent, by the same names."""
    return _with(_TURN, command)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `runtime.Options` on which the speed of the engine depends, by the same names."""
    return _with(_ENGINE, command)


def turn_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `runtime.Options` has, by the same names."""
    return _with((_AGENT, *_TURN), command)


def _with(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options, which `--help` shows in this order."""
    return reduce(lambda made, option: option(made), reversed(options), command)


@contextmanager
def open_home(*, served: bool = True) -> Iterator[Home]:
    """Open the home that the command line names, and close it at the end.

    Where a process serves the home, the whole command is run there instead of the rest of it here, unless it may
    not be `served`. Raises HomeInUse, HomeUnusable and DiskFault.
    """
    from localmem.cli.served import forward, home_here
    from localmem.memory.home import Home

    shared = home_here()
    if shared is not None:
        yield shared
        return
    folder = home_folder()
    registry = registry_of(folder)
    embedder = registry[registry.embedder]
    try:
        home = Home.open(folder, embedder_folder=registry.locate(embedder) or embedder.file)
    except HomeInUse:
        client = find_service(folder)
        if not served or client is None:
            raise
        forward(client)
        raise
    with home:
        yield home


def find_service(home: Path) -> Client | None:
    """Return a client of the process that serves a home that is in use, None where its owner does not serve it."""
    from localmem.memory.home import Home
    from localmem.serve.client import find

    deadline = time.monotonic() + STARTING
    while (client := find(home)) is None and time.monotonic() < deadline:
        if not (Home.owner(home) or "").endswith(" run)"):
            break
        time.sleep(0.05)
    if client is not None and not client.answers():
        raise ServerGone(
            f"{Home.owner(home)} does not answer: go on with it if it is suspended (fg), or end it"
        )
    return client


@contextmanager
def open_memory(agent: str) -> Iterator[Memory]:
    """Open the home and yield an agent's memory. Raises UnknownAgent."""
    with open_home() as home:
        yield home.agent(agent)


@contextmanager
def open_session(asked: dict[str, Any], *, announce: bool = False) -> Iterator[Session]:
    """Open the home, wake the agent that was asked for, and give everything back at the end.

    A model that is not on this machine is fetched first, after its size and source were said. `announce`
    shows on a terminal what is being loaded.
    """
    from localmem.runtime import Options
    from localmem.session import Session

    with open_home(served=False) as home:
        status = Status(announce)
        session = Session(
            home, Options(**asked), lambda models, profile: loading(home.path, models, profile, status)
        )
        with closing(session):
            yield session


@contextmanager
def open_talk(asked: dict[str, Any], *, announce: bool = False) -> Iterator[Talk]:
    """Yield a conversation with the agent that was asked for, here or in the process that serves the home.

    Raises as `open_session` does.
    """
    from localmem.cli import slash
    from localmem.serve.client import RemoteTalk
    from localmem.serve.talk import LocalTalk

    with ExitStack() as stack:
        try:
            session = stack.enter_context(open_session(asked, announce=announce))
        except HomeInUse:
            client = find_service(home_folder())
            if client is None:
                raise
        else:
            yield LocalTalk(session, slash.lines)
            return
    status = Status(announce)
    status.show(f"waking {asked['agent']} ...")
    try:
        talk = RemoteTalk(client, asked["agent"])
        _refuse_settled(asked, talk.state())
    finally:
        status.clear()
    yield talk


def _refuse_settled(asked: dict[str, Any], state: State) -> None:
    """Raise UsageError for an option that `localmem run` has settled otherwise for all who talk through it."""
    from localmem.runtime import Options

    registry = registry_of(home_folder())
    model = registry.resolve(asked["model"]).name if asked["model"] else None
    settled = asked | {"model": None, "window": None, "agent": Options().agent}
    other = [name for name, value in settled.items() if value != getattr(Options(), name)]
    if model not in (None, state.model):
        raise UsageError(
            f"{state.agent} is on {state.model} in `localmem run`: change that by /model in a chat"
        )
    if asked["window"] not in (None, state.report.window):
        other.append("window")
    if other:
        option = f"--{other[0].replace('_', '-')}"
        raise UsageError(f"{option} is for `localmem run` to say, which runs the agents: leave it away here")


@contextmanager
def loading(home: Path, registry: Registry, profile: Profile, status: Status) -> Iterator[None]:
    """Fetch a model that is not here, if it has sources, and show that it is being loaded meanwhile."""
    if registry.locate(profile) is None and profile.sources and not profile.in_place:
        chosen = ", the default model," if profile.name == registry.default else ""
        click.echo(f"{profile.name}{chosen} is not on this machine yet: fetching it, once", err=True)
        fetch_model(home, profile)
    status.show(f"loading {Path(profile.name).name} ...")
    try:
        yield
    finally:
        status.clear()


def note(text: str) -> None:
    """Say something beside the matter, on standard error."""
    click.echo(dim(wrapped(text, sys.stderr)), err=True)


def wrapped(text: str, stream: TextIO) -> str:
    """Return one line broken at words, its indent kept, where it goes to a terminal."""
    if not stream.isatty():
        return text
    indent = text[: len(text) - len(text.lstrip())] + "  "
    return textwrap.fill(
        text, columns() - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe(text: str) -> str:
    """Return a text without the control characters that would steer a terminal."""
    return _CONTROL.sub("", text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 result", "1,200 results"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str, most: int) -> str:
    """Return a text on one line of at most `most` characters, safe to show."""
    flat = safe(" ".join(text.split()))
    return flat if len(flat) <= most else flat[: max(0, most - 3)] + "..."


def to_json(data: object) -> str:
    """Return data as JSON; times in ISO 8601."""
    shows_all = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(data, indent=2, ensure_ascii=not shows_all, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def expanded(path: str) -> Path:
    """Return a path that was typed, "~" and "~name" resolved. Raises UsageError where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: there is no such user here") from error


def message(text: str) -> str:
    """Return what the person says: TEXT, or standard input for "-". Raises BadInput."""
    said = decoded(sys.stdin.buffer.read()) if text == "-" else text
    if not said.strip():
        raise BadInput("the message is empty: write something")
    return whole(said)


def whole(text: str) -> str:
    """Return a text from the terminal. Raises BadInput where its bytes were no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput("the message is not UTF-8: check the terminal's locale") from error
    return text


def decoded(data: bytes, name: str = "standard input") -> str:
    """Return bytes as text. Raises BadInput, naming the first byte that is no UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{name} is not UTF-8 (byte 0x{data[error.start]:02x} at position {error.start}); "
            "convert it, e.g. iconv -f latin1 -t utf-8"
        ) from error
