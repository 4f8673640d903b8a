"""Memory quality: how right, how complete and how free of repetition what an agent keeps in core memory is.

Source: Multi-Session Chat, sessions 1-3 of the test split (Xu et al. 2021), with the facts that annotators took
from each turn.
Protocol: sessions 1-3 are played with their real text; the person is Speaker 1, who opens every session. Nothing is
asked: what counts is the block `human` at the end, cut into lines and sentences, and put into the first person, in
which the gold facts are. Precision is the share of these that a gold fact of the person supports, recall the share
of gold facts that one of them states; duplicates are those that repeat an earlier one. The score is the F1 of
precision and recall. Stale lines (true once, replaced since) cannot be told: the data mark no fact as replaced.

Support is a cosine of at least .64 under all-MiniLM-L6-v2, chosen on 130 pairs from these dialogues: a line of the
data's first personas (what the speakers were asked to be), put into the third person by rule, and the nearest fact
of its dialogue. A language model labelled them in one pass, nobody checked it. Of 77 that say the same .64 finds
90 % (5th percentile .59, median .86), of 46 that do not it takes 13 % (median .42, 90th percentile .66); 7 were left
undecided. The threshold was chosen on these same pairs, which makes the rates flattering, and no pair is a line that
an agent wrote. Of 546 lines beside another dialogue's facts it takes 4 %. A line repeats an earlier one from .88: set
by reading pairs of facts in order of their cosine; 4 % of the facts of one dialogue reach it ("I love pizza." and
"I like pizza." have .93). Single lines are often judged wrongly: compare systems, do not read scores as truth.

One case: in three sessions the person tells 14 facts, among them "I have a dog named Drunky.", "I own a Subaru
Legacy." and "I like to go to bars.". If the block holds "The person has a dog called Drunky. They like jazz." and
nothing else, one line of two is supported and few facts are stored.

Where "I" is clear, lines and facts are both turned into "you": an agent may keep either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localmem.bench import chats, similarity
from localmem.bench.case import Case, Material, Outcome, Task
from localmem.memory.voice import addressed

if TYPE_CHECKING:
    from localmem.bench.similarity import Encode

SESSIONS = 3
BLOCK = "human"
SUPPORT = 0.64
"""Cosine from which a line states a fact."""
REPEAT = 0.88
"""Cosine from which a line says what another says already."""

_LINE = re.compile(r"\n+|(?<=;)\s+")
_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")
_WHO = r"\b(?:the |this )?(?:person|user|human)"
_FIRST_PERSON = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (rf"{_WHO} is\b|^(?:they are|they're|he is|he's|she is|she's)\b", "I am"),
        (rf"{_WHO} has\b|^(?:they have|they've|he has|she has)\b", "I have"),
        (
            rf"{_WHO} (?:doesn't|does not)\b|^(?:they don't|they do not|(?:s?he) (?:doesn't|does not))\b",
            "I don't",
        ),
        (rf"{_WHO}(?:'s|’s)", "my"),
        (rf"{_WHO}\b|^(?:they|s?he)\b", "I"),
        (r"\b(?:their|^his|^her)\b", "my"),
    )
)


@dataclass(frozen=True, slots=True)
class Parts:
    """Shares of the stored lines that a gold fact supports and that repeat another, and of the gold facts stored."""

    lines: int
    precision: float
    recall: float
    duplicates: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a dialogue."""
    return [
        Case(
            id=dialogue.id,
            material=Material(id=dialogue.id, sessions=chats.held(dialogue, chats.FIRST, SESSIONS)),
            question="",
            gold=tuple(fact.text for fact in chats.facts(dialogue, chats.FIRST, SESSIONS)),
        )
        for dialogue in chats.dialogues(data, seed)
    ]


def stored(outcome: Outcome) -> list[str]:
    """Return what the block about the person says, one statement each, in order."""
    lines = (_MARK.sub("", line) for line in _LINE.split(outcome.blocks.get(BLOCK, "")))
    return [each for line in lines for each in chats.sentences(line) if re.search(r"\w", each)]


def first_person(line: str) -> str:
    """Return a line about "the person" or "the user" as they would say it of themselves.

    The gold facts are in the first person; the same fact said of somebody else is less near to them.
    """
    for pattern, words in _FIRST_PERSON:
        line = pattern.sub(words, line)
    return line


def parts(case: Case, outcome: Outcome, encode: Encode) -> Parts:
    """Return how good what was stored is; nothing stored has precision 0."""
    lines = [addressed(first_person(line)) for line in stored(outcome)]
    if not lines or not case.gold:
        return Parts(len(lines), 0.0, 0.0, 0.0)
    rows = encode([*lines, *map(addressed, case.gold)])
    said, gold = rows[: len(lines)], rows[len(lines) :]
    near, among = said @ gold.T, said @ said.T
    repeated = [bool((among[at, :at] >= REPEAT).any()) for at in range(len(lines))]
    return Parts(
        lines=len(lines),
        precision=float((near.max(axis=1) >= SUPPORT).mean()),
        recall=float((near.max(axis=0) >= SUPPORT).mean()),
        duplicates=sum(repeated) / len(lines),
    )


def score(case: Case, outcome: Outcome) -> float:
    """Return the F1 of precision and recall. Raises ModelMissing where the embedder is not on this machine."""
    return parts(case, outcome, similarity.encoder()).f1


TASK = Task(
    name="memory_quality",
    title="What core memory holds after three sessions",
    source=chats.SOURCE,
    metric="F1",
    cases=cases,
    score=score,
    systems=("ours", "grammar-off"),
    n=20,
)
