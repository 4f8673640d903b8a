"""The kernel's prompts: text files beside this one, and the instructions that are shown once and kept nowhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from localmem.processor.interface import Processor
from localmem.records import Event, EventKind

ASIDE_TOKENS = 192
"""What the instruction of the memory step may take; the window keeps room for it."""


@cache
def prompt(name: str) -> str:
    """Return the prompt of that name."""
    return (files("localmem.kernel") / f"{name}.txt").read_text("utf-8").strip() + "\n"


def aside(name: str, **values: object) -> Event:
    """Return an instruction of the kernel as an event that is shown once."""
    return Event(EventKind.ALERT, prompt(name).format(**values))


def question(message: str, processor: Processor) -> Event:
    """Return the memory step's question about a message, in at most ASIDE_TOKENS tokens."""
    words = " ".join(message.split())
    for size in (400, 200, 100, 50, 20):
        quoted = words if len(words) <= size else f"{words[: size * 2 // 3]} ... {words[-size // 3 :]}"
        asked = aside("remember", message=quoted)
        if len(processor.encode(asked)) <= ASIDE_TOKENS:
            return asked
    return aside("remember", message="...")
