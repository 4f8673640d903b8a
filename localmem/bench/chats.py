"""The multi-session chats: two people who get to know each other over four conversations.

Source: Xu, Szlam and Weston 2021, "Beyond Goldfish Memory" (arXiv 2107.07567), sessions 1-4 of the test split, one
dialogue a line. Every turn has a speaker, a text and, where it told something about the speaker, the facts that
annotators took from it, in the first person ("I have a dog. I like hiking."). Speaker 1 opens every session.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from localmem.bench import data as files
from localmem.bench.case import Said
from localmem.bench.scoring import normalised

SOURCE = "Multi-Session Chat, sessions 1-4, test split (Xu et al. 2021, arXiv 2107.07567; ParlAI)"
FIRST, SECOND = "Speaker 1", "Speaker 2"

GREETING = "Hi!"
"""What the person says before the agent opens a session: an agent speaks only when it is woken."""

FAREWELL = "Talk to you soon!"
"""What the agent answers to a last message that the data leaves without one."""

# A full stop ends a sentence, but not after a single capital ("the U. S.") or a title.
_END = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b[DM]r\.)(?<!\bM[rs]s\.)(?<!\bM[ts]\.)(?<!\bSt\.)\s+")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of the two said, and the facts about the speaker that it tells."""

    speaker: str
    text: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation. `gap` is how long it was until the next, in words."""

    turns: tuple[Turn, ...]
    gap: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """All conversations of two people, oldest first."""

    id: str
    sessions: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something a person told; `turns` are those that tell it in these words, `session` counts from 1."""

    text: str
    turns: tuple[Turn, ...]
    session: int


def dialogues(data: Path | None, seed: int) -> list[Dialogue]:
    """Return all dialogues in an order that the seed decides. Raises UsageError where the data are missing."""
    read = [_dialogue(row) for row in files.lines(files.find(data, "msc", "msc_sessions"))]
    random.Random(seed).shuffle(read)
    return read


def held(dialogue: Dialogue, person: str, sessions: int) -> tuple[tuple[Said, ...], ...]:
    """Return the first sessions as messages of one speaker, with the other's real text as the replies."""
    return tuple(tuple(_held(session, person)) for session in dialogue.sessions[:sessions])


def facts(dialogue: Dialogue, person: str, sessions: int) -> list[Fact]:
    """Return what a speaker told in the first sessions, in order; a fact told again in its words is one fact.

    Facts that name "Speaker 1" or "Speaker 2" are left out: nobody is called so in the conversation.
    """
    told: dict[str, Fact] = {}
    for number, session in enumerate(dialogue.sessions[:sessions], 1):
        for turn in session.turns:
            if turn.speaker != person:
                continue
            for text in turn.facts:
                key = normalised(text)
                if not key or "speaker" in key.split():
                    continue
                before = told.get(key, Fact(text, (), number))
                if turn not in before.turns:
                    told[key] = Fact(before.text, (*before.turns, turn), before.session)
    return list(told.values())


def sentences(text: str) -> list[str]:
    """Return the sentences of a text: one fact each, as the annotators wrote them."""
    return [sentence.strip() for sentence in _END.split(text) if sentence.strip()]


def _held(session: Session, person: str) -> Iterable[Said]:
    texts = [turn.text for turn in session.turns]
    if session.turns[0].speaker != person:
        texts.insert(0, GREETING)
    return (Said(text, reply) for text, reply in zip_longest(texts[::2], texts[1::2], fillvalue=FAREWELL))


def _dialogue(row: Mapping[str, Any]) -> Dialogue:
    return Dialogue(
        row["id"],
        tuple(
            Session(tuple(_turn(turn) for turn in session["turns"]), session["gap_to_next_session"])
            for session in row["sessions"]
        ),
    )


def _turn(turn: Mapping[str, str]) -> Turn:
    return Turn(turn["speaker"], turn["text"].strip(), tuple(sentences(turn.get("facts") or "")))
