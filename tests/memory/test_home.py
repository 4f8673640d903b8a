"""A home has one owner, is its user's alone, and says in one line why it cannot be used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_acts import say

from localmem.errors import DiskFault, HomeInUse, HomeUnusable, LocalmemError, UnknownAgent, UsageError
from localmem.memory.home import STORE, Home
from localmem.records import Block

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, pathlib
from localmem.memory.home import Home
home = Home.open(pathlib.Path(sys.argv[1]))
print(1, flush=True)
input()
"""


def refused(path: Path, kind: type[LocalmemError]) -> str:
    with pytest.raises(kind) as caught:
        Home.open(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_second_process_is_told_who_has_the_home(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert owner.stdout is not None
    owner.stdout.readline()
    message = refused(tmp_path, HomeInUse)
    assert str(owner.pid) in message
    assert "--home" in message
    assert f"process {owner.pid} (-c " in str(Home.owner(tmp_path))
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    assert Home.owner(tmp_path) is None
    Home.open(tmp_path).close()


def test_the_same_process_cannot_open_a_home_twice(home: Home) -> None:
    assert str(os.getpid()) in refused(home.path, HomeInUse)
    home.close()
    home.close()
    assert Home.owner(home.path) is None
    Home.open(home.path).close()


def test_a_store_held_by_another_program_is_named(tmp_path: Path) -> None:
    Home.open(tmp_path).close()
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / STORE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    assert str(other.pid) in refused(tmp_path, HomeInUse)
    other.kill()
    other.communicate()


def test_everything_is_the_users_alone(tmp_path: Path) -> None:
    os.umask(old := os.umask(0o022))
    assert old >= 0
    with Home.open(tmp_path / "deep" / "home") as home:
        say(home.create_agent("a"), "hello")
        files = list(home.path.rglob("*"))
        assert {file.name for file in files} == {"owner.lock", "names.json", STORE, STORE + ".wal"}
        assert home.path.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_another_folder_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    tmp_path.chmod(0o755)
    Home.open(tmp_path).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / STORE).stat().st_mode & 0o777 == 0o600


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(tmp_path / "file", HomeUnusable)
    refused(tmp_path / "file" / "below", HomeUnusable)


def test_a_read_only_home_is_refused(mounted: Path) -> None:
    with Home.open(mounted / "h") as home:
        home.create_agent("a")
    remount(mounted, "ro")
    refused(mounted / "h", HomeUnusable)
    refused(mounted / "new", HomeUnusable)


@pytest.mark.parametrize("damage", [b"not a database at all " * 1000, b"x"])
def test_a_damaged_store_is_one_line(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / STORE).write_bytes(damage)
    assert "damaged" in refused(tmp_path, DiskFault)
    assert (tmp_path / STORE).read_bytes() == damage


def test_a_store_damaged_in_its_midst_is_one_line(tmp_path: Path) -> None:
    with Home.open(tmp_path) as home:
        memory = home.create_agent("a")
        for n in range(20):
            say(memory, f"number {n}")
    size = (tmp_path / STORE).stat().st_size
    with (tmp_path / STORE).open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(size - 4096 * 3))
    refused(tmp_path, DiskFault)


def test_the_home_is_given_back_when_opening_fails(tmp_path: Path) -> None:
    (tmp_path / STORE).write_bytes(b"x")
    refused(tmp_path, DiskFault)
    assert Home.owner(tmp_path) is None
    (tmp_path / STORE).unlink()
    Home.open(tmp_path).close()


def test_agents_come_and_go(home: Home) -> None:
    assert home.agents() == []
    with pytest.raises(UnknownAgent, match="none yet"):
        home.agent("ada")
    ada = home.create_agent("ada", model="tiny", system="Be brief.", blocks=[Block("notes", "x", 10)])
    say(ada, "hello", "hi")
    ada.edit(lambda desk: desk.insert_passage("fact"))
    assert (ada.name, ada.model, ada.system, ada.blocks()) == (
        "ada",
        "tiny",
        "Be brief.",
        (Block("notes", "x", 10),),
    )
    ada.set_model("large")
    assert home.agent("ada") is ada
    row = home.agents()[0]
    assert (row.name, row.model, row.records, row.passages) == ("ada", "large", 3, 1)
    assert row.last_active == row.created_at
    with pytest.raises(UsageError, match="already"):
        home.create_agent("ada")
    with pytest.raises(UnknownAgent, match="ada"):
        home.agent("bob")
    assert home.rename_agent("ada", "eve").records() == ada.records()
    ada.settle()
    home.delete_agent("eve")
    assert home.agents() == []
    assert list((home.path / "index").iterdir()) == []
    assert home.create_agent("eve").records() == ()


def test_of_an_agent_that_is_deleted_no_copy_is_left(home: Home) -> None:
    home.create_agent("ada")
    home.traces("ada").mkdir(parents=True)
    snapshots = home.path / "snapshots"
    (snapshots / "ada").mkdir(parents=True)
    (snapshots / "eve").mkdir()  # left over from an earlier agent of that name
    (snapshots / "ada" / "state.kv").write_text("what was said")
    traces = home.traces("ada")
    home.rename_agent("ada", "eve")
    assert [file.relative_to(snapshots).as_posix() for file in snapshots.rglob("*.kv")] == ["eve/state.kv"]
    home.delete_agent("eve")
    assert list(snapshots.iterdir()) == []
    assert not traces.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "../up", "x" * 65, "é", "a\n"])
def test_a_name_is_plain(home: Home, name: str) -> None:
    with pytest.raises(UsageError, match="letters"):
        home.create_agent(name)


def test_an_agent_with_a_block_over_its_limit_is_not_made(home: Home) -> None:
    with pytest.raises(UsageError, match="limit"):
        home.create_agent("a", blocks=[Block("fine", "", 10), Block("human", "xx", 1)])
    assert home.agents() == []


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 24 MB, where this user may mount one."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=24m", "t", folder]).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_a_full_disk_loses_nothing_and_the_next_write_works(mounted: Path) -> None:
    home = Home.open(mounted / "h")
    memory = home.create_agent("a")
    acknowledged = []

    def fill() -> None:
        while True:
            acknowledged.append(say(memory, "event " + os.urandom(50_000).hex()).id)

    for size in ("64m", "128m"):
        with pytest.raises(DiskFault, match="full") as caught:
            fill()
        assert "\n" not in str(caught.value)
        with pytest.raises(DiskFault):
            fill()
        assert [record.id for record in memory.records()] == acknowledged
        remount(mounted, f"size={size}")
        acknowledged.append(say(memory, "room again").id)
    with pytest.raises(DiskFault, match="full"):
        fill()
    home.close()
    remount(mounted, "size=256m")
    with Home.open(mounted / "h") as home:
        assert [record.id for record in home.agent("a").records()] == acknowledged


def test_the_embedder_is_the_one_whose_folder_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path / "home" / "models" / "mine", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        (folder / "modules.json").write_text("[]")
    for named, there in (("mine", True), (tmp_path / "elsewhere", True), ("other", False)):
        with Home.open(tmp_path / "home", embedder_folder=named) as home:
            memory = home.agent("a") if home.agents() else home.create_agent("a")
            assert memory.vectors == there
