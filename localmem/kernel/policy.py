"""What the next call may be, and whether the model runs again: the state narrows both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from localmem.errors import DefinitionError
from localmem.functions.schema import Function
from localmem.functions.standard import (
    ADDS,
    EDITS_CORE,
    READS,
    REPEATS,
    SEARCHES,
    SILENT,
    found,
    function_set,
)
from localmem.kernel.settings import Settings
from localmem.memory.correction import SELF, corrected
from localmem.memory.ground import ASKING, told
from localmem.memory.memory import Memory
from localmem.processor.interface import Calls, Verdict
from localmem.records import Block, Call, Event, EventKind, Record, Result, spoken

VERDICT = "states_a_fact"
"""The question of the memory step, as a field of its calls: yes leads to an edit, no to nothing."""

NEARLY_FULL = 0.9
"""Share of a block's limit from which the memory step keeps facts in archival memory instead."""

MOST_UNASKED = 3
"""Earlier messages that the memory step asks about after an answer, at most: each takes a step of the turn."""

EMPTY_SEARCHES = 2
"""Searches of one kind that found nothing, after which it is no longer offered in that turn."""

SENTENCE_END = re.compile(
    r"[.!?\u2026\u061f]+[\"'\u2019\u201d\u00bb)\]]*(?:\s|$)|[\u3002\uff01\uff1f\uff61\u0964]|[\r\n]"
)
"""Where a sentence ends: in scripts without spaces, and after a danda, nothing need follow its mark."""

TELLING = re.compile(r"\b(?:i|me|my|mine|we|us|our|ours)\b|[.!\u2026]$", re.IGNORECASE)
"""Who speaks of themselves, or ends a sentence, may be telling something: "when I was young"."""

_GREETING = r"^\s*(?:\w+[,!.]\s+)?"
_YOU = r"(?:can|could|would|will)\s+you\s+(?:please\s+|kindly\s+)?"
_KEEP = r"(?:remember|memori[sz]e|note|keep in mind|don['\u2019]t forget|write down)"
_OF_THEMSELVES = r"(?:(?:i|we)\b|(?:my|our)\s+(?:[\w'-]+\s+){1,3}(?:is|are|was|has|have|lives|works|likes)\b)"
ASKED = re.compile(rf"{_GREETING}{_YOU}{_KEEP}(?:\s+(?:that|this)\b|\s*:|\s+{_OF_THEMSELVES})", re.IGNORECASE)
"""Who asks whether something can be kept tells it in the same sentence: it is no lone question."""
REQUEST = re.compile(
    rf"{_GREETING}(?:please,?\s+|{_YOU})?{_KEEP}(?:\s+(?:that|this|down))?\s*:?\s+{_OF_THEMSELVES}",
    re.IGNORECASE,
)
"""Who asks for something of their own to be kept: whether it is a fact is no longer a question. English alone."""
ORDER = re.compile(
    rf"{_GREETING}(?:please,?\s+|{_YOU})?"
    r"(?:(?:tell|give|show|write|sing|list)\s+(?:me|us)|(?:write|list)\s+(?:an?|the|all|some)"
    r"|describe|explain|summari[sz]e|translate)\s",
    re.IGNORECASE,
)
"""Who has something told or written: a lone question without its mark. English alone."""
STATING = re.compile(
    r"\b(?:i|me|my|mine|we|us|our|ours|your|yourself|he|she|it|they|him|her|his|their|who|that|which|because|since"
    r"|is|are|am|was|were|has|have|had|does|will|can|memory|notes?)\b|[,;:(\d\u2013\u2014]|['\u2019]\w",
    re.IGNORECASE,
)
"""With such a word behind it, an order may tell something as well: "write to Ana, who has moved to Porto"."""

NOT_TOLD = "Nothing was kept: the message does not say so."
"""What comes of a call of the memory step that made something up."""

Made = tuple[Call, Result]
"""A call of the present turn and what it came to."""


class Policy:
    """The rules of one agent's turns, from its settings; `own` are functions beside the standard set.

    Raises DefinitionError when two functions have one name.
    """

    def __init__(self, settings: Settings, own: Sequence[Function] = ()) -> None:
        self._settings = settings
        self._standard = (*function_set(settings.functions), *own)
        names = [function.name for function in self._standard]
        if twice := {name for name in names if names.count(name) > 1}:
            raise DefinitionError(f"there are two functions named {', '.join(sorted(twice))}: rename one")
        self._remembering = function_set("memory") if settings.memory_step else ()
        answers = {f.name: "no" if f.name in SILENT else "yes" for f in self._remembering}
        self._verdict = Verdict(VERDICT, answers)
        self.functions: tuple[Function, ...] = tuple(
            {function.name: function for function in (*self._standard, *self._remembering)}.values()
        )

    def shape(
        self,
        event: Event,
        made: Sequence[Made],
        blocks: Sequence[Block],
        final: bool,
        about: Event | None = None,
        pointless: Collection[str] = (),
        others: Sequence[str] = (),
    ) -> Calls:
        """Return what the next call may be; on the last step of a chain only a message.

        `about` is the message of `unasked` that the memory step asks about, where it comes next. `pointless` are
        functions that can find nothing now: they are not offered. `others` are the agents that a message can go to.

        The memory step stands before everything else in a person's turn, and keeps what it is asked to keep; core
        memory is edited there and nowhere else in that turn, unless the edit failed.
        """
        labels = writable(blocks)
        failed = any(call.aside and not result.ok for call, result in made)
        if about is not None:
            labels = tuple(label for label in labels if label != SELF) or labels
            kept = [block for block in blocks if block.label in labels]
            full = any(len(block.value) > NEARLY_FULL * block.limit for block in kept)
            full = full and corrected(about.text, kept) is None  # one that gives way makes room
            edits = EDITS_CORE if full else {"archival_memory_insert"}
            offered = [f for f in self._remembering if f.name not in edits]
            keeping = [f for f in offered if f.name not in SILENT and f.callable_with(labels)]
            offered = keeping if keeping and REQUEST.match(about.text) else offered
        elif final:
            offered = [function for function in self._standard if function.name == "send_message"]
        elif self._remembering and event.kind is EventKind.USER and not failed:
            offered = [function for function in self._standard if function.name not in EDITS_CORE]
        else:
            offered = list(self._standard)
        empty = Counter(call.function for call, result in made if result.ok and is_empty(call, result))
        offered = [f for f in offered if empty[f.name] < EMPTY_SEARCHES and f.name not in pointless]
        offered = [f.among(others) for f in offered]
        return Calls(
            tuple(function for function in offered if function.callable_with(labels)),
            thought=self._settings.thought,
            heartbeat=self._settings.heartbeat == "asked",
            labels=labels,
            bias=self._settings.bias,
            verdict=self._verdict if about is not None else None,
            unlike=event.text if self._remembering and event.kind is EventKind.USER else "",
        )

    def unasked(self, event: Event, recent: Sequence[Record]) -> list[Event]:
        """Return what a person said that no memory step has asked about; lone questions are not.

        The event itself comes first, which is asked about before its answer. Behind it, to be asked about after that,
        are those before it: each gave way to the next one, or Ctrl-C ended its turn, before it came to its memory
        step. `recent` are the newest records, of whole turns or not, whether they left the queue or not.
        """
        if not self._remembering or event.kind is not EventKind.USER:
            return []
        waiting: list[Event] = []
        begun: set[int] = set()
        for record in recent:
            if isinstance(record, Event) and record.kind is EventKind.USER:
                begun.add(record.turn)
                waiting = waiting if is_question(record.text) else [*waiting[-MOST_UNASKED:], record]
            elif isinstance(record, Call) and record.turn in begun:
                own = [each for each in waiting if each.turn == record.turn]
                gone = own or (waiting[:1] if record.aside else [])
                waiting = [each for each in waiting if each not in gone]
        return sorted(waiting, key=lambda each: each.turn != event.turn)

    def objection(self, call: Call, made: Sequence[Made], shown: Sequence[int]) -> str:
        """Return why a call is not to be run at all, or "".

        `shown` are the ids of the records in the queue: a call may be made again once its result has left.
        """
        if not call.function:
            return "that was no function call; write one as described"
        if call.cut and call.function not in READS:
            return "too long: it was cut and nothing was done; say it shorter"
        for earlier, result in made:
            same = (earlier.function, earlier.arguments) == (call.function, call.arguments)
            if same and call.function not in REPEATS and result.ok and result.id in shown:
                return "you did exactly this already; its result stands above"
        return ""

    def made_up(self, call: Call, about: Event | None) -> bool:
        """Return whether the memory step would keep what the message that it asks about does not say."""
        if about is None or call.function not in ADDS:
            return False
        return not told(str(call.arguments.get(ADDS[call.function], "")), about.text)

    def is_last(self, made: Sequence[Made]) -> bool:
        """Return whether the next step ends the chain: the limit of steps is reached, or that of errors in a row."""
        last = made[-self._settings.max_errors :]
        failing = len(last) == self._settings.max_errors and not any(result.ok for _, result in last)
        return failing or len(made) >= self._settings.max_steps - 1

    def named(self, call: Call) -> Function | None:
        """Return the function that a call names, offered now or not; None where there is none."""
        return next((function for function in self.functions if function.name == call.function), None)

    def goes_on(self, event: Event, made: Sequence[Made]) -> bool:
        """Return whether the model runs again before the next event (a heartbeat).

        A failed call always goes on, so that the model reads the error; and a person's turn, or that of another
        agent's message, does not end before they were answered, whatever the model asked for. Calls of the memory
        step, before the answer and behind it, have no part in this.
        """
        made = [each for each in made if not each[0].aside]
        if not made:
            return True
        call, result = made[-1]
        answered = any(call.function == "send_message" and result.ok for call, result in made)
        asked = event.kind in (EventKind.USER, EventKind.PEER)
        if not result.ok or (asked and not answered):
            return True
        if self._settings.heartbeat == "asked":
            return call.heartbeat
        return call.function != "send_message"


def is_question(text: str) -> bool:
    """Return whether a message is one sentence that asks: by its mark (Latin, full-width, Arabic) or first words.

    Nor does an order tell anything: "write a poem about the sea". In doubt it is none, as with "Dr. Smith?" and
    "when I was young": what is wrongly taken for a question is never remembered. Without a mark only English
    questions are known.
    """
    said = text.strip()
    if ASKED.match(said):
        return False
    sentences = [each for each in SENTENCE_END.split(said) if each.strip()]
    asks = said.endswith(("?", "\uff1f", "\u061f")) or (ASKING.match(said) and not TELLING.search(said))
    order = ORDER.match(said)
    orders = order is not None and not STATING.search(said, order.end())
    return bool(asks or orders) and len(sentences) == 1


def pointless(memory: Memory, queue: Sequence[Record], offered: Collection[str]) -> set[str]:
    """Return the functions that can do nothing now: searches of what is empty or all in the queue, for one."""
    held = memory.counts()
    nothing = set() if held.archival else {"archival_memory_search"}
    if held.recall <= sum(bool(spoken(record)) for record in queue):
        nothing |= {"conversation_search", "conversation_search_date"}
    if "go_on" in offered and not memory.inbox.interrupted():
        nothing.add("go_on")
    if "remove_timer" in offered and not memory.inbox.timers():
        nothing.add("remove_timer")
    if "open_document" in offered:
        if not memory.documents():
            nothing |= {"open_document", "next_page", "read_document"}
        if not any(may_write for _, may_write in memory.attachments()):
            nothing.add("archive_insert")
    return nothing


def is_empty(call: Call, result: Result) -> bool:
    """Return whether a call was a search that found nothing."""
    return call.function in SEARCHES and not found(result.text)


def writable(blocks: Sequence[Block]) -> tuple[str, ...]:
    """Return the labels of the blocks that the model may edit."""
    return tuple(block.label for block in blocks if not block.read_only)
