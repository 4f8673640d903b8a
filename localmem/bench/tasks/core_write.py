"""Letta's core memory write: a fact is told, the conversation is forgotten, then comes the question.

Source: letta-ai/letta-evals, `letta_bench_gen.jsonl`.
Protocol: the facts that answer the question (one, seldom two) are told by the person, one a message; then queue and
recall storage are wiped, so that only what the agent kept in core or archival memory is left; then the person asks.
Right when the reply holds the gold answer (normalised containment; published: judged by GPT-4.1). The block `human`
is empty at first, as on the leaderboard.

One case: the person says "Renee Harlowe and Ralph Padino collaborated on a multimedia art project combining
photography and live music." In a new conversation: "Which person collaborated with Ralph Padino on a multimedia art
project that combined photography and live music?"; right is "Renee Harlowe".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localmem.bench import letta
from localmem.bench.case import ALL, Case, Material, Said, Task


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a question."""
    return letta.cases(data, seed, _material)


def _material(question: letta.Question) -> Material:
    told = tuple(Said(fact) for fact in question.supporting)
    return Material(id=question.id, sessions=(told,), wiped=True)


TASK = Task(
    name="core_write",
    title="Core memory write (Letta)",
    source=letta.SOURCE,
    metric="share of right answers",
    cases=cases,
    score=letta.score,
    systems=ALL,
    n=100,
)
