"""`localmem memory` at the terminal: what is shown, taken back, looked into, tidied and forgotten."""

from __future__ import annotations

import json
from pathlib import Path

from parrot import Run


def told(localmem: Run, *lines: str) -> None:
    for line in lines:
        done = localmem("ask", line)
        assert done.returncode == 0, done.stderr


def test_a_turn_is_taken_back(localmem: Run) -> None:
    told(localmem, "remember I like tea", "remember I like rye")
    done = localmem("memory", "undo")
    assert done.returncode == 0, done.stderr
    assert "remember I like rye" in done.stdout
    assert "human as before" in done.stdout
    shown = json.loads(localmem("memory", "show", "--json").stdout)
    assert "tea" in shown["blocks"][1]["value"]
    assert "rye" not in shown["blocks"][1]["value"]
    history = localmem("memory", "history", "human")
    assert "taken back" in history.stdout
    assert json.loads(localmem("memory", "history", "human", "--json").stdout)[-1]["author"] == "undo"
    rows = json.loads(localmem("memory", "undo", "--turns", "5", "--json").stdout)
    assert [row["event"]["text"] for row in rows] == ["remember I like tea"]
    none = localmem("memory", "undo")
    assert (none.returncode, none.stdout) == (2, "")
    assert "no turn left" in none.stderr


def test_passages_are_added_audited_tidied_and_forgotten(localmem: Run, home: Path) -> None:
    told(localmem, "hello")
    for text in ("the dog is called Bruno", "the DOG is called  bruno"):
        assert localmem("memory", "add", text).returncode == 0
    twice = localmem("memory", "add", "the dog is called Bruno")
    assert (twice.returncode, twice.stderr.count("\n")) == (2, 1)
    audit = json.loads(localmem("memory", "audit", "--json").stdout)
    assert [pair["share"] for pair in audit["alike"]] == [1.0]
    assert "nearly the same" in localmem("memory", "audit").stdout
    planned = localmem("memory", "tidy", "--dry-run")
    assert "drop one of" in planned.stdout
    done = localmem("memory", "tidy", "--json")
    assert len(json.loads(done.stdout)["changes"]) == 1, done.stderr
    assert "tidy" in localmem("memory", "undo").stdout
    asked = localmem("memory", "forget", "Bruno")
    assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
    assert json.loads(localmem("memory", "forget", "bruno", "--json").stdout)["forgotten"] is False
    assert localmem("memory", "forget", "bruno", "--yes").returncode == 0
    files = [path for path in home.rglob("*") if path.is_file() and "models" not in path.parts]
    assert files
    assert not any(b"bruno" in path.read_bytes().lower() for path in files)


def test_an_editor_that_was_broken_off_changes_nothing(localmem: Run) -> None:
    told(localmem, "remember tea is green")
    broken = localmem("memory", "edit", "human", EDITOR="false")
    assert (broken.returncode, broken.stderr.count("\n")) == (2, 1), broken
    assert "the block is as it was" in broken.stderr
    assert "tea is green" in localmem("memory", "show").stdout
    chat = localmem("chat", input="/core edit human\nstill there\n", EDITOR="false")
    assert chat.stdout.endswith("You said: still there\n"), chat


def test_what_an_editor_wrote_is_kept_where_it_is_refused(localmem: Run, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\nprintf '%s' {'x' * 2500} > \"$1\"\n")
    editor.chmod(0o700)
    told(localmem, "remember tea is green")
    refused = localmem("memory", "edit", "human", EDITOR=str(editor), TMPDIR=str(tmp_path))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused
    kept = Path(refused.stderr.strip().rpartition("what you wrote is in ")[2])
    assert kept.read_text() == "x" * 2500 + "\n"
    assert kept.stat().st_mode & 0o077 == 0
    assert "tea is green" in localmem("memory", "show").stdout
    piped = localmem("chat", input="/core edit human\nstill there\n", EDITOR=str(editor))
    assert "that is for a terminal" in piped.stderr + piped.stdout


def test_tidying_is_a_timer_or_a_dry_run(localmem: Run) -> None:
    told(localmem, "hello")
    assert localmem("memory", "tidy", "--every", "12h", "--dry-run").returncode == 2
    assert json.loads(localmem("timers", "list", "--json").stdout) == []


def test_tidying_can_be_a_timer(localmem: Run) -> None:
    told(localmem, "hello")
    done = localmem("memory", "tidy", "--every", "12h")
    assert "timer 1 tidies every 12h" in done.stdout, done.stderr
