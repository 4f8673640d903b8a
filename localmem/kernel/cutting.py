"""Cutting a record's text in the middle so that it fits a number of tokens; the whole stays in recall storage."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from localmem.processor.interface import CoreMemory, Processor, Segment, Summary
from localmem.records import Call, Event, Record, Result

Cuttable = TypeVar("Cuttable", bound=Event | Call | Result | CoreMemory | Summary)


def fit(record: Cuttable, tokens: int, processor: Processor) -> Segment:
    """Return the record as a segment of at most `tokens` tokens, its text cut in the middle if need be.

    Below what the delimiters and the mark of the cut take, the smallest possible segment comes back.
    """
    whole = processor.encode(record)
    if len(whole) <= tokens:
        return whole
    text = _text(record)
    low, high = 0, len(text)
    best = processor.encode(_with_text(record, _cut(text, 0)))
    while low < high:
        middle = (low + high + 1) // 2
        segment = processor.encode(_with_text(record, _cut(text, middle)))
        if len(segment) <= tokens:
            low, best = middle, segment
        else:
            high = middle - 1
    return best


def _cut(text: str, keep: int) -> str:
    """Return the first and last `keep` / 2 characters of a text around a mark that says what is missing."""
    head = keep - keep // 2
    tail = text[len(text) - keep // 2 :] if keep // 2 else ""
    return f"{text[:head]} [... {len(text) - keep} characters cut here; kept whole in memory ...] {tail}"


def _text(record: Record | CoreMemory | Summary) -> str:
    if isinstance(record, Call):
        return str(record.arguments[_longest(record)]) if record.arguments else ""
    return record.text


def _with_text(record: Cuttable, text: str) -> Cuttable:
    if isinstance(record, Call):
        arguments = {**record.arguments, _longest(record): text} if record.arguments else {}
        return replace(record, arguments=arguments, ids=(), thought=record.thought[:80])
    if isinstance(record, Result):
        return replace(record, text=text, stub="")
    return replace(record, text=text)


def _longest(call: Call) -> str:
    return max(call.arguments, key=lambda name: len(str(call.arguments[name])))
