"""`localmem run` in a process of its own, and the other commands through it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from parrot import PARROT, Run
from screens import Terminal

from localmem.memory.home import Home
from localmem.records import Call, Event, EventKind
from localmem.serve.address import socket_of

SLOW = 60.0
"""Seconds that anything may take on a busy machine."""


class Running:
    """`localmem run` on the parrot; `lines` are those of its standard error so far."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        command = [sys.executable, str(PARROT), "run", *arguments]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.until("Ctrl-C stops it")

    def until(self, text: str) -> None:
        """Wait until a line with a text was written."""
        deadline = time.monotonic() + SLOW
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.02)

    def end(self, number: int) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(SLOW)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))


Serve = Callable[..., Running]


@pytest.fixture
def serve(environment: dict[str, str]) -> Iterator[Serve]:
    """Start `localmem run`: `serve("--verbose", PARROT_DELAY="0.1")`; what still runs is ended with the test."""
    started: list[Running] = []

    def start(*arguments: str, **more: str) -> Running:
        started.append(Running(environment | more, *arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.end(signal.SIGKILL)


def events(home: Path, kind: EventKind = EventKind.USER) -> list[str]:
    """Return the events of a kind in the log of a home that nobody owns."""
    with Home.open(home) as opened:
        records = opened.agent("default").records()
    return [record.text for record in records if isinstance(record, Event) and record.kind is kind]


def said(home: Path) -> list[str]:
    """Return what the agent said, from a home that nobody owns."""
    with Home.open(home) as opened:
        records = opened.agent("default").records()
    calls = [record for record in records if isinstance(record, Call)]
    return [str(call.arguments["message"]) for call in calls if call.function == "send_message"]


def test_it_says_what_it_serves_and_the_commands_go_through_it(
    localmem: Run, serve: Serve, home: Path, tmp_path: Path
) -> None:
    running = serve("--verbose")
    *opening, memory, timer = running.lines[:6]
    assert opening == [
        f"localmem run: home {home}",
        f"  socket  {socket_of(home)}, for you alone",
        "  agents  none yet: the first message makes one",
        "  model   smollm2-135m-instruct, for agents without one of their own; loaded when it is needed",
    ]
    assert re.fullmatch(r"  memory  \d+ MB: 2 agents at once, each with a window of 4,096 tokens", memory)
    assert timer == "  timer   none"
    asked = localmem("ask", "remember tea is green")
    assert (asked.returncode, asked.stdout) == (0, "You said: remember tea is green\n"), asked
    assert asked.stderr == '· remembered in human: "tea is green"\n'
    running.until("default · user · remember tea is green · 2 tokens")
    shown = json.loads(localmem("ask", "and now?", "--json").stdout)
    assert (shown["reply"], shown["agent"]) == ("You said: and now?", "default")
    assert shown["usage"]["completion_tokens"] == 1, "of this turn alone"
    assert shown["context"]["used"] == sum(shown["context"]["sections"].values())
    chat = localmem("chat", input="hello\n/memory\n/nonsense\n/exit\n")
    assert chat.stdout.startswith("You said: hello\npersona: ")
    assert "there is no command /nonsense" in chat.stderr
    assert "tea is green" in localmem("memory", "show").stdout
    edited = localmem("memory", "edit", "human", "--append", "it rains")
    assert (edited.returncode, edited.stderr) == (0, "human: 21 of 2,000 characters\n")
    assert json.loads(localmem("memory", "search", "tea", "--json").stdout)["total"] >= 1
    for text in ("the dog is called Bruno", "the DOG is called  bruno"):
        assert localmem("memory", "add", text).returncode == 0
    tidied = json.loads(localmem("memory", "tidy", "--json").stdout)["changes"]
    assert len(tidied) == 1
    assert localmem("memory", "tidy").stdout == "there is nothing to tidy\n"
    (tmp_path / "pirate.txt").write_text("I am a pirate.")
    made = subprocess.run(  # a path from where the person is, not from where the service was started
        [sys.executable, str(PARROT), "agents", "create", "anna", "--persona", "pirate.txt"],
        cwd=tmp_path,
        env=os.environ | {"LOCALMEM_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    here = tmp_path / "here"
    here.mkdir()
    exported = subprocess.run(
        [sys.executable, str(PARROT), "agents", "export", "anna"],
        cwd=here,
        env=os.environ | {"LOCALMEM_HOME": str(home)},
        check=True,
    )
    assert [file.name for file in here.iterdir()] == ["anna.agent"], exported
    piped = localmem("memory", "add", "-", input="read from a pipe\n")
    assert "kept as passage" in piped.stderr, piped
    assert "I am a pirate." in localmem("agents", "show", "anna").stdout
    assert localmem("agents", "delete", "anna").stderr == (
        "localmem: deleting anna loses all it remembers: say --yes\n"
    ), "nobody can be asked"
    assert localmem("agents", "delete", "anna", "--yes").stderr == "anna is deleted\n"
    unknown = localmem("memory", "show", "--agent", "anna")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "localmem: there is no agent 'anna'; there are: default\n",
    )
    assert running.end(signal.SIGTERM) == 0
    assert not socket_of(home).exists()


def test_a_second_one_is_refused_in_one_line(localmem: Run, serve: Serve, home: Path) -> None:
    running = serve()
    second = localmem("run")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"localmem: home {home} is in use by process {running.process.pid} (parrot.py run); "
        "close it or give another with --home\n"
    )
    assert localmem("ask", "still there?").stdout == "You said: still there?\n"


def test_what_it_has_settled_is_not_asked_for_otherwise(localmem: Run, serve: Serve) -> None:
    serve("--window", "2048")
    assert localmem("ask", "hello", "--window", "2048").stdout == "You said: hello\n"
    for option in (["--window", "4096"], ["--seed", "3"], ["--temperature", "1"]):
        refused = localmem("ask", "hello", *option)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == (
            f"localmem: {option[0]} is for `localmem run` to say, which runs the agents: leave it away here\n"
        )


def test_ctrl_c_ends_it_and_keeps_what_was_said(
    environment: dict[str, str], serve: Serve, home: Path
) -> None:
    running = serve(PARROT_DELAY="0.05")
    asking = ask(environment, "count to 2000")
    assert asking.stdout is not None
    asking.stdout.read(8)
    assert running.end(signal.SIGINT) == 130
    assert running.lines[-1] == "stopping ..."
    asking.wait(SLOW)
    assert said(home)[0].startswith("1 2 3 4")
    assert events(home) == ["count to 2000"]


def test_ctrl_c_in_a_client_ends_the_turn_and_not_the_service(
    environment: dict[str, str], localmem: Run, serve: Serve, home: Path
) -> None:
    running = serve(PARROT_DELAY="0.05")
    asking = ask(environment, "count to 2000")
    assert asking.stdout is not None
    begun = asking.stdout.read(8)
    asking.send_signal(signal.SIGINT)
    rest = asking.stdout.read()
    assert asking.wait(SLOW) == 130
    assert localmem("ask", "hello").stdout == "You said: hello\n"
    assert running.end(signal.SIGTERM) == 0
    assert said(home)[0] == (begun + rest).strip()


def test_a_kill_loses_nothing_acknowledged(
    environment: dict[str, str], localmem: Run, serve: Serve, home: Path
) -> None:
    running = serve(PARROT_DELAY="0.05")
    asking = ask(environment, "count to 2000")
    assert asking.stdout is not None
    asking.stdout.read(8)
    for text in ("remember tea is green", "remember it rains"):
        submit(home, text)
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    _, error = asking.communicate(timeout=SLOW)
    assert asking.returncode == 1
    assert error.splitlines()[-1] == (
        "localmem: `localmem run` is gone; your message is kept, and answered when it runs again"
    )
    assert socket_of(home).is_socket(), "left behind"
    again = serve("--verbose")
    for text in ("remember tea is green", "remember it rains", "count to 2000"):
        again.until(f"user · {text} ·")
    assert again.end(signal.SIGTERM) == 0
    assert sorted(events(home)) == ["count to 2000", "remember it rains", "remember tea is green"]
    assert said(home).count("You said: remember it rains") == 1
    assert localmem("memory", "show").stdout.count("it rains") == 1


def test_a_terminal_is_told_what_another_says(
    environment: dict[str, str], localmem: Run, serve: Serve
) -> None:
    serve()
    settings = {"TERM": "xterm-256color"}
    with contextlib.closing(Terminal(environment | settings, 100, "chat")) as screen:
        screen.ready(SLOW)
        screen.say("mine")
        assert localmem("ask", "hello from afar").returncode == 0
        shown = screen.until("You said: hello from afar", SLOW)
        assert "· another terminal: hello from afar" in shown
        assert "terminal: mine" not in shown, "its own words are not repeated"
        screen.type("\x04")
        assert screen.end() == 0


def test_what_was_typed_during_an_answer_outlasts_a_command_and_leaving(
    environment: dict[str, str], serve: Serve, home: Path
) -> None:
    running = serve(PARROT_DELAY="0.03")
    settings = {"TERM": "xterm-256color"}
    with contextlib.closing(Terminal(environment | settings, 100, "chat")) as screen:
        screen.ready(SLOW)
        screen.type("count to 900\r")
        screen.until("1 2 3", SLOW)
        screen.type("remember tea is green\r")
        screen.type("/timers\r")
        screen.until("no timer is set", SLOW)
        screen.until("You said: remember tea is green", SLOW)
        screen.type("count to 800\r")
        screen.until("> count to 800\n1 2 3", SLOW)
        screen.type("remember it rains\r")
        screen.type("\x04")
        assert screen.end() == 0
    assert running.end(signal.SIGTERM) == 0
    with Home.open(home) as opened:
        waits = [event.text for event in opened.agent("default").inbox.pending()]
    assert "remember it rains" in [*waits, *events(home)]


def test_it_stops_where_nobody_reads_what_it_says(environment: dict[str, str], home: Path) -> None:
    command = [sys.executable, str(PARROT), "run"]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
    )
    assert process.stdout is not None
    assert process.stderr is not None
    while b"Ctrl-C stops it" not in process.stderr.readline():
        assert process.poll() is None
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    process.wait(SLOW)
    assert not socket_of(home).exists()


def test_one_that_is_suspended_is_told_of(localmem: Run, serve: Serve) -> None:
    running = serve()
    running.process.send_signal(signal.SIGSTOP)
    try:
        done = localmem("agents", "list")
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    assert "does not answer" in done.stderr
    assert localmem("agents", "list").returncode == 0


def test_it_outlasts_its_terminal_where_it_is_asked_to(environment: dict[str, str], home: Path) -> None:
    command = ["nohup", sys.executable, str(PARROT), "--home", str(home), "run"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    while b"Ctrl-C stops it" not in process.stderr.readline():
        assert process.poll() is None
    assert (Home.owner(home) or "").endswith(" run)")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SLOW)
    assert process.returncode == 0


def test_paths_that_are_another_process_s_own_are_refused(localmem: Run, serve: Serve) -> None:
    serve()
    done = localmem("agents", "create", "x", "--persona", "/dev/stdin", input="kind")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done


def test_a_timer_and_two_terminals_live_together(localmem: Run, serve: Serve, home: Path) -> None:
    serve()
    assert localmem("ask", "hello").returncode == 0
    assert localmem("timers", "add", "look outside", "--in", "1s").returncode == 0
    assert localmem("ask", "hello again").stdout == "You said: hello again\n"
    deadline = time.monotonic() + SLOW
    while not json.loads(localmem("memory", "search", "outside", "--json").stdout)["total"]:
        assert time.monotonic() < deadline


def ask(environment: dict[str, str], text: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PARROT), "ask", text]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def submit(home: Path, text: str) -> None:
    """Hand in an event of another terminal, without waiting for its turn."""
    from localmem.serve.client import Client

    Client(home).post("/agents/default/events", {"text": text, "wait": False, "by": "somebody"})
