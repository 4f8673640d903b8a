"""`localmem load` and `localmem archives`, as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

from parrot import Run


def test_documents_are_loaded_found_and_taken_out(localmem: Run, tmp_path: Path) -> None:
    (tmp_path / "garden.md").write_text("# Pests\n\nSnails eat the lettuce.")
    (tmp_path / "broken.pdf").write_bytes(b"no pdf")
    garden = str(tmp_path / "garden.md")
    first = localmem("load", garden, "--archive", "plants", "--json")
    assert first.returncode == 0, first.stderr
    assert "1 loaded" in first.stderr.splitlines()[-1]  # in front of it, where it takes long, how far it is
    assert json.loads(first.stdout)[0]["state"] == "loaded"
    assert "1 unchanged" in localmem("load", garden, "--archive", "plants").stderr
    broken = localmem("load", str(tmp_path / "broken.pdf"))
    assert broken.returncode == 1
    assert "skipped" in broken.stderr
    assert localmem("archives", "attach", "plants").returncode == 0
    found = localmem("memory", "search", "snails", "--tier", "archival", "--json")
    assert json.loads(found.stdout)["hits"][0]["source"] == "garden.md, Pests"
    rows = json.loads(localmem("archives", "list", "--json").stdout)
    assert [(row["name"], row["files"], row["attached"]) for row in rows] == [
        ("plants", 1, [{"agent": "default", "writable": False}])
    ]
    assert "garden.md" in localmem("archives", "show", "plants").stdout
    assert localmem("load", garden, "--archive", "plants", "--remove").returncode == 0
    assert localmem("archives", "remove", "plants", garden).returncode == 1
    assert localmem("archives", "detach", "plants").returncode == 0
    assert localmem("archives", "delete", "plants").returncode == 2
    assert localmem("archives", "delete", "plants", "--yes").returncode == 0
    assert json.loads(localmem("archives", "list", "--json").stdout) == []


def test_what_is_wrong_is_said_in_one_line(localmem: Run, tmp_path: Path) -> None:
    for arguments in (
        ("load", str(tmp_path / "nothing.txt")),
        ("load", str(tmp_path), "--agent", "a", "--archive", "b"),
        ("load", str(tmp_path), "--agent", "nobody"),
        ("archives", "show", "nothing"),
        ("archives", "attach", "nothing"),
        ("archives", "create", "a b"),
    ):
        done = localmem(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_a_document_is_read_to_its_end(localmem: Run, tmp_path: Path) -> None:
    (tmp_path / "garden.txt").write_text("Snails eat the lettuce.")
    done = localmem("load", str(tmp_path / "garden.txt"), "--read", "Who eats what?")
    assert done.returncode == 0, done.stderr
    assert "Snails eat the lettuce." in done.stdout
    assert localmem("load", str(tmp_path), "--remove", "--read", "x").returncode == 2
    assert localmem("load", str(tmp_path), "--read", "x").returncode == 2
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "garden.txt").write_text("Frogs eat the snails.")
    (tmp_path / "empty.txt").touch()
    localmem("load", str(tmp_path / "later"))
    again = localmem("load", str(tmp_path / "garden.txt"), "--read", "Who eats it?")
    assert "Snails eat the lettuce." in again.stdout, "the one that was named, not the last of that name"
    empty = localmem("load", str(tmp_path / "empty.txt"), "--read", "Who eats it?")
    assert (empty.returncode, empty.stdout) == (1, "")
    found = localmem("load", str(tmp_path / "garden.txt"), "--read", "Who eats it?", "--json")
    assert "Snails eat" in json.loads(found.stdout)["summary"]
    other = localmem("load", str(tmp_path / "garden.txt"), "--archive", "shelf", "--read", "x")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1), other
    assert "attach" in other.stderr
    gone = localmem("load", str(tmp_path / "garden.txt"), "--remove", "--json")
    assert json.loads(gone.stdout) == {"removed": [str(tmp_path / "garden.txt")]}
