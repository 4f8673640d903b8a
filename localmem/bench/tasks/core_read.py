"""Letta's core memory read: ten facts stand in a block of core memory, one question is asked about them.

Source: letta-ai/letta-evals, `letta_bench_gen.jsonl` (100 groups of ten facts about invented people, 536 questions).
Protocol: the facts are one block of core memory, numbered; the question comes from the person. Right when the reply
holds the gold answer (normalised containment; the published scores were judged by GPT-4.1 instead). Cases are one
question of every group, chosen by the seed, then a second one of each, and so on.

One case: the block `supporting_facts` holds
    0. Nora Fishel is an accomplished violinist who has performed in orchestras across Europe.
    ...
    9. Joren Sullivar once organized a beach cleanup event that Nora Fishel participated in.
The person asks "Which person collaborated with Eliza Woodley on a charity event that combined music and
literature?"; right is "Nora Fishel".
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
    return Material(id=f"group-{question.group}", blocks=(letta.block(question.facts),))


TASK = Task(
    name="core_read",
    title="Core memory read (Letta)",
    source=letta.SOURCE,
    metric="share of right answers",
    cases=cases,
    score=letta.score,
    systems=ALL,
    n=100,
)
