"""Long conversations: the first of many topics is asked for, or the number in one of many lines.

Source: LongEval (DachengLi1/LongChat), `topics_*` and `lines_*`.
Protocol, topics: the official prompt holds a record of a conversation on 5, 15 or 25 topics. Here that conversation
was really held, as one session, with the record's own replies; it is in recall storage, the queue is empty. The words
that end a topic and those that begin the next are one message; those that end the last one, which nobody answers, are
left out. The question is the official one. Officially GPT-3.5 judges the answer and forgives other wordings; here a
reply is right that holds the words of the first topic and names no other topic of the record. Small words may be
missing, and so may the topic's first word, which is its aspect ("impact", "benefits").
Protocol, lines: every line of the record is an archival passage; the question is the official one. Right when the
last number of the reply is the line's (officially so; here a comma between digits does not end a number).

One case, 5 topics: the person once said "I would like to discuss the topic of the psychology of creativity." and 25
things more. Asked "What is the first topic we discussed? Only give me the topic name. Do not summarize yourself.",
right is "The psychology of creativity".
One case, 200 lines: a passage is "line torpid-kid: REGISTER_CONTENT is <2416>". Asked "Tell me what is the
<REGISTER_CONTENT> in line torpid-kid? I need the number.", right is "2416".
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from localmem.bench import data as files
from localmem.bench.case import Case, Material, Outcome, Said, Task
from localmem.errors import UsageError

TOPICS = (5, 15, 25)
LINES = (200, 680)

_SPEAKER = re.compile(r"\s*\b(USER|ASSISTANT): ")
_LINE = re.compile(r"^line .+: REGISTER_CONTENT is <\d+>$", re.MULTILINE)
_SMALL = frozenset({"a", "an", "and", "for", "in", "of", "on", "the", "to"})


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a record; the level is its number of topics or of lines."""
    made: list[Case] = []
    for kind, levels, make in (("topics", TOPICS, _topics), ("lines", LINES, _lines)):
        for level in levels:
            every = _read(files.find(data, "longchat", f"{kind}_{level}.jsonl"), level, make)
            random.Random(f"{seed}-{level}").shuffle(every)
            made += every
    return made


def _read(path: Path, level: int, make: Callable[[int, int, Mapping[str, Any]], Case]) -> list[Case]:
    every = []
    for number, record in enumerate(files.lines(path)):
        try:
            every.append(make(level, number, record))
        except (ValueError, KeyError) as error:
            raise UsageError(f"{path}, line {number + 1}: no record of LongEval ({error})") from error
    return every


def _topics(level: int, number: int, record: Mapping[str, Any]) -> Case:
    told, question = _parts(record["prompt"], "Now the record start.", "Now the record ends.")
    topics = [str(topic) for topic in _listed(record["topics"])]
    return Case(
        id=f"topics-{level}-{number}",
        material=Material(id=f"topics-{level}-{number}", sessions=(_conversation(told),)),
        question=question,
        gold=(topics[0],),
        wrong=tuple(topics[1:]),
        level=level,
        detail={"kind": "topics"},
    )


def _listed(topics: str | list[str]) -> list[str]:
    """Return a record's topics, which some files have as the text of a list."""
    return list(ast.literal_eval(topics)) if isinstance(topics, str) else topics


def _conversation(told: str) -> tuple[Said, ...]:
    """Return a record as a conversation; what the person said last is left out where nobody answers it."""
    parts = _SPEAKER.split(told)[1:]
    said: list[Said] = []
    waiting: list[str] = []
    for who, text in zip(parts[::2], parts[1::2], strict=True):
        if who == "USER":
            waiting.append(text.strip())
        else:
            said.append(Said("\n".join(waiting), text.strip()))
            waiting = []
    return tuple(said)


def _lines(level: int, number: int, record: Mapping[str, Any]) -> Case:
    told, question = _parts(record["prompt"], "Now the record start:", "Now the record is over.")
    passages = tuple(_LINE.findall(told))
    if record["correct_line"].strip() not in passages:
        raise ValueError(f"no {record['correct_line'].strip()!r} in it")
    return Case(
        id=f"lines-{level}-{number}",
        material=Material(id=f"lines-{level}-{number}", passages=passages),
        question=question,
        gold=(str(record["expected_number"]),),
        level=level,
        detail={"kind": "lines"},
    )


def _parts(prompt: str, begin: str, end: str) -> tuple[str, str]:
    """Return the record in an official prompt and the question behind it."""
    told, found, question = prompt.partition(begin)[2].partition(end)
    if not found:
        raise ValueError(f"no {end!r} after {begin!r}")
    return told, question.strip()


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the reply names the first topic and no other, or its last number is the line's."""
    if case.detail["kind"] == "lines":
        numbers = re.findall(r"\d+", re.sub(r"(?<=\d),(?=\d)", "", outcome.reply))
        return float(bool(numbers) and int(numbers[-1]) == int(case.gold[0]))
    said = set(_words(outcome.reply))
    gold = _telling(case.gold[0])
    others = [words for words in map(_telling, case.wrong) if not words <= gold]
    return float(gold <= said and not any(words <= said for words in others))


def _telling(topic: str) -> set[str]:
    """Return the words by which a topic is known: all but the first of those that are not small."""
    words = _words(topic)
    return set(words[1:] or words)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in _SMALL]


TASK = Task(
    name="long_conversation",
    title="Look-up in a long conversation (LongEval)",
    source="DachengLi1/LongChat, LongEval topics and lines (Apache-2.0)",
    metric="share of right answers",
    cases=cases,
    score=score,
    systems=("no-memory", "full-context", "truncation", "retrieval", "ours"),
    level="topics or lines",
    n=10,
)
