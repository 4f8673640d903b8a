"""The prompt of a chat, which stands while the agent works: several lines, history, completion, a status line."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import Completer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI, AnyFormattedText, StyleAndTextTuples, to_formatted_text
from prompt_toolkit.history import FileHistory
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from localmem.cli.above import Above, Growing, nothing_grows
from localmem.cli.keys import keys_of
from localmem.cli.room import layout, style

HISTORY = "history"
_DRAWN = 0.04
"""Seconds between two drawings: faster than anybody reads, and next to nothing of a processor's time."""


class Work(Protocol):
    """What goes on while the prompt stands."""

    def run(self) -> None:
        """Do it, in a thread of its own; what it prints stands above the prompt."""

    def heard(self, text: str) -> bool:
        """Take what was entered, in the prompt's thread; False: end, and the prompt is to return it."""

    def stop(self) -> bool:
        """End what is under way, for Ctrl-C was pressed; return False where there was nothing."""

    def leave(self) -> None:
        """End: the person leaves."""


class Prompt:
    """Reads messages from a terminal, and shows what is printed meanwhile above the line that is typed."""

    def __init__(self, home: Path, completer: Completer, status: Callable[[], Sequence[str]]) -> None:
        """`status` gives the status line, in shorter and shorter forms."""
        self._status = status
        self._stream = sys.stdout
        self._wake: Callable[[], None] = lambda: None
        self.above = Above(sys.stdout, lambda: self._wake())
        self._growing: Growing = nothing_grows
        self.waiting: list[str] = []
        self._next: list[str | None] = []
        self._work: Work | None = None
        self._held = False
        self._question: _Question | None = None
        self.buffer = Buffer(
            completer=completer,
            complete_while_typing=Condition(lambda: self.buffer.text.startswith("/")),
            history=_History(home / HISTORY),
            multiline=True,
            tempfile_suffix=".md",
        )
        output = Vt100_Output.from_pty(
            sys.stdout, term=os.environ.get("TERM"), default_color_depth=ColorDepth.from_env()
        )
        output.enable_cpr = (
            False  # what is drawn stands where the text ends: nobody needs to ask where that is
        )
        self._app: Application[None] = Application(
            layout=layout(self.buffer, self._shown_above, self._shown_below),
            key_bindings=keys_of(self),
            style=style(),
            output=output,
            erase_when_done=True,
        )

    # what a conversation asks of it

    def ask(self, work: Work) -> str | None:
        """Return what `work` did not take of what is entered, None for leaving; the work has ended by then."""
        if self._next[:1] == [None]:  # they left while the command before it was run
            self._next.clear()
            return None
        ended: list[BaseException] = []
        with self.above.standing_in():
            self._app.run(pre_run=lambda: self._begin(work, ended), handle_sigint=True)
        text, _ = self.above.take(last=True)
        self._stream.write(text)
        self._stream.flush()
        if ended:
            raise ended[0]
        line = self._next.pop(0)
        if line is not None:
            self._stream.write("".join(f"{shown}\n" for shown in _echoed(line)))
            self._stream.flush()
        return line

    def question(self, text: str) -> str:
        """Ask the person, from the thread that works, and return the line that answers; "" for Ctrl-C and Ctrl-D.

        What was being typed waits meanwhile: it is no answer.
        """
        self._question = asked = _Question(text)
        _call(self._loop, self._set_aside)
        asked.answered.wait()
        self._question = None
        self.above.put([*text.split("\n")[:-1], f"{text.split(chr(10))[-1]} {asked.answer or 'no'}"])
        return asked.answer

    def echo(self, text: str) -> None:
        """Leave what was entered standing above the prompt, as it stood in it."""
        self.above.put(_echoed(text))

    @property
    def columns(self) -> int:
        """How wide the terminal is now."""
        return self._app.output.get_size().columns

    # what its keys ask of it

    @property
    def asking(self) -> bool:
        return self._question is not None

    def send(self, text: str) -> None:
        if self._question is not None:
            self._answer(text)
        elif self._work is None or not self._work.heard(text):
            self._next.append(text)
            self._end()

    def stop(self) -> bool:
        if self._question is not None:
            self._answer("")
        return self._work is not None and self._work.stop()

    def leave(self) -> None:
        self._next.append(None)
        if self._question is not None:
            self._answer("")
        if self._work is not None:
            self._work.leave()
        self._end()

    def _end(self) -> None:
        """Give the line back; work under way ends first."""
        if self._work is None and self._app.is_running and not self._app.is_done:
            self._app.exit()

    def _set_aside(self) -> None:
        if self._question is not None:
            self._question.typed = self.buffer.text
            self.buffer.reset()
            self._wake()

    def _answer(self, text: str) -> None:
        if self._question is not None:
            self.buffer.text = self._question.typed
            self.buffer.cursor_position = len(self.buffer.text)
            self._question.give(text)

    def say(self, text: str) -> None:
        self.above.put([f"\x1b[2m{text}\x1b[0m" if _coloured() else text], self.above.growing)

    def edit(self) -> None:
        """Open what is typed in the person's editor; nothing is drawn over that."""
        self._held = True
        task = self.buffer.open_in_editor()
        task.add_done_callback(lambda done: self._back_from_editor())

    def _back_from_editor(self) -> None:
        self._held = False
        self._wake()

    # how it is drawn

    def _begin(self, work: Work, ended: list[BaseException]) -> None:
        self._loop, changed = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: _call(self._loop, changed.set)
        self._app.create_background_task(self._draw(changed))
        self._app.create_background_task(_tick(changed))
        self._work = work
        for text in [text for text in self._next if text is not None]:  # entered before its time
            self._next.remove(text)
            self.send(text)
        threading.Thread(target=lambda: self._do(work, ended), name="work").start()

    def _do(self, work: Work, ended: list[BaseException]) -> None:
        try:
            work.run()
        except BaseException as error:
            ended.append(error)
        _call(self._loop, self._done)

    def _done(self) -> None:
        self._work = None
        self._end()

    async def _draw(self, changed: asyncio.Event) -> None:
        """Move whole lines out of the way, above the prompt, whenever there are some."""
        while True:
            await changed.wait()
            changed.clear()
            if self._held:
                continue
            text, self._growing = self.above.take()
            if text:
                self._app.renderer.erase()
                self._app.output.write_raw(text.replace("\n", "\r\n"))
                self._app.output.flush()
            self._app.invalidate()
            await asyncio.sleep(_DRAWN)

    def _shown_above(self) -> AnyFormattedText:
        size = self._app.output.get_size()
        lines = list(self._growing(size.columns - 1))[-max(1, size.rows - 8) :]
        if self._question is not None:
            lines += self._question.text.split("\n")
        next_ = [*self.waiting, *(text for text in self._next if text)]
        lines += [f"next: {' '.join(text.split())}"[: size.columns - 1] for text in next_]
        shown: StyleAndTextTuples = to_formatted_text(ANSI("\n".join(lines)))
        return shown

    def _shown_below(self) -> str:
        forms = self._status()
        return next((line for line in forms if len(line) < self.columns), forms[-1])


async def _tick(changed: asyncio.Event) -> None:
    """Let seconds pass in the status line."""
    # No wait with a time limit does this in one task: such a one sometimes does not hear that it is cancelled.
    while True:
        await asyncio.sleep(1.0)
        changed.set()


class _Question:
    """Something asked of the person, answered by the next line; `typed` is what stood there before."""

    def __init__(self, text: str) -> None:
        self.text, self.typed, self.answer = text, "", ""
        self.answered = threading.Event()

    def give(self, answer: str) -> None:
        self.answer = answer
        self.answered.set()


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


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the prompt is gone: what it would have drawn is drawn at its end
        loop.call_soon_threadsafe(function)


def _coloured() -> bool:
    return not os.environ.get("NO_COLOR")


def _echoed(line: str) -> list[str]:
    """Return what was entered as it stood in the prompt; half a character is shown as a question mark."""
    first, *rest = line.encode("utf-8", "replace").decode().split("\n")
    bold, end = ("\x1b[1m", "\x1b[0m") if _coloured() else ("", "")
    return [f"{bold}> {end}{first}", *(f"  {more}" for more in rest)]


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
