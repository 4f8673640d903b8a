"""No network: talking, remembering and searching open no internet socket; only `models pull` may."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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


@pytest.fixture
def home(tmp_path: Path, smollm2: Path, minilm: Path) -> Path:
    """A home with SmolLM2 and the embedder in place, and an agent that has met somebody."""
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    for path in (smollm2, minilm):
        (models / path.name).symlink_to(path)
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    return tmp_path / "home"


def localmem(
    home: Path, *arguments: str, before: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(before or []),
            sys.executable,
            "-c",
            "from localmem.cli.main import run; run()",
            "--home",
            str(home),
            *arguments,
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(home.parent / "watch"),
            "LOCALMEM_MODEL": "smollm2-135m-instruct",
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_the_watch_sees_a_socket(home: Path) -> None:
    """The test can fail: fetching a model is seen."""
    run = localmem(home, "models", "pull", "qwen3-0.6b")
    assert run.returncode == 99, run.stderr
    assert "NETWORK" in run.stderr


@pytest.mark.model
def test_no_command_but_pull_opens_a_socket(home: Path) -> None:
    for arguments in (
        ["ask", "My name is Ada", "--json"],
        ["memory", "edit", "human", "--append", "Ada likes the sea"],
        ["memory", "show"],
        ["memory", "search", "sea", "--tier", "archival"],
        ["memory", "search", "Ada", "--tier", "recall", "--json"],
        ["agents", "list"],
        ["models", "list"],
        ["doctor"],
        ["paths"],
    ):
        run = localmem(home, *arguments)
        assert "NETWORK" not in run.stderr, (arguments, run.stderr)
        assert run.returncode == 0, (arguments, run.stderr)


@pytest.mark.model
def test_the_embedder_opens_no_socket(home: Path) -> None:
    script = """
import sys
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


@pytest.mark.model
@pytest.mark.skipif(
    not shutil.which("unshare") or os.geteuid() != 0, reason="needs root to cut the network off"
)
def test_a_conversation_without_any_network(home: Path) -> None:
    run = localmem(home, "ask", "Hello", "--json", before=["unshare", "-n"])
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["reply"]
    again = localmem(
        home, "memory", "search", "Hello", "--tier", "recall", "--json", before=["unshare", "-n"]
    )
    assert json.loads(again.stdout)["total"] >= 1
