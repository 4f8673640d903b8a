"""A home for the command line, and `localmem` on a scripted model in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from parrot import PARROT, Run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a stand-in for the model's file, so that nothing is fetched."""
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    (models / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"")
    return tmp_path / "home"


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """What the process sees: this home, no colour asked for or against, no settings of the tester's own."""
    dropped = ("COLUMNS", "LINES", "NO_COLOR", "LOCALMEM_CRASH_AT", "PARROT_DELAY")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"LOCALMEM_HOME": str(home), "LOCALMEM_MODEL": "smollm2-135m-instruct"}


@pytest.fixture
def localmem(environment: dict[str, str]) -> Run:
    """Run the command line on the parrot: `localmem("ask", "hello", input="", NAME="value")`."""

    def run(*arguments: str, input: str | bytes = "", **more: str) -> subprocess.CompletedProcess[str]:
        data = input if isinstance(input, bytes) else input.encode()
        done = subprocess.run(
            [sys.executable, str(PARROT), *arguments],
            input=data,
            capture_output=True,
            env=environment | more,
            timeout=60,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run
