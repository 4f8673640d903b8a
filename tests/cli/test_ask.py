"""`localmem ask`: the contract of its JSON, and what it says of what cannot be."""

from __future__ import annotations

import functools
import hashlib
import json
import signal
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from parrot import PARROT, Run


def test_the_reply_alone_is_on_standard_output(localmem: Run) -> None:
    done = localmem("ask", "remember tea is green")
    assert done.returncode == 0
    assert done.stdout == "You said: remember tea is green\n"
    assert done.stderr == '· remembered in human: "tea is green"\n'


def test_json_is_the_contract(localmem: Run) -> None:
    done = localmem("ask", "remember tea is green", "--json", "--window", "2048", "--seed", "3")
    shown = json.loads(done.stdout)
    assert list(shown) == ["reply", "agent", "model", "steps", "usage", "context"]
    assert shown["reply"] == "You said: remember tea is green"
    assert (shown["agent"], shown["model"]) == ("default", "smollm2-135m-instruct")
    assert [step["function"] for step in shown["steps"]] == ["core_memory_append", "send_message"]
    assert shown["steps"][0] == {
        "thought": "",
        "function": "core_memory_append",
        "arguments": {"label": "human", "content": "tea is green"},
        "ok": True,
        "result": "Kept in human.",
    }
    assert set(shown["usage"]) == {
        *("prompt_tokens", "reused_tokens", "completion_tokens", "forward_passes", "seconds"),
        *("first_token_seconds", "forced_tokens", "drafted_tokens", "accepted_tokens"),
    }
    assert shown["usage"]["completion_tokens"] == 2
    context = shown["context"]
    assert set(context) == {"window", "used", "sections"}
    assert context["window"] == 2048
    assert set(context["sections"]) == {"system", "functions", "core", "summary", "queue"}
    assert context["used"] == sum(context["sections"].values())


def test_text_from_standard_input(localmem: Run) -> None:
    assert localmem("ask", "-", input="grüße\nzwei\n").stdout == "You said: grüße zwei\n"


def test_what_is_no_utf8_is_refused_and_nothing_stored(localmem: Run) -> None:
    done = localmem("ask", "-", input="caf\xe9 au lait".encode("latin-1"))
    assert done.returncode == 2
    assert done.stderr == (
        "localmem: standard input is not UTF-8 (byte 0xe9 at position 3); "
        "convert it, e.g. iconv -f latin1 -t utf-8\n"
    )
    assert localmem("agents", "list", "--json").stdout == "[]\n"


@pytest.mark.parametrize("arguments", [("ask", ""), ("ask", " \n "), ("ask", "-")])
def test_an_empty_message_is_refused(localmem: Run, arguments: tuple[str, ...]) -> None:
    done = localmem(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "localmem: the message is empty: write something\n"


def test_an_unknown_agent_is_told_who_is_there(localmem: Run) -> None:
    localmem("agents", "create", "anna")
    done = localmem("ask", "hello", "--agent", "ana")
    assert done.returncode == 2
    assert done.stderr == "localmem: there is no agent 'ana'; there are: anna\n"


def test_an_unknown_model(localmem: Run) -> None:
    done = localmem("ask", "hello", "--model", "smollm2-135m")
    assert done.returncode == 2
    assert done.stderr.startswith("localmem: no model 'smollm2-135m': did you mean smollm2-")
    assert localmem("ask", "hello", "--model", "/no/such.gguf").returncode == 2


def test_a_model_of_another_kind(localmem: Run) -> None:
    done = localmem("ask", "hello", "--model", "all-minilm-l6-v2")
    assert done.returncode == 2
    assert "makes vectors and cannot talk" in done.stderr


def test_a_window_too_small_names_the_smallest(localmem: Run) -> None:
    done = localmem("ask", "hello", "--window", "600")
    assert done.returncode == 2
    assert "the smallest that works is" in done.stderr
    smallest = done.stderr.split("--window ")[1].split()[0]
    assert localmem("ask", "hello", "--window", smallest).returncode == 0


@pytest.mark.model
def test_a_broken_model_file(home: Path, environment: dict[str, str], smollm2: Path) -> None:
    broken = home / "broken.gguf"
    broken.write_bytes(smollm2.read_bytes()[: 1 << 21])
    command = [
        sys.executable,
        "-c",
        "from localmem.cli.main import run; run()",
        "ask",
        "hello",
        "--model",
        str(broken),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(broken) in done.stderr


def test_a_second_process_is_told_who_has_the_home(localmem: Run, environment: dict[str, str]) -> None:
    command = [sys.executable, str(PARROT), "chat"]
    first = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first.stdin is not None
    assert first.stderr is not None
    first.stderr.readline()
    try:
        done = localmem("ask", "hello")
    finally:
        first.stdin.close()
        first.wait()
        first.stderr.close()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"in use by process {first.pid} (parrot.py chat)" in done.stderr


def test_a_home_that_cannot_be_made(localmem: Run) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    done = localmem("--home", "/proc/localmem", "ask", "hello")
    assert done.returncode == 1
    assert done.stderr.startswith("localmem: home /proc/localmem cannot be used")


def test_a_home_that_is_a_file(localmem: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = localmem("--home", str(tmp_path / "file"), "ask", "hello")
    assert done.returncode == 1
    assert "is not a folder" in done.stderr


def test_a_full_standard_output_is_one_line(environment: dict[str, str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("w") as out:
        done = subprocess.run(
            [sys.executable, str(PARROT), "ask", "hello"],
            env=environment,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "localmem: the disk is full: free some space and try again"
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(environment: dict[str, str]) -> None:
    command = f"{sys.executable} {PARROT} ask 'count to 400' | head -c 10"
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    assert done.stdout == "1 2 3 4 5 "
    assert done.stderr == ""


def test_a_turn_that_a_kill_left_open_is_answered_first(localmem: Run) -> None:
    killed = localmem("ask", "remember tea is green", LOCALMEM_CRASH_AT="perform.committed")
    assert killed.returncode < 0
    done = localmem("ask", "hello", "--json")
    assert "was not answered" in done.stderr
    assert "You said: remember tea is green" in done.stderr
    assert json.loads(done.stdout)["reply"] == "You said: hello"
    shown = json.loads(localmem("memory", "show", "--json").stdout)
    assert shown["blocks"][1]["value"] == "tea is green"


def test_ctrl_c_keeps_what_was_said(environment: dict[str, str]) -> None:
    command = [sys.executable, str(PARROT), "ask", "count to 900"]
    process = subprocess.Popen(
        command,
        env=environment | {"PARROT_DELAY": "0.02"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    shown = process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate()
    assert (process.returncode, errors.strip()) == (130, "interrupted")
    done = subprocess.run(
        [sys.executable, str(PARROT), "memory", "search", "count", "--json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["total"] == 1
    assert shown == "1 2 3 4 5 "
    assert "900" not in rest


def test_a_model_that_is_not_here_is_fetched(localmem: Run, home: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF" * 1000)
    digest = hashlib.sha256(b"GGUF" * 1000).hexdigest()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/tiny.gguf"
    entry = f'file = "t.gguf"\nbytes = 4000\nsha256 = "{digest}"\nsources = [{{ url = "{address}" }}]\n'
    (home / "models.toml").write_text(f'[models."tiny"]\n{entry}')
    done = localmem("ask", "hello", "--model", "tiny")
    server.shutdown()
    server.server_close()
    assert (done.returncode, done.stdout) == (0, "You said: hello\n")
    assert "tiny is not on this machine yet" in done.stderr
    assert address in done.stderr
    assert (home / "models" / "t.gguf").exists()


def test_a_model_that_is_not_here_and_has_no_source(home: Path, environment: dict[str, str]) -> None:
    (home / "models.toml").write_text('[models."tiny"]\nfile = "t.gguf"\n')
    command = [
        sys.executable,
        "-c",
        "from localmem.cli.main import run; run()",
        "ask",
        "hi",
        "--model",
        "tiny",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("localmem: tiny is not on this machine: ")


def test_a_terminal_that_cannot_show_a_letter(localmem: Run) -> None:
    done = localmem("ask", "tea ☕", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout) == (0, "You said: tea ?\n")
