"""Reading a whole document: a note on each page, notes condensed into one summary (MemGPT, 3.2; a step an event)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby

from localmem.kernel.cutting import fit
from localmem.kernel.pressure import Complete
from localmem.kernel.prompts import aside, prompt
from localmem.kernel.settings import Settings
from localmem.memory.ground import agreed, borne_out, may_answer, sentences, whole_sentences
from localmem.memory.pages import Stretch
from localmem.memory.readings import Note, Reading, Readings
from localmem.processor.interface import (
    CoreMemory,
    Documentation,
    Instructions,
    Limits,
    Opening,
    Processor,
    Prose,
    Segment,
    Summary,
)
from localmem.records import Event, EventKind, PageRead

MOST_TOKENS = 2000
"""A page is no longer, however wide the window: small models lose what stands in the middle."""

NOTE_TOKENS = 120
"""What a note on a page may take, for one part of the task."""

SUMMARY_TOKENS = 400
"""What the condensation of several notes may take, for one part of the task."""

TASK = 500
"""Characters of a part of the task that are shown: as many as `read_document` takes in all."""

ANSWERS = 8
"""Answers to a question, that differ, which a summary holds at most."""

NOTHING = "Nothing in it bears on the task."

NOT_HERE = re.compile(
    r"\W*not here\s*(?:[.!;(\n]|$)"
    r"|\W*(?:(?:\S+\s+){0,5}not here(?: (?:on|in) (?:the|this|that) page)?"
    r"|(?:it|that|this) is not (?:mentioned|stated|given|said)(?: (?:on|in) (?:the|this|that) page)?"
    r"|(?:the|this|that) page (?:\w+ )?(?:does ?n.t|does not) (?:say|mention|tell|answer)[^,;.]*)\W*$",
    re.IGNORECASE,
)
"""How a model says that a page has nothing on what it was asked."""


class Reader:
    """Takes the steps of readings, each from what is on disk: a kill or an interruption loses one step at most.

    Its generations are nobody's: beside its agent's a reading has a prompt of its own, of which no snapshot is kept.
    """

    def __init__(
        self, readings: Readings, processor: Processor, settings: Settings, complete: Complete
    ) -> None:
        self._readings, self._processor, self._complete = readings, processor, complete
        self._summary = min(SUMMARY_TOKENS, settings.answer_tokens(processor.window))
        self._sampling = settings.sampling

    def step(self, reading: Reading) -> Iterator[PageRead]:
        """Take the next step of a reading and yield it; nothing was done when nothing is yielded.

        That is a note on the next page, else the condensation of notes, else the end of it all.
        """
        at_end = reading.position >= reading.document.characters
        notes = self._readings.notes(reading)
        if reading.steps >= reading.budget:
            noted = "\n".join(note.text for note in notes)
            self._readings.finish(reading, noted[: 4 * self._summary] or NOTHING)
        elif group := self._too_many(reading, notes, at_end):
            text = self._condensed(reading, group, last=at_end and len(group) == len(notes))
            if text is None:
                return
            self._readings.condense(
                reading, group, text or "\n".join(note.text for note in group)[: 4 * self._summary]
            )
        elif at_end:
            self._readings.finish(reading, notes[0].text if notes else NOTHING)
        else:
            page = self._page(reading)
            said = self._noted(reading, page) if page.text else ""
            if said is None:
                return
            if not self._readings.note(reading, page, said):
                return
            yield self._told(reading, page, said)
            return
        yield self._told(reading, None, "")

    def _told(self, reading: Reading, page: Stretch | None, note: str) -> PageRead:
        now = self._readings.get(reading.id)
        name = reading.document.name
        return PageRead(
            now.id,
            page.source(name) if page else name,
            note,
            now.position,
            reading.document.characters,
            now.summary if now.state == "done" else None,
        )

    def _room(self, instruction: Event) -> int:
        """Return the tokens that a page or notes may take."""
        head = sum(map(len, self._static)) + len(self._processor.encode(instruction))
        free = self._processor.window - self._summary - head - len(self._processor.encode(Opening()))
        return max(64, min(MOST_TOKENS, free))

    @cached_property
    def _static(self) -> list[Segment]:
        """The beginning of every prompt."""
        encode = self._processor.encode
        return [
            encode(Instructions(prompt("reading"))),
            encode(Documentation("")),
            encode(CoreMemory("")),
            encode(Summary("")),
        ]

    def _prompt(self, shown: Event, instruction: Event) -> list[Segment]:
        segment = fit(shown, self._room(instruction), self._processor)
        encode = self._processor.encode
        return [*self._static, segment, encode(instruction), encode(Opening())]

    def _page(self, reading: Reading) -> Stretch:
        """Return the next page: as much of the document as there is room for."""
        room = min(self._room(_asks(part)) for part in parts(reading.task))
        characters = 4 * room
        while True:
            page = self._readings.stretch(reading, characters)
            if not page.text:  # a gap between passages, or the end
                return Stretch("", page.first, min(reading.document.characters, page.first + characters))
            if len(self._processor.encode(self._shown(reading, page))) <= room or characters < 40:
                return page
            characters = characters * 4 // 5

    def _noted(self, reading: Reading, page: Stretch) -> str | None:
        """Return what the model notes on a page, a line a part of the task; None when it was interrupted.

        Each part is asked alone, of the pages that have one of its names: of several a small model answers all,
        whatever the page says.
        """
        shown, lines = self._shown(reading, page), []
        for part in parts(reading.task):
            if not may_answer(page.text, part):
                continue
            said = self._said(shown, _asks(part), min(NOTE_TOKENS, self._summary))
            if said is None:
                return None
            if not NOT_HERE.match(said) and (text := borne_out(said, page.text, part)):
                lines.append(_line(part, text))
        return "\n".join(lines)

    def _condensed(self, reading: Reading, notes: Sequence[Note], last: bool) -> str | None:
        """Return several notes as one; None when it was interrupted.

        The model condenses what was noted for a task. Answers to a question stay as they are until the `last` time,
        when those count that most pages give: shown all of them, a small model takes any.
        """
        lines: list[str] = []
        for part in parts(reading.task):
            found = _found(reading.task, part, notes)
            if _is_question(part):
                answers = [text for _, text in found]
                lines += [
                    _line(part, text) for text in ([_most(answers, part)] if last and found else answers)
                ]
            elif found:
                listed = _listed(reading, part, notes)
                event = Event(EventKind.DOCUMENT, listed, note="notes")
                said = self._said(event, _condenses(part, self._summary), self._summary)
                if said is None:
                    return None
                lines.append(_line(part, said or " ".join(listed.split())[: 4 * self._summary]))
        return "\n".join(lines)

    def _said(self, shown: Event, instruction: Event, tokens: int) -> str | None:
        """Return what the model says to an instruction, cut to whole sentences; None when it was interrupted."""
        limits = Limits(tokens, self._sampling)
        generation = self._processor.generate(self._prompt(shown, instruction), Prose(4 * tokens), limits)
        completion = self._complete(generation)
        if completion.cancelled:
            return None
        cut = completion.usage.completion_tokens >= tokens or len(completion.text) >= 4 * tokens
        return whole_sentences(completion.text) if cut else completion.text.strip()

    def _too_many(self, reading: Reading, notes: Sequence[Note], at_end: bool) -> Sequence[Note]:
        """Return the notes that are to become one now: those of a level that outgrow the room, at the end all.

        None are returned while there is room.
        """
        for _, level in groupby(sorted(notes, key=lambda note: note.level), key=lambda note: note.level):
            group = list(level)
            if len(fitting := self._fitting(reading, group)) < len(group):
                return fitting
        several = any(len(_found(reading.task, part, notes)) > 1 for part in parts(reading.task))
        return self._fitting(reading, notes) if at_end and (len(notes) > 1 or several) else ()

    def _fitting(self, reading: Reading, notes: Sequence[Note]) -> Sequence[Note]:
        """Return as many of the first notes as the room holds for what the model condenses, at least two."""
        count = len(notes)
        asked = [part for part in parts(reading.task) if not _is_question(part)]
        while count > 2 and not all(self._fits(reading, part, notes[:count]) for part in asked):
            count -= 1
        return notes[:count]

    def _fits(self, reading: Reading, part: str, notes: Sequence[Note]) -> bool:
        listed = Event(EventKind.DOCUMENT, _listed(reading, part, notes), note="notes")
        return len(self._processor.encode(listed)) <= self._room(_condenses(part, self._summary))

    def _shown(self, reading: Reading, page: Stretch) -> Event:
        share = page.first / max(1, reading.document.characters)
        return Event(
            EventKind.DOCUMENT, page.text, note=f"{page.source(reading.document.name)}, at {share:.0%}"
        )


def parts(task: str) -> list[str]:
    """Return the questions of a task and what else it asks for, in its order."""
    found = re.split(r"(?<=[?\u061f])(?=\s)|(?<=[\uff1f\u061f])(?=\w)", task.strip())
    return [part.strip() for part in found if part.strip()] or [task]


def _is_question(part: str) -> bool:
    """Return whether a part is one question; with a sentence in front of it, it asks for more than an answer."""
    return part.endswith(("?", "\uff1f", "\u061f")) and len(sentences(part)) == 1


def _asks(part: str) -> Event:
    return aside("ask" if _is_question(part) else "note", task=_short(part))


def _condenses(part: str, tokens: int) -> Event:
    return aside("condense", words=tokens * 2 // 3, task=_short(part))


def _line(part: str, said: str) -> str:
    """Return the line of a note: an answer stands behind its question, which tells whose it is."""
    said = " ".join(said.split())
    return f"{_short(part)} {said}" if _is_question(part) else said


def _found(task: str, part: str, notes: Sequence[Note]) -> list[tuple[Note, str]]:
    """Return what notes say on a part of the task, line by line, in the order of the document."""
    every = parts(task)
    asked = [f"{_short(each)} " for each in every if _is_question(each)]
    rest = next((each for each in every if not _is_question(each)), every[0])
    found = []
    for note in notes:
        for line in note.text.splitlines():
            question = next((each for each in asked if line.startswith(each)), "")
            if question == (f"{_short(part)} " if _is_question(part) else "") or (
                not question and part == rest
            ):
                found.append((note, line.removeprefix(question)))
    return found


def _listed(reading: Reading, part: str, notes: Sequence[Note]) -> str:
    """Return what notes say on a part of the task, a line each, with where in the document it stands."""
    size = max(1, reading.document.characters)
    return "\n".join(
        f"- at {note.first / size:.0%}: {text}" for note, text in _found(reading.task, part, notes)
    )


def _most(answers: Sequence[str], question: str) -> str:
    """Return the answer that most pages give and those with half as many pages, with their numbers."""
    ranked = agreed(answers, question)
    most = [each for each in ranked if 2 * each[1] >= ranked[0][1]][:ANSWERS]
    return " ".join(f"{text} ({count} page{'' if count == 1 else 's'})" for text, count in most)


def _short(task: str) -> str:
    words = " ".join(task.split())
    return words if len(words) <= TASK else f"{words[:TASK]} ..."
