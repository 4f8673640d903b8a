"""Pictures of results as PNG and SVG; the same results make the same files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from localmem.bench.plots import Curve, Panel, Plot, Published, plots
from localmem.bench.report import system_place
from localmem.bench.results import Row
from localmem.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Style:
    """How a system is drawn: colours that the colour-blind tell apart, and a marker for all others."""

    colour: str
    marker: str


STYLES = {
    "no-memory": Style("#4D4D4D", "p"),
    "full-context": Style("#3A9BDC", "s"),
    "truncation": Style("#B8860B", "v"),
    "summary": Style("#B0559A", "D"),
    "retrieval": Style("#00875F", "^"),
    "grammar-off": Style("#D55E00", "P"),
    "ours": Style("#00509E", "o"),
}
OTHER = Style("#7A5C3E", "*")
Dash = tuple[float, ...]
DASHES: tuple[Dash, ...] = ((4, 2), (1.2, 1.4), (6, 2, 1.2, 2), (8, 4))
INK, GREY, FAINT = "#222222", "#707070", "#DDDDDD"

WIDTH, HEIGHT = 4.9, 2.9
"""Of each panel's plot, in inches; the labels stand beside it."""
LEFT, TOP, BETWEEN, BOTTOM = 0.5, 0.85, 0.85, 0.75
TEXT, SMALL = 9.0, 8.0
POINTS = 72.0
LOST = 4.0
"""How high the cross of what does not fit stands, in per cent: above the lines that lie at 0."""


def save(rows: Iterable[Row], folder: Path) -> list[Path]:
    """Write every picture of the rows into a folder, as PNG and SVG; return the files. Raises UsageError."""
    written = []
    for plot in plots(rows):
        for kind in ("png", "svg"):
            path = folder / f"{plot.name}.{kind}"
            path.write_bytes(_drawn(plot, kind))
            written.append(path)
    return written


def svg(plot: Plot) -> str:
    """Return a picture as SVG. Raises UsageError without matplotlib."""
    return _drawn(plot, "svg").decode("utf-8")


def _drawn(plot: Plot, kind: str) -> bytes:
    with _matplotlib():
        file = io.BytesIO()
        # What says when and by which version would change the file without its picture.
        metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        _figure(plot).savefig(file, format=kind, dpi=160, metadata=metadata)
    return file.getvalue()


@contextmanager
def _matplotlib() -> Iterator[None]:
    """Hold matplotlib to its own defaults and to ids that do not change. Raises UsageError where it is missing."""
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError("pictures need matplotlib: pip install 'localmem-runtime[bench]'") from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": "localmem",
                "font.size": TEXT,
                "text.color": INK,
                "text.parse_math": False,
                "xtick.color": GREY,
                "ytick.color": GREY,
                "axes.edgecolor": GREY,
            }
        )
        yield


def _figure(plot: Plot) -> Figure:
    """Return a picture: a heading, then the panels below each other, labels in the margin on the right."""
    from matplotlib.figure import Figure

    count = len(plot.panels)
    height = TOP + count * HEIGHT + (count - 1) * BETWEEN + BOTTOM
    width = LEFT + WIDTH + _margin(plot)
    figure = Figure(figsize=(width, height), facecolor="white")
    for place, panel in enumerate(plot.panels):
        top = TOP + place * (HEIGHT + BETWEEN)
        box = (LEFT / width, 1 - (top + HEIGHT) / height, WIDTH / width, HEIGHT / height)
        axes = figure.add_axes(box)
        _frame(axes, plot, panel)
        if plot.bars:
            _bars(axes, plot, panel)
        else:
            _lines(axes, plot, panel)
    above = 1 - 0.12 / height
    figure.text(0.1 / width, above, plot.title, weight="bold", size=TEXT + 2, va="top")
    said = f"{plot.metric}, %; 95 % bootstrap intervals over cases"
    figure.text(0.1 / width, above - 0.24 / height, said, size=SMALL, color=GREY, va="top")
    if any(
        point and point.score is None
        for panel in plot.panels
        for curve in panel.curves
        for point in curve.points
    ):
        figure.text(0.1 / width, 0.1 / height, "× does not fit into the window", size=SMALL, color=GREY)
    return figure


def _margin(plot: Plot) -> float:
    """Return the room on the right that the labels take, in inches."""
    names = [_published(each) for each in plot.published]
    if not plot.bars:
        names += [_name(curve.system) for panel in plot.panels for curve in panel.curves]
    return 0.4 + max((len(name) for name in names), default=0) * SMALL * 0.56 / POINTS


def _name(system: str) -> str:
    return system.replace("-", " ")


def _published(series: Published) -> str:
    """Return whose figures they are and which: once where they are all the same."""
    scores = [f"{round(100 * score, 1):g}" for score in series.scores if score is not None]
    return f"published: {series.who}: {', '.join(scores[:1] if len(set(scores)) == 1 else scores)}"


def _frame(axes: Axes, plot: Plot, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", size=TEXT, weight="bold", color=INK, pad=8)
    axes.set_ylim(0, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.set_xticks(range(len(plot.ticks)), plot.ticks)
    axes.set_xlim(-0.5 if plot.bars else -0.15, len(plot.ticks) - (0.5 if plot.bars else 0.85))
    axes.set_xlabel(plot.axis, color=GREY, size=SMALL)
    axes.tick_params(length=0, labelsize=SMALL, pad=6)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)


@dataclass(frozen=True, slots=True)
class Label:
    """A text in the right margin, and the end of the line that it names."""

    text: str
    x: float
    y: float
    colour: str
    bold: bool = False


def _lines(axes: Axes, plot: Plot, panel: Panel) -> None:
    labels = [
        _dashes(axes, series, dash) for series, dash in zip(plot.published, cycle(DASHES), strict=False)
    ]
    labels += [_line(axes, curve) for curve in panel.curves]
    _write(axes, [label for label in labels if label])


def _line(axes: Axes, curve: Curve) -> Label | None:
    style, ours = STYLES.get(curve.system, OTHER), curve.system == "ours"
    order = 5 if ours else 3
    for x, point in enumerate(curve.points):
        if point is not None and point.score is None:
            axes.plot([x], [LOST], "x", color=style.colour, markersize=6, zorder=order)
    shown = [
        (x, *_percent(point)) for x, point in enumerate(curve.points) if point and point.score is not None
    ]
    if not shown:
        lost = [x for x, point in enumerate(curve.points) if point is not None]
        return Label(f"× {_name(curve.system)}", lost[-1], LOST, style.colour, ours) if lost else None
    xs, ys, lows, highs = zip(*shown, strict=True)
    if len(xs) > 1:
        axes.fill_between(xs, lows, highs, color=style.colour, alpha=0.12, linewidth=0, zorder=2)
    else:
        axes.vlines(xs, lows, highs, color=style.colour, linewidth=1, zorder=order)
    axes.plot(
        xs, ys, color=style.colour, marker=style.marker, linewidth=2.4 if ours else 1.4, markersize=5,
        markeredgecolor="white", markeredgewidth=0.6, clip_on=False, zorder=order,
    )  # fmt: skip
    return Label(_name(curve.system), xs[-1], ys[-1], style.colour, ours)


def _percent(row: Row) -> tuple[float, float, float]:
    """Return a row's score and interval in per cent."""
    score = row.score or 0.0
    low, high = row.interval or (score, score)
    return 100 * score, 100 * low, 100 * high


def _dashes(axes: Axes, series: Published, dash: Dash, half: float = 0.0) -> Label | None:
    """Draw published figures; of a single one a line of `half` the width to both sides."""
    shown = [(x, 100 * score) for x, score in enumerate(series.scores) if score is not None]
    if not shown:
        return None
    xs: Sequence[float]
    xs, ys = zip(*shown, strict=True)
    if len(xs) == 1:
        half = half or 0.1
        xs, ys = (xs[0] - half, xs[0] + half), (ys[0], ys[0])
    axes.plot(xs, ys, color="#8C8C8C", linestyle=(0, dash), linewidth=1.2, clip_on=False, zorder=2.5)
    return Label(_published(series), xs[-1], ys[-1], GREY)


def _bars(axes: Axes, plot: Plot, panel: Panel) -> None:
    """Draw a group of bars for each tick; every system of any panel has its place, also where it is missing."""
    systems = sorted({curve.system for each in plot.panels for curve in each.curves}, key=system_place)
    wide = 0.84 / len(systems)
    axes.axvspan(len(plot.ticks) - 1.5, len(plot.ticks) - 0.5, color="#F4F4F4", linewidth=0, zorder=0)
    for curve in panel.curves:
        for tick, point in enumerate(curve.points):
            if point is not None:
                x = tick - 0.42 + wide * (systems.index(curve.system) + 0.5)
                _bar(axes, curve.system, point, x, wide * 0.9)
    labels = [_dashes(axes, series, DASHES[0], half=0.46) for series in plot.published]
    _write(axes, [label for label in labels if label])
    _key(axes, systems)


def _bar(axes: Axes, system: str, point: Row, x: float, wide: float) -> None:
    from matplotlib.patheffects import withStroke

    colour, ours = STYLES.get(system, OTHER).colour, system == "ours"
    if point.score is None:
        axes.plot([x], [LOST], "x", color=colour, markersize=4)
        return
    score, low, high = _percent(point)
    axes.bar([x], [score], wide, color=colour, alpha=1.0 if ours else 0.75, zorder=2)
    axes.vlines([x], [low], [high], color=INK, linewidth=0.9, zorder=3)
    if ours:
        axes.text(
            x, high + 1.5, f"{score:.0f}", ha="center", size=SMALL, weight="bold", color=colour, zorder=6,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _key(axes: Axes, systems: Sequence[str]) -> None:
    """Name the bars below a panel, in their order and colours."""
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

    names: list[Artist] = [
        TextArea(
            f"■ {_name(system)}",
            textprops={"color": STYLES.get(system, OTHER).colour, "size": SMALL,
                       "weight": "bold" if system == "ours" else "normal"},
        )
        for system in systems
    ]  # fmt: skip
    row = HPacker(children=names, pad=0, sep=7)
    axes.add_artist(
        AnchoredOffsetbox("upper left", child=row, pad=0, borderpad=0, frameon=False,
                          bbox_to_anchor=(0, -0.1), bbox_transform=axes.transAxes)
    )  # fmt: skip


def _write(axes: Axes, labels: Sequence[Label]) -> None:
    """Write labels into the right margin at the heights of their lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) * SMALL * 1.2 / (HEIGHT * POINTS)
    edge = axes.get_xlim()[1]
    beside = edge + (edge - axes.get_xlim()[0]) * 0.045
    ordered = sorted(labels, key=lambda label: label.y)
    for label, y in zip(ordered, apart([label.y for label in ordered], gap, low, high), strict=True):
        axes.plot([label.x, edge, beside], [label.y, label.y, y], color=label.colour, linewidth=0.5,
                  alpha=0.6, clip_on=False, zorder=1)  # fmt: skip
        axes.text(beside, y, f" {label.text}", color=label.colour, size=SMALL, va="center",
                  weight="bold" if label.bold else "normal", clip_on=False)  # fmt: skip


def apart(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return rising heights moved as little as possible so that they lie `gap` apart between two limits.

    Heights that are too near each other form a group, which is centred on the mean of its own.
    """
    groups: list[list[float]] = []
    for place, height in enumerate(heights):
        groups.append([height - place * gap])
        while len(groups) > 1 and _mean(groups[-2]) > _mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    highest = high - max(0, len(heights) - 1) * gap
    flat = [max(low, min(highest, _mean(group))) for group in groups for _ in group]
    return [height + place * gap for place, height in enumerate(flat)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
