"""Letta's memory leaderboard: its data, groups of ten facts and questions about them, and what its tasks share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from localmem.bench import data as files
from localmem.bench.case import Anchor, Case, Material, Outcome
from localmem.bench.scoring import contains
from localmem.records import Block

SOURCE = "letta-ai/letta-evals, letta_bench_gen.jsonl (Apache-2.0)"

_DIFFERS = (
    "mean of the four tasks on 100 questions, three times, judged by GPT-4.1; "
    "here normalised containment, one run at temperature 0"
)
_WHERE = "Letta memory leaderboard, letta-ai/letta-leaderboard"

ANCHORS = tuple(
    Anchor(who, score / 100, _WHERE, _DIFFERS)
    for who, score in (
        ("Claude 4 Sonnet (extended)", 92.1),
        ("GPT-4.1", 90.8),
        ("GPT-4o-mini", 87.8),
        ("Llama-3.3-70B", 55.7),
        ("GPT-4.1-nano", 47.8),
        ("Llama-3.1-8B", 5.9),
        ("Llama-3.2-3B", 3.7),
    )
)
"""Published scores of the mean of the four tasks."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question: the facts of its group, those that answer it, and a fact that contradicts them."""

    id: str
    group: int
    text: str
    answer: str
    facts: tuple[str, ...]
    supporting: tuple[str, ...]
    contradicting: str
    contradicting_answer: str


def questions(data: Path | None, seed: int) -> Sequence[Question]:
    """Return all questions: one of every group, in an order that the seed decides, then a second one, ..."""
    groups = list(files.lines(files.find(data, "letta_core_memory", "letta_bench_gen")))
    chance = random.Random(seed)
    order = list(range(len(groups)))
    chance.shuffle(order)
    rounds: list[list[Question]] = []
    for number in order:
        group = groups[number]
        picked = list(range(len(group["question"])))
        chance.shuffle(picked)
        for place, index in enumerate(picked):
            if place == len(rounds):
                rounds.append([])
            rounds[place].append(_question(number, index, group))
    return [question for every in rounds for question in every]


def _question(number: int, index: int, group: dict[str, list[str]]) -> Question:
    facts = tuple(group["facts"])
    return Question(
        id=f"{number}-{index}",
        group=number,
        text=group["question"][index],
        answer=group["answer"][index],
        facts=facts,
        supporting=tuple(facts[int(at)] for at in group["supporting_fact_indices"][index]),
        contradicting=group["contradicting_facts"][index].strip('"'),
        contradicting_answer=group["contradicting_answers"][index],
    )


def cases(data: Path | None, seed: int, material: Callable[[Question], Material]) -> Sequence[Case]:
    """Return one case a question; `material` says what is given of its facts beforehand."""
    return [
        Case(id=question.id, material=material(question), question=question.text, gold=(question.answer,))
        for question in questions(data, seed)
    ]


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the reply holds the answer."""
    return float(contains(outcome.reply, case.gold[0]))


def block(facts: Sequence[str]) -> Block:
    """Return the block of core memory that holds the facts, numbered as the leaderboard has them."""
    text = "\n".join(f"{number}. {fact}" for number, fact in enumerate(facts))
    return Block("supporting_facts", text, max(2000, 2 * len(text)))
