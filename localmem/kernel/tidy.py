"""Keeping memory tidy: duplicates become one, full blocks give to the archive, old talk becomes summary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from localmem.functions.schema import Length, function
from localmem.kernel.context import documentation
from localmem.kernel.policy import NEARLY_FULL
from localmem.kernel.pressure import Complete
from localmem.kernel.prompts import prompt
from localmem.kernel.settings import Settings
from localmem.memory.audit import Pair, Remembered
from localmem.memory.correction import SELF, telling
from localmem.memory.desk import Desk
from localmem.memory.memory import Memory
from localmem.processor.interface import (
    Calls,
    CoreMemory,
    Documentation,
    Instructions,
    Limits,
    Opening,
    Processor,
    Summary,
)
from localmem.records import Call, Event, EventKind, Eviction, Item, Result

STEPS = 20
"""Changes and questions of one tidying, unless another number is given."""

ROOMY = 0.7
"""Share of its limit down to which a full block gives its oldest lines to the archive."""

NOTE = "tidy memory"
"""The note of a timer that tidies instead of waking the agent."""

_TIDYING = re.compile(rf"Timer \d+: {NOTE}(?: \(due [^()]*\))?$")

LONGEST = 500
"""Characters of a line that two become, and of notes that the model is asked about."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done: `merge` two memories, or `move` a line of a full block to the archive."""

    what: str
    first: Remembered
    second: Remembered | None = None
    share: float = 0.0


def plan(memory: Memory) -> tuple[Step, ...]:
    """Return what there is to tidy, without changing anything: duplicates first, then lines of full blocks."""
    found, open_blocks = memory.audit(), {block.label for block in memory.blocks() if not block.read_only}

    def ours(each: Remembered) -> bool:
        return each.where != SELF and (each.where in open_blocks or bool(each.passage))

    merges = [_merge(pair) for pair in found.alike if ours(pair.first) and ours(pair.second)]
    moves: list[Step] = []
    for block in memory.blocks():
        size = len(block.value)
        if block.label == SELF or block.label not in open_blocks or size <= NEARLY_FULL * block.limit:
            continue
        lines = [each for each in found.memories if each.where == block.label and not each.passage]
        for line in sorted(lines, key=lambda each: each.created_at):
            if size <= ROOMY * block.limit:
                break
            size -= len(line.text) + 1
            moves.append(Step("move", line))
    return (*merges, *moves)


def _merge(pair: Pair) -> Step:
    """Return two memories to be merged, the older one first."""
    first, second = sorted((pair.first, pair.second), key=lambda each: (each.created_at, each.passage))
    return Step("merge", first, second, pair.share)


def is_tidying(event: Event) -> bool:
    """Return whether an event is a timer's that tidies."""
    return event.kind is EventKind.TIMER and bool(_TIDYING.match(event.text))


class Tidy:
    """Tidies one agent's memory in a turn of its own, each change in one transaction.

    The model is asked closed questions alone, and where it gives no usable answer everything stays.
    """

    def __init__(
        self,
        memory: Memory,
        processor: Processor,
        settings: Settings,
        complete: Complete,
        condense: Callable[[Event], Iterator[Eviction]],
    ) -> None:
        self._memory, self._processor, self._settings = memory, processor, settings
        self._complete, self._condense = complete, condense

    def run(self, event: Event, steps: int) -> Iterator[Item]:
        """Yield the event, every change as a call and its result, and the eviction there was, in `steps` steps."""
        yield event
        yield from self._condense(event)
        gone: set[tuple[str, str]] = set()
        for step in plan(self._memory)[:steps]:
            if any(_key(each) in gone for each in (step.first, step.second) if each):
                continue
            call = self._decided(step)
            if call is None:
                continue
            call = self._memory.add(call, event.turn)
            yield call
            result = self._memory.perform(call, lambda desk, call=call, step=step: _done(desk, call, step))  # type: ignore[misc]
            yield result
            gone.update(_key(each) for each in (step.first, step.second) if each)

    def _decided(self, step: Step) -> Call | None:
        """Return the call that a step comes to, None where all stays as it is."""
        if step.what == "move" or step.second is None:
            return _call("tidy_move", block=step.first.where, line=step.first.text)
        first, second = step.first, step.second
        if step.share == 1:
            return _call("tidy_drop", kept=_better(first, second).text, dropped=_worse(first, second).text)
        if max(len(first.text), len(second.text)) > LONGEST or _by_person(first, second):
            return None
        answer = self._asked(first.text, second.text)
        match answer.function if answer else "":
            case "keep_first":
                return _call("tidy_drop", kept=first.text, dropped=second.text)
            case "keep_second":
                return _call("tidy_drop", kept=second.text, dropped=first.text)
            case "keep_one_line" if answer is not None:
                line = " ".join(str(answer.arguments.get("line", "")).split())
                if says_both(line, first.text, second.text):
                    return _call("tidy_merge", first=first.text, second=second.text, line=line)
        return None

    def _asked(self, first: str, second: str) -> Call | None:
        """Return the model's choice between two notes: one of four functions, and nothing else."""
        encode, able = self._processor.encode, self._processor.abilities
        shown = [
            encode(Instructions(prompt("tidy"))),
            encode(Documentation(documentation(QUESTIONS, able.howto))),
            encode(CoreMemory("")),
            encode(Summary("")),
            encode(Event(EventKind.ALERT, f"First note: {first}\nSecond note: {second}")),
            encode(Opening()),
        ]
        tokens = self._settings.answer_tokens(self._processor.window)
        if sum(map(len, shown)) + tokens > self._processor.window:
            return None
        limits = Limits(tokens, self._settings.sampling)
        completion = self._complete(self._processor.generate(shown, Calls(QUESTIONS), limits))
        call = completion.call
        return None if completion.cancelled or call is None or call.cut else call


def says_both(line: str, first: str, second: str) -> bool:
    """Return whether a line takes all its telling words from two others, and leaves out few of theirs."""
    said, known = telling(line), telling(first) | telling(second)
    return bool(said) and said <= known and len(said) >= 0.8 * len(known)


def keep_first(desk: Desk) -> str:
    """Keep the first note alone."""
    return ""


def keep_second(desk: Desk) -> str:
    """Keep the second note alone."""
    return ""


def keep_both(desk: Desk) -> str:
    """Keep both notes: they tell different things."""
    return ""


def keep_one_line(desk: Desk, line: Annotated[str, "says all that both say", Length(1, LONGEST)]) -> str:
    """Keep one new line in place of both."""
    return ""


QUESTIONS = tuple(function(each) for each in (keep_first, keep_second, keep_both, keep_one_line))


def _call(name: str, **arguments: object) -> Call:
    return Call("", name, arguments, aside=True)


def _done(desk: Desk, call: Call, step: Step) -> Result:
    """Do what a call says, in the transaction of its result."""
    first, second = step.first, step.second
    match call.function:
        case "tidy_move":
            desk.archive_line(first.where, first.text, first.origin)
            return Result(True, f"{first.where}, to the archive: {first.text}")
        case "tidy_drop" if second is not None:
            kept, dropped = (first, second) if call.arguments["kept"] == first.text else (second, first)
            if step.share == 1:
                kept, dropped = _better(first, second), _worse(first, second)
            _drop(desk, dropped)
            return Result(True, f"{_place(dropped)}, dropped: {dropped.text} (kept: {kept.text})")
        case "tidy_merge" if second is not None:
            line = str(call.arguments["line"])
            kept, dropped = _better(first, second), _worse(first, second)
            _drop(desk, dropped)
            desk.put_anew(
                kept.where, kept.passage, kept.text, line, (*first.origin.rests_on, *second.origin.rests_on)
            )
            return Result(True, f"{_place(kept)}, one line: {line} (of: {first.text} / {second.text})")
    return Result(False, "nothing was done")


def _drop(desk: Desk, each: Remembered) -> None:
    if each.passage:
        desk.retire_passage(each.passage)
    else:
        desk.drop_line(each.where, each.text)


def _better(first: Remembered, second: Remembered) -> Remembered:
    """Return which of two that say the same stays: what a person wrote, then core memory, then the older."""
    return min(first, second, key=lambda each: (each.author != "user", bool(each.passage), each.created_at))


def _worse(first: Remembered, second: Remembered) -> Remembered:
    return second if _better(first, second) is first else first


def _by_person(*both: Remembered) -> bool:
    return any(each.author == "user" for each in both)


def _key(each: Remembered) -> tuple[str, str]:
    return f"{each.where} {each.passage}", each.text


def _place(each: Remembered) -> str:
    return f"passage {each.passage}" if each.passage else each.where


def changes(items: Sequence[Item]) -> tuple[str, ...]:
    """Return what a tidying changed, a line each, from what it yielded."""
    told = [item.text for item in items if isinstance(item, Result) and item.ok]
    evicted = [item for item in items if isinstance(item, Eviction)]
    return (*(f"{each.records} old records are now in the summary" for each in evicted), *told)
