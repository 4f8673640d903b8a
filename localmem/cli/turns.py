"""A turn in the terminal: the reply streams to standard output, memory operations to standard error."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import cast

import click
from prompt_toolkit.utils import get_cwidth

from localmem.answer import Answer
from localmem.cli.common import note, one_line, safe
from localmem.cli.screen import Status, columns
from localmem.functions.standard import found
from localmem.kernel.policy import NOT_TOLD
from localmem.permission import NOT_PERMITTED
from localmem.records import Call, Delta, Event, EventKind, Eviction, Item, PageRead, Result, Usage
from localmem.serve.talk import Talk


def play(talk: Talk, items: Iterator[Item], show: Printer) -> tuple[Answer, bool]:
    """Show a turn as it happens; return its answer, and whether Ctrl-C cut it short.

    The first Ctrl-C ends the turn and keeps what was said; a second one is a KeyboardInterrupt.
    """
    answer = Answer()
    turn = cast("Generator[Item, None, None]", items)
    with interrupts(talk) as interrupted, closing(turn), show:
        for item in turn:
            answer.add(item)
            show(item)
    return answer, bool(interrupted)


@contextmanager
def interrupts(talk: Talk) -> Iterator[list[int]]:
    """Let Ctrl-C end the agent's turn instead of the process; the list yielded holds those that came."""
    came: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        talk.interrupt()

    with on_ctrl_c(on_signal):
        yield came


Handler = Callable[[int, FrameType | None], object]


def nothing(number: int, frame: FrameType | None) -> None:
    """Let a Ctrl-C pass that comes between two prompts."""


@contextmanager
def on_ctrl_c(handler: Handler) -> Iterator[None]:
    """Let a handler have Ctrl-C for a while."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Printer:
    """Prints the items of a turn; use it as a context manager around them.

    `reply` off prints no reply, `quiet` no memory operations, `verbose` also thoughts, calls and their cost.
    """

    def __init__(self, *, reply: bool = True, quiet: bool = False, verbose: bool = False) -> None:
        self._reply, self._quiet, self._verbose = reply, quiet, verbose
        self._status = Status(sys.stdout.isatty())
        self._flow = Flow(columns() - 1) if sys.stdout.isatty() else None
        self._streamed = ""
        self._call: Call | None = None

    def __enter__(self) -> Printer:
        self._status.show("thinking ...")
        return self

    def __exit__(self, *_: object) -> None:
        self._status.clear()
        self._end_of_line()

    def __call__(self, item: Item) -> None:
        self._status.clear()
        match item:
            case Delta(text):
                self._say(text)
                return
            case Call():
                self._called(item)
            case Result():
                self._came_to(item)
            case Eviction(records=records):
                self._operation(f"eviction: {records} records left for the summary")
            case PageRead(note=text, source=source) if text:
                self._operation(f"noted on {source}: {text}")
            case Event(kind=EventKind.ALERT, text=text) if self._verbose:
                self._operation(text)
            case Event():
                pass
        self._status.show("thinking ...")

    def pause(self) -> None:
        """Leave the line to somebody else; the next item takes it back."""
        self._status.clear()
        self._end_of_line()

    def _say(self, text: str) -> None:
        if self._reply:
            click.echo(self._flow.feed(safe(text)) if self._flow else text, nl=False)
            self._streamed += text

    def _called(self, call: Call) -> None:
        self._call = call
        if call.function == "send_message":
            said = str(call.arguments.get("message", ""))
            if said.startswith(self._streamed):
                self._say(said[len(self._streamed) :])
        self._end_of_line()
        if self._verbose:
            if call.thought:
                note(f"  thought: {safe(call.thought)}")
            written = {"function": call.function, "arguments": dict(call.arguments)}
            note(f"  call: {safe(json.dumps(written, ensure_ascii=False))}")
            note(f"  {cost(call.usage)}")

    def _came_to(self, result: Result) -> None:
        call, self._call = self._call, None
        if (
            call is None
            or call.function in ("send_message", "nothing_to_remember")
            or result.text == NOT_TOLD
        ):
            return
        if result.text.startswith(NOT_PERMITTED):
            note(f"· {call.function}: {safe(result.text)}")  # whole: it says how to permit it
            return
        self._operation(operation(call, result))

    def _operation(self, text: str) -> None:
        self._end_of_line()
        if not self._quiet:
            note(f"· {one_line(text, columns() - 3)}")

    def _end_of_line(self) -> None:
        if self._streamed:
            click.echo(self._flow.end() if self._flow else "")
            self._streamed = ""


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


def operation(call: Call, result: Result) -> str:
    """Return in a few words what a call did."""
    if not result.ok:
        return f"{call.function or 'the model'} failed: {result.text}"
    given = call.arguments
    label, content, query = given.get("label"), given.get("content"), given.get("query")
    match call.function:
        case "core_memory_append" if result.text.startswith("Kept in place of"):
            return f'remembered: "{content}" (in place of: "{result.text.partition(": ")[2]}")'
        case "core_memory_append":
            return f'remembered in {label}: "{content}"'
        case "core_memory_replace":
            return f'corrected in {label}: "{given["old_content"]}" -> "{given["new_content"]}"'
        case "core_memory_rewrite":
            return f'rewrote {label}: "{content}"'
        case "archival_memory_insert":
            return f'kept in the archive: "{content}"'
        case "archival_memory_search":
            return f'searched the archive for "{query}": {counted(found(result.text), "result")}'
        case "conversation_search":
            return f'searched conversation for "{query}": {counted(found(result.text), "result")}'
        case "conversation_search_date":
            days = f"{given['start']} to {given['end']}"
            return f"searched conversation of {days}: {counted(found(result.text), 'result')}"
        case _:
            return f"{call.function}: {result.text}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 result", "1,200 results"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cost(usage: Usage) -> str:
    """Return what a generation cost, on one line."""
    return (
        f"{usage.prompt_tokens:,} prompt tokens ({usage.reused_tokens:,} reused), "
        f"{usage.completion_tokens:,} written in {usage.forward_passes:,} passes, "
        f"{usage.seconds:.1f} s"
    )
