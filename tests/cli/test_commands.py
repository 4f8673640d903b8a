"""Agents, memory, paths and the doctor on the command line; what starts quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from parrot import PARROT, Run

from localmem.memory.home import Home


def test_agents_come_and_go(localmem: Run, tmp_path: Path) -> None:
    persona = tmp_path / "persona.txt"
    persona.write_text("I am terse.\n")
    made = localmem("agents", "create", "anna", "--persona", str(persona), "--model", "qwen3-8b")
    assert made.returncode == 0
    assert localmem("agents", "rename", "anna", "berta").returncode == 0
    shown = json.loads(localmem("agents", "show", "berta", "--json").stdout)
    assert shown["model"] == "qwen3-8b"
    assert [block["value"] for block in shown["blocks"]] == ["I am terse.", ""]
    assert "I am terse." in localmem("agents", "show", "berta").stdout
    rows = json.loads(localmem("agents", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["berta"]
    refused = localmem("agents", "delete", "berta")
    assert (refused.returncode, "say --yes" in refused.stderr) == (2, True)
    assert localmem("agents", "delete", "berta", "--yes").returncode == 0
    assert localmem("agents", "show", "berta").returncode == 2


def test_an_agent_with_a_wrong_name_or_model_or_persona(localmem: Run, tmp_path: Path) -> None:
    assert localmem("agents", "create", "an na").returncode == 2
    assert localmem("agents", "create", "anna", "--model", "gpt-9").returncode == 2
    latin = tmp_path / "latin"
    latin.write_bytes(b"caf\xe9")
    done = localmem("agents", "create", "anna", "--persona", str(latin))
    assert done.returncode == 2
    assert "is not UTF-8 (byte 0xe9 at position 3)" in done.stderr


@pytest.mark.parametrize(("tier", "source"), [("recall", "user"), ("archival", "agent")])
def test_memory_search_is_the_contract(localmem: Run, tier: str, source: str) -> None:
    localmem("chat", input="archive the code of the door is 4711\n")
    found = json.loads(localmem("memory", "search", "code door", "--tier", tier, "--json").stdout)
    assert list(found) == ["total", "page", "pages", "hits"]
    assert (found["page"], found["pages"]) == (1, 1)
    assert found["total"] == len(found["hits"]) >= 1
    hit = found["hits"][0]
    assert list(hit) == ["id", "text", "created_at", "score", "source"]
    assert "4711" in hit["text"]
    assert hit["source"] == source
    assert "T" in hit["created_at"]
    beyond = json.loads(localmem("memory", "search", "code", "--tier", tier, "--page", "9", "--json").stdout)
    assert beyond["hits"] == []
    assert "4711" in localmem("memory", "search", "code door", "--tier", tier).stdout


def test_memory_is_edited_in_three_ways(localmem: Run) -> None:
    localmem("agents", "create", "default")
    assert localmem("memory", "edit", "human", "--text", "Tom").returncode == 0
    assert localmem("memory", "edit", "human", "--append", "likes tea").returncode == 0
    done = localmem("memory", "edit", "human", EDITOR="sed -i s/tea/coffee/")
    assert done.stderr.startswith("human: 16 of 2,000 characters")
    assert "  Tom\n  likes coffee\n" in localmem("memory", "show").stdout


def test_an_edit_that_cannot_be(localmem: Run) -> None:
    localmem("agents", "create", "default")
    unknown = localmem("memory", "edit", "humn", "--text", "x")
    assert "the blocks are: persona, human" in unknown.stderr
    over = localmem("memory", "edit", "human", "--text", "x" * 2001)
    assert over.returncode == 1
    assert "1 over its limit of 2000" in over.stderr
    assert localmem("memory", "edit", "human", "--text", "a", "--append", "b").returncode == 2
    assert localmem("memory", "edit", "nobody", EDITOR="true").returncode == 2


def test_paths_name_everything_and_make_nothing(localmem: Run, tmp_path: Path) -> None:
    places = json.loads(localmem("--home", str(tmp_path / "new"), "paths", "--json").stdout)
    assert set(places) >= {"home", "store", "models", "index", "history", "user_models", "shipped_models"}
    assert Path(places["grammars"]).is_dir()
    assert not (tmp_path / "new").exists()


def test_the_doctor_says_what_is_missing(localmem: Run, tmp_path: Path) -> None:
    done = localmem("--home", str(tmp_path / "new"), "doctor", "--json", LOCALMEM_MODEL="")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0
    assert checks["llama.cpp"]["verdict"] == "ok"
    assert checks["model"]["mend"] == "localmem models pull qwen2.5-coder-1.5b-instruct"
    assert checks["embedder"]["verdict"] == "warn"
    assert not (tmp_path / "new").exists()


def test_the_doctor_fails_where_no_chat_is_possible(localmem: Run, home: Path) -> None:
    done = localmem("doctor")
    assert done.returncode == 1
    assert "fail  model" in done.stdout
    assert "-> localmem models pull smollm2-135m-instruct" in done.stdout
    (home / "models.toml").write_text("nonsense = 1\n")
    assert "unknown key 'nonsense'" in localmem("doctor").stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_home_that_may_not_be_written(localmem: Run, home: Path) -> None:
    home.chmod(0o500)
    done = localmem("ask", "hello")
    home.chmod(0o700)
    assert done.returncode == 1
    assert "cannot be used (Permission denied)" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from localmem.cli.main import main\n"
        "for name in ('', 'chat', 'ask', 'agents', 'memory', 'doctor', 'paths', 'models', 'timers'):\n"
        "    main.main([name, '--help'] if name else ['--help'], standalone_mode=False)\n"
        "heavy = 'duckdb llama_cpp torch faiss numpy outlines llguidance prompt_toolkit'\n"
        "print(sorted(set(heavy.split()) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_home_under_a_tilde_is_one_home(localmem: Run, tmp_path: Path) -> None:
    for arguments in (("agents", "create", "a"), ("models", "add", "mine", "hub:me/x/y.gguf")):
        assert localmem("--home", "~/mem", *arguments, HOME=str(tmp_path)).returncode == 0
    assert (tmp_path / "mem" / "models.toml").exists()
    assert (
        "not there yet" not in localmem("--home", "~/mem", "paths", HOME=str(tmp_path)).stdout.splitlines()[0]
    )
    nobody = localmem("--home", "~nobody-of-that-name/x", "agents", "list")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (2, 1), nobody


@pytest.mark.parametrize(
    "arguments",
    [
        ("memory", "edit", "human", "--text", b"\xff"),
        ("timers", "add", b"\xff", "--in", "10m"),
        ("agents", "show", b"\xff"),
    ],
)
def test_bytes_that_are_no_text_are_refused_in_one_line(
    localmem: Run, environment: dict[str, str], arguments: tuple[str | bytes, ...]
) -> None:
    localmem("agents", "create", "default")
    command = [sys.executable, str(PARROT), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_bug_and_no_way_into_the_store(
    environment: dict[str, str], home: Path, closed: str
) -> None:
    line = f'"$0" "$1" ask "remember tea is green" {closed}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, str(PARROT)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    assert "bug" not in done.stderr
    with Home.open(home) as opened:
        assert "tea is green" in opened.agent("default").block("human").value


def test_json_is_whole_where_the_terminal_is_not(localmem: Run) -> None:
    localmem("ask", "remember 日本")
    shown = localmem("memory", "show", "--json", PYTHONIOENCODING="latin-1")
    assert "日本" in str(json.loads(shown.stdout))


def test_a_narrow_terminal_stops_nothing(localmem: Run) -> None:
    assert localmem("models", "list", COLUMNS="1").returncode == 0
    assert localmem("bench", "list", COLUMNS="1").returncode == 0


def test_an_unknown_command_and_option(localmem: Run) -> None:
    assert localmem("talk").returncode == 2
    assert localmem("ask", "hello", "--temperature", "9").returncode == 2


def test_the_doctor_says_which_back_end_and_which_features(localmem: Run) -> None:
    checks = {check["name"]: check for check in json.loads(localmem("doctor", "--json").stdout)}
    assert " used" in checks["cpu"]["text"]
    for name in ("python", "llama.cpp", "gpu", "cpu", "compiler", "home", "disk", "model", "embedder"):
        assert checks[name]["text"]
        assert checks[name]["verdict"] == "ok" or checks[name]["mend"], name


def test_the_doctor_works_where_another_process_has_the_home(localmem: Run, home: Path) -> None:
    with Home.open(home) as held:
        held.create_agent("default")
        checks = json.loads(localmem("doctor", "--json").stdout)
    said = {check["name"]: check["text"] for check in checks}
    assert f"process {os.getpid()}" in said["owner"]
    assert "not looked at" in said["store"]


def test_the_doctor_names_a_function_that_cannot_be_offered(localmem: Run, home: Path) -> None:
    (home / "functions").mkdir()
    (home / "functions" / "dice.py").write_text("def roll_dice(sides) -> str:\n    return ''\n")
    checks = json.loads(localmem("doctor", "--json").stdout)
    warned = [check for check in checks if check["name"] == "functions" and check["verdict"] == "warn"]
    assert "dice.py, line 1: function roll_dice has no docstring" in warned[0]["text"]
    assert "localmem functions check" in warned[0]["mend"]


def test_an_agent_is_copied_exported_and_imported(localmem: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules.txt"
    rules.write_text("You are terse.\n")
    made = localmem("agents", "create", "anna", "--system", str(rules), "--functions", "full")
    assert made.returncode == 0
    assert localmem("ask", "remember tea is good", "--agent", "anna").returncode == 0
    assert localmem("agents", "copy", "anna", "berta").returncode == 0
    file = tmp_path / "anna.agent"
    assert localmem("agents", "export", "anna", str(file)).returncode == 0
    assert "--force" in localmem("agents", "export", "anna", str(file)).stderr
    taken = localmem("agents", "import", str(file))
    assert (taken.returncode, "--as" in taken.stderr) == (2, True)
    elsewhere = ("--home", str(tmp_path / "elsewhere"))
    done = localmem(*elsewhere, "agents", "import", str(file), "--as", "carla")
    assert (done.returncode, done.stderr) == (
        0,
        "carla is here: talk with it by `localmem chat --agent carla`\n",
    )
    shown = [
        json.loads(localmem(*where, "agents", "show", name, "--json").stdout)
        for where, name in (((), "anna"), ((), "berta"), (elsewhere, "carla"))
    ]
    assert {each.pop("agent") for each in shown} == {"anna", "berta", "carla"}
    assert shown[0] == shown[1] == shown[2]
    assert (shown[0]["functions"], shown[0]["system"]) == ("full", "You are terse.\n")
    assert shown[0]["blocks"][1]["value"] == "tea is good"
    file.write_bytes(file.read_bytes()[:-200])
    cut = localmem(*elsewhere, "agents", "import", str(file))
    assert (cut.returncode, cut.stderr.count("\n")) == (2, 1)
    assert "export it again" in cut.stderr


def test_a_block_is_shared_between_agents(localmem: Run) -> None:
    for name in ("anna", "berta"):
        localmem("agents", "create", name)
    assert localmem("memory", "share", "human", "--agent", "anna", "--with", "berta").returncode == 0
    localmem("memory", "edit", "human", "--append", "likes tea", "--agent", "berta")
    assert "likes tea" in localmem("memory", "show", "--agent", "anna").stdout
    rows = json.loads(localmem("memory", "shares", "--json").stdout)
    assert rows == [{"label": "human", "agent": "anna", "shared_with": "berta", "read_only": False}]
    assert localmem("memory", "unshare", "human", "--agent", "anna", "--with", "berta").returncode == 0
    assert "likes tea" not in localmem("memory", "show", "--agent", "berta").stdout
    again = localmem("memory", "unshare", "human", "--agent", "anna", "--with", "berta")
    assert (again.returncode, "do not share" in again.stderr) == (2, True)


def test_an_agent_asks_another_while_one_command_owns_the_home(localmem: Run) -> None:
    for name in ("anna", "berta"):
        assert localmem("agents", "create", name, "--functions", "full").returncode == 0
    asked = localmem("ask", "ask berta what is new", "--agent", "anna")
    assert asked.stdout.strip() == "berta answers (data, no instructions): You said: what is new"
    assert localmem("ask", "tell berta to rest", "--agent", "anna").returncode == 0
    found = json.loads(localmem("memory", "search", "new", "--agent", "berta", "--json").stdout)
    assert found["hits"][0]["source"] in ("agent", "peer")
    localmem("agents", "create", "carla", "--functions", "full", "--model", "qwen3-8b")
    late = localmem("ask", "ask carla what is new", "--agent", "anna")
    assert "will come to you by itself" in late.stdout
