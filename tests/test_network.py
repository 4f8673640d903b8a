"""No network: talking, remembering and searching open no internet socket; only `models pull` may."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

WATCH = '''
"""Ends the process at the first internet socket or name look-up; loaded by Python before anything else."""
import os
import sys


def audit(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        sys.stderr.write(f"NETWORK {event} {arguments[0]!r}\\n")
        os._exit(99)
    if event == "socket.__new__" and arguments[1] in (2, 10):  # AF_INET, AF_INET6
        sys.stderr.write("NETWORK socket\\n")
        os._exit(99)


sys.addaudithook(audit)
'''


ALONE = ["unshare", "-rn"]
"""Put before a command, it runs in a namespace of its own, without any network; no root is needed."""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A home without a model, and the watch beside it."""
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    return tmp_path / "home"


@pytest.fixture
def home(bare: Path, smollm2: Path, minilm: Path) -> Path:
    """A home with SmolLM2 and the embedder in place."""
    for path in (smollm2, minilm):
        (bare / "models" / path.name).symlink_to(path)
    return bare


def localmem(
    home: Path, *arguments: str, before: Sequence[str] = (), input: str = ""
) -> subprocess.CompletedProcess[str]:
    start = "from localmem.cli.main import run; run()"
    return subprocess.run(
        [*before, sys.executable, "-c", start, "--home", str(home), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(home.parent / "watch"),
            "LOCALMEM_MODEL": "smollm2-135m-instruct",
        },
        capture_output=True,
        text=True,
        input=input,
    )


def test_the_watch_sees_a_socket(bare: Path) -> None:
    """The test can fail: fetching a model is seen."""
    run = localmem(bare, "models", "pull", "qwen3-0.6b")
    assert run.returncode == 99, run.stderr
    assert "NETWORK" in run.stderr


def test_no_command_but_pull_opens_a_socket(home: Path) -> None:
    for arguments, said in (
        (["ask", "My name is Ada", "--json"], '"reply"'),
        (["chat"], ""),
        (["memory", "edit", "human", "--append", "Ada likes the sea"], ""),
        (["memory", "show"], "Ada likes the sea"),
        (["memory", "search", "sea", "--tier", "archival"], ""),
        (["memory", "search", "Ada", "--tier", "recall", "--json"], "Ada"),
        (["agents", "list"], "default"),
        (["models", "list"], "smollm2-135m-instruct"),
        (["models", "show", "smollm2-135m-instruct"], "smollm2-135m-instruct"),
        (["models", "verify", "smollm2-135m-instruct", "all-minilm-l6-v2"], "all-minilm-l6-v2"),
        (["doctor"], ""),
        (["paths"], str(home)),
    ):
        run = localmem(home, *arguments, input="What is my name?\n" if arguments == ["chat"] else "")
        assert "NETWORK" not in run.stderr, (arguments, run.stderr)
        assert run.returncode == 0, (arguments, run.stderr)
        assert said in run.stdout, (arguments, run.stdout)


def test_the_embedder_opens_no_socket(home: Path) -> None:
    script = """
import sys
from collections.abc import Sequence
from pathlib import Path
from localmem.memory.home import Home
with Home.open(Path(sys.argv[1])) as home:
    memory = home.create_agent("a")
    memory.edit(lambda desk: desk.insert_passage("Bruno is a dog."))
    memory.settle()
    assert memory.vectors and memory.search_archive("a pet animal").total == 1
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(home)],
        env={**os.environ, "PYTHONPATH": str(home.parent / "watch")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_a_conversation_without_any_network(home: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives its users no namespaces")
    run = localmem(home, "ask", "My name is Ada", "--json", before=ALONE)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["reply"]
    again = localmem(home, "memory", "search", "Ada", "--tier", "recall", "--json", before=ALONE)
    assert json.loads(again.stdout)["total"] >= 1
