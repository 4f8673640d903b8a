"""The commands inside a chat: a line that begins with "/" looks at the agent instead of talking to it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping

from localmem.cli.views import context_lines, memory_lines, page_lines
from localmem.errors import UsageError
from localmem.runtime import Session


class Leave(Exception):
    """The person has had enough."""


def parse(line: str) -> tuple[str, str] | None:
    """Return the command of a line and what stands behind it, or None for a message.

    A first word with a second "/" in it is a path, and begins a message.
    """
    found = re.fullmatch(r"/([^\s/]*)(?:\s+(.*))?", line.strip(), re.DOTALL)
    return (found[1].lower(), (found[2] or "").strip()) if found else None


def run(session: Session, name: str, rest: str) -> Iterator[str]:
    """Run a command and yield the lines it shows. Raises Leave, and UsageError for a command there is not."""
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=2)
        hint = f"did you mean /{' or /'.join(close)}?" if close else "/help lists what there is"
        raise UsageError(f"there is no command /{name}: {hint} (a message may begin with //)")
    return COMMANDS[name][1](session, rest)


def _help(session: Session, rest: str) -> Iterator[str]:
    for name, (what, _) in COMMANDS.items():
        yield f"  /{name:<9} {what}"
    yield "  //...      a message that begins with /"
    yield "Enter sends, Alt-Enter or Ctrl-J begins a new line, a paste is one message."
    yield "Ctrl-C stops a reply, Ctrl-D leaves."


def _memory(session: Session, rest: str) -> Iterator[str]:
    return memory_lines(session.memory)


def _context(session: Session, rest: str) -> Iterator[str]:
    return context_lines(session.agent.report())


def _model(session: Session, rest: str) -> Iterator[str]:
    if not rest:
        yield f"{session.profile.name}, window {session.agent.processor.window:,} tokens"
        here = [p.name for p in session.registry if p.kind == "chat" and session.registry.locate(p)]
        yield f"here: {', '.join(here) or 'no other'}; /model NAME or FILE.gguf changes it"
        return
    session.switch(rest)
    yield f"{session.memory.name} is on {session.profile.name} from now on"


def _search(session: Session, rest: str) -> Iterator[str]:
    if not rest:
        raise UsageError("say what to look for: /search TEXT")
    yield from page_lines("conversation", session.memory.search_recall(rest))
    yield from page_lines("archive", session.memory.search_archive(rest))


def _exit(session: Session, rest: str) -> Iterator[str]:
    raise Leave


COMMANDS: Mapping[str, tuple[str, Callable[[Session, str], Iterator[str]]]] = {
    "help": ("this", _help),
    "memory": ("core memory, summary, and how much there is", _memory),
    "context": ("how the window is used", _context),
    "model": ("the model, or another: /model NAME", _model),
    "search": ("look for a text in conversation and archive", _search),
    "exit": ("leave", _exit),
}
