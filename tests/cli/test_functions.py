"""`localmem functions`: a file becomes functions of an agent; touching the outside is asked for, once or always."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from parrot import Run
from screens import Terminal

DICE = '''"""Dice."""
from pathlib import Path
from localmem.functions import outside


def roll_dice(sides: int = 6) -> str:
    """Roll a die."""
    return f"rolled {sides}"


@outside("writes a file")
def ring(where: str) -> str:
    """Ring the bell."""
    with Path(where).open("a") as bell:
        bell.write("ding")
    return "rung"
'''


@pytest.fixture
def dice(tmp_path: Path) -> Path:
    file = tmp_path / "dice.py"
    file.write_text(DICE)
    return file


@pytest.fixture
def chat(environment: dict[str, str], localmem: Run, dice: Path) -> Iterator[Terminal]:
    """A chat in a terminal with an agent that was given the functions of the file."""
    localmem("functions", "add", str(dice))
    opened = Terminal(environment | {"TERM": "xterm-256color"}, 100, "chat")
    opened.ready(40)
    yield opened
    with contextlib.suppress(OSError):
        opened.close()


def test_a_function_is_added_used_and_removed(localmem: Run, dice: Path, home: Path) -> None:
    added = localmem("functions", "add", str(dice), "--json")
    assert json.loads(added.stdout) == {"agent": "default", "functions": ["roll_dice", "ring"]}
    used = localmem("ask", 'use roll_dice {"sides": 20}')
    assert "· roll_dice: rolled 20" in used.stderr
    listed = json.loads(localmem("functions", "list", "--json").stdout)
    rows = {row["name"]: row for row in listed["functions"]}
    assert rows["roll_dice"]["given_to"] == ["default"]
    assert (rows["ring"]["touches"], rows["ring"]["asks"]) == ("writes a file", True)
    assert rows["run_program"]["given_to"] == []
    assert rows["send_message"]["sets"][:2] == ["small", "full"]
    assert "dice.py, line 6" in localmem("functions", "list").stdout
    assert localmem("functions", "remove", "roll_dice").returncode == 0
    assert "ring" in localmem("functions", "remove", "dice.py").stderr
    assert not (home / "functions" / "dice.py").exists()
    assert json.loads(localmem("functions", "list", "--json").stdout)["refused"] == []
    assert "rolled" not in localmem("ask", "hello").stderr


def test_functions_are_of_one_agent(localmem: Run, dice: Path) -> None:
    localmem("agents", "create", "anna")
    localmem("functions", "add", str(dice), "--agent", "anna")
    assert "· roll_dice: rolled 6" in localmem("ask", "use roll_dice", "--agent", "anna").stderr
    other = localmem("ask", "use roll_dice")
    assert other.returncode != 0  # the parrot calls what is not offered: the script is refused


def test_a_bad_file_is_refused_in_a_line(localmem: Run, dice: Path, home: Path) -> None:
    dice.write_text(DICE.replace("sides: int", "sides: list[int]"))
    refused = localmem("functions", "add", str(dice))
    assert refused.returncode == 1
    assert "dice.py, line 6: function roll_dice: argument sides is hinted list[int]" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (home / "functions").exists()
    checked = localmem("functions", "check", str(dice), "--json")
    assert checked.returncode == 1
    found = json.loads(checked.stdout)
    assert [row["name"] for row in found["functions"]] == ["ring"]
    assert [row["line"] for row in found["refused"]] == [6]
    assert localmem("functions", "add", "nothing").returncode == 2
    assert localmem("functions", "permit", "send_message").returncode == 2


def test_a_file_that_goes_bad_later_costs_its_function_and_says_so(
    localmem: Run, dice: Path, home: Path
) -> None:
    localmem("functions", "add", str(dice))
    (home / "functions" / "dice.py").write_text(DICE.replace('"""Roll a die."""', ""))
    said = localmem("ask", "hello")
    assert said.returncode == 0
    assert "not offered: roll_dice" in said.stderr
    assert "line 6: function roll_dice has no docstring" in said.stderr


def test_without_a_terminal_it_is_refused_until_it_is_permitted(
    localmem: Run, dice: Path, tmp_path: Path, home: Path
) -> None:
    localmem("functions", "add", str(dice))
    bell = tmp_path / "bell"
    ring = "use ring " + json.dumps({"where": str(bell)})
    refused = localmem("ask", ring, "--json")
    assert not bell.exists()
    step = json.loads(refused.stdout)["steps"][0]
    assert not step["ok"]
    assert "localmem functions permit ring --agent default" in step["result"]
    assert "`localmem functions permit ring --agent default`" in refused.stderr
    assert localmem("chat", input=ring + "\n").stderr.count("functions permit ring") == 1
    assert not bell.exists()
    localmem("functions", "permit", "ring")
    assert "· ring: rung" in localmem("ask", ring).stderr
    assert bell.read_text() == "ding"
    (home / "functions" / "dice.py").write_text(DICE + "# changed\n")
    assert "functions permit ring" in localmem("ask", ring).stderr
    localmem("functions", "permit", "ring")
    localmem("functions", "permit", "ring", "--ask")
    assert "functions permit ring" in localmem("ask", ring).stderr
    assert bell.read_text() == "ding"


def test_a_name_that_nothing_has_is_refused(localmem: Run, dice: Path) -> None:
    localmem("functions", "add", str(dice))
    localmem("functions", "permit", "ring")
    for arguments in (("permit", "rin", "--ask"), ("remove", "rin")):
        done = localmem("functions", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert "ring" in done.stderr


def test_what_a_function_prints_is_no_part_of_json(localmem: Run, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy.py"
    noisy.write_text(
        'print("loaded")\n\n\ndef shout() -> str:\n    """Shout."""\n    print("NOISE")\n    return "done"\n'
    )
    localmem("functions", "add", str(noisy))
    listed = localmem("functions", "list", "--json")
    assert "shout" in str(json.loads(listed.stdout))
    assert "loaded" in listed.stderr
    assert json.loads(localmem("ask", "use shout {}", "--json").stdout)["steps"][0]["result"] == "done"


@pytest.mark.parametrize(
    ("keys", "rung", "asked_again"), [("o\r", 2, True), ("a\r", 2, False), ("\r", 0, True), ("n\r", 0, True)]
)
def test_the_terminal_asks(chat: Terminal, tmp_path: Path, keys: str, rung: int, asked_again: bool) -> None:
    bell = tmp_path / "bell"
    chat.type(f'use ring {{"where": "{bell}"}}\r')
    shown = chat.until("[N]o:", 40)
    assert "ring writes a file (dice.py, line 12). Allow it?" in shown
    assert not bell.exists()
    chat.type(keys)
    chat.ready(40)
    chat.type(f'use ring {{"where": "{bell}"}}\r')
    if asked_again:
        chat.wait(lambda: "[o]nce, [a]lways, [N]o:" in chat.lines, "the question again")
        chat.type(keys)
    chat.wait(lambda: chat.shown.count("You said") == 2, "a second reply")
    assert (len(bell.read_text()) // 4 if bell.exists() else 0) == rung


def test_ctrl_c_at_the_question_is_a_no_and_ends_the_turn(chat: Terminal, tmp_path: Path) -> None:
    chat.type(f'use ring {{"where": "{tmp_path / "bell"}"}}\r')
    chat.until("[N]o:", 40)
    chat.type("\x03")
    chat.until("interrupted", 40)
    chat.ready(40)
    chat.type("hello\r")
    chat.until("You said: hello", 40)
    assert not (tmp_path / "bell").exists()
