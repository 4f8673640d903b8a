"""`localmem chat`: talk with an agent, in a terminal or through a pipe."""

from __future__ import annotations

import threading
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
    # The terminal's part comes in while the model is loaded, which leaves Python alone.
    threading.Thread(target=import_module, args=["localmem.cli.live"], daemon=True).start()
    from localmem.cli.conversation import Conversation

    with open_talk(asked, announce=True) as talk:
        Conversation(talk, quiet=quiet, verbose=verbose).run()
