"""The recursive summary of what left the queue (MemGPT, section 2.1), and the digest that stands in for it."""

from __future__ import annotations

from collections.abc import Sequence

from localmem.processor.interface import Completion
from localmem.records import Block, Event, EventKind, Record, spoken

SENTENCE = 120
"""Characters kept of each message in a digest."""


def digest(records: Sequence[Record], before: str, characters: int) -> str:
    """Return a summary made without a model: what was said, newest first to be kept, behind the old summary.

    It takes at most `characters` characters; the same input gives the same digest.
    """
    lines: list[str] = []
    left = characters - min(len(before), characters // 3)
    for record in reversed(records):
        said = " ".join(spoken(record).split())
        if not said:
            continue
        who = "Person" if isinstance(record, Event) and record.kind is EventKind.USER else "You"
        who = record.kind.value if isinstance(record, Event) and record.kind is not EventKind.USER else who
        line = f"{who}: {said if len(said) <= SENTENCE else said[:SENTENCE] + ' ...'}"
        if len(line) + 1 > left:
            break
        left -= len(line) + 1
        lines.append(line)
    old = before if len(before) <= characters // 3 else before[: characters // 3 - 4] + " ..."
    return "\n".join(part for part in (old, *reversed(lines)) if part)[:characters]


def summary_in(completion: Completion, blocks: Sequence[Block]) -> str:
    """Return the summary that a model wrote, "" where it was stopped or only says what core memory shows anyway."""
    said = " ".join(completion.text.split())
    if completion.cancelled or any(said in " ".join(block.value.split()) for block in blocks):
        return ""
    return completion.text.strip()
