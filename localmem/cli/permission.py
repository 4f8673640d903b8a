"""The question at the terminal before a function touches the outside: once, always, or no."""

from __future__ import annotations

import json
import sys

import click

from localmem.cli.common import safe
from localmem.functions.schema import Function
from localmem.permission import Answer
from localmem.records import Call

_KEYS = {"o": Answer.ONCE, "once": Answer.ONCE, "a": Answer.ALWAYS, "always": Answer.ALWAYS}

CHOICE = "[o]nce, [a]lways, [N]o:"
"""The answers that there are."""


def can_ask() -> bool:
    """Return whether a person sees the question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(call: Call, function: Function) -> Answer:
    """Put a call before the person, whole; anything but a plain yes is a no. Raises KeyboardInterrupt."""
    click.echo(question(call, function), err=True)
    _forget_typed_ahead()
    from prompt_toolkit import prompt

    try:
        return answer(prompt(f"{CHOICE} "))
    except EOFError:
        return Answer.NO


def answer(said: str) -> Answer:
    """Return what an answer means: anything but a plain yes is a no."""
    return _KEYS.get(said.strip().lower(), Answer.NO)


def question(call: Call, function: Function) -> str:
    """Return what is to be permitted: which function, what it touches, and with which arguments."""
    lines = [f"{function.name} {safe(function.touches)} ({safe(function.origin)}). Allow it?"]
    lines += [f"  {safe(name)}: {_written(value)}" for name, value in call.arguments.items()]
    return "\n".join(lines)


def _written(value: object) -> str:
    """Return an argument whole and on one line, so that nothing in it can hide."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _forget_typed_ahead() -> None:
    """Drop what was typed before the question was there: it is no answer to it."""
    try:
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    except (ImportError, OSError, ValueError):
        pass
