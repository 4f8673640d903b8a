"""`localmem chat` through a pipe and in a real terminal (a pty)."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pytest
from parrot import PARROT, Run

from localmem.memory.home import Home
from localmem.records import spoken

# through a pipe


def test_each_line_is_a_message(localmem: Run) -> None:
    done = localmem("chat", input="hello\n\nremember tea is green\r\n")
    assert done.returncode == 0
    assert done.stdout == "You said: hello\nYou said: remember tea is green\n"
    assert done.stderr.splitlines() == [
        "default on smollm2-135m-instruct, window 4,096 tokens. /help shows the commands.",
        '· remembered in human: "tea is green"',
    ]


def test_quiet_and_verbose(localmem: Run) -> None:
    assert "remembered" not in localmem("chat", "--quiet", input="remember tea is green\n").stderr
    shown = localmem("chat", "--verbose", input="remember it rains\n").stderr
    assert 'call: {"function": "core_memory_append"' in shown
    assert " prompt tokens (" in shown


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/help", "/search    look for a text"),
        ("/memory", "human: 12 of 2,000 characters\n  tea is green"),
        ("/context", "window       4,096"),
        ("/model", "smollm2-135m-instruct, window 4,096 tokens"),
        ("/model qwen2.5-coder-0.5b-instruct", "default is on qwen2.5-coder-0.5b-instruct from now on"),
        ("/search green", "conversation: 2 found"),
        ("/SEARCH green", "archive: 0 found"),
        ("//etc", "You said: /etc"),
        ("/etc/passwd is a file", "You said: /etc/passwd is a file"),
    ],
)
def test_slash_commands(localmem: Run, home: Path, command: str, shown: str) -> None:
    (home / "models" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf").write_bytes(b"")
    done = localmem("chat", input=f"remember tea is green\n{command}\nstill there\n")
    assert (done.returncode, shown in done.stdout) == (0, True), done
    assert done.stdout.endswith("You said: still there\n")


def test_exit_leaves_at_once(localmem: Run) -> None:
    assert localmem("chat", input="hello\n/exit\nnot read\n").stdout == "You said: hello\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/serch tea", "there is no command /serch: did you mean /search?"),
        ("/search", "say what to look for"),
        ("/model nonsense", "no model 'nonsense'"),
        ("/model /no/such.gguf", "no model file at /no/such.gguf"),
    ],
)
def test_an_error_is_one_line_and_the_session_goes_on(localmem: Run, line: str, said: str) -> None:
    done = localmem("chat", input=f"{line}\nstill there\n")
    assert done.returncode == 1, "a script learns that a line failed"
    assert done.stdout == "You said: still there\n"
    assert said in done.stderr.splitlines()[1]
    assert done.stderr.count("\n") == 2


def test_a_model_that_was_switched_to_stays(localmem: Run, home: Path) -> None:
    (home / "models" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf").write_bytes(b"")
    localmem("chat", input="/model qwen2.5-coder-0.5b-instruct\n")
    assert localmem("chat").stderr.startswith("default on qwen2.5-coder-0.5b-instruct,")


def test_a_line_that_is_no_utf8_ends_it(localmem: Run) -> None:
    done = localmem("chat", input=b"hello\ncaf\xe9\n")
    assert done.returncode == 2
    assert "line 2 of standard input is not UTF-8 (byte 0xe9 at position 3)" in done.stderr
    assert done.stdout == "You said: hello\n"


def test_a_turn_that_a_kill_left_open_is_answered_at_the_start(localmem: Run) -> None:
    assert localmem("chat", input="hello\n", LOCALMEM_CRASH_AT="open_turn.committed").returncode < 0
    done = localmem("chat", input="and now?\n")
    assert "The last message was not answered" in done.stderr
    assert done.stdout == "You said: hello\nYou said: and now?\n"


def test_without_a_network(localmem: Run, environment: dict[str, str]) -> None:
    command = ["unshare", "-rn", sys.executable, str(PARROT), "chat"]
    done = subprocess.run(command, input="hello\n", env=environment, capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.stdout == "You said: hello\n"


# in a terminal


class Terminal:
    """`localmem chat` in a pty: type, and wait until something is shown."""

    def __init__(self, environment: dict[str, str], columns: int, *arguments: str) -> None:
        self.process, self.fd = pty.fork()
        if self.process == 0:
            os.execvpe(sys.executable, [sys.executable, str(PARROT), *arguments], environment)
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.raw = ""
        self._mark = 0

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str, seconds: float = 15) -> str:
        """Return what was shown since the last call, up to `text`."""
        deadline = time.monotonic() + seconds
        while (found := plain(self.raw).find(text, self._mark)) < 0:
            assert self._read(deadline), f"{text!r} was not shown: {plain(self.raw)[self._mark :]!r}"
        start, self._mark = self._mark, found + len(text)
        return plain(self.raw)[start : self._mark]

    def end(self) -> int:
        """Wait for the end of the process and return its exit code."""
        while self._read(time.monotonic() + 15):
            pass
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        return os.waitstatus_to_exitcode(status)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self.fd, 4096) if ready else b""
        except OSError:  # the other side is closed
            data = b""
        self.raw += data.decode(errors="replace")
        if "\x1b[6n" in data.decode(errors="replace"):
            self.type("\x1b[1;1R")  # where the cursor is
        return bool(data)

    def close(self) -> None:
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self.fd)


def plain(raw: str) -> str:
    """Return what a terminal was sent, without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", raw)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Open]:
    """Open `localmem chat` in a terminal: `terminal("--quiet", columns=60, NAME="value")`."""
    opened = []

    def open_terminal(*arguments: str, columns: int = 100, **more: str) -> Terminal:
        settings = {"TERM": "xterm-256color", "PARROT_DELAY": "0.02"}
        made = Terminal(environment | settings | more, columns, "chat", *arguments)
        opened.append(made)
        made.until("· core ")
        return made

    yield open_terminal
    for made in opened:
        with contextlib.suppress(OSError):
            made.close()


def said(home: Path) -> list[str]:
    with Home.open(home) as opened:
        return [text for record in opened.agent("default").records() if (text := spoken(record))]


def test_a_conversation(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.type("remember tea is green, and it is best when drunk at once\r")
    shown = screen.until("You said: remember tea is green")
    assert '· remembered in human: "tea is green, and' in shown
    screen.until("default · smollm2-135m-instruct · ")
    screen.until("· core ")
    screen.type("\x04")
    assert screen.end() == 0
    assert said(home)[1].startswith("You said: remember tea is green")
    history = home / "history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+remember tea is green, and" in history.read_text()


def test_ctrl_c_keeps_what_was_said_and_the_session(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.type("count to 900\r")
    screen.until(" 5 6 7")
    screen.type("\x03")
    screen.until("interrupted")
    screen.until("· core ")
    screen.type("hello\r")
    screen.until("You said: hello")
    screen.until("· core ")
    screen.type("\x04")
    assert screen.end() == 0
    texts = said(home)
    assert texts[0] == "count to 900"
    assert texts[1].startswith("1 2 3 4 5 6 7")
    assert "900" not in texts[1]
    assert texts[2:] == ["hello", "You said: hello"]
    with Home.open(home) as opened:
        assert opened.agent("default").unfinished() is None


def test_ctrl_c_at_the_prompt(terminal: Open) -> None:
    screen = terminal()
    screen.type("\x03")
    screen.until("Ctrl-D or /exit leaves")
    screen.type("abc\x03")
    screen.type("hello\r")
    screen.until("You said: hello")
    screen.type("/exit\r")
    assert screen.end() == 0


def test_a_paste_is_one_message(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.type("\x1b[200~one\ntwo\n\n  three\x1b[201~")
    screen.until("three")
    screen.type("\r")
    screen.until("You said: one two three")
    screen.type("first\nsecond\x1b\rthird\r")
    screen.until("You said: first second third")
    screen.type("/exit\r")
    assert screen.end() == 0
    assert said(home)[0] == "one\ntwo\n\n  three"
    assert said(home)[2] == "first\nsecond\nthird"


def test_what_is_typed_during_a_reply_waits(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.type("count to 40\r")
    screen.until(" 3 4 5")
    screen.type("typed ahead")
    shown = screen.until("39 40")
    assert "typed" not in shown
    screen.until("> typed ahead")
    screen.type("\r")
    screen.until("You said: typed ahead")
    screen.type("\x04")
    assert screen.end() == 0


@pytest.mark.parametrize("columns", [60, 100])
def test_lines_break_at_words(terminal: Open, columns: int) -> None:
    screen = terminal(columns=columns)
    screen.type("count to 60\r")
    shown = screen.until("59 60").rpartition("1 2 3 4")[2]
    assert all(len(line) < columns for line in shown.splitlines())
    screen.type("/help\r")
    screen.until("Ctrl-D leaves.")


def drawn(raw: str) -> list[str]:
    """Return the lines that a terminal without escape sequences shows: what comes later overwrites."""
    lines = []
    for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", "", raw).split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def test_no_colour(terminal: Open) -> None:
    screen = terminal(NO_COLOR="1")
    screen.type("remember tea is green\r")
    screen.until("You said: remember tea is green")
    screen.type("\x04")
    assert screen.end() == 0
    styles = set(re.findall(r"\x1b\[([0-9;]*)m", screen.raw))
    colours = {code for style in styles for code in style.split(";") if code[:1] in "3489" and len(code) > 1}
    assert colours <= {"39", "49"}, "only back to the terminal's own colours"
    assert "2" not in styles
    shown = drawn(screen.raw)
    assert "thinking ..." in screen.raw
    assert '· remembered in human: "tea is green"' in shown
    assert "You said: remember tea is green" in shown
    assert not any("thinking" in line for line in shown)


def test_a_dumb_terminal(environment: dict[str, str]) -> None:
    screen = Terminal(environment | {"TERM": "dumb", "PARROT_DELAY": "0.02"}, 100, "chat")
    with contextlib.closing(screen):
        screen.until("> ")
        screen.type("hello\r")
        screen.until("You said: hello")
        screen.type("\x04")
        assert screen.end() == 0
    shown = drawn(screen.raw)
    assert "thinking ..." in screen.raw
    assert "You said: hello" in shown
    assert not any("thinking" in line or "loading" in line for line in shown)
    assert "\x1b[2m" not in screen.raw


def test_bytes_that_are_no_utf8_are_refused_in_one_line(terminal: Open, home: Path) -> None:
    screen = terminal()
    for typed in (b"half \xff\r", b"/search \xff\r"):
        os.write(screen.fd, typed)
        screen.until("localmem: the message is not UTF-8")
        screen.until("· core ")
    screen.type("hello\r")
    screen.until("You said: hello")
    screen.type("\x04")
    assert screen.end() == 0
    assert said(home) == ["hello", "You said: hello"]
