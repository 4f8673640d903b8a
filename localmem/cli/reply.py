"""Where a reply goes while it is written: straight to standard output, or into the text above the prompt."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import click
from prompt_toolkit.utils import get_cwidth

from localmem.cli.above import Above
from localmem.cli.common import safe
from localmem.cli.markdown import Markdown
from localmem.cli.screen import Status, columns


class Out(Protocol):
    """What a printer of turns needs."""

    def busy(self, with_: str) -> None:
        """Show what goes on while nothing is written."""

    def idle(self) -> None:
        """Take that away."""

    def say(self, text: str) -> None:
        """Show a piece of a reply."""

    def end(self) -> None:
        """End a reply of which something was said."""


class Stream:
    """Standard output: verbatim into a pipe, broken at words on a terminal. `reply` off says nothing."""

    def __init__(self, *, reply: bool = True) -> None:
        self._reply = reply
        self._status = Status(sys.stdout.isatty())
        self._flow = Flow(columns() - 1) if sys.stdout.isatty() else None

    def busy(self, with_: str) -> None:
        self._status.show(f"{with_} ...")

    def idle(self) -> None:
        self._status.clear()

    def say(self, text: str) -> None:
        if self._reply:
            click.echo(self._flow.feed(safe(text)) if self._flow else text, nl=False)

    def end(self) -> None:
        if self._reply:
            click.echo(self._flow.end() if self._flow else "")


class Live:
    """The text above a prompt: Markdown, laid out while it grows. `doing` and `since` say what goes on."""

    def __init__(self, above: Above, columns: Callable[[], int], *, plain: bool = False) -> None:
        self._above, self._columns, self._plain = above, columns, plain
        self._markdown = Markdown(plain)
        self.doing, self.since = "", 0.0

    def busy(self, with_: str) -> None:
        if self.doing != with_:
            self.doing, self.since = with_, time.monotonic()

    def idle(self) -> None:
        """What was going on goes on in the status line until something else does."""

    def rest(self) -> None:
        """Say that nothing goes on any more."""
        self.doing = ""

    def say(self, text: str) -> None:
        self.busy("writing")
        width = self._columns() - 1
        whole = self._markdown.feed(safe(text), width)
        self._above.put(whole, replace(self._markdown).growing)  # a copy: it is laid out in another thread

    def end(self) -> None:
        ended, self._markdown = self._markdown, Markdown(self._plain)
        self._above.put(ended.end(self._columns() - 1))


class Flow:
    """Breaks a stream of text into lines at words; it holds back the word that is still growing."""

    def __init__(self, columns: int) -> None:
        self._columns, self._column, self._word = columns, 0, ""

    def feed(self, text: str) -> str:
        """Return what can be shown now."""
        out = ""
        for character in text:
            if character.isspace() or get_cwidth(character) > 1:
                out += self.end() + self._put(character)
            else:
                self._word += character
        return out

    def end(self) -> str:
        """Return the word that was held back."""
        word, self._word = self._word, ""
        return self._put(word) if word else ""

    def _put(self, word: str) -> str:
        if word == "\n":
            self._column = 0
            return word
        width = get_cwidth(word)
        broken = self._column + width > self._columns and self._column > 0
        self._column = width if broken else self._column + width
        if broken and word == " ":
            self._column = 0
            return "\n"
        return ("\n" if broken else "") + word
