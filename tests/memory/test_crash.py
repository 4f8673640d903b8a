"""Killing the process at any point of any write loses nothing acknowledged and applies nothing twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import crashing
import pytest

from localmem.crash import POINTS, WRITES
from localmem.loading import load
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Call, Event, EventKind, Result
from localmem.testing import HashEmbedder

ROOT = Path(__file__).parents[2]
AGAIN = ("perform", "settle", "index", "load", "load_file", "announce")
FORGOTTEN = ("forget.committed", "forgetting.index", "compact.replace", "compact.replaced")
PLACES = [*POINTS, *(f"{point}:2" for point in POINTS if point.split(".")[0] in AGAIN)]


def killed(path: Path, point: str) -> dict[str, list[str]]:
    """Run the script until it is killed at `point`; return what it acknowledged."""
    run = subprocess.run(
        [sys.executable, crashing.__file__, str(path)],
        env={**os.environ, "LOCALMEM_CRASH_AT": point, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == -signal.SIGKILL, f"{point} was never reached: {run.stderr}"
    said: dict[str, list[str]] = {}
    for line in run.stdout.splitlines():
        what, _, value = line.partition(" ")
        said.setdefault(what, []).append(value)
    return said


def check_turns(memory: Memory) -> None:
    """Every call has its result and its effects, or none of them."""
    records = memory.records()
    results = {record.call for record in records if hasattr(record, "call")}
    complete = [
        r.turn for r in records if isinstance(r, Call) and r.function == "effects" and r.id in results
    ]
    human = memory.blocks()[1].value
    assert human.splitlines() == [f"line {turn}" for turn in complete]
    assert [passage.text for passage in memory.passages()] == [f"passage {turn} apple" for turn in complete]
    assert memory.search_archive("apple").total == len(complete)
    open_turn = memory.unfinished()
    if open_turn is not None:
        assert open_turn.steps == sum(r.call in results for r in open_turn.records if hasattr(r, "call"))


def check_waiting(memory: Memory, said: dict[str, list[str]]) -> None:
    """What was handed in waits or was taken, once; a timer is set or has fired, once."""
    taken = [record.ticket for record in memory.records() if isinstance(record, Event) and record.ticket]
    pending = [event.ticket for event in memory.inbox.pending()]
    assert len(set(taken) | set(pending)) == len(taken) + len(pending)
    assert set(map(int, said.get("submitted", []))) <= set(taken) | set(pending)
    assert set(map(int, said.get("taken", []))) <= set(taken)
    assert all(memory.inbox.turn_of(ticket) for ticket in taken)
    records = [*memory.records(), *memory.inbox.pending()]
    fired = sum(isinstance(record, Event) and record.kind is EventKind.TIMER for record in records)
    notes = [timer.note for timer in memory.inbox.timers()]
    if "due" in said.get("timer", []):
        assert fired + notes.count("due") == 1
    if "later" in said.get("timer", []) and "closed" not in said:
        assert notes.count("later") == 1
    assert "removed" not in said or "later" not in notes
    aside = {str(turn.turn) for turn in memory.inbox.interrupted()}
    assert set(said.get("aside", [])) <= aside | ({*said["aside"]} if "settled" in said else set())


def names_of(home: Home) -> list[str]:
    return [row.name for row in home.agents()]


def check_reading(memory: Memory, over: bool) -> None:
    """A reading stands where its notes end; one event drives it, or one has told the end."""
    reading = memory.readings.get(1)
    texts = [event.text.split()[0] for event in memory.inbox.pending() if "book.txt" in event.text]
    assert (texts.count("Read"), texts.count("You")) == ((0, 1) if reading.state == "done" else (1, 0))
    assert reading.state == "done" or not over
    assert sum(note.level == 0 for note in memory.readings.notes(reading)) in (0, reading.steps)


def check_archive(home: Home, said: dict[str, list[str]]) -> None:
    """What was loaded is there; loading once more leaves one passage, and only one."""
    names = [row.name for row in home.archives()]
    assert set(said.get("archive", [])) <= set(names)
    if "books" not in names:
        home.create_archive("books")
    archive, reader = home.archive("books"), home.create_agent("reader")
    home.attach("books", "reader")
    assert reader.search_archive("plum pears").total >= bool(said.get("loaded"))
    if "b" in names_of(home) and "reading" in said:
        check_reading(home.agent("b"), "read" in said)
    file = home.path / "book.txt"
    file.write_text("two pears\n\n" * 3)
    list(load(archive, [file]))
    assert (archive.files()[0].whole, home.archives()[0].passages) == (True, 1)
    assert (reader.search_archive("pears").total, reader.search_archive("plum").total) == (1, 0)


def check_letter(home: Home, said: dict[str, list[str]]) -> None:
    """What was asked was asked once; an answer that was given is the result, or came by itself."""
    results = [r.text for r in home.agent("a").records() if isinstance(r, Result) and "well" in r.text]
    if "b" in [row.name for row in home.agents()] and "posted" in said:
        asked = [r for r in home.agent("b").records() if isinstance(r, Event)]
        asked += home.agent("b").inbox.pending()
        assert sum(event.text == "well?" for event in asked) == 1
    if "answered" in said:
        assert results == ["b answers (data, no instructions): well"]


def check_outside(memory: Memory, said: dict[str, list[str]]) -> None:
    """What was given and permitted stays so; a call that was begun is known to have been."""
    assert set(said.get("given", [])) <= set(memory.choices.names())
    assert set(said.get("permitted", [])) <= set(memory.choices.permits())
    calls = [record for record in memory.records() if isinstance(record, Call)]
    assert all(memory.started(call) for call in calls if str(call.id) in said.get("started", []))


def check_several(home: Home, said: dict[str, list[str]]) -> None:
    """A copy and an import are whole or not there; a file is whole; a share stands from its word to its end."""
    whole = home.agent("a")
    for name in {row.name for row in home.agents()} & {"copy", "import"}:
        assert home.agent(name).blocks() == whole.blocks()
        assert len(home.agent(name).records()) == len(whole.records())
        assert home.agent(name).search_archive("apple").total == whole.search_archive("apple").total
    for file in said.get("file", []):
        home.import_agent(Path(file), "again")
        home.delete_agent("again")
    if "shared" in said and "deleted" not in said:
        shares = len(home.shared_blocks())
        assert shares == 0 if "unshared" in said else shares <= 1


def resume(memory: Memory) -> None:
    """Finish an open turn as the kernel does: perform the call that has no result."""
    turn = memory.unfinished()
    if turn is None:
        return
    last = turn.records[-1]
    if isinstance(last, Call):
        memory.perform(last, getattr(crashing, last.function))
    memory.close_turn(turn.id)


@pytest.mark.parametrize("point", PLACES)
def test_nothing_acknowledged_is_lost(tmp_path: Path, point: str) -> None:
    said = killed(tmp_path, point)
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        names = [row.name for row in home.agents()]
        assert set(said.get("agent", [])) <= set(names)
        assert not set(said.get("deleted", [])) & set(names)
        if "a" not in names:
            home.create_agent("a")
        memory = home.agent("a")
        known = {str(record.id) for record in memory.records()}
        for kind in ("event", "call", "result"):
            assert set(said.get(kind, [])) <= known
        turn = memory.unfinished()
        assert turn is None or str(turn.id) not in said.get("closed", [])
        assert "block" not in said or memory.blocks()[-1].label == "notes"
        assert "evicted" not in said or memory.summary() == "summary"
        assert not set(said.get("undone", [])) & {str(record.turn) for record in memory.records()}
        if "forgotten" in said or point in FORGOTTEN:
            assert not any(
                b"secretword" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()
            )
        check_several(home, said)
        check_turns(memory)
        check_waiting(memory, said)
        check_outside(memory, said)
        resume(memory)
        check_turns(memory)
        check_letter(home, said)
        memory.settle()
        state = memory.index_state()
        assert state is not None
        assert (state.stored, state.agrees) == (state.indexed, True)
        assert state.stored == memory.counts().archival
        crashing.turn(memory, 9)
        check_turns(memory)
        check_archive(home, said)


def test_every_point_is_in_the_source() -> None:
    source = "".join(
        file.read_text() for file in (ROOT / "localmem").rglob("*.py") if file.name != "crash.py"
    )
    named = set(re.findall(r'reach\("([a-z_.]+)"\)', source))
    assert named == {
        point for point in POINTS if point.rpartition(".")[0] not in WRITES or "effects" in point
    } | ({"delete_agent.index"})
    for write in WRITES:
        assert f'"{write}"' in source, write
