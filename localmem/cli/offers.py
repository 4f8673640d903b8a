"""Completion at the prompt: the names of the slash commands, and what their arguments may be."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from localmem.cli.slash import COMMANDS, Chat
from localmem.errors import LocalmemError


class Commands(Completer):
    """Completes a line that begins with "/" from the table of commands."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if not typed.startswith("/") or "\n" in typed:
            return
        name, space, rest = typed[1:].partition(" ")
        if not space:
            for command in COMMANDS.values():
                if command.name.startswith(name.lower()):
                    yield _offered(command.name, name, meta=command.help)
        elif name.lower() in COMMANDS:
            yield from self._arguments(name.lower(), rest.lstrip())

    def _arguments(self, name: str, typed: str) -> Iterable[Completion]:
        try:
            for word in COMMANDS[name].words(self._chat, typed):
                if word.startswith(typed) and word != typed:
                    yield _offered(word, typed)
        except (LocalmemError, OSError):  # what cannot be looked up is not offered; the command will say why
            return


def _offered(word: str, typed: str, meta: str = "") -> Completion:
    return Completion(word, start_position=-len(typed), display_meta=meta)
