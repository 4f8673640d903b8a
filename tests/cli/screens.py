"""`localmem chat` in a terminal of its own: what is typed goes in, `shown` is what stands on its screen."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from fcntl import ioctl

import pyte
from parrot import PARROT

ROWS = 80


class Terminal:
    """A program in a pty, on a screen so high that nothing leaves it."""

    def __init__(self, environment: dict[str, str], columns: int, *arguments: str) -> None:
        self.process, self.fd = pty.fork()
        if self.process == 0:
            ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
            os.execvpe(sys.executable, [sys.executable, str(PARROT), *arguments], environment)
        self._screen = pyte.Screen(columns, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = ""

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, without those at the end that are blank."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def shown(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    def type(self, text: str | bytes) -> None:
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def until(self, text: str, seconds: float = 30) -> str:
        """Wait until a text stands on the screen, and return the screen."""
        return self.wait(lambda: text in self.shown, text, seconds)

    def ready(self, seconds: float = 30) -> str:
        """Wait until the agent is at rest: an empty line to type in and a status line."""
        return self.wait(self._at_rest, "a prompt at rest", seconds)

    def say(self, text: str) -> str:
        """Enter a line, wait until that is done and return the screen."""
        before = self.shown.count(f"> {text}")
        self.type(f"{text}\r")
        self.wait(lambda: self.shown.count(f"> {text}") > before and self._at_rest(), f"an end of {text}", 30)
        return self.shown

    def resize(self, columns: int) -> None:
        """Give the window another width."""
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self._screen.resize(ROWS, columns)
        os.kill(self.process, signal.SIGWINCH)

    def end(self) -> int:
        """Wait for the end of the process and return its exit code."""
        while self._read(time.monotonic() + 30):
            pass
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self.fd)

    def _at_rest(self) -> bool:
        last = ["", *self.lines[-3:]][-3:]
        return last[:2] == ["", ">"] and "tokens" in last[2] and "..." not in last[2]

    def wait(self, there: Callable[[], bool], what: str, seconds: float = 30) -> str:
        """Wait until `there` says so, and return the screen."""
        deadline = time.monotonic() + seconds
        while not there():
            assert self._read(deadline), f"{what!r} was not shown:\n{self.shown}"
        return self.shown

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self.fd, 4096) if ready else b""
        except OSError:  # the other side is closed
            data = b""
        self.raw += data.decode(errors="replace")
        self._stream.feed(data)
        return bool(data)


def styles(raw: str) -> set[str]:
    """Return every style code that a terminal was sent."""
    return {code for style in re.findall(r"\x1b\[([0-9;]*)m", raw) for code in style.split(";")}
