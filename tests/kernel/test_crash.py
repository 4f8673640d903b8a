"""Killing the process anywhere in a turn: what was acknowledged is there, no edit happens twice, it goes on."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import crashing_turns
import pytest
from killing import make_home, numbers, start

from localmem.crash import POINTS
from localmem.memory.home import Home
from localmem.records import Call, Event, EventKind, Result
from localmem.testing import HashEmbedder

TURN_POINTS = [
    point
    for point in POINTS
    if point.split(".")[0] in ("open_turn", "add", "perform", "passage", "evict", "settle", "index")
]


def check(path: Path, acknowledged: list[int]) -> int:
    """Open the home as the next process would, check it, finish what was open; return the next number."""
    with Home.open(path, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        events = [r for r in memory.records() if isinstance(r, Event) and r.kind is EventKind.USER]
        told = [int(event.text.split()[1]) for event in events]
        assert told == sorted(set(told))
        assert set(acknowledged) <= set(told)
        list(crashing_turns.wake(memory).resume())
        assert memory.unfinished() is None
        records = memory.records()
        lines = memory.blocks()[1].value.splitlines()
        assert lines == [f"line {number}" for number in told]
        assert [passage.text for passage in memory.passages()] == [f"note {number}" for number in told]
        assert all(record.ok for record in records if isinstance(record, Result))
        answered = [record.call for record in records if isinstance(record, Result)]
        assert sorted(answered) == sorted({record.id for record in records if isinstance(record, Call)})
        memory.settle()
        state = memory.index_state()
        assert state is not None
        assert state.agrees
        assert state.stored == state.indexed == len(told)
        return max(told, default=-1) + 1


@pytest.mark.parametrize("point", TURN_POINTS)
@pytest.mark.parametrize("passing", [1, 5])
def test_a_kill_at_any_point_of_a_turn(tmp_path: Path, point: str, passing: int) -> None:
    make_home(tmp_path)
    process = start(crashing_turns, tmp_path, 0, 40, f"{point}:{passing}")
    output, errors = process.communicate()
    if process.returncode == 0 and passing > 1:
        pytest.skip(f"{point} is not passed {passing} times")
    assert process.returncode == -signal.SIGKILL, errors
    check(tmp_path, numbers(output))


def storm(path: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    make_home(path)
    acknowledged: list[int] = []
    following = 0
    for _ in range(kills):
        process = start(crashing_turns, path, following, following + 10_000)
        assert process.stdout is not None
        first = (
            process.stdout.readline() + process.stdout.readline()
        )  # so much it does on the slowest machine
        time.sleep(chance.random() * 0.4)
        process.kill()
        acknowledged += numbers(first + process.communicate()[0])
        following = check(path, acknowledged)
    assert len(acknowledged) > kills


def test_a_few_kills_at_random_moments(tmp_path: Path) -> None:
    storm(tmp_path, 6, seed=1)


@pytest.mark.large
def test_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    storm(tmp_path, 50, seed=2)
