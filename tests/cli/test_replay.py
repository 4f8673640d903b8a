"""`localmem replay`: the turns that are kept, what cannot be replayed, and a real turn decoded again."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from parrot import Run

from localmem import runtime
from localmem.cli.main import main
from localmem.processor.engine import LlamaProcessor
from localmem.processor.profile import Profile
from localmem.processor.registry import Registry
from localmem.runtime import Options


def kept(localmem: Run, *arguments: str) -> list[dict[str, object]]:
    shown: list[dict[str, object]] = json.loads(localmem("replay", "--json", *arguments).stdout)
    return shown


def test_the_turns_of_ask_and_chat_are_listed(localmem: Run) -> None:
    localmem("ask", "remember tea is green")
    localmem("chat", input="hello\n/memory\ngood bye\n")
    rows = kept(localmem)
    assert [row["text"] for row in rows] == ["good bye", "hello", "remember tea is green"]
    assert [row["generations"] for row in rows] == [1, 1, 2]
    assert {row["model"] for row in rows} == {"smollm2-135m-instruct"}
    lines = localmem("replay").stdout.splitlines()
    assert lines[0].split() == ["TURN", "TIME", "MODEL", "GENERATIONS", "SAID"]
    assert [line.split()[0] for line in lines[1:]] == [str(row["turn"]) for row in rows]


def test_where_nothing_is_kept(localmem: Run) -> None:
    assert localmem("replay").returncode == 2
    localmem("agents", "create", "anna")
    done = localmem("replay", "--agent", "anna")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no turn of anna is kept yet: talk with it first\n"
    assert kept(localmem, "--agent", "anna") == []


def test_its_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from localmem.cli.main import main\n"
        "main.main(['replay', '--help'], standalone_mode=False)\n"
        "heavy = 'duckdb llama_cpp torch faiss numpy outlines llguidance prompt_toolkit'\n"
        "print(sorted(set(heavy.split()) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_turn_answered_after_a_crash_is_kept(localmem: Run) -> None:
    assert localmem("ask", "hello", LOCALMEM_CRASH_AT="open_turn.committed").returncode < 0
    localmem("ask", "and now?")
    assert [row["text"] for row in kept(localmem)] == ["and now?", "hello"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["99"], "nothing is kept of turn 99 of default: kept are turns "),
        (["hello"], "'hello' is no number of a turn; a benchmark case needs --runs DIR"),
        (["/no/such/run.jsonl:a"], "there is no /no/such/run.jsonl: check the name"),
        (["a", "--runs", "."], "no run in . has a case 'a'"),
        (["1", "--token", "3"], "--token counts within a generation: say which with --step N"),
        (["1", "--agent", "nobody"], "there is no agent 'nobody'"),
        (["1", "--step", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_found(localmem: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    localmem("ask", "hello")
    if "." in arguments:
        arguments = [str(tmp_path) if argument == "." else argument for argument in arguments]
        said = said.replace(" . ", f" {tmp_path} ")
    done = localmem("replay", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_another_model_is_refused_in_one_line(localmem: Run) -> None:
    localmem("ask", "hello")
    done = localmem("replay", str(kept(localmem)[0]["turn"]))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "was recorded on smollm2-135m-instruct with the hash scripted..., which" in done.stderr
    missing = localmem("replay", str(kept(localmem)[0]["turn"]), "--model", "qwen3-8b")
    assert missing.returncode == 1
    assert "qwen3-8b is not on this machine" in missing.stderr


def test_a_full_disk_says_nothing(localmem: Run, home: Path) -> None:
    (home / "traces").write_text("in the way")
    done = localmem("ask", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "You said: hello\n", "")


def test_paths_and_deletion(localmem: Run, home: Path) -> None:
    localmem("agents", "create", "anna")
    localmem("ask", "hello", "--agent", "anna")
    folder = Path(json.loads(localmem("paths", "--json").stdout)["traces"])
    assert folder == home / "traces"
    assert len(list(folder.rglob("*.json.gz"))) == 1
    localmem("agents", "rename", "anna", "berta")
    assert len(kept(localmem, "--agent", "berta")) == 1
    localmem("agents", "delete", "berta", "--yes")
    assert list(folder.iterdir()) == []


Real = Callable[..., Result]


@pytest.fixture
def real(home: Path, smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> Real:
    """Run the command line on the real model, in this process and on one thread."""

    def loaded(
        registry: Registry, profile: Profile, options: Options, snapshots: Path | None = None
    ) -> LlamaProcessor:
        how = {"window": options.window, "grammar": options.grammar}
        return LlamaProcessor(smollm2, profile, **how, gpu_layers=0, threads=1)  # type: ignore[arg-type]

    monkeypatch.setattr(runtime, "load_processor", loaded)
    monkeypatch.setenv("LOCALMEM_MODEL", "smollm2-135m-instruct")
    return lambda *arguments: CliRunner().invoke(main, ["--home", str(home), *arguments])


@pytest.fixture
def turn(real: Real) -> str:
    """The number of a turn on the real model."""
    assert real("ask", "Hello, who are you?", "--window", "2048").exit_code == 0
    (row,) = json.loads(real("replay", "--json").stdout)
    return str(row["turn"])


@pytest.mark.model
def test_a_real_turn_is_decoded_again(real: Real, turn: str, home: Path) -> None:
    again = json.loads(real("replay", turn, "--json", "--prompt").stdout)
    assert (again["same"], again["may_differ"], again["window"]) == (True, [], 2048)
    count = len(again["generations"])
    assert all(each["text"] == each["recorded"] for each in again["generations"])
    first = again["generations"][0]
    assert re.search(r"<\|im_start\|>user\n.*Hello, who are you\?<\|im_end\|>", first["prompt"], re.DOTALL)
    shown = real("replay", turn, "--prompt").stdout
    assert shown.startswith(f"turn {turn} of default: smollm2-135m-instruct, window 2,048, grammar on\n")
    assert shown.count(": the same\n") == count
    assert first["text"] in shown
    assert "Hello, who are you?<|im_end|>" in shown
    chosen = [
        token
        for token in first["tokens"]
        if not token["forced"] and token["allowed"] > 1 and not token["closing"]
    ]
    assert f"least certain of {len(chosen):,} tokens that the model chose" in shown
    beyond = real("replay", turn, "--step", str(count + 1))
    assert f"turn {turn} of default has {count} generations" in str(beyond.exception)
    # on a machine where another token comes out
    file = next((home / "traces").rglob("*.json.gz"))
    row = json.loads(gzip.decompress(file.read_bytes()))
    row["traces"][0]["ids"] = row["traces"][0]["ids"][:-1]
    file.write_bytes(gzip.compress(json.dumps(row | {"chunk": 7}).encode()))
    changed = real("replay", turn, "--step", "1")
    size = len(row["traces"][0]["ids"])
    assert f"differs at token {size + 1}: the end was recorded, " in changed.stdout
    assert "why it may differ: it was recorded in chunks of 7 tokens, here they have 64" in changed.stderr


@pytest.mark.model
def test_each_token_of_a_generation_is_explained(real: Real, turn: str) -> None:
    tokens = json.loads(real("replay", turn, "--step", "1", "--json").stdout)["generations"][0]["tokens"]
    listed = real("replay", turn, "--step", "1").stdout.splitlines()
    rows = listed[next(n for n, line in enumerate(listed) if line.split()[:2] == ["TOKEN", "TEXT"]) + 1 :]
    assert [row.split()[0] for row in rows] == [str(number) for number in range(1, len(tokens) + 1)]
    assert [" forced" in row for row in rows] == [token["forced"] for token in tokens]
    number = next(n for n, token in enumerate(tokens, 1) if not token["forced"])
    shown = real("replay", turn, "--step", "1", "--token", str(number)).stdout.splitlines()
    (taken,) = [line for line in shown if line.lstrip().startswith("->")]
    assert json.dumps(tokens[number - 1]["text"]) in taken
    assert {line.split()[-1] for line in shown[-len(tokens[number - 1]["alternatives"]) :]} == {"yes", "no"}
    forced = next(n for n, token in enumerate(tokens, 1) if token["forced"])
    shown = real("replay", turn, "--step", "1", "--token", str(forced)).stdout.splitlines()
    assert shown[-1].endswith("was forced: the grammar allowed nothing else")
    beyond = real("replay", turn, "--step", "1", "--token", str(len(tokens) + 1))
    assert f"generation 1 has {len(tokens)} tokens" in str(beyond.exception)
