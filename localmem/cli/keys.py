"""The keys of the prompt, beside those of every line editor: what sends, stops, leaves and edits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from prompt_toolkit.application.current import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

TWICE = 1.0
"""Seconds within which a second Ctrl-C leaves."""


class Desk(Protocol):
    """What the keys act upon: the prompt."""

    def send(self, text: str) -> None: ...
    def stop(self) -> bool:
        """Stop what is going on; return whether anything was."""

    def leave(self) -> None: ...
    def say(self, text: str) -> None: ...
    def edit(self) -> None: ...

    @property
    def asking(self) -> bool:
        """Whether a question stands on the screen, which the next line answers."""


def keys_of(desk: Desk, clock: Callable[[], float] = time.monotonic) -> KeyBindings:
    """Return the key bindings of a prompt."""
    keys = KeyBindings()
    typing = ~is_searching
    keys.add("enter", filter=typing)(lambda event: _enter(desk, event.current_buffer))
    keys.add("escape", "enter", filter=typing)(_new_line)
    keys.add("c-j", filter=typing)(_new_line)
    keys.add("c-x", "c-e", filter=typing)(lambda event: desk.edit())
    nothing_typed = Condition(lambda: not get_app().current_buffer.text)
    keys.add("c-d", filter=nothing_typed & ~is_searching, eager=True)(lambda event: desk.leave())
    interrupt = _Interrupt(desk, clock)
    keys.add("c-c", filter=~is_searching, eager=True)(interrupt)
    keys.add("<sigint>")(interrupt)
    keys.add("c-z")(lambda event: event.app.suspend_to_background())
    return keys


def _enter(desk: Desk, buffer: Buffer) -> None:
    if buffer.complete_state and buffer.complete_state.current_completion:
        buffer.complete_state = None
    elif continued(buffer):
        buffer.delete_before_cursor()
        buffer.insert_text("\n")
    elif desk.asking or buffer.text.strip():
        text = buffer.text
        if not desk.asking:
            buffer.append_to_history()
        buffer.reset()
        desk.send(text)


def _new_line(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("\n")


class _Interrupt:
    """Ctrl-C: stops what is going on, else clears the line, else leaves when it is pressed twice."""

    def __init__(self, desk: Desk, clock: Callable[[], float]) -> None:
        self._desk, self._clock, self._last = desk, clock, -TWICE

    def __call__(self, event: KeyPressEvent) -> None:
        if self._desk.stop():
            return
        if event.current_buffer.text:
            event.current_buffer.reset()
            return
        now, before = self._clock(), self._last
        self._last = now
        if now - before <= TWICE:
            self._desk.leave()
        else:
            self._desk.say("Ctrl-C again within a second leaves; Ctrl-D and /exit do too")


def continued(buffer: Buffer) -> bool:
    """Return whether Enter goes on in a new line: a backslash stands before it, at the end."""
    document = buffer.document
    return document.is_cursor_at_the_end and document.text_before_cursor.endswith("\\")
