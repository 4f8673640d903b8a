"""What a shell is told when it asks how a line may go on: quickly, from names on disk, and never an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click import Command, Context, Group

from localmem.cli.main import main
from localmem.memory.home import Home
from localmem.memory.names import FILE, read
from localmem.records import Block

RUN = "from localmem.cli.main import run; run()"


def answers(home: Path, line: str, shell: str = "bash") -> list[str]:
    """Return what the shell is told for a line; its last word is the one that is being written."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "fish": {"COMP_WORDS": line, "COMP_CWORD": words[-1]},
    }[shell]
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**os.environ, "LOCALMEM_HOME": str(home), "_LOCALMEM_COMPLETE": f"{shell}_complete"} | asked,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if shell == "zsh":
        return done.stdout.splitlines()[1::3]
    return [each.partition(",")[2].partition("\t")[0] for each in done.stdout.splitlines() if each]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "dice.py").write_text("raise SystemExit\ndef roll_dice() -> str: ...\n")
    with Home.open(tmp_path) as home:
        home.create_agent("anna")
        home.create_agent("berta", blocks=[Block("house", "", 100)])
        home.create_archive("novels")
    return tmp_path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("localmem cha", ["chat"]),
        ("localmem agents sh", ["show"]),
        ("localmem chat --agent ", ["anna", "berta"]),
        ("localmem agents show b", ["berta"]),
        ("localmem agents create b", []),
        ("localmem archives show ", ["novels"]),
        ("localmem memory edit ", ["house", "human", "persona"]),
        ("localmem memory edit --agent anna ", ["human", "persona"]),
        ("localmem ask hello --model smollm2-135", ["smollm2-135m-instruct"]),
        ("localmem functions permit r", ["read_file", "roll_dice", "run_program"]),
        ("localmem bench run key", ["key_value"]),
        ("localmem completion f", ["fish"]),
    ],
)
def test_a_line_is_completed(there: Path, line: str, names: list[str], shell: str) -> None:
    if shell != "bash" and "agent" not in line:
        pytest.skip("the shells differ in the form alone")
    assert answers(there, line, shell) == names


def test_names_are_completed_while_another_process_has_the_home(there: Path) -> None:
    with Home.open(there) as home:
        home.create_agent("carla")
        assert answers(there, "localmem agents show c") == ["carla"]
        home.rename_agent("carla", "clara")
        assert read(there).agents == ["anna", "berta", "clara"]
        home.delete_agent("clara")
        assert read(there).agents == ["anna", "berta"]


@pytest.mark.parametrize("damage", ["", "[]", '{"agents": 3}', '{"other": []}', "\0"])
def test_a_damaged_file_of_names_completes_nothing_and_says_nothing(there: Path, damage: str) -> None:
    (there / FILE).write_text(damage)
    assert answers(there, "localmem agents show ") == []
    assert answers(there / "nowhere", "localmem agents show ") == []
    with Home.open(there):
        assert read(there).agents == ["anna", "berta"]


def test_completing_opens_no_database(there: Path) -> None:
    script = (
        "import os, sys\n"
        "from localmem.cli.main import main\n"
        "from localmem.cli.completion import answer\n"
        "answer(main)\n"
        "print(sorted({'duckdb', 'llama_cpp', 'faiss', 'torch', 'numpy', 'prompt_toolkit'} & set(sys.modules)))\n"
    )
    asked = {"COMP_WORDS": "localmem chat --agent ", "COMP_CWORD": "3", "_LOCALMEM_COMPLETE": "bash_complete"}
    env = {**os.environ, "LOCALMEM_HOME": str(there)} | asked
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["plain,anna", "plain,berta", "[]"]


def test_the_bash_script_completes_in_a_real_bash(there: Path, tmp_path: Path) -> None:
    command = tmp_path / "bin" / "localmem"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{RUN}" "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(localmem completion bash)"\n'
        "COMP_WORDS=(localmem agents show b); COMP_CWORD=3\n"
        '_localmem_completion localmem; echo "${COMPREPLY[@]}"\n'
    )
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "LOCALMEM_HOME": str(there), "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("berta\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_scripts_name_the_line_to_add(shell: str) -> None:
    done = subprocess.run([sys.executable, "-c", RUN, "completion", shell], capture_output=True, text=True)
    assert f"localmem completion {shell}" in done.stdout.splitlines()[0]
    assert "_LOCALMEM_COMPLETE=" in done.stdout


LISTS = {"list", "shares", "show", "search", "history", "audit", "check", "status", "verify", "report"}
"""Names of commands that show what there is."""
ALONE = {"doctor", "paths", "replay", "ask", "load", "functions check"}


def commands(group: Group, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Command]:
    found: dict[tuple[str, ...], Command] = {}
    for name in group.list_commands(Context(group)):
        command = group.get_command(Context(group), name)
        assert command is not None
        found |= commands(command, (*path, name)) if isinstance(command, Group) else {(*path, name): command}
    return found


def test_every_listing_can_be_had_as_json() -> None:
    lacking = [
        " ".join(path)
        for path, command in commands(main).items()
        if (path[-1] in LISTS or " ".join(path) in ALONE)
        and not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert lacking == []


def test_every_command_says_in_a_line_what_it_does() -> None:
    for path, command in commands(main).items():
        assert (command.help or "").strip(), path
        assert command.get_short_help_str(), path
