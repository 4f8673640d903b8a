"""`localmem models` as a user runs it, in a home of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from localmem.cli.main import main
from localmem.errors import ModelBroken, UnknownModel


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), "models", *arguments])


def known(home: Path, name: str) -> dict[str, object]:
    result = run(home, "show", name, "--json")
    assert result.exit_code == 0, result.output
    shown: dict[str, object] = json.loads(result.stdout)
    return shown


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def seeded(home: Path, smollm2: Path) -> Path:
    """A home that has SmolLM2 already."""
    (home / "models").mkdir(parents=True)
    (home / "models" / smollm2.name).symlink_to(smollm2)
    return home


def test_list(home: Path) -> None:
    rows = json.loads(run(home, "list", "--json").stdout)
    assert sum(row["default"] for row in rows) == 2
    assert not any(row["present"] for row in rows)
    assert {"name", "parameters", "bytes", "licence", "tested", "present", "fits", "default"} <= set(rows[0])
    shown = run(home, "list").stdout
    assert all(row["name"] in shown for row in rows)
    assert not home.exists(), "looking makes nothing"


def test_show_of_an_absent_model(home: Path) -> None:
    shown = known(home, "qwen2.5-coder-0.5b-instruct")
    assert shown["path"] is None
    assert shown["bytes"] == 491400064
    assert shown["window"] == 4096
    assert str(shown["sha256"]).startswith("1d961463")


@pytest.mark.model
def test_show_verify_and_pull_of_a_present_model(seeded: Path, smollm2: Path) -> None:
    shown = known(seeded, "smollm2-135m-instruct")
    facts = shown["gguf"]
    assert isinstance(facts, dict)
    assert facts["trained_window"] == 8192
    verdict = json.loads(run(seeded, "verify", "--json").stdout)
    assert [row["verdict"] for row in verdict] == ["verified"]
    pulled = run(seeded, "pull", "smollm2-135m-instruct")
    assert pulled.exit_code == 0
    assert "already here, verified" in pulled.stderr
    assert pulled.stdout == ""


@pytest.mark.model
def test_add_a_file_in_place(home: Path, smollm2: Path) -> None:
    added = run(home, "add", "mine", str(smollm2))
    assert added.exit_code == 0, added.output
    assert "135M" in added.stdout
    assert known(home, "mine")["path"] == str(smollm2)
    assert known(home, str(smollm2))["bytes"] == smollm2.stat().st_size


def test_a_damaged_model_is_told(home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    result = run(home, "verify")
    assert "damaged" in result.stdout
    assert isinstance(result.exception, ModelBroken)
    assert "`localmem models pull smollm2-135m-instruct`" in str(result.exception)


@pytest.mark.parametrize("command", ["show", "pull", "verify"])
def test_unknown_models(home: Path, command: str) -> None:
    error = run(home, command, "qwen9").exception
    assert isinstance(error, UnknownModel)
    assert "models list" in str(error)


def test_looking_loads_nothing_heavy(home: Path) -> None:
    script = (
        "import sys; from localmem.cli.models import command; "
        "command.main(['list'], obj=None, standalone_mode=False); "
        "heavy = {'llama_cpp', 'torch', 'duckdb', 'faiss', 'numpy', 'urllib.request', 'pip'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_says_what_it_does() -> None:
    from localmem.cli.models import command

    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        assert found.help
