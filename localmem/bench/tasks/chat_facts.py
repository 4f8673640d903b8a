"""Fact retrieval in multi-session chat: a fact about the person must find the turn that told it.

Source: Multi-Session Chat, sessions 1-4 of the test split (Xu et al. 2021), with the facts that annotators took
from each turn.
Protocol: all four sessions are in recall storage, both speakers' turns; the person is Speaker 1, who opens every
session, so that each message of the person is followed by its real reply. The gold fact is the query. Right when a
turn that tells it is among the first five found; `recall` gives other depths. A fact that the person tells twice in
the same words has both turns as gold; a fact is left out where its turn's text stands in another turn too. Cases
are ten facts of a dialogue in a row, which share its preparation; when all dialogues are through, the next ten of
each. Only memory is asked: no model takes part.

One case: in session 1 the person says "Ah I see! I like going to the gym to work out.", among some 25 turns of the
person and as many of the other; the query is "I enjoy exercising at the gym."; right is that turn among the first
five.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from localmem.bench import chats
from localmem.bench.case import Case, Material, Outcome, Task
from localmem.bench.scoring import normalised

SESSIONS = 4
TOP = 5
ROUND = 10
"""Facts of a dialogue that are asked in a row."""


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a fact, ten of every dialogue at a time."""
    chance = random.Random(seed)
    asked = [_asked(dialogue, chance) for dialogue in chats.dialogues(data, seed)]
    longest = max(map(len, asked), default=0)
    return [
        case
        for start in range(0, longest, ROUND)
        for of_dialogue in asked
        for case in of_dialogue[start : start + ROUND]
    ]


def _asked(dialogue: chats.Dialogue, chance: random.Random) -> list[Case]:
    material = Material(id=dialogue.id, sessions=chats.held(dialogue, chats.FIRST, SESSIONS))
    texts = Counter(
        normalised(turn.text) for session in dialogue.sessions[:SESSIONS] for turn in session.turns
    )
    told = [
        Case(
            id=f"{dialogue.id}-{number}",
            material=material,
            question=fact.text,
            gold=tuple(turn.text for turn in fact.turns),
            search=True,
            detail={"session": fact.session},
        )
        for number, fact in enumerate(chats.facts(dialogue, chats.FIRST, SESSIONS))
        if all(texts[normalised(turn.text)] == 1 for turn in fact.turns)
    ]
    chance.shuffle(told)
    return told


def rank(case: Case, outcome: Outcome) -> int | None:
    """Return the place of the first right turn among those found, 1 the best, or None where there is none."""
    gold = {normalised(text) for text in case.gold}
    places = (place for place, text in enumerate(outcome.found, 1) if normalised(text) in gold)
    return next(places, None)


def recall(case: Case, outcome: Outcome, depth: int) -> float:
    """Return 1 when a right turn is among the first `depth` found (the protocol reports 1, 5 and 10)."""
    place = rank(case, outcome)
    return float(place is not None and place <= depth)


def score(case: Case, outcome: Outcome) -> float:
    """Return recall@5."""
    return recall(case, outcome, TOP)


TASK = Task(
    name="chat_facts",
    title="Multi-session chat: fact retrieval",
    source=chats.SOURCE,
    metric="recall@5",
    cases=cases,
    score=score,
    systems=("retrieval", "ours"),
    n=300,
)
