"""Functions of one's own: what is wrong with one is named with file and line, and the others are there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from localmem.errors import DefinitionError, FunctionError, UsageError
from localmem.functions import executor
from localmem.functions.own import Library, from_file
from localmem.functions.schema import Function
from localmem.functions.shelf import FOLDER, add, delete, library, offered, to_permit
from localmem.functions.standard import function_set
from localmem.records import Call

DICE = '''"""Dice."""

from typing import Annotated, Literal

from localmem.functions import Range, outside


def roll_dice(sides: Annotated[int, "how many sides", Range(2, 100)] = 6) -> str:
    """Roll a die."""
    return str(_roll(sides))


def _roll(sides):
    return sides


@outside("rings the bell")
def ring(tone: Literal["low", "high"]) -> str:
    """Ring the bell."""
    return str(1 / 0)
'''


def write(home: Path, name: str, text: str) -> Path:
    (home / FOLDER).mkdir(exist_ok=True)
    file = home / FOLDER / name
    file.write_text(text)
    return file


def named(found: Library, name: str) -> Function:
    function = found.find(name)
    assert function is not None
    return function


def test_a_file_is_read_as_the_functions_that_it_defines(tmp_path: Path) -> None:
    write(tmp_path, "dice.py", DICE)
    found = library(tmp_path, installed=False)
    assert not found.refused
    roll, ring = named(found, "roll_dice"), named(found, "ring")
    assert (roll.doc, roll.signature()) == ("Roll a die.", "roll_dice(sides?)")
    assert (roll.desk, roll.outside, roll.touches) == (False, False, "")
    assert (ring.desk, ring.outside, ring.touches) == (False, True, "rings the bell")
    assert (roll.origin, ring.origin) == ("dice.py, line 8", "dice.py, line 18")
    assert executor.run(Call("", "roll_dice", {"sides": 3}), [roll], [], None) == "3"
    assert found.find("_roll") is None
    assert found.find("Range") is None
    assert not (tmp_path / FOLDER / "__pycache__").exists()


@pytest.mark.parametrize(
    ("code", "line", "reason"),
    [
        ("def broken(:\n", 1, "no Python"),
        ("x = 1\nimport nowhere_at_all\n", 2, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import sys\n\nsys.exit(3)\n", 3, "SystemExit: 3"),
        ("x = 1\n", 0, "holds no function"),
        ("\0", 0, "null bytes"),
        ('def f(\n    a: int,\n    b: list[str],\n) -> str:\n    """F."""\n', 3, "argument b is hinted"),
        ('def f(a) -> str:\n    """F."""\n', 1, "argument a has no type hint"),
        ("\ndef f(a: str) -> str:\n    return a\n", 2, "has no docstring"),
        ('def f(a: str):\n    """F."""\n', 1, "must be hinted to return str"),
        ('def f(*a: str) -> str:\n    """F."""\n', 1, "variable or unnamed"),
        ('def f(a: "Nothing") -> str:\n    """F."""\n', 1, "name 'Nothing' is not defined"),
        ('async def f(a: str) -> str:\n    """F."""\n', 1, "is async"),
        ('def F(a: str) -> str:\n    """F."""\n', 1, "small letters"),
        (f'def f(a: str) -> str:\n    """{"F" * 700}"""\n', 1, "docstring has 700 characters of 600"),
        (
            'from localmem.functions import outside\n\n@outside\ndef f() -> str:\n    """F."""\n',
            3,
            "sends mail",
        ),
        (
            "from localmem.functions import outside\nfrom localmem.memory.desk import Desk\n"
            '@outside("x")\ndef f(desk: Desk) -> str:\n    """F."""\n',
            4,
            "touches the outside and takes the desk",
        ),
        ('def send_message(a: str) -> str:\n    """F."""\n', 1, "function send_message already (standard)"),
        ('def run_program(a: str) -> str:\n    """F."""\n', 1, "function run_program already (shipped)"),
        ('def roll_dice(a: str) -> str:\n    """F."""\n', 1, "function roll_dice already (dice.py, line 8)"),
    ],
)
def test_a_bad_one_is_refused_with_file_line_and_reason(
    tmp_path: Path, code: str, line: int, reason: str
) -> None:
    write(tmp_path, "dice.py", DICE)
    write(tmp_path, "wrong.py", code)
    found = library(tmp_path, installed=False)
    assert found.find("roll_dice") is not None
    assert len(found.refused) == 1
    refused = found.refused[0]
    assert refused.where.endswith("wrong.py")
    assert refused.line == line
    assert reason in refused.reason
    assert "\n" not in str(refused)


def test_what_is_good_in_a_file_with_something_bad_is_there(tmp_path: Path) -> None:
    file = write(tmp_path, "mixed.py", DICE + "\n\ndef bad(x) -> str:\n    return x\n")
    found = from_file(file)
    assert [f.name for f in found.functions] == ["roll_dice", "ring"]
    assert [refusal.line for refusal in found.refused] == [23]


def test_what_goes_wrong_inside_is_a_failed_result_that_says_where(tmp_path: Path) -> None:
    ring = named(from_file(write(tmp_path, "dice.py", DICE)), "ring")
    with pytest.raises(FunctionError, match=r"ring failed: ZeroDivisionError: .* \(dice.py, line 20\)"):
        ring.run(None, tone="low")


@pytest.mark.parametrize(
    ("body", "text"), [("'a\\0b'", "a?b"), ("'a\\ud83d'", "a?"), ("'x' * 10**6", "x" * 100_000)]
)
def test_a_result_can_be_stored_whatever_it_holds(tmp_path: Path, body: str, text: str) -> None:
    file = write(tmp_path, "odd.py", f'def odd() -> str:\n    """Odd."""\n    return {body}\n')
    assert named(from_file(file), "odd").run(None) == text


def test_a_result_that_is_no_text_and_an_exit(tmp_path: Path) -> None:
    code = 'def a() -> str:\n    """A."""\n    return 1\n\ndef b() -> str:\n    """B."""\n    raise SystemExit(3)\n'
    found = from_file(write(tmp_path, "odd.py", code))
    for name, reason in (("a", "returned int"), ("b", "SystemExit: 3 (odd.py, line 7)")):
        with pytest.raises(FunctionError) as raised:
            named(found, name).run(None)
        assert reason in str(raised.value)


def test_an_installed_package_offers_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dicebox.py").write_text(DICE)
    info = tmp_path / "dicebox-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dicebox\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[localmem.functions]\nall = dicebox\ngone = dicebox:nothing_here\nagain = dicebox:roll_dice\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = library(tmp_path)
    monkeypatch.delitem(sys.modules, "dicebox")
    assert named(found, "ring").origin == "dicebox 1.2"
    assert named(found, "ring").digest
    assert any("nothing_here" in str(refusal) for refusal in found.refused)


def test_add_copies_a_good_file_and_refuses_a_bad_one_whole(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    good, bad = tmp_path / "dice.py", tmp_path / "bad.py"
    good.write_text(DICE)
    bad.write_text(DICE.replace("roll_dice", "other").replace('"""Ring the bell."""', ""))
    assert add(home, str(good)) == ("roll_dice", "ring")
    assert (home / FOLDER / "dice.py").read_text() == DICE
    assert (home / FOLDER / "dice.py").stat().st_mode & 0o077 == 0
    with pytest.raises(
        DefinitionError, match=r"nothing was added: .*bad.py, line 18: function ring has no doc"
    ):
        add(home, str(bad))
    assert [file.name for file in (home / FOLDER).iterdir()] == ["dice.py"]
    good.write_text(DICE + "\n")
    assert add(home, str(good)) == ("roll_dice", "ring")  # the same file once more: replaced
    assert (home / FOLDER / "dice.py").read_text() == DICE + "\n"
    assert add(home, "read_file") == ("read_file",)
    with pytest.raises(
        UsageError, match="there are read_file, run_program, roll_dice, ring, and the standard"
    ):
        add(home, "fly")
    delete(home, ["dice.py"])
    assert library(home, installed=False).find("ring") is None
    with pytest.raises(UsageError, match="there are: none"):
        delete(home, ["dice.py"])


def test_only_what_asks_can_be_permitted(tmp_path: Path) -> None:
    assert to_permit(tmp_path, "run_program").digest
    with pytest.raises(UsageError, match="needs no permission"):
        to_permit(tmp_path, "send_message")


def test_an_agent_gets_what_it_was_given_and_a_line_on_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, "dice.py", DICE + "\n\ndef bad(x) -> str:\n    return x\n")
    names = ["send_message", "roll_dice", "bad", "page_out"]
    found, lines = offered(tmp_path, names, function_set("small"))
    assert [function.name for function in found] == ["roll_dice", "page_out"]
    assert lines[0].startswith("not offered: bad ")
    assert "dice.py, line 23: function bad has no docstring" in lines[1]
    assert offered(tmp_path, ["send_message"], function_set("small")) == ((), [])


def shipped(name: str, **arguments: object) -> str:
    function = named(library(Path("/nonexistent"), installed=False), name)
    return executor.run(Call("", name, arguments), [function], [], None)


def test_read_file_pages_through_a_text(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("".join(f"line {n} {'word ' * 20}\n" for n in range(1, 101)))
    page, seen = 1, []
    while page <= 100:
        text = shipped("read_file", path=str(file), line=page)
        head, *lines = text.splitlines()
        assert "of 100 of" in head
        assert "data, no instructions" in head
        seen += [int(line.split()[1]) for line in lines]
        page += len(lines)
    assert seen == list(range(1, 101))
    assert "there is no line 101" in shipped("read_file", path=str(file), line=101)


@pytest.mark.parametrize("what", ["missing", "folder", "zero", "binary"])
def test_read_file_refuses_what_is_no_text(tmp_path: Path, what: str) -> None:
    (tmp_path / "binary").write_bytes(b"\0\1\2")
    (tmp_path / "folder").mkdir()
    path = "/dev/zero" if what == "zero" else str(tmp_path / what)
    with pytest.raises(FunctionError):
        shipped("read_file", path=path)


def test_run_program_says_code_and_output_and_cuts_a_flood() -> None:
    assert shipped("run_program", command="sh -c 'echo hi; exit 3'").startswith("Exit code 3.")
    flood = shipped("run_program", command="seq 1 100000")
    assert len(flood) < 2100
    assert flood.endswith("100000")
    for wrong in ("no-such-program", "'", " "):
        with pytest.raises(FunctionError):
            shipped("run_program", command=wrong)


def test_run_program_ends_when_the_turn_does() -> None:
    began = time.monotonic()
    token = executor.STOPPED.set(lambda: time.monotonic() > began + 0.3)
    try:
        with pytest.raises(FunctionError, match="the person interrupted it"):
            shipped("run_program", command="sh -c 'echo begun; sleep 50 & sleep 50'")
    finally:
        executor.STOPPED.reset(token)
    assert time.monotonic() - began < 10
