"""A line on the terminal that says what is going on, drawn over and taken away without escape sequences."""

from __future__ import annotations

import shutil
import sys

import click


def columns() -> int:
    """Return how wide the terminal is."""
    return max(2, shutil.get_terminal_size((100, 20)).columns)


def dim(text: str) -> str:
    """Return a text in the terminal's faint letters."""
    return click.style(text, dim=True)


class Status:
    """The line being shown on standard error; nothing where that is no terminal. `faint` sets its letters."""

    def __init__(self, wanted: bool = True, *, faint: bool = True) -> None:
        self.live = wanted and sys.stderr.isatty()
        self._faint = faint
        self._width = 0

    def show(self, text: str) -> None:
        """Show a text in place of the one before."""
        if not self.live:
            return
        from prompt_toolkit.utils import get_cwidth

        text = text[: columns() - 1]
        width = get_cwidth(text)
        # Spaces, not a sequence that erases: that is lost where colour is off, and dumb terminals have none.
        rest = " " * (self._width - width)
        click.echo("\r" + (dim(text) if self._faint else text) + rest, err=True, nl=False)
        self._width = max(self._width, width)

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            click.echo(f"\r{' ' * self._width}\r", err=True, nl=False)
            self._width = 0

    def keep(self) -> None:
        """Leave the line standing and go on below it."""
        if self._width:
            click.echo(err=True)
            self._width = 0
