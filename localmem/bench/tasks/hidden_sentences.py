"""Sentences hidden in a book: short facts about people and things stand between Jane Austen's sentences.

Source: bAbI v1.2 (Weston et al. 2015), tasks 1 to 5, of which `babilong_test_100_idxs` of BABILong (Kuratov et al.
2024) chooses 100 questions each, in the six novels of Jane Austen.
Protocol: BABILong's. The facts of a question stand in their order at random places between consecutive sentences of
the book, so that all is as long as the level says: thousands of tokens, of four characters each. Here the text is cut
at sentence ends into pages of about 120 words, which go into archival memory. Every page begins with its number: the
facts must be read in order, which a search does not keep. Right when the first sentence of the reply names the answer
and no other of the task's labels, those in the question aside. Cases are one question of every task in turn.

One case, 4 thousand tokens: between Austen's sentences stand "Mary went to the kitchen." on page 10, "Mary moved to
the bathroom." on page 18, "Mary travelled to the bedroom." on page 21, and five facts about others. The person asks
"Where is Mary?"; right is "bedroom".
"""

from __future__ import annotations

import json
import lzma
import random
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localmem.bench import data as files
from localmem.bench.case import Case, Material, Outcome, Task
from localmem.errors import UsageError

LEVELS = (4, 16, 64)
CHARACTERS = 4000
"""Characters of a thousand tokens."""
PAGE = 120
"""Words of a page, after which it ends with its sentence."""
QUESTIONS = 20
"""Questions of each task that are made into cases at each level."""

_ROOMS = frozenset({"bathroom", "bedroom", "garden", "hallway", "kitchen", "office"})
LABELS: Mapping[str, frozenset[str]] = {
    "qa1": _ROOMS,
    "qa2": _ROOMS,
    "qa3": _ROOMS,
    "qa4": _ROOMS,
    "qa5": frozenset({"bill", "fred", "jeff", "mary", "apple", "football", "milk"}),
}
"""What may be an answer, in each task."""

INSTRUCTIONS = """\
Archival memory holds the pages of a book. Between its sentences are hidden plain ones about where people and rooms
are and who takes, gives or drops a thing. Answer from those alone, in the order of the pages: the latest counts. A
thing goes with whoever carries it and stays where it is dropped. Answer with one word."""

_MEMBER = re.compile(r"(?:^|/)en/(qa[1-5])_[^/]*_test\.txt$")
_SENTENCE_END = re.compile(
    r"""(?:(?<=[.!?])|(?<=[.!?]["')_]))(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)\s+"""
)


@dataclass(frozen=True, slots=True)
class _Story:
    """A question of bAbI, and the facts before it."""

    facts: tuple[str, ...]
    question: str
    answer: str


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return the cases of every level, one question of every task in turn."""
    stories = _stories(data)
    chosen = json.loads(files.text(files.find(data, "babi", "babilong_test_100_idxs")))
    book = _sentences(files.text(files.find(data, "corpora", "austen_six_novels")))
    made = []
    for level in LEVELS:
        chance = random.Random(f"{seed}-{level}")
        rows = []
        for task in LABELS:
            picked = [at for at in chosen[task] if at < len(stories[task])]
            chance.shuffle(picked)
            rows.append([(task, at) for at in picked[:QUESTIONS]])
        for turn in range(max(map(len, rows))):
            for task, at in (row[turn] for row in rows if turn < len(row)):
                made.append(_case(level, task, at, stories[task][at], book, chance))
    return made


def _stories(data: Path | None) -> dict[str, list[_Story]]:
    """Return the questions of every task, in the order of its test file."""
    path = files.find(data, "babi", "babi")
    found: dict[str, list[_Story]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if (match := _MEMBER.search(member.name)) and (file := archive.extractfile(member)):
                    found[match[1]] = _parsed(file.read().decode())
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): fetch it again") from error
    if missing := sorted(LABELS.keys() - found.keys()):
        raise UsageError(f"{path} has no en/{missing[0]}_*_test.txt: fetch the English tasks of bAbI v1.2")
    return found


def _parsed(text: str) -> list[_Story]:
    """Return the questions of a file of bAbI; a line numbered 1 begins a story.

    Question and answer are parted by a tab, in some copies by a bar.
    """
    stories: list[_Story] = []
    facts: list[str] = []
    for line in text.splitlines():
        number, _, rest = line.partition(" ")
        if number == "1":
            facts = []
        parts = [part.strip() for part in re.split(r"[\t|]", rest)]
        if len(parts) > 1:
            stories.append(_Story(tuple(facts), parts[0], parts[1]))
        elif rest.strip():
            facts.append(rest.strip())
    return stories


def _sentences(text: str) -> list[str]:
    """Return the sentences of the novels; headings are left out."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", re.sub(r"^#####.*$", "", text, flags=re.MULTILINE)):
        joined = " ".join(paragraph.split())
        if joined.rstrip("\"')_").endswith((".", "!", "?")):
            found += _SENTENCE_END.split(joined)
    if not found:
        raise UsageError("corpora/austen_six_novels holds no sentences: fetch it again")
    return found


def _case(level: int, task: str, at: int, story: _Story, book: Sequence[str], chance: random.Random) -> Case:
    name = f"{level}-{task}-{at}"
    return Case(
        id=name,
        material=Material(id=name, passages=_pages(_hidden(story.facts, book, level * CHARACTERS, chance))),
        question=story.question,
        gold=(story.answer,),
        level=level,
        detail={"task": task},
    )


def _hidden(facts: Sequence[str], book: Sequence[str], size: int, chance: random.Random) -> list[str]:
    """Return sentences of the book, from a random one on, with the facts among them; `size` characters in all."""
    room = size - sum(len(fact) + 1 for fact in facts)
    at = chance.randrange(len(book))
    text: list[str] = []
    while room > 0:
        text.append(book[at])
        room -= len(book[at]) + 1
        at = (at + 1) % len(book)
    places = sorted(chance.randrange(len(text) + 1) for _ in facts)
    for place, fact in reversed(list(zip(places, facts, strict=True))):
        text.insert(place, fact)
    return text


def _pages(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return the sentences as numbered pages."""
    pages: list[str] = []
    page: list[str] = []
    words = 0
    for sentence in sentences:
        page.append(sentence)
        words += sentence.count(" ") + 1
        if words >= PAGE:
            pages.append(" ".join(page))
            page, words = [], 0
    if page:
        pages.append(" ".join(page))
    return tuple(f"Page {number}. {text}" for number, text in enumerate(pages, 1))


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the first sentence of the reply names the answer and no other label."""
    first = outcome.reply.strip().lower().partition(".")[0]
    labels = LABELS[str(case.detail["task"])]
    asked = {label for label in labels if label in case.question.lower()}
    named = {label for label in labels if label in first} - asked
    return float(named == {case.gold[0].lower()})


TASK = Task(
    name="hidden_sentences",
    title="Sentences hidden in a book (BABILong)",
    source="bAbI v1.2 (CC BY 3.0), booydar/babilong (Apache-2.0), Jane Austen (public domain)",
    metric="share of right answers",
    cases=cases,
    score=score,
    systems=("no-memory", "full-context", "truncation", "retrieval", "ours"),
    instructions=INSTRUCTIONS,
    level="thousand tokens",
    n=10,
)
