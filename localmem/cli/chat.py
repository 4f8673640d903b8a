"""`localmem chat`: talk with an agent, in a terminal or through a pipe."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from localmem.cli.common import open_talk, turn_options


@click.command()
@turn_options
@click.option("--quiet", is_flag=True, help="Hide what memory does.")
@click.option("--verbose", is_flag=True, help="Show thoughts, calls and what they cost.")
def command(quiet: bool, verbose: bool, **asked: Any) -> None:
    """Talk with an agent in the terminal.

    Where standard input is no terminal, each line of it is a message.
    """
    threading.Thread(target=_bring_in, daemon=True).start()
    with open_talk(asked, announce=True) as talk:
        from localmem.cli.conversation import Conversation

        Conversation(talk, quiet=quiet, verbose=verbose).run()


def _bring_in() -> None:
    """Import what will be needed while the store is opened and the model is loaded, which leaves Python alone."""
    for name in ("llama_cpp", "localmem.processor.engine", "localmem.cli.conversation", "localmem.cli.live"):
        with suppress(Exception):  # it is said where it is needed
            import_module(name)
