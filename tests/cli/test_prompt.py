"""`localmem chat` in a terminal: a prompt that stands while the agent works."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from screens import Terminal, styles

from localmem.memory.home import Home
from localmem.records import spoken

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Open]:
    """Open `localmem chat` in a terminal: `terminal("--quiet", columns=60, NAME="value")`."""
    opened = []

    def open_terminal(*arguments: str, columns: int = 100, **more: str) -> Terminal:
        settings = {"TERM": "xterm-256color", "PARROT_DELAY": "0.02"}
        made = Terminal(environment | settings | more, columns, "chat", *arguments)
        opened.append(made)
        made.ready()
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
    screen.ready()
    shown = screen.say("remember tea is green, and it is best when drunk at once").splitlines()
    assert shown[1:5] == [
        "",
        "> remember tea is green, and it is best when drunk at once",
        '· remembered in human: "tea is green, and it is best when drunk at once"',
        "You said: remember tea is green, and it is best when drunk at once",
    ]
    assert shown[5:7] == ["", ">"]
    assert " default · smollm2-135m-instruct · " in shown[7]
    screen.type("\x04")
    assert screen.end() == 0
    assert screen.lines[-1].startswith("You said:"), "the prompt leaves nothing behind"
    assert said(home)[1].startswith("You said: remember tea is green")
    history = home / "history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+remember tea is green, and" in history.read_text()


def test_markdown_is_laid_out_while_it_grows(terminal: Open) -> None:
    screen = terminal(columns=60)
    screen.type("lecture\r")
    growing = screen.until("Tea    │ What")
    assert "\n───────┼──" in growing
    screen.ready()
    shown = screen.shown
    assert "\nTea is green or black, made with water at 80 degrees, and\nnobody should" in shown
    assert "   • four for black tea, or even five where the water is\n     hard" in shown
    assert "\n    return leaves * 2  # **not bold**\n" in shown
    assert "\nAssam  │ strong" in shown
    assert "\n│ Enough." in shown
    assert shown.count("Sencha") == 1, "what grew is gone"
    assert all(len(line) < 60 for line in shown.splitlines())
    assert "1" in styles(screen.raw)


def test_ctrl_c_keeps_what_was_said_and_the_session(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.type("count to 900\r")
    screen.until(" 5 6 7")
    screen.type("\x03")
    screen.until("interrupted")
    screen.ready()
    assert "You said: hello" in screen.say("hello")
    screen.type("\x04")
    assert screen.end() == 0
    texts = said(home)
    assert texts[0] == "count to 900"
    assert texts[1].startswith("1 2 3 4 5 6 7")
    assert "900" not in texts[1]
    assert texts[2:] == ["hello", "You said: hello"]
    with Home.open(home) as opened:
        assert opened.agent("default").unfinished() is None


def test_ctrl_c_from_outside_stops_the_agent_too(terminal: Open) -> None:
    screen = terminal()
    screen.type("count to 900\r")
    screen.until(" 5 6 7")
    os.kill(screen.process, signal.SIGINT)
    screen.until("interrupted")
    screen.ready()


def test_ctrl_c_at_the_prompt_clears_the_line_and_leaves_when_pressed_twice(terminal: Open) -> None:
    screen = terminal()
    screen.ready()
    screen.type("abc\x03")
    screen.ready()
    assert "You said: hello" in screen.say("hello")
    screen.type("\x03")
    screen.until("Ctrl-C again within a second leaves")
    time.sleep(1.1)
    screen.type("\x03")
    screen.type("\x03")
    assert screen.end() == 0


def test_a_paste_is_one_message(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.ready()
    screen.type("\x1b[200~one\ntwo\n\n  three\x1b[201~")
    screen.until("    three")
    screen.type("\r")
    screen.until("You said: one two three")
    screen.ready()
    screen.type("first\nsecond\x1b\rthird\\\r")
    screen.until("  third\n")
    screen.type("fourth\r")
    screen.until("You said: first second third fourth")
    screen.type("/exit\r")
    assert screen.end() == 0
    assert said(home)[0] == "one\ntwo\n\n  three"
    assert said(home)[2] == "first\nsecond\nthird\nfourth"


def test_what_is_typed_during_a_reply_stands_in_the_line(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.type("count to 100\r")
    screen.until(" 3 4 5")
    screen.type("typed ahead")
    shown = screen.until("> typed ahead").splitlines()
    assert "writing ..." in shown[-1]
    screen.until("99 100")
    screen.until("\n\n> typed ahead")
    screen.type("\r")
    screen.until("You said: typed ahead")
    screen.ready()
    screen.type("\x04")
    assert screen.end() == 0
    assert said(home)[2:] == ["typed ahead", "You said: typed ahead"]


def test_a_message_stops_the_agent_and_goes_first(terminal: Open, home: Path) -> None:
    screen = terminal()
    screen.type("count to 900\r")
    screen.until(" 3 4 5")
    shown = screen.say("something else").splitlines()
    stopped = shown.index("interrupted")
    assert shown[stopped + 1 : stopped + 3] == ["", "> something else"]
    assert "something else" in shown[stopped + 3]
    screen.type("\x04")
    assert screen.end() == 0
    first, second, reply = said(home)
    assert (first, second) == ("count to 900", "something else")
    assert reply.endswith("something else")


def test_a_command_waits_until_the_agent_is_done(terminal: Open) -> None:
    screen = terminal()
    screen.type("count to 60\r")
    screen.until(" 3 4 5")
    screen.type("/memory\r")
    screen.until("next: /memory")
    shown = screen.until("recall 2 messages")
    assert "59 60\n" in shown
    assert "interrupted" not in shown


def test_who_leaves_behind_a_command_has_left(terminal: Open) -> None:
    screen = terminal()
    screen.type("count to 60\r")
    screen.until(" 3 4 5")
    screen.type("/memory\r")
    screen.until("next: /memory")
    screen.type("\x04")
    assert "recall 2 messages" in screen.until("recall 2 messages")
    assert screen.end() == 0


def test_commands_and_their_arguments_are_completed(terminal: Open) -> None:
    screen = terminal()
    screen.ready()
    screen.type("/mem")
    screen.until(" memory  core memory, summary")
    screen.type("\t")
    screen.until("> /memory")
    screen.type("\x03")
    screen.ready()
    screen.type("/core ")
    screen.until(" edit persona")
    screen.type("hu")
    screen.until("> /core hu\n human\n default")
    screen.type("\t")
    screen.until("> /core human")
    screen.type("\r\r")
    screen.until("human: 0 of 2,000 characters")


def test_the_history_is_searched(terminal: Open) -> None:
    screen = terminal()
    for text in ("remember the blue door", "hello", "goodbye"):
        screen.ready()
        screen.say(text)
    screen.type("\x12")
    screen.until("search back:")
    screen.type("blue")
    screen.until("search back: blue")
    screen.type("\r")
    screen.wait(lambda: "search back" not in screen.shown, "an end of the search")
    screen.type("\r")
    screen.wait(lambda: screen.shown.count("You said: remember the blue door") == 2, "the message again")


def test_the_editor_is_opened(terminal: Open, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf ' and more\\nof it' >> \"$1\"\n")
    editor.chmod(0o700)
    screen = terminal(EDITOR=str(editor), VISUAL="")
    screen.ready()
    screen.type("begun")
    screen.until("> begun")
    screen.type("\x18\x05")
    screen.until("> begun and more\n  of it")
    screen.type("\r")
    screen.until("You said: begun and more of it")


@pytest.mark.parametrize("columns", [60, 100])
def test_lines_break_at_words(terminal: Open, columns: int) -> None:
    screen = terminal(columns=columns)
    screen.ready()
    shown = screen.say("count to 60")
    assert "59 60" in shown
    screen.say("/help")
    assert all(len(line) < columns for line in screen.lines), screen.shown


def test_a_narrower_window(terminal: Open) -> None:
    screen = terminal(columns=100)
    screen.ready()
    screen.say("hello")
    screen.resize(60)
    screen.say("count to 40")
    assert all(len(line) < 60 for line in screen.lines[screen.lines.index("> count to 40") :])
    assert screen.lines.count(">") == 1


def test_no_colour(terminal: Open) -> None:
    screen = terminal(NO_COLOR="1")
    screen.ready()
    shown = screen.say("lecture").splitlines()
    screen.type("\x04")
    assert screen.end() == 0
    colours = {code for code in styles(screen.raw) if code[:1] in tuple("3489") and len(code) > 1}
    assert colours <= {"39", "49"}, "only back to the terminal's own colours"
    assert "2" not in styles(screen.raw)
    assert "# On tea" in shown, "nothing is taken for Markdown"


def test_a_dumb_terminal(environment: dict[str, str]) -> None:
    screen = Terminal(environment | {"TERM": "dumb", "PARROT_DELAY": "0.02"}, 100, "chat")
    with contextlib.closing(screen):
        screen.until("\n>")
        screen.type("hello\n")
        screen.until("You said: hello")
        screen.type("\x04")
        assert screen.end() == 0
    assert "thinking ..." in screen.raw
    assert not any("thinking" in line or "loading" in line for line in screen.lines)
    assert "\x1b" not in screen.raw


def test_bytes_that_are_no_utf8_are_refused_in_one_line(terminal: Open, home: Path) -> None:
    screen = terminal()
    for number, typed in enumerate((b"half \xff\r", b"/search \xff\r"), 1):
        screen.ready()
        screen.type(typed)
        screen.wait(
            lambda number=number: screen.shown.count("localmem: the message is not UTF-8") == number,
            "an error",
            20,
        )
    screen.ready()
    assert "You said: hello" in screen.say("hello")
    screen.type("\x04")
    assert screen.end() == 0
    assert said(home) == ["hello", "You said: hello"]
