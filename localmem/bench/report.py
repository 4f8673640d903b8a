"""Tables of results: in full by task and window, and the leaderboard with one line a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from localmem.bench import tables
from localmem.bench.about import about, in_order
from localmem.bench.case import ALL, Anchor
from localmem.bench.results import LETTA_MEAN, Row, merged, newest, paired
from localmem.bench.tables import Cell, Line, Table
from localmem.bench.tasks import LETTA

NOT_MEASURED = "–"
NO_FIT = "does not fit"
COMPARED = ("ours", "grammar-off", "retrieval", "no-memory")
"""The systems of the leaderboard, in the order in which its cells name them."""

LEGEND = (
    "Scores and shares in per cent, in brackets the 95 % bootstrap interval over cases. An interval of one point "
    "means that all cases scored alike; it says nothing of how sure that is. Ours ahead: mean paired difference "
    "in points, on the same cases. Fits: share of cases that fit into the window; the others count as wrong. "
    "Failed: cases that ended in an error, not in n. Legal: share of completions that are legal function calls. "
    "Function calls, tokens in (with those reused from the cache) and out, forward passes and seconds (s) are "
    "means a case that fits, of the answer alone: what was prepared beforehand is not counted."
)

Parts = dict[str, list[Row]]
"""What makes one line: rows by the score column they belong to (a level, a task); several seeds are pooled."""


def table(rows: Iterable[Row], markdown: bool = False, width: int = 100) -> str:
    """Return a full table for each task and window, "" without rows; `width` in columns is for text."""
    found = newest(rows)
    return _joined(full(found), [LEGEND, provenance(found)] if found else [], markdown, width)


def leaderboard(rows: Iterable[Row], markdown: bool = False, width: int = 100) -> str:
    """Return one line a model: ours against other systems on every task, "" without rows."""
    board = compact(rows)
    return _joined([board] if board else [], [], markdown, width)


def full(rows: Iterable[Row]) -> list[Table]:
    """Return a table for each task and window, a line for each model and system; Letta's mean comes first."""
    found = newest(rows)
    made = []
    for task in in_order([LETTA_MEAN, *(row.task for row in found)]):
        own = [row for row in found if row.task in members(task)]
        windows = sorted({row.window for row in own})
        tables = [_table(task, window, [row for row in own if row.window == window]) for window in windows]
        if shown := [each for each in tables if each.lines]:
            shown[-1] = replace(shown[-1], published=published(task))
        made += shown
    return made


def members(task: str) -> tuple[str, ...]:
    """Return the tasks whose rows make up a task: itself, or the four of Letta's mean."""
    return LETTA if task == LETTA_MEAN else (task,)


def lines_of(task: str, rows: Iterable[Row]) -> dict[tuple[str, str], Parts]:
    """Return the rows of a task in one window by (model, system), in the order in which they are shown.

    A line of Letta's mean needs all four tasks; those that lack one are left out.
    """
    word = about(task).level or "level"
    found: dict[tuple[str, str], Parts] = {}
    for row in sorted(rows, key=lambda row: (row.model, *system_place(row.system), _level(row))):
        label = row.task if task == LETTA_MEAN else "" if row.level is None else f"{word} {row.level}"
        found.setdefault((row.model, row.system), {}).setdefault(label, []).append(row)
    if task != LETTA_MEAN:
        return found
    whole = {key: parts for key, parts in found.items() if len(parts) == len(LETTA)}
    return {key: {name: parts[name] for name in LETTA} for key, parts in whole.items()}


def system_place(system: str) -> tuple[int, str]:
    """Return a key that sorts systems as tables show them."""
    return (ALL.index(system) if system in ALL else len(ALL), system)


def _level(row: Row) -> int:
    return -1 if row.level is None else row.level


def _table(task: str, window: int, rows: Sequence[Row]) -> Table:
    said = about(task)
    lines = lines_of(task, rows)
    labels = _labels(lines.values())
    many = labels != [""]
    scores = [*labels, "mean"] if many else ["score"]
    every = [row for parts in lines.values() for row in _flat(parts)]
    partly = any(row.fits < 1 for row in every)
    columns = [*scores, "n", "ours ahead", "fits", "failed", "legal", "calls", "in", "out"]
    made = []
    for (model, system), parts in lines.items():
        whole = merged(list(parts.values()))
        cells = [_score(parts.get(label)) for label in labels]
        if many:
            cells.append(_score([whole] if len(parts) == len(labels) else None))
        ours = lines.get((model, "ours"))
        cells += [Cell(_count(parts)), _ahead(ours, parts) if ours and system != "ours" else Cell("")]
        cells += [Cell(text) for text in _costs(whole, partly)]
        made.append(Line(model, system, tuple(cells), first=system == "ours"))
    return Table(
        title=said.title,
        caption=f"{said.metric}, window {window:,}",
        group="model",
        name="system",
        columns=(*columns, "passes", "s"),
        lines=tuple(made),
        scores=len(labels) if many else 3,
    ).without_empty_columns()


def _labels(lines: Iterable[Parts]) -> list[str]:
    """Return the score columns that any line has: by level, for those come sorted in every line."""
    found: dict[str, int] = {}
    for parts in lines:
        for place, (label, rows) in enumerate(parts.items()):
            found[label] = place if rows[0].level is None else rows[0].level
    return sorted(found, key=lambda label: found[label])


def _flat(parts: Parts) -> list[Row]:
    return [row for rows in parts.values() for row in rows]


def _score(rows: Sequence[Row] | None) -> Cell:
    if not rows:
        return Cell(NOT_MEASURED)
    row = merged([rows])
    if row.score is None or row.interval is None:
        return Cell(NO_FIT)
    low, high = row.interval
    return Cell(f"{100 * row.score:.1f}", f"[{100 * low:.0f}, {100 * high:.0f}]")


def _count(parts: Parts) -> str:
    """Return how many cases a line rests on; of several columns with as many each, how many times how many."""
    counts = [sum(row.n for row in rows) for rows in parts.values()]
    if len(counts) > 1 and len(set(counts)) == 1:
        return f"{len(counts)} × {counts[0]:,}"
    return f"{sum(counts):,}"


def _ahead(ours: Parts, other: Parts) -> Cell:
    found = paired(_flat(ours), _flat(other))
    if found is None:
        return Cell("")
    low, high = found.interval
    return Cell(f"{100 * found.mean:+.1f}", f"[{100 * low:+.0f}, {100 * high:+.0f}]")


def _costs(row: Row, partly: bool) -> Iterator[str]:
    yield f"{100 * row.fits:.0f}" if partly else ""
    yield f"{row.failed:,}" if row.failed else ""
    if row.fits == 0:
        yield from ("" for _ in range(6))
        return
    yield NOT_MEASURED if row.legal is None else _share(row.legal)
    yield f"{row.calls:.1f}" if row.calls else NOT_MEASURED
    yield f"{row.prompt_tokens:,.0f}"
    yield f"{row.completion_tokens:,.0f}"
    yield f"{row.forward_passes:,.0f}"
    yield f"{row.seconds:,.1f}"


def _share(share: float) -> str:
    """Return a share in per cent; only what is all is written 100."""
    return f"{100 * share:.1f}" if share == 1 or share < 0.9995 else "99.9"


def published(task: str) -> tuple[str, ...]:
    """Return published figures of a task as sentences, one for each source and what differs there."""
    said = about(task)
    groups: dict[tuple[str, str], list[Anchor]] = {}
    for anchor in said.anchors:
        groups.setdefault((anchor.source, anchor.differs), []).append(anchor)
    return tuple(
        f"{_figures(anchors, said.level or 'level')} ({source})."
        + (f" What differs: {differs}." if differs else "")
        for (source, differs), anchors in groups.items()
    )


def _figures(anchors: Sequence[Anchor], level: str) -> str:
    """Return who scored what; the levels once where they are everybody's."""
    people: dict[str, list[Anchor]] = {}
    for anchor in anchors:
        people.setdefault(anchor.who, []).append(anchor)
    levels = {
        who: " / ".join(str(one.level) for one in own if one.level is not None) for who, own in people.items()
    }
    same = len(set(levels.values())) == 1
    shown = [
        f"{who}: {' / '.join(f'{round(100 * one.score, 1):g}' for one in own)}"
        + (f" at {level} {levels[who]}" if levels[who] and not same else "")
        for who, own in people.items()
    ]
    every = levels[anchors[0].who]
    return "; ".join(shown) + (f", at {level} {every}" if same and every else "")


def provenance(rows: Iterable[Row]) -> str:
    """Return one sentence of what the figures were made with: weights, seeds, versions, machines, days."""
    rows = list(rows)
    weights = sorted({f"{row.model} (sha256 {row.sha256[:12]})" for row in rows})
    seeds = sorted({row.seed for row in rows})
    versions = sorted({f"{row.version} ({row.commit})" if row.commit else row.version for row in rows})
    machines = sorted({row.machine for row in rows if row.machine})
    days = sorted({row.date[:10] for row in rows})
    return (
        f"Weights: {', '.join(weights)}. {'Seeds' if seeds[1:] else 'Seed'} {', '.join(map(str, seeds))}; "
        f"localmem {', '.join(versions)}; {days[0] if days[0] == days[-1] else f'{days[0]} to {days[-1]}'}; "
        f"on {', '.join(machines) or 'an unnamed machine'}."
    )


def compact(rows: Iterable[Row]) -> Table | None:
    """Return the leaderboard: one line a model in its main window, a column a task; None without rows.

    A cell gives the scores of `COMPARED`. With levels it is the mean over the levels that all of these have.
    """
    found = newest(rows)
    windows = {model: main_window(found, model) for model in sorted({row.model for row in found})}
    shown = [row for row in found if row.window == windows[row.model] and row.system in COMPARED]
    boards = {task: lines_of(task, [row for row in shown if row.task in members(task)]) for task in
              in_order([LETTA_MEAN, *(row.task for row in shown)])}  # fmt: skip
    tasks = [task for task, lines in boards.items() if lines and not (task in LETTA and boards[LETTA_MEAN])]
    lines = [
        Line(model, "", (Cell(f"{window:,}"), *(_cell(boards[task], model) for task in tasks)), first=True)
        for model, window in windows.items()
    ]
    lines = [line for line in lines if any(cell.rest for cell in line.cells)]
    if not lines:
        return None
    starred = any("*" in cell.rest for line in lines for cell in line.cells)
    return Table(
        title="Leaderboard",
        caption=f"{' / '.join(COMPARED)}, scores in per cent",
        group="model",
        name="",
        columns=("window", *(_short(task) for task in tasks)),
        lines=tuple(lines),
        notes=(_key(boards, starred),),
        published=tuple(f"{_short(task)}: {said}" for task in tasks for said in published(task)),
    )


def main_window(rows: Iterable[Row], model: str) -> int:
    """Return the window in which a model was measured on most tasks and systems, of several the smallest."""
    counts = Counter(row.window for row in rows if row.model == model)
    return min(counts, key=lambda window: (-counts[window], window))


def _short(task: str) -> str:
    return "Letta mean of 4" if task == LETTA_MEAN else task.replace("_", " ")


def _cell(lines: dict[tuple[str, str], Parts], model: str) -> Cell:
    """Return the scores of one model on one task; a star where some levels are not in the mean."""
    own = {system: parts for (name, system), parts in lines.items() if name == model}
    if not own:
        return Cell(NOT_MEASURED)
    common = set.intersection(*(set(parts) for parts in own.values()))
    if not common:
        return Cell(NOT_MEASURED)
    values = []
    for system in COMPARED:
        parts = own.get(system)
        row = merged([parts[label] for label in parts if label in common]) if parts else None
        values.append(NOT_MEASURED if row is None else _plain(row))
    star = "*" if len(common) < len(_labels(lines.values())) else ""
    return Cell(values[0], f"/ {' / '.join(values[1:])}{star}")


def _plain(row: Row) -> str:
    return "×" if row.score is None else f"{100 * row.score:.0f}"


def _key(boards: dict[str, dict[tuple[str, str], Parts]], starred: bool) -> str:
    levelled = any(len(parts) > 1 for task, lines in boards.items() if task != LETTA_MEAN
                   for parts in lines.values())  # fmt: skip
    said = f"{NOT_MEASURED} not measured, × does not fit into the window."
    if levelled:
        said += " Tasks with levels: mean over the levels" + (
            " (* not over all of them)." if starred else "."
        )
    return said


def _joined(made: Sequence[Table], notes: Sequence[str], markdown: bool, width: int) -> str:
    if markdown:
        return "\n\n".join([*map(tables.markdown, made), *map(tables.escaped, notes)])
    return "\n\n\n".join(
        [*(tables.text(each, width) for each in made), *(tables.filled(note, width) for note in notes)]
    )
