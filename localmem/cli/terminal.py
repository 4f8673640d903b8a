"""The prompt of a chat: several lines, a history, a status line; a paste is one message."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style

from localmem.cli.common import note

HISTORY = "history"


class Prompt:
    """Reads messages from a terminal."""

    def __init__(self, home: Path) -> None:
        self._status: Sequence[str] = ("",)
        self._session: PromptSession[str] = PromptSession(
            history=_History(home / HISTORY),
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation="  ",
            bottom_toolbar=self._toolbar,
            style=Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack"}),
            enable_open_in_editor=False,
            complete_while_typing=False,
        )

    def ask(self, status: Sequence[str]) -> str | None:
        """Return what is entered, None for Ctrl-D. At the bottom stands the first `status` that has room."""
        self._status = status
        while True:
            try:
                return self._session.prompt([("bold", "> ")])
            except KeyboardInterrupt:
                if not self._session.default_buffer.text:
                    note("Ctrl-D or /exit leaves")
            except EOFError:
                return None

    def _toolbar(self) -> str:
        columns = get_app().output.get_size().columns
        return next((line for line in self._status if len(line) < columns), self._status[-1])


class _History(FileHistory):
    """What was entered, in a file that only its user reads; a full disk costs the history, not the chat."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))

    def load_history_strings(self) -> list[str]:
        try:
            return list(super().load_history_strings())
        except (OSError, UnicodeDecodeError):
            return []

    def store_string(self, string: str) -> None:
        try:
            os.close(os.open(self.filename, os.O_WRONLY | os.O_CREAT, 0o600))
            super().store_string(string)
        except (OSError, UnicodeEncodeError):
            pass


def _keys() -> KeyBindings:
    """Enter sends; Alt-Enter and Ctrl-J begin a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


@contextmanager
def unechoed() -> Iterator[None]:
    """Keep what is typed between prompts out of what is shown: it waits, unseen, for the next prompt."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    now = termios.tcgetattr(sys.stdin)
    now[0] &= ~termios.ICRNL
    now[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, now)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
