"""What a benchmark consists of: materials an agent is given, cases it is asked, outcomes, and tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localmem.records import Block, EventKind, Record, Usage


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the person. `reply` is what the agent answered; None lets the system answer itself."""

    text: str
    reply: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a system is given before it is asked. Cases with one material share its preparation.

    `id` names it uniquely within the task. `blocks` join the agent's core memory, `passages` go into archival
    memory. `sessions` are conversations held one after the other, three days apart; after each the queue is
    emptied. `wiped` takes recall storage away too before the question: what was kept in core and archival
    memory is all there is.
    """

    id: str
    blocks: tuple[Block, ...] = ()
    passages: tuple[str, ...] = ()
    sessions: tuple[tuple[Said, ...], ...] = ()
    wiped: bool = False

    def pieces(self) -> list[str]:
        """Return everything in it as pieces of text in order, for systems that have no memory tiers."""
        lines = [line for block in self.blocks for line in block.value.splitlines() if line.strip()]
        lines += self.passages
        for session in self.sessions:
            for said in session:
                lines.append(f"Person: {said.text}")
                if said.reply is not None:
                    lines.append(f"You: {said.reply}")
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing a system is asked, and what is right.

    `question` is what the person says; "" asks nothing: only what was kept is scored. `event` other than USER
    wakes the agent by something else than a person. `search` asks memory instead of the model: `question` is
    the query, and `Outcome.found` what came back. `gold` are the right answers, `wrong` what a right answer
    must not hold; `level` is the task's own scale (nesting, number of keys). `detail` is whatever else the
    task's score needs; it must be plain JSON.
    """

    id: str
    material: Material
    question: str
    gold: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    level: int | None = None
    event: EventKind = EventKind.USER
    search: bool = False
    detail: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of an agent while it answered; `ok` is None where it never ran."""

    function: str
    arguments: Mapping[str, object]
    ok: bool | None = None
    result: str = ""
    thought: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a system made of a case. Plain data: scores can be computed again from it, without a model.

    `legal` of `completions` completions were legal calls (both 0 for a system that makes no calls). `blocks`
    and `passages` are what the agent held in core memory (by label) and had itself written to archival memory
    at the end, `found` what a search returned, best first. `fits` is False where a system cannot take the case
    at all (it does not fit into the window).
    """

    reply: str = ""
    steps: tuple[Step, ...] = ()
    completions: int = 0
    legal: int = 0
    usage: Usage = field(default_factory=Usage)
    blocks: Mapping[str, str] = field(default_factory=dict, hash=False)
    passages: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    fits: bool = True


@dataclass(frozen=True, slots=True)
class Anchor:
    """A published figure. `differs` says what is not the same there as here."""

    who: str
    score: float
    source: str
    differs: str
    level: int | None = None


ALL = ("no-memory", "full-context", "truncation", "summary", "retrieval", "grammar-off", "ours")
"""Every system there is, in the order in which tables show them."""

MAIN = ("no-memory", "retrieval", "ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark task: where its data come from, its cases and how they are scored.

    `cases(data, seed)` returns all cases in the order in which they are to be taken, so that any number of them
    is a fair sample; with levels, every level's cases stand in such an order. `data` is the folder of official
    data sets, None where there is none; raises UsageError naming what is missing. `score(case, outcome)` is
    between 0 and 1. `instructions` are the protocol's own, added to the agent's, and `earlier` its worked
    examples: records that stand in the queue before the question. `n` is the usual number of cases (per level).
    `reply` is how long an answer of a system without memory may be, in tokens.
    """

    name: str
    title: str
    source: str
    metric: str
    cases: Callable[[Path | None, int], Sequence[Case]]
    score: Callable[[Case, Outcome], float]
    systems: tuple[str, ...] = MAIN
    instructions: str = ""
    earlier: tuple[Record, ...] = ()
    level: str = ""
    n: int = 50
    reply: int = 128
    needs_data: bool = True
    anchors: tuple[Anchor, ...] = ()
