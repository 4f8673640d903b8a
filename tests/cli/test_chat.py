"""`localmem chat` through a pipe: each line is a message or a command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from parrot import PARROT, Run


def test_each_line_is_a_message(localmem: Run) -> None:
    done = localmem("chat", input="hello\n\nremember tea is green\r\n")
    assert done.returncode == 0
    assert done.stdout == "You said: hello\nYou said: remember tea is green\n"
    greeting, memory = done.stderr.splitlines()
    said = r"default on smollm2-135m-instruct, window 4,096, memory \S+ .B. /help for help."
    assert re.fullmatch(said, greeting)
    assert memory == '· remembered in human: "tea is green"'


def test_quiet_and_verbose(localmem: Run) -> None:
    assert "remembered" not in localmem("chat", "--quiet", input="remember tea is green\n").stderr
    shown = localmem("chat", "--verbose", input="remember it rains\n").stderr
    assert 'call: {"function": "core_memory_append"' in shown
    assert " prompt tokens (" in shown


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/help", "/search TEXT [page N]   look in both"),
        ("/memory", "human: 12 of 2,000 characters\n  tea is green"),
        ("/context", "window       4,096"),
        ("/agents", "default *  -      "),
        ("/core human", "human: 12 of 2,000 characters\n  tea is green\n"),
        ("/recall green", "conversation: 2 found"),
        ("/archive green", "archive: 0 found"),
        ("/timers", "no timer is set"),
        ("/functions", "core_memory_append("),
        ("/stats", "turns      1 in this chat"),
        ("/verbose", "are shown from now on"),
        ("/undo", "taken back: turn"),
        ("/tidy 3", "there is nothing to tidy"),
        ("/retry", "You said: remember tea is green\nYou said: remember tea is green"),
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


def test_every_command_is_tested_and_in_the_help(localmem: Run) -> None:
    from localmem.cli.slash import COMMANDS

    helped = localmem("chat", input="/help\n").stdout
    tested = Path(__file__).read_text() + (Path(__file__).parent / "test_prompt.py").read_text()
    for name in COMMANDS:
        assert f"  /{name}" in helped
        assert f'"/{name}' in tested or f'"/{name}\\n' in tested or f"/{name}\\n" in tested, name


def test_documents_are_loaded_and_the_agent_goes_over_to_another(localmem: Run, tmp_path: Path) -> None:
    file = tmp_path / "a note.txt"
    file.write_text("The harbour master is called Ilse.")
    localmem("agents", "create", "anna")
    saved, exported = tmp_path / "talk.md", tmp_path / "anna.agent"
    lines = [
        f"/load '{file}'",
        "/archive harbour",
        "hello",
        f"/save {saved}",
        "/switch anna",
        "hello anna",
        f"/export {exported}",
        f"/save {saved}",
    ]
    done = localmem("chat", input="\n".join(lines) + "\n")
    assert done.returncode == 1, "the second /save is refused"
    assert f"{saved} is there already: give another name" in done.stderr
    assert "1 found" in done.stdout
    assert "you talk with anna on smollm2-135m-instruct now\nYou said: hello anna\nanna is in " in done.stdout
    assert exported.stat().st_size > 100
    assert saved.read_text().startswith("# Conversation with default\n\n**Document**, ")
    assert "\n**You**, " in saved.read_text()
    assert "You said: hello" in saved.read_text()
    assert saved.stat().st_mode & 0o777 == 0o600


def test_exit_leaves_at_once(localmem: Run) -> None:
    assert localmem("chat", input="hello\n/exit\nnot read\n").stdout == "You said: hello\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/serch tea", "there is no command /serch: did you mean /search?"),
        ("/exit now", "/exit takes nothing behind it"),
        ("/core nobody", "has no block 'nobody'"),
        ("/save ~nobody-of-that-name/x.md", "there is no such user here"),
        ("/tidy all", "say how many steps at most: /tidy 20"),
        ("/switch nobody", "there is no agent 'nobody'"),
        ("/verbose perhaps", "say /verbose, /verbose on or /verbose off"),
        ("/search", "say what: /search TEXT"),
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
