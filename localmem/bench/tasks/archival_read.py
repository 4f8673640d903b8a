"""Letta's archival memory read: ten facts are passages of archival memory, one question is asked about them.

Source: letta-ai/letta-evals, `letta_bench_gen.jsonl`.
Protocol: the ten facts of a group are ten passages; core memory holds nothing of them; the question comes from the
person. Right when the reply holds the gold answer (normalised containment; published: judged by GPT-4.1).

One case: archival memory holds "Nora Fishel is an accomplished violinist who has performed in orchestras across
Europe." and nine more passages. The person asks "Which person collaborated with Eliza Woodley on a charity event that
combined music and literature?"; right is "Nora Fishel".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localmem.bench import letta
from localmem.bench.case import ALL, Case, Material, Task


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a question."""
    return letta.cases(data, seed, _material)


def _material(question: letta.Question) -> Material:
    return Material(id=f"group-{question.group}", passages=question.facts)


TASK = Task(
    name="archival_read",
    title="Archival memory read (Letta)",
    source=letta.SOURCE,
    metric="share of right answers",
    cases=cases,
    score=letta.score,
    systems=ALL,
    n=100,
)
