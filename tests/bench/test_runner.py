"""Runs: every case once whatever happens in between, failures tried again, the same table from the same seed."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.official import write
from bench.scripted import MODEL, Echo, Scripted, answer

from localmem.bench import results, runner
from localmem.bench.case import Case, Material, Outcome, Said, Task
from localmem.bench.runfile import commit
from localmem.bench.runner import Plan, Progress
from localmem.errors import BadInput, HomeInUse, ModelMissing, UsageError
from localmem.processor.engine import LlamaProcessor
from localmem.processor.registry import Registry
from localmem.recording import of_case
from localmem.runtime import Options


def cases(count: int = 4, levels: int = 0) -> list[Case]:
    return [
        Case(
            id=f"c{number}",
            material=Material(id=f"m{number % 2}", sessions=((Said(f"I am number {number % 2}.", "Yes?"),),)),
            question=f"question {number}",
            gold=(str(number),),
            level=number % levels if levels else None,
        )
        for number in range(count)
    ]


def task(name: str = "invented", count: int = 4, levels: int = 0, **other: Any) -> Task:
    fields: dict[str, Any] = {
        "name": name, "title": name, "source": "", "metric": "share", "systems": ("ours", "no-memory"),
        "cases": lambda data, seed: cases(count, levels),
        "score": lambda case, outcome: float(case.gold[0] in outcome.reply and case.gold[0] != "1"),
    }  # fmt: skip
    return Task(**(fields | other))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.load(tmp_path / "models")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Scripted]:
    """Every processor that a run loads, in order; they echo."""
    made: list[Scripted] = []

    def load(registry: object, profile: object, options: Options) -> Scripted:
        made.append(Echo(options.window or 8192))
        made[-1].reuse = options.reuse or made[-1].reuse
        return made[-1]

    monkeypatch.setattr(runner, "load_processor", load)
    return made


def run(
    tmp_path: Path, registry: Registry, *tasks: Task, doing: Any = None, **plan: Any
) -> Iterator[Progress]:
    made = Plan(tasks=tasks or (task(),), runs=tmp_path / "runs", **plan)
    return runner.run(made, registry, registry[MODEL], *([doing] if doing else []))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()][1:]


def traced(file: Path) -> list[str]:
    """Return the cases of the traces of a run."""
    with gzip.open(file.with_suffix(".traces.jsonl.gz"), "rt") as traces:
        return [json.loads(line)["case"] for line in traces]


def answered(processors: list[Scripted]) -> list[str]:
    """Return the questions that were put to a model, as it replied to them."""
    prompts = [prompt for each in processors for prompt in each.prompts]
    said = [prompt.rpartition("<user>")[2].partition("</user>")[0].strip() for prompt in prompts]
    return [text for text in said if text.startswith("question")]


def test_every_case_is_told_as_it_is_done(tmp_path: Path, registry: Registry, loaded: list[Scripted]) -> None:
    told = list(run(tmp_path, registry))
    assert [(each.system, each.done, each.total) for each in told] == [
        (system, done, 4) for system in ("ours", "no-memory") for done in range(1, 5)
    ]
    assert [each.score for each in told[:4]] == [1.0, 0.5, pytest.approx(2 / 3), 0.75]
    assert told[0].left > 0
    assert told[3].left == 0
    assert [len(lines(told[at].file)) for at in (0, 4)] == [4, 4]
    assert all(each.closed for each in loaded)
    assert not (tmp_path / "runs/prepared").exists()


def homes(tmp_path: Path) -> list[str]:
    """Return whose materials lie prepared, one name a material."""
    return sorted(path.parent.name.partition("--")[0] for path in (tmp_path / "runs/prepared").glob("*/*"))


def test_a_material_goes_with_its_last_case(
    tmp_path: Path, registry: Registry, loaded: list[Scripted]
) -> None:
    going = run(tmp_path, registry, only=("ours",))
    assert [homes(tmp_path) for _ in going] == [["ours"], ["ours"] * 2, ["ours"], []]


def test_what_a_stopped_run_prepared_is_there_until_another_ends(
    tmp_path: Path, registry: Registry, loaded: list[Scripted]
) -> None:
    going = run(tmp_path, registry, only=("ours",))
    next(going)
    list(run(tmp_path, registry, only=("no-memory",)))
    assert homes(tmp_path) == ["ours"]
    going.close()  # type: ignore[attr-defined]
    said: list[str] = []
    going = run(tmp_path, registry, only=("ours",), doing=said.append)
    (next(going), next(going))
    assert said.count("holding conversations, message 1 of 1") == 1  # of the other material
    going.close()  # type: ignore[attr-defined]
    assert homes(tmp_path) == ["ours"]
    list(run(tmp_path, registry, only=("no-memory",)))
    assert not (tmp_path / "runs/prepared").exists()
    assert [each.done for each in run(tmp_path, registry, only=("ours",))] == [4]


@pytest.mark.parametrize("system", ["ours", "summary"])
def test_seconds_are_those_of_the_answer_alone(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    class Timed(Echo):
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

        def generate(self, *arguments: Any) -> Any:
            generation = super().generate(*arguments)
            self.now += 1 if self.question().endswith(tuple("0123")) else 100
            return generation

    scripted = Timed(8192)
    monkeypatch.setattr(runner, "load_processor", lambda *_: scripted)
    monkeypatch.setattr(runner, "time", scripted)
    first, *_, last = run(tmp_path, registry, only=(system,))
    assert scripted.now >= 204
    assert all(1 <= row["seconds"] <= 2 for row in lines(last.file))
    assert first.left >= 300  # the time it takes all in all


def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, registry: Registry, loaded: list[Scripted]
) -> None:
    for stops in (2, 1, 3):
        going = run(tmp_path, registry)
        for _ in range(stops):
            last = next(going)
        going.close()  # type: ignore[attr-defined]
    told = list(run(tmp_path, registry))
    assert [(each.system, each.done) for each in told] == [("ours", 4), ("no-memory", 3), ("no-memory", 4)]
    assert sorted(answered(loaded)) == sorted([f"question {number}" for number in range(4)] * 2)
    for file in {last.file, told[0].file}:
        assert [row["case"] for row in lines(file)] == ["c0", "c1", "c2", "c3"]
        assert traced(file) == ["c0", "c1", "c2", "c3"]


def test_an_interrupted_answer_is_given_again(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(shape: object) -> Any:
        if "question 2" in scripted.question():
            raise KeyboardInterrupt
        return answer(shape, scripted.question())  # type: ignore[arg-type]

    scripted = Scripted(stops, 8192)
    monkeypatch.setattr(runner, "load_processor", lambda *_: scripted)
    with pytest.raises(KeyboardInterrupt):
        list(run(tmp_path, registry, only=("ours",)))
    assert scripted.closed
    monkeypatch.setattr(runner, "load_processor", lambda *_: Echo(8192))
    (*_, last) = run(tmp_path, registry, only=("ours",))
    assert [row["case"] for row in lines(last.file)] == ["c0", "c1", "c2", "c3"]
    assert last.score == 0.75


@pytest.mark.parametrize("cut", [1, 20, -30, -2])
@pytest.mark.parametrize("what", ["rows", "header", "traces"])
def test_a_half_written_end_is_cut_off(
    tmp_path: Path, registry: Registry, loaded: list[Scripted], what: str, cut: int
) -> None:
    """As a process leaves it that is killed while it writes: any beginning of the last line or member."""
    going = run(tmp_path, registry, only=("ours",))
    file = (next(going), next(going))[-1].file
    going.close()  # type: ignore[attr-defined]
    traces = file.with_suffix(".traces.jsonl.gz")
    rows = file.read_bytes().splitlines(keepends=True)
    if what == "rows":
        file.write_bytes(b"".join(rows[:-1]) + rows[-1][:cut])
    elif what == "header":
        file.write_bytes(rows[0][:cut])
        traces.unlink()
    else:
        with traces.open("ab") as out:
            out.write(gzip.compress(b'{"case": "c2"}\n' * 9)[:cut])
    (*_, last) = run(tmp_path, registry, only=("ours",))
    assert last.file == file
    assert [row["case"] for row in lines(file)] == ["c0", "c1", "c2", "c3"]
    assert "header" in json.loads(file.read_text().splitlines()[0])
    assert [case for case in traced(file) if case != "c1"] == ["c0", "c2", "c3"]
    assert of_case(file, "c3").generations


def test_a_run_that_goes_on_under_other_code_says_so(
    tmp_path: Path, registry: Registry, loaded: list[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = iter(["aaa", "bbb", "bbb", "bbb+", ""])
    monkeypatch.setattr(runner, "commit", lambda: next(commits))
    next(run(tmp_path, registry, only=("ours",), n=1))
    told = list(run(tmp_path, registry, only=("ours",), n=2))
    assert [(each.done, each.total, each.note[:42]) for each in told] == [
        (1, 2, "begun under commit aaa, goes on under comm"), (2, 2, ""),
    ]  # fmt: skip
    assert str(told[0].file) in told[0].note
    assert json.loads(told[0].file.read_text().splitlines()[0])["header"]["commit"] == "aaa"
    assert [row["commit"] for row in lines(told[0].file)] == ["aaa", "bbb"]
    (only,) = run(tmp_path, registry, only=("ours",), n=2)  # nothing is left to be mixed
    assert not only.note
    assert "under commit bbb+" in next(run(tmp_path, registry, only=("ours",), n=3)).note
    assert "under version " in next(run(tmp_path, registry, only=("ours",), n=4)).note


def test_a_run_without_a_case_is_begun_anew(
    tmp_path: Path, registry: Registry, loaded: list[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = iter(["aaa", "bbb"])
    monkeypatch.setattr(runner, "commit", lambda: next(commits))
    going = run(tmp_path, registry, only=("no-memory",))
    file = next(going).file
    going.close()  # type: ignore[attr-defined]
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    told = list(run(tmp_path, registry, only=("no-memory",)))
    assert {each.note for each in told} == {""}
    headers = [json.loads(line) for line in file.read_text().splitlines() if "header" in json.loads(line)]
    assert [each["header"]["commit"] for each in headers] == ["bbb"]


def test_a_line_damaged_in_the_middle_is_named(
    tmp_path: Path, registry: Registry, loaded: list[Scripted]
) -> None:
    (*_, last) = run(tmp_path, registry, only=("ours",))
    last.file.write_text(last.file.read_text().replace('{"case": "c1"', "nonsense"))
    with pytest.raises(BadInput, match=r"is damaged .*remove it to run its cases again"):
        list(run(tmp_path, registry, only=("ours",)))


def test_a_failed_case_is_recorded_and_tried_again(
    tmp_path: Path, registry: Registry, loaded: list[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_FAILS", "question 1")
    told = list(run(tmp_path, registry, only=("ours",)))
    assert [each.error for each in told] == ["", "the model fell over", "", ""]
    assert told[-1].score == 1.0
    assert [row["error"] for row in lines(told[-1].file)] == [each.error for each in told]
    monkeypatch.delenv("SCRIPTED_FAILS")
    told = list(run(tmp_path, registry, only=("ours",)))
    assert [(each.done, each.error, each.score) for each in told] == [(4, "", 0.75)]
    assert [row["case"] for row in lines(told[-1].file)] == ["c0", "c1", "c2", "c3", "c1"]
    assert answered(loaded[1:]) == ["question 1"]


def test_a_bug_escapes_and_loses_nothing(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Buggy(Echo):
        def generate(self, *arguments: Any) -> Any:
            generation = super().generate(*arguments)
            if "question 2" in self.question():
                raise ZeroDivisionError
            return generation

    monkeypatch.setattr(runner, "load_processor", lambda *_: Buggy(8192))
    with pytest.raises(ZeroDivisionError):
        list(run(tmp_path, registry, only=("ours",)))
    (file,) = (tmp_path / "runs").glob("*/*.jsonl")
    assert [row["case"] for row in lines(file)] == ["c0", "c1"]


def test_what_does_not_fit_scores_nothing(tmp_path: Path, registry: Registry, loaded: list[Scripted]) -> None:
    easy = task(score=lambda case, outcome: 1.0, reply=500)
    (*_, last) = run(tmp_path, registry, easy, only=("no-memory",), options=Options(window=400))
    assert last.score == 0.0
    assert {(row["fits"], row["score"]) for row in lines(last.file)} == {(False, 0.0)}


def test_half_a_character_is_no_obstacle(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = lambda shape: answer(shape, "x") if "nothing" in str(shape) else "half \ud83d é"  # noqa: E731
    monkeypatch.setattr(runner, "load_processor", lambda *_: Scripted(call, 8192))
    (*_, last) = run(tmp_path, registry, only=("no-memory",))
    assert lines(last.file)[0]["reply"] == "half \ud83d é"
    assert "half \\ud83d é" in last.file.read_text("utf-8")


def test_the_first_cases_of_every_level(tmp_path: Path, registry: Registry) -> None:
    plan = Plan(tasks=(), runs=tmp_path, n=2)
    assert [case.id for case in runner.chosen(task(count=9, levels=3), plan)] == [
        "c0", "c1", "c2", "c3", "c4", "c5",
    ]  # fmt: skip
    assert [case.id for case in runner.chosen(task(count=9), plan)] == ["c0", "c1"]


def test_more_cases_may_be_asked_for_later(
    tmp_path: Path, registry: Registry, loaded: list[Scripted]
) -> None:
    list(run(tmp_path, registry, only=("ours",), n=1))
    told = list(run(tmp_path, registry, only=("ours",)))
    assert [each.done for each in told] == [2, 3, 4]
    (only,) = run(tmp_path, registry, only=("ours",), n=1)
    assert (only.done, only.total, only.score) == (1, 1, 1.0)


def test_settings_make_a_run_of_their_own(tmp_path: Path, registry: Registry, loaded: list[Scripted]) -> None:
    files = {
        next(run(tmp_path, registry, only=("ours",), n=1, **plan)).file
        for plan in (
            {},
            {"changed": {"max_steps": 3}},
            {"options": Options(seed=1)},
            {"options": Options(reuse="shift")},
        )
    }
    assert len(files) == 4
    other = runner.run(
        Plan(tasks=(task(instructions="Be brief."),), runs=tmp_path / "runs", only=("ours",)),
        registry,
        registry[MODEL],
    )
    assert next(other).file not in files


def test_a_run_is_of_one_process(tmp_path: Path, registry: Registry, loaded: list[Scripted]) -> None:
    one = run(tmp_path, registry, only=("ours",))
    file = next(one).file
    with pytest.raises(HomeInUse, match="is being written by another run"):
        next(run(tmp_path, registry, only=("ours",)))
    (*_, last) = one
    assert (last.file, last.done) == (file, 4)


def test_our_agent_comes_first_and_one_model_at_a_time(
    tmp_path: Path, registry: Registry, loaded: list[Scripted]
) -> None:
    doing: list[str] = []
    told = list(run(tmp_path, registry, task("a", 1), task("b", 1), doing=doing.append))
    assert [(each.task, each.system) for each in told] == [
        ("a", "ours"), ("b", "ours"), ("a", "no-memory"), ("b", "no-memory"),
    ]  # fmt: skip
    assert doing[:3] == [f"loading {MODEL}", "beginning a ours", "holding conversations, message 1 of 1"]
    assert doing.count(f"loading {MODEL}") == 2


class TestBeforeAModelIsLoaded:
    @pytest.fixture(autouse=True)
    def _unloadable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(*_: object) -> None:
            raise AssertionError("nothing is to be loaded")

        monkeypatch.setattr(runner, "load_processor", load)

    def test_the_data_of_all_tasks_are_read(self, tmp_path: Path, registry: Registry) -> None:
        last = runner.plan(["core_read"], runs=tmp_path).tasks[0]
        with pytest.raises(UsageError, match=r"letta_core_memory.*--data DIR"):
            next(run(tmp_path, registry, task(), last))
        assert not (tmp_path / "runs").exists()

    def test_data_without_a_case_are_refused(self, tmp_path: Path, registry: Registry) -> None:
        with pytest.raises(UsageError, match="invented finds no case"):
            next(run(tmp_path, registry, task(count=0)))

    def test_settings_that_contradict_each_other(self, tmp_path: Path, registry: Registry) -> None:
        with pytest.raises(UsageError, match="evict_to < evict_at"):
            next(run(tmp_path, registry, changed={"evict_to": 1.0}))

    def test_what_a_score_needs_is_here(self, tmp_path: Path, registry: Registry) -> None:
        def score(case: Case, outcome: Outcome) -> float:
            raise ModelMissing("the embedder is not on this machine")

        with pytest.raises(ModelMissing):
            next(run(tmp_path, registry, task(score=score)))


class TestPlan:
    def test_groups_and_names(self, tmp_path: Path) -> None:
        plan = runner.plan(["letta", "core_read", "calls"], ["ours"], runs=tmp_path)
        assert [each.name for each in plan.tasks] == [
            "core_read", "core_write", "core_update", "archival_read", "calls",
        ]  # fmt: skip
        assert plan.only == ("ours",)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"names": ["nothing"]}, r"no task 'nothing'; there are core_read, .*dmr_style"),
            ({"systems": ["nothing"]}, r"no system 'nothing'; there are no-memory, .*ours"),
            ({"changed": ["nothing=1"]}, r"no setting 'nothing'; there are functions, .*clock_minutes"),
            ({"changed": ["sampling={}"]}, r"no setting 'sampling'"),
            ({"changed": ["max_steps"]}, r"max_steps cannot be '': write it as in --set max_steps=8"),
            ({"changed": ["max_steps=1.5"]}, r"max_steps cannot be '1.5'"),
            ({"changed": ["max_steps=true"]}, r"max_steps cannot be 'true'"),
            ({"changed": ["memory_step=1"]}, r"memory_step cannot be '1'.*memory_step=false"),
            ({"changed": ["bias=[1]"]}, r"bias cannot be"),
            ({"changed": ["functions=memory"]}, r"functions is small or full, not 'memory'"),
            ({"changed": ["heartbeat=3"]}, r"heartbeat is derived or asked, not '3'"),
        ],
    )
    def test_what_there_is_not(self, tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
        with pytest.raises(UsageError, match=said):
            runner.plan(**({"names": ["calls"], "runs": tmp_path} | arguments))

    def test_settings_are_read(self, tmp_path: Path) -> None:
        written = ["max_steps=3", "warn_at=1", "memory_step=true", "functions=full", 'bias={"a": -2}']
        assert runner.plan(["calls"], runs=tmp_path, changed=written).changed == {
            "max_steps": 3, "warn_at": 1, "memory_step": True, "functions": "full", "bias": {"a": -2},
        }  # fmt: skip


def git(folder: Path, *commands: str) -> str:
    for command in commands:
        line = ["git", "-c", "user.name=x", "-c", "user.email=x", *command.split()]
        done = subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_commit_is_that_of_this_code_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed into somebody's project, the code is not of that project's commit."""
    shutil.copy(Path(runner.__file__).with_name("runfile.py"), tmp_path / "runfile.py")
    git(tmp_path, "init -q", "commit -q --allow-empty -m x")
    monkeypatch.setitem(commit.__globals__, "__file__", str(tmp_path / "runfile.py"))
    assert commit() == ""


def test_a_commit_is_marked_where_the_code_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, results = tmp_path / "localmem/bench/runfile.py", tmp_path / "benchmarks/results/rows.jsonl"
    for file in (code, results, tmp_path / "README.md", tmp_path / "benchmarks/leaderboard.py"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one")
    monkeypatch.setitem(commit.__globals__, "__file__", str(code))
    assert commit() == ""
    made = git(tmp_path, "init -q", "add .", "commit -q -m x", "rev-parse --short=10 HEAD")
    assert commit() == made
    for file in (results, results.with_name("more.jsonl"), tmp_path / "README.md"):
        file.write_text("two")
    assert commit() == made
    for file in (code, code.with_name("new.py"), tmp_path / "benchmarks/leaderboard.py"):
        file.write_text("two")
        assert commit() == f"{made}+"
        git(tmp_path, "add .", "commit -q -m x")
        made = git(tmp_path, "rev-parse --short=10 HEAD")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == ""


# on a real model


def write_letta(data: Path) -> None:
    rows = []
    for group in range(3):
        names = [
            f"{first} {last}{'son' * group}" for first in ("Ada", "Bo") for last in ("Gard", "Holm", "Lind")
        ]
        facts = [f"{name} keeps {at + 2} {animal}." for at, name in enumerate(names) for animal in ("goats",)]
        asked = [{"question": f"How many goats does {name} keep?", "at": at} for at, name in enumerate(names)]
        rows.append(
            {
                "facts": facts,
                "question": [each["question"] for each in asked],
                "answer": [str(at + 2) for at in range(len(names))],
                "supporting_fact_indices": [[at] for at in range(len(names))],
                "contradicting_facts": [f"{name} keeps 90 goats." for name in names],
                "contradicting_answers": ["90" for _ in names],
            }
        )
    write(data / "letta_core_memory/letta_bench_gen.jsonl", rows)


@pytest.fixture
def quiet(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load SmolLM2 on one thread."""

    def load(registry: Registry, profile: Any, options: Options) -> LlamaProcessor:
        return LlamaProcessor(
            smollm2, profile, window=options.window, grammar=options.grammar, threads=1, gpu_layers=0
        )

    monkeypatch.setattr(runner, "load_processor", load)


SAME = ("case", "score", "error", "reply", "steps", "completions", "legal", "blocks", "passages", "fits")


def without_time(file: Path) -> dict[str, Any]:
    rows = {row["case"]: row for row in lines(file)}
    return {
        case: [row[key] for key in SAME] + [row["usage"]["completion_tokens"], row["usage"]["prompt_tokens"]]
        for case, row in rows.items()
    }


REAL: dict[str, Any] = {"n": 3, "options": Options(window=2048), "only": ("ours",)}


def test_a_case_does_not_depend_on_those_before_it(tmp_path: Path, registry: Registry, quiet: None) -> None:
    write_letta(tmp_path)
    (told,) = runner.plan(["core_write"], runs=tmp_path).tasks
    turned: Callable[..., list[Case]] = lambda data, seed: list(told.cases(data, seed)[:3])[::-1]  # noqa: E731
    (*_, one) = run(tmp_path / "one", registry, told, data=tmp_path, **REAL)
    (*_, two) = run(tmp_path / "two", registry, told, data=tmp_path, **REAL)
    (*_, three) = run(tmp_path / "three", registry, replace(told, cases=turned), data=tmp_path, **REAL)
    assert without_time(one.file) == without_time(two.file) == without_time(three.file)
    assert [row["case"] for row in lines(three.file)] == [row["case"] for row in lines(one.file)][::-1]
    ours, again = (results.rows(run)[0] for run in map(results.read_run, (one.file, two.file)) if run)
    assert (ours.score, ours.interval, ours.scores) == (again.score, again.interval, again.scores)


def test_a_killed_run_comes_to_what_an_uninterrupted_one_does(tmp_path: Path, smollm2: Path) -> None:
    write_letta(tmp_path)
    models = tmp_path / "home/models"
    models.mkdir(parents=True)
    (models / smollm2.name).symlink_to(smollm2)
    command = [
        sys.executable, "-c", "import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, [min("
        "os.sched_getaffinity(0))]); from localmem.cli.main import run; run()",
        "--home", str(tmp_path / "home"), "bench", "run", "core_write", "core_read", "-n", "2", "--model", MODEL,
        "--system", "ours", "--system", "truncation", "--window", "2048", "--data", str(tmp_path),
    ]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def rows(folder: Path) -> int:
        return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in folder.glob("*/*.jsonl"))

    for most in (1, 4):
        process = subprocess.Popen([*command, "--runs", str(killed)], stderr=subprocess.PIPE)
        while rows(killed) < most and process.poll() is None:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for file in killed.glob("*/*.jsonl"):
            with file.open("ab") as out:
                out.write(b'{"case": "half')
    assert 4 <= rows(killed) < 8
    for folder in (killed, whole):
        done = subprocess.run([*command, "--runs", str(folder), "--json"], capture_output=True, check=True)
        assert len(json.loads(done.stdout)["rows"]) == 4
    files = sorted(path.relative_to(whole) for path in whole.glob("*/*.jsonl"))
    assert files == sorted(path.relative_to(killed) for path in killed.glob("*/*.jsonl"))
    for file in files:
        assert without_time(killed / file) == without_time(whole / file)
        ids = [row["case"] for row in lines(killed / file)]
        assert ids == [row["case"] for row in lines(whole / file)]
        assert len(ids) == len(set(ids)) == 2
        assert all(of_case(killed / file, case).generations for case in ids)
