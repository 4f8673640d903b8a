"""Killing the process anywhere in a turn: what was acknowledged is there, no edit happens twice, it goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import crashing_turns
import pytest

from localmem.crash import POINTS
from localmem.memory.home import Home
from localmem.records import Block, Call, Event, EventKind, Result
from localmem.testing import HashEmbedder

TURN_POINTS = [
    point
    for point in POINTS
    if point.split(".")[0] in ("open_turn", "add", "perform", "passage", "evict", "settle", "index")
]


def make_home(path: Path) -> None:
    with Home.open(path, embedder=HashEmbedder()) as home:
        home.create_agent("default").put_block(Block("human", "", 1_000_000), "user")


def start(path: Path, first: int, last: int, crash_at: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, crashing_turns.__file__, str(path), str(first), str(last)],
        env={**os.environ, "LOCALMEM_CRASH_AT": crash_at},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def numbers(output: str) -> list[int]:
    return [int(line.split()[1]) for line in output.splitlines() if line.startswith("acknowledged")]


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
    process = start(tmp_path, 0, 40, f"{point}:{passing}")
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
        process = start(path, following, following + 10_000)
        assert process.stdout is not None
        first = process.stdout.readline()
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
