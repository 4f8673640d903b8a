"""`localmem timers` on the command line."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta

from parrot import Run


def test_timers_come_and_go(localmem: Run) -> None:
    localmem("agents", "create", "anna")
    made = localmem("timers", "add", "water the plants", "--every", "2h", "--agent", "anna")
    assert (made.returncode, made.stdout) == (0, "")
    assert "timer 1 wakes anna first at " in made.stderr
    assert "then every 2h" in made.stderr
    once = json.loads(localmem("timers", "add", "tea", "--in", "10m", "--json").stdout)
    due = datetime.fromisoformat(once["due"]) - datetime.fromisoformat(once["created_at"])
    assert abs(due - timedelta(minutes=10)) < timedelta(seconds=5)
    assert (once["id"], once["agent"], once["every"], once["set_by"]) == (2, "default", None, "user")
    rows = json.loads(localmem("timers", "list", "--json").stdout)
    assert [(row["id"], row["agent"], row["every"]) for row in rows] == [
        (2, "default", None),
        (1, "anna", 7200),
    ]
    shown = localmem("timers", "list").stdout.splitlines()
    assert shown[0].split() == ["ID", "AGENT", "NEXT", "EVERY", "NOTE"]
    assert shown[2].endswith("water the plants")
    assert localmem("timers", "remove", "1").returncode == 0
    assert json.loads(localmem("timers", "list", "--agent", "anna", "--json").stdout) == []
    assert len(json.loads(localmem("timers", "list", "--json").stdout)) == 1


def test_timers_that_cannot_be(localmem: Run) -> None:
    for wrong, why in (
        ((), "say when"),
        (("--in", "soon"), "'soon' is no span of time"),
        (("--at", "2020-01-01T09:00"), "is past"),
        (("--in", "5m", "--at", "09:00"), "not both"),
        (("--in", "5m", "--agent", "nobody"), "there is no agent 'nobody'"),
    ):
        done = localmem("timers", "add", "tea", *wrong)
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr
    done = localmem("timers", "remove", "7")
    assert (done.returncode, "there is no timer 7" in done.stderr) == (2, True)
    assert "there is no timer" in localmem("timers", "list").stderr


def test_a_chat_runs_what_was_missed_when_it_starts(localmem: Run) -> None:
    localmem("timers", "add", "water the plants", "--in", "1s")
    time.sleep(1.1)
    done = localmem("chat", input="")
    assert done.returncode == 0, done.stderr
    assert "Events came meanwhile; running them now" in done.stderr
    assert done.stdout.strip()
    assert localmem("timers", "list", "--json").stdout.strip() == "[]"
    found = json.loads(localmem("memory", "search", "plants", "--json").stdout)
    assert "Timer 1: water the plants" in [hit["text"] for hit in found["hits"]]
    assert "Events came" not in localmem("chat", input="").stderr
