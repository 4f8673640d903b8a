"""Starting is quick because nothing is loaded that is not needed: `localmem --help` is click and our own code."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = {"localmem", "click"}
SCRIPT = """
import sys
before = set(sys.modules)  # what this environment loads for every program
from localmem.cli.main import main
main.main(sys.argv[1:], standalone_mode=False)
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print("LOADED", *sorted(loaded - set(sys.stdlib_module_names)))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["chat", "--help"], ["models", "pull", "--help"]]
)
def test_help_loads_click_and_nothing_else(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.splitlines()[-1].split()[1:]) <= OURS
