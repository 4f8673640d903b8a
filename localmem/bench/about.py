"""What is said of a task beside its figures: title, metric, what its levels are, and published figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localmem.bench import letta
from localmem.bench.case import Anchor
from localmem.bench.results import LETTA_MEAN
from localmem.bench.tasks import NAMES, load
from localmem.errors import UsageError


@dataclass(frozen=True, slots=True)
class About:
    """A task as tables and pictures name it. `level` is the word for its levels, "" where it has none."""

    title: str
    metric: str
    level: str = ""
    anchors: tuple[Anchor, ...] = ()


def about(task: str) -> About:
    """Return what is said of a task; of one that is not there (any more), its name."""
    if task == LETTA_MEAN:
        return About("Letta memory leaderboard", "mean of the four tasks", anchors=letta.ANCHORS)
    try:
        found = load(task)
    except UsageError:
        return About(task, "score")
    except ModuleNotFoundError as missing:
        if missing.name != f"localmem.bench.tasks.{task}":
            raise
        return About(task, "score")
    return About(found.title, found.metric, found.level, found.anchors)


def in_order(tasks: Iterable[str]) -> list[str]:
    """Return tasks once each as tables show them: Letta's mean, then as they are listed, then others by name."""
    places = {name: place for place, name in enumerate((LETTA_MEAN, *NAMES))}
    return sorted(set(tasks), key=lambda task: (places.get(task, len(places)), task))
