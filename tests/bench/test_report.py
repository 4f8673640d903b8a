"""Tables, the leaderboard, pictures, the page, and what is written into the READMEs."""

from __future__ import annotations

import builtins
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bench.invented import row
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import leaderboard as published
from localmem.bench import pictures, report, results
from localmem.bench.case import ALL
from localmem.bench.page import page
from localmem.bench.plots import plots
from localmem.bench.results import Row
from localmem.bench.tasks import LETTA
from localmem.errors import UsageError

HIT, MISS = [1.0] * 10, [0.0] * 10
HALF = [1.0, 0.0] * 5


def letta(model: str = "invented-1b", **other: Any) -> list[Row]:
    """Return the four tasks under three systems: all right, half right, none right."""
    return [
        row(scores, task=task, system=system, model=model, **other)
        for task in LETTA
        for system, scores in (("ours", HIT), ("retrieval", HALF), ("no-memory", MISS))
    ]


def nested(system: str, levels: int = 3, **other: Any) -> list[Row]:
    """Return a levelled task: right at the first level, wrong after."""
    return [
        row(MISS if level else HIT, task="nested_key_value", system=system, level=level, **other)
        for level in range(levels)
    ]


def line_of(text: str, begin: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(begin))


class TestTable:
    def test_no_rows_say_nothing(self) -> None:
        assert report.table([]) == report.table([], markdown=True) == report.leaderboard([]) == ""

    def test_a_line_has_score_interval_n_and_what_it_cost(self) -> None:
        said = line_of(report.table([row(HALF)]), "ours")
        assert re.fullmatch(r"  ours +50\.0 \[20, 80\] +10 +100\.0 +2\.0 +100 +20 +8 +2\.0", said)

    def test_it_says_how_far_ours_is_ahead_on_the_same_cases(self) -> None:
        said = report.table([row(HIT), row(MISS, system="no-memory")])
        assert "+100.0 [+100, +100]" in line_of(said, "no-memory")
        assert "+" not in line_of(said, "ours")

    def test_systems_stand_in_their_order_and_unknown_ones_last(self) -> None:
        said = report.table([row(HIT, system=system) for system in ("zeta", *reversed(ALL))])
        names = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
        assert names == ["system", *ALL, "zeta"]

    def test_levels_are_columns_with_their_mean(self) -> None:
        said = report.table(nested("ours"), width=200)
        assert "nesting 0" in said
        assert line_of(said, "ours").split()[1:10] == [
            "100.0",
            "[100,",
            "100]",
            "0.0",
            "[0,",
            "0]",
            "0.0",
            "[0,",
            "0]",
        ]
        assert "33.3 [33, 33]" in said
        assert "3 × 10" in said

    def test_a_level_that_was_not_measured_leaves_a_gap_and_no_mean(self) -> None:
        said = report.table(nested("ours") + nested("retrieval", levels=2), width=200)
        assert line_of(said, "retrieval").split()[4:9] == ["0.0", "[0,", "0]", "–", "–"]

    def test_what_fits_nowhere_is_said_so(self) -> None:
        lost = row(MISS, system="full-context", score=None, interval=None, fits=0.0, legal=None)
        said = report.table([lost, row(HIT)])
        assert "does not fit" in line_of(said, "full-context")
        assert "0.0" not in line_of(said, "full-context")

    def test_a_share_that_is_not_all_is_not_written_100(self) -> None:
        said = report.table([row(HIT, legal=0.99999)])
        assert "99.9" in line_of(said, "ours")

    def test_failed_cases_show_only_where_there_are_any(self) -> None:
        assert "failed" not in report.table([row(HIT)]).split("Scores and")[0]
        assert "failed" in report.table([row(HIT, failed=2)]).split("Scores and")[0]

    def test_the_letta_mean_comes_first_with_its_published_figures(self) -> None:
        said = report.table(letta())
        assert said.startswith("Letta memory leaderboard")
        assert "Published: Claude 4 Sonnet (extended): 92.1" in said
        assert "judged by GPT-4.1" in " ".join(said.split())

    def test_windows_have_tables_of_their_own_and_published_figures_once(self) -> None:
        said = report.table(nested("ours") + nested("ours", window=8192))
        assert "window 4,096" in said
        assert "window 8,192" in said
        assert said.count("Published:") == 1

    def test_a_task_that_is_not_there_is_named_by_its_name(self) -> None:
        assert "no_such_task: score" in report.table([row(HIT, task="no_such_task")])

    def test_a_newer_run_replaces_an_older_one(self) -> None:
        said = report.table([row(HIT, date="2026-11-21T00:00:00+00:00"), row(MISS)])
        assert "100.0 [100, 100]" in line_of(said, "ours")

    @pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        found = letta() + nested("ours") + nested("grammar-off")
        for said in (report.table(found, width=width), report.leaderboard(found, width=width)):
            assert max(map(len, said.splitlines())) <= width

    def test_markdown_has_as_many_cells_in_every_line(self) -> None:
        said = report.table(
            [row(HIT, model="odd|name_*"), row(HALF, system="retrieval", model="odd|name_*")], True
        )
        lines = [line for line in said.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(re.findall(r"\|", lines[0]))}
        assert r"odd\|name\_\*" in said
        assert "**ours**" in said


class TestLeaderboard:
    def test_one_line_a_model_ours_against_the_others(self) -> None:
        said = report.leaderboard(letta() + letta("invented-2b") + nested("ours"))
        lines = [line for line in said.splitlines() if line.startswith("invented")]
        assert [line.split()[0] for line in lines] == ["invented-1b", "invented-2b"]
        assert "100 / – / 50 / 0" in lines[0]
        assert "33 / – / – / –" in lines[0]
        assert lines[1].rstrip().endswith("–")

    def test_letta_s_tasks_stand_alone_only_where_no_mean_does(self) -> None:
        assert "Letta mean of 4" in report.leaderboard(letta())
        alone = report.leaderboard([each for each in letta() if each.task != "core_write"])
        assert "Letta mean" not in alone
        assert "core read" in alone

    def test_a_mean_is_over_levels_that_all_have_and_marked(self) -> None:
        said = report.leaderboard(nested("ours") + nested("retrieval", levels=1))
        assert "100 / – / 100 / –*" in said
        assert "(* not over all of them)" in " ".join(said.split())

    def test_a_model_stands_in_the_window_it_was_measured_in_most(self) -> None:
        found = [*letta(), row(MISS, window=8192, task="document_qa")]
        line = line_of(report.leaderboard(found), "invented-1b")
        assert "4,096" in line
        assert "8,192" not in line

    def test_what_does_not_fit_is_marked(self) -> None:
        lost = row(MISS, system="no-memory", score=None, interval=None, fits=0.0)
        assert "100 / – / – / ×" in report.leaderboard([row(HIT), lost])

    def test_models_without_a_compared_system_are_left_out(self) -> None:
        assert report.leaderboard([row(HIT, system="truncation")]) == ""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    lost = {"score": None, "interval": None, "fits": 0.0}
    windows = [
        row(HALF, task="document_qa", system=s, window=w) for s in ("ours", "retrieval") for w in (2048, 4096)
    ]
    windows += [
        row(MISS, task="document_qa", system="full-context", window=2048, **lost),
        row(HIT, task="document_qa", system="full-context", window=4096),
    ]
    return letta() + nested("ours") + nested("full-context", **lost) + windows


class TestPictures:
    def test_what_is_drawn_follows_from_what_was_measured(self, rows: list[Row]) -> None:
        names = ["letta-scores", "nested_key_value-by-level", "document_qa-by-window"]
        assert [plot.name for plot in plots(rows)] == names
        assert plots([row(HIT)]) == []

    def test_a_picture_holds_the_scores_and_the_published_figures(self, rows: list[Row]) -> None:
        bars, lines, windows = plots(rows)
        half = next(curve for curve in bars.panels[0].curves if curve.system == "retrieval")
        assert [point and point.score for point in half.points] == [0.5] * 5
        assert bars.published[0].scores[:4] == (None, None, None, None)
        assert bars.published[0].scores[4] == pytest.approx(0.921)
        assert next(each for each in lines.published if each.who == "GPT-4").scores == (0.9, 0.3, 0.1)
        full = next(curve for curve in windows.panels[0].curves if curve.system == "full-context")
        assert [point and point.score for point in full.points] == [None, 1.0]

    def test_the_same_results_make_the_same_files(self, rows: list[Row], tmp_path: Path) -> None:
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()
        one, two = (
            pictures.save(found, folder) for found, folder in zip((rows, rows[::-1]), folders, strict=True)
        )
        assert [path.name for path in one] == [path.name for path in two]
        assert len(one) == 6
        for first, second in zip(one, two, strict=True):
            assert first.read_bytes() == second.read_bytes(), first.name

    def test_another_result_makes_another_picture(self, rows: list[Row]) -> None:
        changed = [*rows, row(MISS, task="core_read", date="2026-12-01T00:00:00+00:00")]
        assert pictures.svg(plots(rows)[0]) != pictures.svg(plots(changed)[0])

    def test_a_picture_says_neither_day_nor_version(self, rows: list[Row]) -> None:
        drawn = pictures.svg(plots(rows)[0])
        assert "dc:date" not in drawn
        assert "Matplotlib" not in drawn

    def test_drawing_leaves_a_user_s_settings_alone(self, rows: list[Row]) -> None:
        import matplotlib

        with matplotlib.rc_context({"font.size": 31.0}):
            drawn = pictures.svg(plots(rows)[0])
            assert matplotlib.rcParams["font.size"] == 31.0
        assert drawn == pictures.svg(plots(rows)[0])

    def test_without_matplotlib_one_line_says_what_to_install(
        self, rows: list[Row], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real: Callable[..., Any] = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name.split(".")[0] == "matplotlib":
                raise ImportError(name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(UsageError, match=r"pip install 'localmem-runtime\[bench\]'"):
            pictures.svg(plots(rows)[0])

    @given(st.lists(st.floats(0, 100), min_size=1, max_size=10))
    def test_labels_are_moved_apart_and_stay_in_the_picture(self, heights: list[float]) -> None:
        moved = pictures.apart(sorted(heights), 4.0, 0.0, 103.0)
        assert all(after - before >= 4.0 - 1e-9 for before, after in pairwise(moved))
        assert moved[0] >= 0
        assert moved[-1] <= 103

    def test_labels_with_room_stay_where_they_are(self) -> None:
        assert pictures.apart([10.0, 50.0, 90.0], 4.0, 0.0, 103.0) == pytest.approx([10.0, 50.0, 90.0])


class Seen(HTMLParser):
    """What a page is made of: its tags, its ids and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("href", "xlink:href", "src") and value:
                self.links.append(value)


class TestPage:
    def test_it_needs_nothing_else(self, rows: list[Row]) -> None:
        made = page(rows)
        seen = Seen()
        seen.feed(made)
        assert not {"script", "link", "img", "iframe"} & set(seen.tags)
        assert all(link.startswith("#") for link in seen.links)
        assert not re.search(r"url\((?!#)|@import", made)
        assert seen.tags.count("svg") == 3

    def test_every_picture_refers_to_parts_of_its_own(self, rows: list[Row]) -> None:
        made = page(rows)
        seen = Seen()
        seen.feed(made)
        assert len(seen.ids) == len(set(seen.ids))
        wanted = {link[1:] for link in seen.links} | set(re.findall(r"url\(#([^)]*)\)", made))
        assert wanted <= set(seen.ids)

    def test_names_cannot_act_as_markup(self, rows: list[Row]) -> None:
        made = page([row(HIT, model="<script>alert(1)</script>", machine="<b>")])
        assert "<script" not in made
        assert "<b>" not in made
        assert "&lt;script&gt;" in made

    def test_pictures_are_well_formed(self, rows: list[Row]) -> None:
        for drawn in re.findall(r"<svg.*?</svg>", page(rows), flags=re.DOTALL):
            assert ET.fromstring(drawn).get("role") == "img"

    def test_it_is_the_same_again_and_empty_without_results(self, rows: list[Row]) -> None:
        assert page(rows) == page(rows[::-1])
        assert "No results yet" in page([])


class TestReadme:
    @pytest.fixture
    def checkout(self, tmp_path: Path, rows: list[Row]) -> Path:
        text = f"# One\n\n{published.BEGIN}\n{published.END}\n\n## Two\n"
        (tmp_path / "benchmarks" / "results").mkdir(parents=True)
        for name in ("README.md", "benchmarks/README.md"):
            (tmp_path / name).write_text(text, "utf-8")
        results.write_rows(tmp_path / "benchmarks" / "results" / "invented.jsonl", rows)
        return tmp_path

    def test_it_writes_between_the_markers_and_then_is_content(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert published.main(["--check"], checkout) == 1
        assert capsys.readouterr().out.count("\n") == 1
        assert published.main([], checkout) == 0
        brief, full = ((checkout / name).read_text("utf-8") for name in ("README.md", "benchmarks/README.md"))
        assert "100 / – / 50 / 0" in brief
        assert brief.startswith("# One\n")
        assert brief.endswith("\n## Two\n")
        for picture in re.findall(r"\]\((results/[^)]*)\)", full):
            assert (checkout / "benchmarks" / picture).is_file()
        assert full.count("](results/") == 3
        assert published.main(["--check"], checkout) == 0
        assert published.main([], checkout) == 0
        assert (checkout / "README.md").read_text("utf-8") == brief

    @pytest.mark.parametrize("name", ["README.md", "benchmarks/README.md"])
    def test_a_figure_changed_by_hand_is_found(self, checkout: Path, name: str) -> None:
        published.main([], checkout)
        text = (checkout / name).read_text("utf-8")
        (checkout / name).write_text(text.replace("100", "101", 1), "utf-8")
        assert published.main(["--check"], checkout) == 1

    def test_a_missing_picture_is_found(self, checkout: Path) -> None:
        published.main([], checkout)
        (checkout / "benchmarks" / "results" / "letta-scores.svg").unlink()
        assert published.main(["--check"], checkout) == 1

    def test_without_results_it_says_nothing(self, checkout: Path) -> None:
        before = (checkout / "README.md").read_text("utf-8")
        published.main([], checkout)
        (checkout / "benchmarks" / "results" / "invented.jsonl").unlink()
        assert published.main([], checkout) == 0
        assert (checkout / "README.md").read_text("utf-8") == before

    def test_a_file_without_markers_is_one_line(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (checkout / "README.md").write_text("# One\n", "utf-8")
        assert published.main([], checkout) == 2
        assert "lacks the markers" in capsys.readouterr().err

    def test_the_readmes_of_this_checkout_are_what_its_results_give(self) -> None:
        assert published.stale(published.ROOT) == ""
