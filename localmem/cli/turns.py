"""A turn in the terminal: the reply goes out as it is written, what memory does in a line each."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import cast

from localmem.answer import Answer
from localmem.cli.common import counted, note, one_line, safe
from localmem.cli.reply import Out, Stream
from localmem.cli.screen import columns
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

    `out` is where the reply goes (`Stream` unless one is given), `quiet` prints no memory operations, `verbose`
    also thoughts, calls and their cost.
    """

    def __init__(self, out: Out | None = None, *, quiet: bool = False, verbose: bool = False) -> None:
        self._out: Out = out or Stream()
        self._quiet, self._verbose = quiet, verbose
        self._streamed = ""
        self._call: Call | None = None

    def __enter__(self) -> Printer:
        self._out.busy("thinking")
        return self

    def __exit__(self, *_: object) -> None:
        self._out.idle()
        self._end_of_reply()

    def __call__(self, item: Item) -> None:
        self._out.idle()
        match item:
            case Delta(text):
                self._say(text)
                return
            case Call():
                self._called(item)
            case Result():
                self._came_to(item)
            case Eviction(records=records, before=before, after=after):
                left = counted(records, "record")
                self._operation(f"eviction: {left} left for the summary ({before:,} -> {after:,} tokens)")
            case PageRead(note=text, source=source) if text:
                self._operation(f"noted on {source}: {text}")
            case Event(kind=EventKind.ALERT, text=text):
                self._operation(text if self._verbose else pressure(text))
            case Event():
                pass
        self._out.busy("thinking")

    def pause(self) -> None:
        """Leave the line to somebody else; the next item takes it back."""
        self._out.idle()
        self._end_of_reply()

    def _say(self, text: str) -> None:
        self._out.say(text)
        self._streamed += text

    def _called(self, call: Call) -> None:
        self._call = call
        if call.function == "send_message":
            said = str(call.arguments.get("message", ""))
            if said.startswith(self._streamed):
                self._say(said[len(self._streamed) :])
        self._end_of_reply()
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
        self._end_of_reply()
        if not self._quiet:
            note(f"· {one_line(text, columns() - 3)}")

    def _end_of_reply(self) -> None:
        if self._streamed:
            self._out.end()
            self._streamed = ""


def came_from_outside(event: Event) -> str:
    """Return a line on an event that nobody at this terminal has just entered."""
    return f"· {event.kind.value}: {one_line(event.text, columns() - 15)}"


def pressure(alert: str) -> str:
    """Return in a few words what a pressure alert says."""
    share = re.search(r"\d+ ?%", alert)
    return f"memory pressure: {share[0] if share else 'much'} of the room is taken"


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


def cost(usage: Usage) -> str:
    """Return what a generation cost, on one line."""
    return (
        f"{usage.prompt_tokens:,} prompt tokens ({usage.reused_tokens:,} reused), "
        f"{usage.completion_tokens:,} written in {usage.forward_passes:,} passes, "
        f"{usage.seconds:.1f} s"
    )
