"""MemGPT's conversation opener: write the first message of the next session to a known person.

Source: Multi-Session Chat, sessions 1-4 of the test split (Xu et al. 2021).
Protocol: sessions 1-3 are played with their real text. The person is Speaker 2 and the agent stands in the place of
Speaker 1, because Speaker 1 opens every session: so the human opener it is compared with was written to the same
person. (The agent cannot speak unasked in what was played: the person's "Hi!" wakes it, and a last message without
an answer gets "Talk to you soon!".) Then the agent is told how long the person was away and is to open session 4.
The gold persona lines are the facts that the person told in sessions 1-3. SIM-1 is the cosine of the opener and the
nearest gold line, SIM-3 the mean of the three nearest, SIM-H the cosine with the human opener, all under
all-MiniLM-L6-v2; the score is SIM-1, `similarities` gives the three, and `human` what the human opener itself gets.

One case: Speaker 2 told "I am a mechanic.", "I have a baby on the way.", "My wife is pregnant." and 13 facts more.
The event says "The person is back after 3 days. Write the first message of this conversation, to them." The human
opener is "So tell me, did you and your wife end up going to your local festival?"

What to expect: about half of the human openers tell the writer's own news instead of asking after the person, so
that the human's row is SIM-1 .53 and SIM-3 .44 (.58 and .47 where they ask; first 150 dialogues of seed 0). "Hi!
How have you been since we last talked?", which remembers nothing, gets .23, .20 and a SIM-H of .16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localmem.bench import chats, similarity
from localmem.bench.case import Anchor, Case, Material, Outcome, Task
from localmem.records import EventKind

if TYPE_CHECKING:
    from localmem.bench.similarity import Encode

SESSIONS = 3
BACK = "The person is back after {gap}. Write the first message of this conversation, to them."


@dataclass(frozen=True, slots=True)
class Similarities:
    """How near an opener is to the nearest persona line, to the three nearest (mean), and to the human opener."""

    best: float
    best_three: float
    human: float


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a dialogue."""
    return [_case(dialogue) for dialogue in chats.dialogues(data, seed)]


def _case(dialogue: chats.Dialogue) -> Case:
    return Case(
        id=dialogue.id,
        material=Material(id=dialogue.id, sessions=chats.held(dialogue, chats.SECOND, SESSIONS)),
        question=BACK.format(gap=dialogue.sessions[SESSIONS - 1].gap),
        gold=tuple(fact.text for fact in chats.facts(dialogue, chats.SECOND, SESSIONS)),
        event=EventKind.LOGIN,
        detail={"opener": dialogue.sessions[SESSIONS].turns[0].text},
    )


def similarities(reply: str, case: Case, encode: Encode) -> Similarities:
    """Return SIM-1, SIM-3 and SIM-H of an opener; a negative cosine counts as 0, and so does saying nothing."""
    if not reply.strip():
        return Similarities(0.0, 0.0, 0.0)
    rows = encode([reply, str(case.detail["opener"]), *case.gold])
    near = [max(0.0, min(1.0, float(row @ rows[0]))) for row in rows[1:]]
    lines = sorted(near[1:], reverse=True)[:3] or [0.0]
    return Similarities(lines[0], sum(lines) / len(lines), near[0])


def human(case: Case, encode: Encode) -> Similarities:
    """Return what the human opener itself gets: the row that the others are to be read beside."""
    return similarities(str(case.detail["opener"]), case, encode)


def score(case: Case, outcome: Outcome) -> float:
    """Return SIM-1. Raises ModelMissing where the embedder is not on this machine."""
    return similarities(outcome.reply, case, similarity.encoder()).best


_WHERE = "Packer et al. 2023, MemGPT (arXiv 2310.08560), conversation opener: SIM-1"
_DIFFERS = "encoder not named, so absolute values do not compare; read it beside the human's own row"

TASK = Task(
    name="chat_opener",
    title="Multi-session chat: conversation opener",
    source=chats.SOURCE,
    metric="SIM-1",
    cases=cases,
    score=score,
    n=30,
    anchors=(
        Anchor("human (SIM-3 .800, SIM-H 1)", 0.800, _WHERE, _DIFFERS),
        Anchor("MemGPT with GPT-4 (SIM-3 .843, SIM-H .773)", 0.868, _WHERE, _DIFFERS),
    ),
)
