"""Which pictures results make: what stands on each axis, which curves, which published figures. No drawing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from localmem.bench.about import about, in_order
from localmem.bench.case import Anchor
from localmem.bench.report import Parts, lines_of, members
from localmem.bench.results import LETTA_MEAN, Row, merged, newest
from localmem.bench.tasks import LETTA


@dataclass(frozen=True, slots=True)
class Curve:
    """One system: a row for each tick, None where it was not measured, without a score where nothing fits."""

    system: str
    points: tuple[Row | None, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """One published series: a score for each tick, None where there is none."""

    who: str
    scores: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One model's part of a picture."""

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: panels below each other with the same ticks. `name` is its file's, `bars` how it is drawn."""

    name: str
    title: str
    metric: str
    axis: str
    ticks: tuple[str, ...]
    panels: tuple[Panel, ...]
    published: tuple[Published, ...] = ()
    bars: bool = False


def plots(rows: Iterable[Row]) -> list[Plot]:
    """Return the pictures that rows make, in the order in which they are shown."""
    found = newest(rows)
    tasks = in_order([LETTA_MEAN, *(row.task for row in found)])
    own = {task: [row for row in found if row.task in members(task)] for task in tasks}
    made: list[Plot | None] = [_letta(own[LETTA_MEAN])]
    made += [_by_level(task, rows) for task, rows in own.items() if task != LETTA_MEAN]
    by_window = {task: _by_window(task, rows) for task, rows in own.items()}
    # The mean speaks for its four tasks.
    made += [plot for task, plot in by_window.items() if not (task in LETTA and by_window[LETTA_MEAN])]
    return [plot for plot in made if plot is not None]


def _letta(rows: Sequence[Row]) -> Plot | None:
    """Return the four Letta tasks and their mean as bars; the published figures are of the mean."""
    panels = []
    for (model, window), lines in _panels(LETTA_MEAN, rows):
        curves = [
            Curve(system, (*(merged([parts[task]]) for task in LETTA), merged(list(parts.values()))))
            for system, parts in lines.items()
        ]
        panels.append(Panel(f"{model}, window {window:,}", tuple(curves)))
    if not panels:
        return None
    said = about(LETTA_MEAN)
    return Plot(
        name="letta-scores",
        title=said.title,
        metric="share of right answers",
        axis="",
        ticks=(*(task.replace("_", " ") for task in LETTA), "mean"),
        panels=tuple(panels),
        published=tuple(
            Published(anchor.who, (*(None for _ in LETTA), anchor.score)) for anchor in said.anchors
        ),
        bars=True,
    )


def _by_level(task: str, rows: Sequence[Row]) -> Plot | None:
    levels = sorted({row.level for row in rows if row.level is not None})
    if len(levels) < 2:
        return None
    panels = []
    for (model, window), lines in _panels(task, rows):
        curves = []
        for system, parts in lines.items():
            by_level = {own[0].level: merged([own]) for own in parts.values()}
            curves.append(Curve(system, tuple(by_level.get(level) for level in levels)))
        panels.append(Panel(f"{model}, window {window:,}", tuple(curves)))
    said = about(task)
    word = said.level or "level"
    published = tuple(_by_person(said.anchors, levels))
    ticks = tuple(f"{level:,}" for level in levels)
    title = f"{said.title}, by {word}"
    return Plot(f"{task}-by-level", title, said.metric, word, ticks, tuple(panels), published)


def _by_person(anchors: Sequence[Anchor], levels: Sequence[int]) -> Iterator[Published]:
    """Yield the published series of a task with levels."""
    people: dict[str, dict[int | None, float]] = {}
    for anchor in anchors:
        people.setdefault(anchor.who, {})[anchor.level] = anchor.score
    for who, scores in people.items():
        if set(scores) & set(levels):
            yield Published(who, tuple(scores.get(level) for level in levels))


def _by_window(task: str, rows: Sequence[Row]) -> Plot | None:
    """Return scores over the window, of the models measured in several; with levels, the mean over all."""
    measured: dict[str, dict[int, dict[str, Parts]]] = {}
    for (model, window), lines in _panels(task, rows):
        measured.setdefault(model, {})[window] = lines
    several = {model: by_window for model, by_window in measured.items() if len(by_window) > 1}
    if not several:
        return None
    windows = sorted({window for by_window in several.values() for window in by_window})
    panels = [Panel(model, _window_curves(by_window, windows)) for model, by_window in several.items()]
    said = about(task)
    flat = [anchor for anchor in said.anchors if anchor.level is None]
    return Plot(
        name=f"{task}-by-window",
        title=f"{said.title}, by window{', mean over levels' if said.level else ''}",
        metric=said.metric,
        axis="window, tokens",
        ticks=tuple(f"{window:,}" for window in windows),
        panels=tuple(panels),
        published=tuple(Published(anchor.who, tuple(anchor.score for _ in windows)) for anchor in flat),
    )


def _window_curves(by_window: Mapping[int, Mapping[str, Parts]], windows: Sequence[int]) -> tuple[Curve, ...]:
    labels = {label for lines in by_window.values() for parts in lines.values() for label in parts}
    systems = dict.fromkeys(system for window in windows for system in by_window.get(window, {}))
    curves = []
    for system in systems:
        parts = [by_window.get(window, {}).get(system, {}) for window in windows]
        # A mean over fewer levels would be another figure: it is left out.
        points = [merged(list(own.values())) if set(own) == labels else None for own in parts]
        curves.append(Curve(system, tuple(points)))
    return tuple(curves)


def _panels(task: str, rows: Sequence[Row]) -> Iterator[tuple[tuple[str, int], dict[str, Parts]]]:
    """Yield (model, window) with the rows of each system, by model and window."""
    for model, window in sorted({(row.model, row.window) for row in rows}):
        lines = lines_of(task, [row for row in rows if (row.model, row.window) == (model, window)])
        if lines:
            yield (model, window), {system: parts for (_, system), parts in lines.items()}
