"""Killing the process anywhere between an event's coming and its end: it is processed, and exactly once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import crashing_events
import pytest
from crashing_events import number_of
from killing import make_home, numbers, start

from localmem.memory.home import Home
from localmem.records import Call, Event, EventKind, Result
from localmem.testing import HashEmbedder

WRITES = ("submit", "add_timer", "fire", "open_turn", "add", "perform", "set_aside")
POINTS = [f"{write}.{moment}" for write in WRITES for moment in ("before", "commit", "committed")]


def check(path: Path, acknowledged: list[int]) -> int:
    """Open the home as the next process would, let it run what waits, check it; return the next number."""
    with Home.open(path, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        agent = crashing_events.wake(memory)
        list(agent.resume())
        crashing_events.run(agent)
        assert memory.unfinished() is None
        assert memory.inbox.pending() == ()
        assert memory.inbox.timers() == ()
        assert memory.inbox.interrupted() == ()
        records = memory.records()
        kinds = (EventKind.USER, EventKind.TIMER)
        told = sorted(number_of(r) for r in records if isinstance(r, Event) and r.kind in kinds)
        assert told == sorted(set(told))
        assert set(acknowledged) <= set(told)
        tickets = Counter(r.ticket for r in records if isinstance(r, Event) and r.ticket)
        assert set(tickets.values()) <= {1}
        assert sorted(memory.block("human").value.splitlines()) == sorted(f"line {n}" for n in told)
        assert sorted(passage.text for passage in memory.passages()) == sorted(f"note {n}" for n in told)
        said = [
            r.arguments["message"] for r in records if isinstance(r, Call) and r.function == "send_message"
        ]
        assert sorted(said) == sorted(f"done {n}" for n in told)  # type: ignore[type-var]
        assert all(record.ok for record in records if isinstance(record, Result))
        return max(told, default=-1) + 1


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("passing", [1, 3])
def test_a_kill_at_any_point(tmp_path: Path, point: str, passing: int) -> None:
    make_home(tmp_path)
    process = start(crashing_events, tmp_path, 0, 14, f"{point}:{passing}")
    output, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    check(tmp_path, numbers(output))


def storm(path: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    make_home(path)
    acknowledged: list[int] = []
    following = 0
    for _ in range(kills):
        process = start(crashing_events, path, following, following + 10_000)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.random() * 0.4)
        process.kill()
        acknowledged += numbers(first + process.communicate()[0])
        following = check(path, acknowledged)
    assert len(acknowledged) >= kills


def test_a_few_kills_at_random_moments(tmp_path: Path) -> None:
    storm(tmp_path, 3, seed=3)


@pytest.mark.large
def test_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    storm(tmp_path, 50, seed=4)
