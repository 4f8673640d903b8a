"""Runs a script on a home in a process of its own, to be killed, and reads what it acknowledged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from localmem.memory.home import Home
from localmem.records import Block
from localmem.testing import HashEmbedder


def make_home(path: Path) -> None:
    with Home.open(path, embedder=HashEmbedder()) as home:
        home.create_agent("default").put_block(Block("human", "", 1_000_000), "user")


def start(script: ModuleType, path: Path, first: int, last: int, crash_at: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script.__file__), str(path), str(first), str(last)],
        env={**os.environ, "LOCALMEM_CRASH_AT": crash_at},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def numbers(output: str) -> list[int]:
    return [int(line.split()[1]) for line in output.splitlines() if line.startswith("acknowledged")]
