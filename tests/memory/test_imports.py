"""Importing the memory does nothing: no heavy library is loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("duckdb", "faiss", "numpy", "sentence_transformers", "torch", "platformdirs")


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, localmem.memory.home, localmem.testing; print(*(set(sys.argv[1:]) & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""
