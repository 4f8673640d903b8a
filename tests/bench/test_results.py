"""Run files read, rows of figures, intervals, means over tasks and paired differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.invented import HEADER, line, row
from hypothesis import given, settings
from hypothesis import strategies as st

from localmem.bench import results
from localmem.bench.bootstrap import interval
from localmem.bench.results import Row, difference, letta_average, merged, newest, read_run, rows
from localmem.bench.runfile import RunFile
from localmem.bench.tasks import LETTA
from localmem.errors import BadInput


def write(folder: Path, lines: list[dict[str, Any]], rest: str = "", **header: Any) -> Path:
    path = folder / "run.jsonl"
    whole = [{"header": HEADER | header}, *lines]
    path.write_text("".join(json.dumps(each) + "\n" for each in whole) + rest, "utf-8")
    return path


def read(path: Path) -> list[Row]:
    run = read_run(path)
    assert run is not None
    return rows(run)


class TestReading:
    def test_a_row_has_the_means_of_its_cases(self, tmp_path: Path) -> None:
        steps: list[dict[str, Any]] = []
        (found,) = read(
            write(tmp_path, [line("a", 1.0), line("b", 0.0, steps=steps, completions=2, legal=1)])
        )
        assert (found.n, found.score, found.legal, found.calls) == (2, 0.5, 0.75, 1.0)
        assert (found.prompt_tokens, found.completion_tokens, found.forward_passes) == (100, 20, 8)
        assert (found.seconds, found.cases, found.scores) == (2.0, ("a", "b"), (1.0, 0.0))
        assert found.interval == (0.0, 1.0)

    def test_the_contract_s_keys_come_first_and_in_order(self, tmp_path: Path) -> None:
        (found,) = read(write(tmp_path, [line("a", 1.0)]))
        assert list(results.as_data(found))[:13] == [
            "task", "system", "model", "level", "n", "score", "interval", "legal", "calls", "prompt_tokens",
            "completion_tokens", "forward_passes", "seconds",
        ]  # fmt: skip

    def test_one_row_a_level(self, tmp_path: Path) -> None:
        found = read(
            write(tmp_path, [line("1-a", 0.0, level=1), line("0-a", 1.0, level=0), line("1-b", 1.0, level=1)])
        )
        assert [(each.level, each.n, each.score) for each in found] == [(0, 1, 1.0), (1, 2, 0.5)]

    @pytest.mark.parametrize("keep", [1, 30, -1])
    def test_a_half_written_last_line_is_left_out(self, tmp_path: Path, keep: int) -> None:
        half = json.dumps(line("c", 0.0, reply="ünfertig"), ensure_ascii=False)
        path = write(tmp_path, [line("a", 1.0), line("b", 1.0)])
        path.write_bytes(path.read_bytes() + half.encode()[:keep])
        (found,) = read(path)
        assert found.cases == ("a", "b")

    def test_a_file_without_a_whole_header_is_no_run(self, tmp_path: Path) -> None:
        path = tmp_path / "core_read" / "run.jsonl"
        path.parent.mkdir()
        path.write_text('{"header": {"task": "co', "utf-8")
        assert read_run(path) is None
        assert results.read_runs(tmp_path) == []

    def test_a_bad_line_before_the_last_is_named(self, tmp_path: Path) -> None:
        path = write(tmp_path, [line("a", 1.0)], rest='{"case": "b", "sc\n{"case": "c"}\n')
        with pytest.raises(BadInput, match=r"run\.jsonl, line 3"):
            read_run(path)

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "run.jsonl"
        path.write_text('{"case": "a"}\n', "utf-8")
        with pytest.raises(BadInput, match="no run file"):
            read_run(path)

    def test_a_case_that_failed_and_was_done_again_counts_as_it_ended(self, tmp_path: Path) -> None:
        lines = [line("a", 0.0, error="broken"), line("b", 0.0, error="broken"), line("a", 1.0)]
        (found,) = read(write(tmp_path, lines))
        assert (found.cases, found.scores, found.n, found.failed) == (("a",), (1.0,), 1, 1)

    def test_nothing_but_failures_makes_no_row(self, tmp_path: Path) -> None:
        assert read(write(tmp_path, [line("a", 0.0, error="broken")])) == []

    def test_what_does_not_fit_counts_as_wrong_and_costs_nothing(self, tmp_path: Path) -> None:
        usage = dict.fromkeys(line("b", 0.0)["usage"], 0)
        (found,) = read(
            write(tmp_path, [line("a", 1.0), line("b", 0.0, fits=False, usage=usage, seconds=0.0)])
        )
        assert (found.score, found.fits, found.prompt_tokens, found.seconds) == (0.5, 0.5, 100, 2.0)

    def test_a_system_that_fits_no_case_has_no_score(self, tmp_path: Path) -> None:
        (found,) = read(write(tmp_path, [line("a", 0.0, fits=False, completions=0, legal=0)]))
        assert (found.score, found.interval, found.legal, found.fits, found.n) == (None, None, None, 0.0, 1)

    def test_it_reads_what_a_run_file_writes(self, tmp_path: Path) -> None:
        file = RunFile(tmp_path, HEADER)
        file.begin()
        file.path.write_text(file.path.read_text("utf-8") + json.dumps(line("a", 1.0)) + "\n", "utf-8")
        assert file.begin() == {"a": 1.0}
        (run,) = results.read_runs(tmp_path)
        assert run.header.stamp == HEADER["stamp"]
        assert [answer.case for answer in run.answers] == ["a"]


class TestPublishedRows:
    def test_rows_come_back_as_they_were(self, tmp_path: Path) -> None:
        both = [
            row([1.0, 0.0], task="core_write"),
            row([0.0, 0.0], score=None, interval=None, fits=0.0, legal=None),
        ]
        path = tmp_path / "rows.jsonl"
        results.write_rows(path, both)
        assert results.read_rows(path) == both[::-1]
        before = path.read_bytes()
        results.write_rows(path, both[::-1])
        assert path.read_bytes() == before

    def test_a_line_that_is_no_row_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        path.write_text('{"task": "core_read"}\n', "utf-8")
        with pytest.raises(BadInput, match="no row of results"):
            results.read_rows(path)

    def test_the_newest_run_of_a_kind_counts_also_across_time_zones(self) -> None:
        old = row([0.0], date="2026-11-20T10:30:00+02:00")
        new = row([1.0], date="2026-11-20T09:00:00+00:00")
        other = row([0.0], seed=1)
        assert newest([new, old, other]) == [new, other]
        assert newest([old, new, other]) == [new, other]


class TestIntervals:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
    @settings(max_examples=25, deadline=None)
    def test_the_interval_holds_the_mean_and_is_always_the_same(self, scores: list[float]) -> None:
        low, high = interval(scores)
        assert 0 <= low <= round(sum(scores) / len(scores), 6) <= high <= 1
        assert interval(scores) == (low, high)

    @pytest.mark.parametrize("scores", [[0.3], [0.1] * 7, [1.0] * 30])
    def test_cases_all_alike_give_a_point(self, scores: list[float]) -> None:
        assert interval(scores) == (scores[0], scores[0])

    def test_it_is_as_wide_as_theory_has_it(self) -> None:
        low, high = interval([1.0] * 200 + [0.0] * 200)
        assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.004)
        assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.004)

    def test_strata_count_alike_whatever_their_size(self) -> None:
        low, high = interval([1.0] * 2, [0.0] * 98)
        assert (low, high) == (0.5, 0.5)

    def test_no_cases_have_no_interval(self) -> None:
        with pytest.raises(ValueError, match="needs cases"):
            interval([])


class TestMerging:
    def test_the_letta_mean_needs_all_four_tasks(self) -> None:
        three = [row([1.0], task=task) for task in LETTA[:3]]
        assert letta_average(three) == []
        (mean,) = letta_average([*three, row([0.0, 0.0, 0.0], task=LETTA[3])])
        assert (mean.task, mean.score, mean.n) == ("letta", 0.75, 6)
        assert mean.cases[0] == "core_read/None/0/c0"

    def test_the_letta_mean_keeps_models_windows_and_systems_apart(self) -> None:
        all_four = [row([1.0], task=task) for task in LETTA]
        others = [row([0.0], task=task, window=8192) for task in LETTA]
        assert [(each.window, each.score) for each in letta_average(all_four + others)] == [
            (4096, 1.0),
            (8192, 0.0),
        ]
        assert letta_average([*all_four[:3], row([1.0], task=LETTA[3], system="retrieval")]) == []

    def test_the_letta_interval_is_narrower_than_that_of_one_task(self) -> None:
        scores = [1.0, 0.0] * 20
        (mean,) = letta_average([row(scores, task=task) for task in LETTA])
        assert mean.interval is not None
        assert mean.interval[1] - mean.interval[0] < 0.6 * (interval(scores)[1] - interval(scores)[0])

    def test_a_task_that_does_not_fit_leaves_no_mean(self) -> None:
        lost = row([0.0], task=LETTA[3], score=None, interval=None, fits=0.0)
        (mean,) = letta_average([*(row([1.0], task=task) for task in LETTA[:3]), lost])
        assert (mean.score, mean.interval) == (None, None)

    def test_seeds_of_one_stratum_are_pooled_by_case(self) -> None:
        pooled = merged([[row([1.0] * 3), row([0.0], seed=1, seconds=6.0)]])
        assert (pooled.score, pooled.n, pooled.seconds, pooled.seed) == (0.75, 4, 3.0, 0)
        assert len(set(pooled.cases)) == 4


class TestDifferences:
    def test_it_is_paired_by_case(self) -> None:
        ours = row([1.0, 0.0, 1.0, 0.0])
        other = row([0.0, 0.0, 1.0], cases=("c2", "c1", "c0"), system="retrieval")
        found = difference(ours, other)
        assert found is not None
        assert (found.mean, found.n) == (pytest.approx(1 / 3, abs=1e-6), 3)

    def test_paired_systems_that_err_together_are_told_apart_better(self) -> None:
        ours = row([1.0, 0.0] * 20 + [1.0] * 4)
        other = row([1.0, 0.0] * 20 + [0.0] * 4, system="retrieval")
        found = difference(ours, other)
        assert found is not None
        assert found.interval[0] > 0
        assert ours.interval is not None
        assert other.interval is not None
        assert other.interval[1] > ours.interval[0]

    def test_turned_around_it_has_the_other_sign(self) -> None:
        one, two = row([1.0, 1.0, 0.0]), row([0.0, 1.0, 0.0], system="retrieval")
        there, back = difference(one, two), difference(two, one)
        assert there is not None
        assert back is not None
        assert there.mean == -back.mean

    def test_without_shared_cases_or_scores_there_is_none(self) -> None:
        assert difference(row([1.0]), row([1.0], cases=("z",))) is None
        assert difference(row([1.0]), row([1.0], seed=1)) is None
        assert difference(row([1.0]), row([0.0], score=None, interval=None)) is None
