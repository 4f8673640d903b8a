"""What touches the outside: asked before it runs, marked before it runs, run at most once whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import permitting
import pytest
from awake import Bench, calls, run, says

from localmem.functions import outside
from localmem.functions.schema import Function, function
from localmem.memory.clock import stamp, system_clock
from localmem.memory.home import STORE, Home
from localmem.memory.migrations import MIGRATIONS
from localmem.memory.store import Cursor, Store
from localmem.permission import NOT_PERMITTED, Answer, Permission
from localmem.records import Call, Result
from localmem.testing import HashEmbedder


def bell(rung: list[str]) -> Function:
    @outside("rings the bell")
    def ring(tone: str) -> str:
        """Ring the bell at the door."""
        rung.append(tone)
        return f"rung {tone}"

    return function(ring, desk=False)


def results(items: list[object]) -> list[Result]:
    return [item for item in items if isinstance(item, Result)]


def test_nothing_runs_where_nobody_is_asked(bench: Bench) -> None:
    rung: list[str] = []
    agent, processor = bench.wake([calls("ring", tone="low"), says("no")], functions_of_its_own=(bell(rung),))
    refused = results(run(agent, "ring"))[0]
    assert not refused.ok
    assert refused.text in processor.prompts[1]
    assert not rung
    assert bench.memory.unfinished() is None


@pytest.mark.parametrize("answer", list(Answer))
def test_each_answer_and_what_is_kept_of_it(bench: Bench, answer: Answer) -> None:
    rung: list[str] = []
    asked: list[Call] = []

    def ask(call: Call, function: Function) -> Answer:
        stored = bench.memory.records()[-1]
        assert stored == call  # on disk before the question
        assert not bench.memory.started(call)
        asked.append(call)
        return answer

    permission = Permission(bench.memory, ask)
    script = [calls("ring", tone="low"), says("a"), calls("ring", tone="high"), says("b")]
    agent, _ = bench.wake(script, functions_of_its_own=(bell(rung),), permit=permission)
    first = results(run(agent, "ring"))[0]
    run(agent, "ring again")
    yes = answer in (Answer.ONCE, Answer.ALWAYS)
    assert first.ok is yes
    assert first.text.startswith(NOT_PERMITTED) is not yes
    assert rung == (["low", "high"] if yes else [])
    assert len(asked) == (1 if answer is Answer.ALWAYS else 2)
    assert dict(bench.memory.choices.permits()) == ({"ring": ""} if answer is Answer.ALWAYS else {})


def test_the_refusal_says_how_to_permit_it(bench: Bench) -> None:
    permission = Permission(bench.memory)
    agent, processor = bench.wake(
        [calls("ring", tone="low"), says("no")], functions_of_its_own=(bell([]),), permit=permission
    )
    run(agent, "ring")
    assert "`localmem functions permit ring --agent default`" in processor.prompts[1]


def test_a_permission_ends_when_the_code_changes(bench: Bench) -> None:
    choices = bench.memory.choices
    choices.permit("ring", "old code")
    asked: list[str] = []

    def ask(call: Call, function: Function) -> Answer:
        asked.append(function.name)
        return Answer.NO

    agent, _ = bench.wake(
        [calls("ring", tone="low"), says("no")],
        functions_of_its_own=(bell([]),),
        permit=Permission(bench.memory, ask),
    )
    run(agent, "ring")
    assert asked == ["ring"]


def test_a_wrong_call_is_refused_before_anybody_is_asked(bench: Bench) -> None:
    def ask(call: Call, function: Function) -> Answer:
        raise AssertionError

    agent, _ = bench.wake(
        [calls("ring", tune="low"), says("sorry")],
        functions_of_its_own=(bell([]),),
        permit=Permission(bench.memory, ask),
    )
    assert "no argument 'tune'" in results(run(agent, "ring"))[0].text


def test_a_crash_while_asking_asks_again_and_one_while_running_never_runs_again(bench: Bench) -> None:
    rung: list[str] = []
    killed = [True]

    def ask(call: Call, function: Function) -> Answer:
        if killed.pop():
            raise Killed
        return Answer.ONCE

    own = {"functions_of_its_own": (bell(rung),), "permit": Permission(bench.memory, ask)}
    agent, _ = bench.wake([calls("ring", tone="low")], **own)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        run(agent, "ring")
    killed.append(False)
    agent, _ = bench.wake([says("done")], **own)  # type: ignore[arg-type]
    assert results(list(agent.resume()))[0].text == "rung low"
    assert rung == ["low"]


def test_what_an_interrupt_stopped_half_way_is_unknown(bench: Bench) -> None:
    @outside("rings the bell")
    def ring(tone: str) -> str:
        """Ring."""
        raise KeyboardInterrupt

    agent, _ = bench.wake(
        [calls("ring", tone="low")],
        functions_of_its_own=(function(ring, desk=False),),
        permit=lambda call, function: "",
    )
    with pytest.raises(KeyboardInterrupt):
        run(agent, "ring")
    last = bench.memory.records()[-1]
    assert isinstance(last, Result)
    assert "not known" in last.text
    assert bench.memory.unfinished() is None


def test_a_function_without_a_desk_runs_outside_of_the_transaction(bench: Bench) -> None:
    def look(at: str) -> str:
        """Look at something."""
        bench.memory.choices.add([at])  # a write: inside a transaction it would fail
        return "seen"

    agent, _ = bench.wake(
        [calls("look", at="a"), says("ok")], functions_of_its_own=(function(look, desk=False),)
    )
    assert results(run(agent, "look"))[0].text == "seen"
    assert bench.memory.choices.names() == ("a",)


class Killed(BaseException):
    """Ends a turn as a kill would: nothing of ours runs any more."""


@pytest.mark.parametrize("moment", ["before", "commit", "committed"])
@pytest.mark.parametrize("point", ["add", "start", "perform"])  # the first record added is the login's
def test_a_kill_anywhere_runs_it_at_most_once(tmp_path: Path, point: str, moment: str) -> None:
    where = f"{point}.{moment}"
    nth = 2 if point == "add" else 1
    with Home.open(tmp_path / "home", embedder=HashEmbedder()) as home:
        home.create_agent("default")
    done = subprocess.run(
        [sys.executable, permitting.__file__, str(tmp_path)],
        env={**os.environ, "LOCALMEM_CRASH_AT": f"{where}:{nth}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = permitting.rung(tmp_path)
    with Home.open(tmp_path / "home", embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        list(permitting.wake(memory, tmp_path).resume())
        told = [r for r in memory.records() if isinstance(r, Result)]
        assert memory.unfinished() is None
    after = permitting.rung(tmp_path)
    assert len(after) <= 1
    assert len(told) == 2  # of the ring and of the message
    if where == "start.committed":  # marked, and killed before it ran: nobody can know
        assert (before, after) == ([], [])
    elif not before:
        assert after == ["ding"]
    known = where == "perform.committed" or not (before or where == "start.committed")
    assert told[0].ok == known


def test_a_call_that_an_older_version_left_open_counts_as_begun(tmp_path: Path) -> None:
    """It made no marks: what it left without a result may have happened."""
    path = tmp_path / "home"
    path.mkdir()
    old = Store(path / STORE, clock=system_clock, migrations=MIGRATIONS[:1])

    def fill(cursor: Cursor) -> None:
        now = stamp(system_clock)
        cursor.execute("INSERT INTO agents VALUES (1, 'default', NULL, NULL, 0, ?)", [now])
        cursor.execute("INSERT INTO turns VALUES (1, 1, true, 0), (4, 1, false, 0)")
        rows = [
            (1, 1, "user", 0),
            (2, 1, "call", 0),
            (3, 1, "result", 2),
            (5, 1, "call", 0),
            (6, 4, "call", 0),
        ]
        for number, turn, kind, call in rows:
            row = [number, 1, turn, kind, call, None, "{}", b"", now]
            cursor.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    old.write(fill)
    old.close()
    with Home.open(path, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        marked = [number for number in (2, 5, 6) if memory.started(Call("", "ring", {}, id=number))]
        assert marked == [5]
        assert memory.choices.names() == ()
