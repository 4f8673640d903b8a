"""The read-ahead: memories on a message, put in front of it before the model asks for any (design of a cache)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from localmem.functions.standard import ADDS, line
from localmem.kernel.policy import NOT_TOLD, Made
from localmem.memory.correction import SELF, telling
from localmem.memory.memory import Memory
from localmem.memory.voice import addressed
from localmem.records import Block, Event, Hit

CORE_LINES = 3
"""Lines of core memory repeated in front of a message: a small model finds them there, not in a long block."""

MESSAGE = 4000
"""Characters of a message that are looked for: .4 ms a word among 20,000 passages and as many things said."""


def related(
    memory: Memory, event: Event, blocks: Sequence[Block], shown: Sequence[int], written: Collection[str] = ()
) -> list[str]:
    """Return what every tier holds on a message, a line each: core memory, passages, things said.

    `shown` are the records that stand in the queue already. `written` are lines that were written because of this
    message: they say what it says, and a small model that reads one sentence three times says it a fourth time.
    """
    text = event.text
    if len(text) > MESSAGE:
        text = f"{text[: MESSAGE // 2]} {text[-MESSAGE // 2 :]}"
    passages, said = memory.related(text, min([*shown, event.turn]))
    about = [block for block in blocks if block.label != SELF]
    found = [hit for hit in (*passages, *said) if hit.text.strip() not in written]
    return [*core_lines(text, about, written), *map(line, map(_addressed, found))]


def core_lines(text: str, blocks: Sequence[Block], written: Collection[str] = ()) -> list[str]:
    """Return the lines of core memory that share the most telling words with a text, rare words counting more."""
    lines = [
        f"- {block.label}: {addressed(each)}"
        for block in blocks
        for each in block.value.splitlines()
        if each.strip() and each.strip() not in written
    ]
    words = [telling(each) for each in lines]
    common = Counter(word for each in words for word in each)
    wanted = telling(text)

    def score(index: int) -> float:
        return sum(math.log(1 + len(lines) / common[word]) for word in words[index] & wanted)

    best = sorted(range(len(lines)), key=lambda index: (-score(index), index))[:CORE_LINES]
    return [lines[index] for index in best if score(index) > 0]


def written(made: Sequence[Made]) -> set[str]:
    """Return the lines and passages that calls of a turn wrote into memory."""
    texts = [
        str(call.arguments[ADDS[call.function]])
        for call, result in made
        if result.ok and result.text != NOT_TOLD and call.function in ADDS
    ]
    lines = {line.strip() for text in texts for line in (text, *text.splitlines())}
    return lines | {addressed(line) for line in lines}


def _addressed(hit: Hit) -> Hit:
    """Return what a person once said as said to them; what others wrote stays."""
    return replace(hit, text=addressed(hit.text)) if hit.source == "user" else hit
