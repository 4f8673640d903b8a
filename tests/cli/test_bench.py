"""`localmem bench`: what it prints where, what it refuses, and that the same command goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.scripted import PROGRAM

Run = Callable[..., "subprocess.CompletedProcess[str]"]
CONTRACT = (
    "task", "system", "model", "level", "n", "score", "interval", "legal", "calls", "prompt_tokens",
    "completion_tokens", "forward_passes", "seconds",
)  # fmt: skip
NESTED = ("bench", "run", "nested_key_value", "-n", "1", "--system", "no-memory")


@pytest.fixture
def localmem(environment: dict[str, str]) -> Run:
    """Run the command line on a model that echoes: `localmem("bench", "list", NAME="value")`."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(PROGRAM), *arguments],
            capture_output=True,
            text=True,
            env=environment | more,
            timeout=120,
        )

    return run


def cases(folder: Path) -> list[str]:
    """Return the cases of all run files of a folder, as they stand there."""
    rows = [json.loads(line) for path in folder.glob("*/*.jsonl") for line in path.read_text().splitlines()]
    return [row["case"] for row in rows if "case" in row]


class TestList:
    def test_it_is_readable_at_80_columns(self, localmem: Run) -> None:
        shown = localmem("bench", "list", COLUMNS="80").stdout
        assert max(map(len, shown.splitlines())) < 80
        first = shown.splitlines()[0]
        assert first.split(maxsplit=1) == ["core_read", "Core memory read (Letta)"]
        assert "needs --data" in shown
        assert "no data needed" in shown
        assert "full-context" in shown

    def test_json(self, localmem: Run) -> None:
        rows = {row["name"]: row for row in json.loads(localmem("bench", "list", "--json").stdout)}
        assert rows["nested_key_value"]["needs_data"] is False
        assert rows["nested_key_value"]["level"] == "nesting"
        assert rows["core_read"]["systems"][-1] == "ours"


class TestRun:
    def test_json_is_one_line_and_nothing_else(self, localmem: Run, home: Path) -> None:
        done = localmem(*NESTED, "--system", "ours", "--json")
        assert (done.returncode, done.stdout.count("\n")) == (0, 1)
        rows = json.loads(done.stdout)["rows"]
        assert [(row["system"], row["level"], row["n"]) for row in rows] == [
            (system, level, 1) for system in ("ours", "no-memory") for level in range(5)
        ]
        assert all(list(row)[: len(CONTRACT)] == list(CONTRACT) for row in rows)
        assert {row["model"] for row in rows} == {"smollm2-135m-instruct"}
        assert {row["legal"] for row in rows} == {1.0, None}
        assert len(cases(home / "bench")) == 10

    def test_progress_goes_to_standard_error(self, localmem: Run) -> None:
        done = localmem(*NESTED, "--system", "retrieval")
        said = done.stderr.splitlines()
        assert said[0].startswith("all-minilm-l6-v2 is not here: archives are searched by words alone")
        assert said[1:4] == [
            "loading smollm2-135m-instruct",
            "beginning nested_key_value no-memory",
            "nested_key_value no-memory: 5/5, score 0.000",
        ]
        assert "storing passages, 0 of 140" in said
        assert said[-1] == "nested_key_value retrieval: 5/5, score 0.200"
        assert "Nested key-value look-up (MemGPT)" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 100

    def test_how_long_it_takes_is_said(self, localmem: Run) -> None:
        done = localmem("bench", "run", "calls", "-n", "12", "--system", "ours", SCRIPTED_DELAY="0.05")
        (tenth,) = [line for line in done.stderr.splitlines() if "10/12" in line]
        assert tenth.split(", ")[-1].endswith(" s left")

    def test_what_is_done_is_not_done_again(self, localmem: Run, home: Path) -> None:
        localmem(*NESTED)
        done = localmem(*NESTED, "--json", SCRIPTED_FAILS="key")
        assert done.returncode == 0
        assert len(json.loads(done.stdout)["rows"]) == 5
        assert len(cases(home / "bench")) == 5

    def test_a_run_that_other_code_began_says_so(self, localmem: Run, home: Path) -> None:
        localmem(*NESTED)
        (file,) = (home / "bench").glob("*/*.jsonl")
        head, *rows = file.read_text().splitlines(keepends=True)
        other = [json.dumps(json.loads(row) | {"commit": "0123456789"}) + "\n" for row in rows]
        file.write_text("".join([head, *other]))
        done = localmem(*NESTED, "-n", "2")
        (said,) = [line for line in done.stderr.splitlines() if "begun under" in line]
        assert said.startswith("nested_key_value no-memory: begun under commit 0123456789, goes on under ")
        assert (done.returncode, len(cases(home / "bench"))) == (0, 10)

    def test_failed_cases_are_tried_once_more(self, localmem: Run, home: Path) -> None:
        done = localmem(*NESTED, "--json", SCRIPTED_FAILS="key")
        assert (done.returncode, json.loads(done.stdout)) == (1, {"rows": []})
        assert "nested_key_value no-memory: a case failed: the model fell over" in done.stderr
        assert done.stderr.splitlines()[-1] == "5 cases failed: the same command tries once more"
        again = localmem(*NESTED, "--json")
        assert (again.returncode, len(json.loads(again.stdout)["rows"])) == (0, 5)
        assert len(cases(home / "bench")) == 10

    def test_an_interruption_loses_nothing(self, environment: dict[str, str], home: Path) -> None:
        command = [sys.executable, str(PROGRAM), *NESTED, "--system", "ours"]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment | {"SCRIPTED_DELAY": "0.3"}
        ) as process:
            while not cases(home / "bench") and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "the same command goes on from here" in said
        assert "Traceback" not in said
        before = cases(home / "bench")
        assert 1 <= len(before) < 10
        done = subprocess.run([*command, "--json"], capture_output=True, env=environment, check=True)
        assert sum(row["n"] for row in json.loads(done.stdout)["rows"]) == 10
        assert sorted(cases(home / "bench")) == sorted([f"{level}-0" for level in range(5)] * 2)
        assert cases(home / "bench")[: len(before)] == before or len(before) > 5

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("nothing",), "no task 'nothing'; there are core_read, "),
            (("calls", "--system", "nothing"), "no system 'nothing'; there are no-memory, "),
            (("calls", "--set", "nothing=1"), "no setting 'nothing'; there are functions, "),
            (("calls", "--set", "max_steps=many"), "max_steps cannot be 'many': write it as in --set max_steps=8"),
            (("calls", "--set", "evict_to=1"), "0 < evict_to < evict_at <= 1"),
            (("calls", "core_read"), "this task reads letta_core_memory/letta_bench_gen*: say where with --data DIR"),
            (("core_read", "--data", "."), "fetch the official data set, or check --data"),
            (("calls", "--model", "nothing"), "no model 'nothing'"),
            (("calls", "--model", "/no/such/file.gguf"), "no model file at /no/such/file.gguf"),
        ],
    )  # fmt: skip
    def test_what_is_refused_in_one_line(
        self, localmem: Run, home: Path, arguments: tuple[str, ...], said: str
    ) -> None:
        """Also where the model would have to be fetched: it is not, before all else is known to be right."""
        for with_model in (True, False):
            if not with_model:
                shutil.rmtree(home / "models")
            done = localmem("bench", "run", *arguments)
            lines = [line for line in done.stderr.splitlines() if "searched by words alone" not in line]
            assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
            assert said in lines[0]
        assert not (home / "bench").exists()

    def test_the_home_is_the_one_of_the_command_line(
        self, localmem: Run, environment: dict[str, str], home: Path, tmp_path: Path
    ) -> None:
        """Also for scores: they look for their embedder there."""
        other = tmp_path / "other"
        shutil.copytree(home, other)
        turns = [
            {"speaker": f"Speaker {1 + at % 2}", "text": f"Text {at}.", "facts": f"I am {at}."}
            for at in range(4)
        ]
        (tmp_path / "msc").mkdir()
        sessions = [{"turns": turns, "gap_to_next_session": "3 days"}] * 4
        (tmp_path / "msc/msc_sessions.jsonl").write_text(json.dumps({"id": "d", "sessions": sessions}) + "\n")
        command = ("--home", str(other), "bench", "run", "chat_opener", "--data", str(tmp_path))
        done = localmem(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "all-minilm-l6-v2 is not on this machine: run `localmem models pull" in done.stderr
        (other / "models/all-minilm-l6-v2").mkdir()
        done = localmem(*command, "--system", "no-memory", SCRIPTED_FAILS="person is back")
        assert "a case failed: the model fell over" in done.stderr
        assert cases(other / "bench") == ["d"]
        assert not (home / "bench").exists()


class TestReport:
    def test_without_runs_it_says_so(self, localmem: Run, home: Path, tmp_path: Path) -> None:
        done = localmem("bench", "report", "--out", str(tmp_path / "out"))
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"no runs in {home / 'bench'} yet: `localmem bench run TASK` makes one\n"
        assert not (tmp_path / "out").exists()
        assert json.loads(localmem("bench", "report", "--json").stdout) == {"rows": []}

    def test_tables_pictures_page_and_rows(self, localmem: Run, tmp_path: Path) -> None:
        localmem(*NESTED, "--system", "ours", "--runs", str(tmp_path / "runs"))
        report = ("bench", "report", "--runs", str(tmp_path / "runs"))
        out, rows = tmp_path / "a/out", tmp_path / "b/rows.jsonl"
        done = localmem(*report, "--out", str(out), "--publish", str(rows))
        assert done.returncode == 0, done.stderr
        assert "Leaderboard" in done.stdout
        assert {path.suffix for path in out.iterdir()} == {".html", ".png", ".svg"}
        written = [json.loads(line) for line in rows.read_text().splitlines()]
        assert len(written) == 10
        key = lambda row: (row["system"], row["level"])  # noqa: E731
        said = json.loads(localmem(*report, "--json").stdout)["rows"]
        assert sorted(said, key=key) == sorted(written, key=key)
        assert "| " in localmem(*report, "--markdown").stdout


def test_anyones_own_model_has_a_row(smollm2: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """With one command and without data; and what it generated is replayed."""
    own = tmp_path / "some folder/My model.gguf"
    own.parent.mkdir()
    shutil.copy(smollm2, own)
    script = (
        "import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from localmem.cli.main import run; run()"
    )

    def localmem(*arguments: str) -> str:
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout

    options = ("--window", "2048", "--model", str(own))
    rows = json.loads(localmem("bench", "run", "nested_key_value", "-n", "1", *options, "--system", "ours",
                               "--system", "no-memory", "--json"))["rows"]  # fmt: skip
    assert [(row["system"], row["level"], row["model"]) for row in rows] == [
        (system, level, own.name) for system in ("ours", "no-memory") for level in range(5)
    ]
    assert all(row["legal"] == 1.0 for row in rows if row["system"] == "ours")
    assert "My model.gguf" in localmem("bench", "report")
    (run,) = (Path(environment["LOCALMEM_HOME"]) / "bench/nested_key_value").glob("ours--*.jsonl")
    again = json.loads(localmem("replay", f"{run}:0-0", "--model", str(own), "--json"))
    assert again["same"] is True
    assert os.path.getsize(own) == os.path.getsize(smollm2)
