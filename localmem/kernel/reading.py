"""Reading a whole document: a note on each page, notes condensed into one summary (MemGPT, 3.2; a step an event)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby

from localmem.functions.schema import Function
from localmem.functions.standard import function_set
from localmem.kernel.context import documentation
from localmem.kernel.cutting import fit
from localmem.kernel.pressure import Complete
from localmem.kernel.prompts import aside, prompt
from localmem.kernel.settings import Settings
from localmem.memory.ground import borne_out, names
from localmem.memory.pages import Stretch
from localmem.memory.readings import Note, Reading, Readings
from localmem.processor.interface import (
    Calls,
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

SUMMARY_TOKENS = 400
"""What the condensation of several notes may take."""

NOTHING = "Nothing in it bears on the task."


class Reader:
    """Takes the steps of readings, each from what is on disk: a kill or an interruption loses one step at most.

    Its generations are nobody's: beside its agent's a reading has a prompt of its own, of which no snapshot is kept.
    """

    def __init__(
        self, readings: Readings, processor: Processor, settings: Settings, complete: Complete
    ) -> None:
        self._readings, self._processor, self._complete = readings, processor, complete
        self._functions: tuple[Function, ...] = function_set("reading")
        self._answer = settings.answer_tokens(processor.window)
        self._sampling = settings.sampling

    def step(self, reading: Reading) -> Iterator[PageRead]:
        """Take the next step of a reading and yield it; nothing was done when nothing is yielded.

        That is a note on the next page, else the condensation of notes, else the end of it all.
        """
        at_end = reading.position >= reading.document.characters
        notes = self._readings.notes(reading)
        if reading.steps >= reading.budget:
            self._readings.finish(
                reading, "\n".join(note.text for note in notes)[: 4 * SUMMARY_TOKENS] or NOTHING
            )
        elif group := self._too_many(reading, notes, at_end):
            text = self._condensed(reading, group)
            if text is None:
                return
            self._readings.condense(reading, group, text)
        elif at_end:
            self._readings.finish(reading, notes[0].text if notes else NOTHING)
        else:
            page = self._page(reading)
            said = self._noted(reading, page) if page.text else ""
            if said is None:
                return
            self._readings.note(reading, page, said)
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
        free = self._processor.window - self._answer - head - len(self._processor.encode(Opening()))
        return max(64, min(MOST_TOKENS, free))

    @cached_property
    def _static(self) -> list[Segment]:
        """The beginning of every prompt."""
        encode = self._processor.encode
        howto = documentation(self._functions, self._processor.abilities.howto)
        return [
            encode(Instructions(prompt("reading"))),
            encode(Documentation(howto)),
            encode(CoreMemory("")),
            encode(Summary("")),
        ]

    def _prompt(self, shown: Event, instruction: Event) -> list[Segment]:
        segment = fit(shown, self._room(instruction), self._processor)
        encode = self._processor.encode
        return [*self._static, segment, encode(instruction), encode(Opening())]

    def _page(self, reading: Reading) -> Stretch:
        """Return the next page: as much of the document as there is room for."""
        room = min(self._room(_ask(question)) for question in questions(reading.task))
        characters = 4 * room
        while True:
            page = self._readings.stretch(reading, characters)
            if not page.text:  # a gap between passages, or the end
                return Stretch("", page.first, min(reading.document.characters, page.first + characters))
            if len(self._processor.encode(self._shown(reading, page))) <= room or characters < 40:
                return page
            characters = characters * 4 // 5

    def _noted(self, reading: Reading, page: Stretch) -> str | None:
        """Return what the model notes on a page, "" for nothing; None when it was interrupted.

        Each question of the task is asked alone, of the pages that have one of its names: of several a small model
        answers all, whatever the page says.
        """
        shape, limits = Calls(self._functions), Limits(self._answer, self._sampling)
        shown, said = self._shown(reading, page), []
        there = names(page.text)
        for question in questions(reading.task):
            if (asked := names(question)) and not asked & there:
                continue
            completion = self._complete(
                self._processor.generate(self._prompt(shown, _ask(question)), shape, limits)
            )
            if completion.cancelled:
                return None
            call = completion.call
            text = str(call.arguments.get("text", "")) if call and call.function == "note" else ""
            said.append(borne_out(text, page.text, question))
        # a note that says in the words of `nothing_here` that there is nothing is none
        nothing = {"", *(function.doc for function in self._functions)}
        return " ".join(text for text in dict.fromkeys(said) if text not in nothing)

    def _condensed(self, reading: Reading, notes: Sequence[Note]) -> str | None:
        """Return several notes as one, by the model or else cut short; None when it was interrupted."""
        text = _listed(notes)
        tokens = min(SUMMARY_TOKENS, self._answer)
        instruction = aside("condense", words=tokens * 2 // 3, task=_short(reading.task))
        shown = self._prompt(Event(EventKind.DOCUMENT, text, note="notes"), instruction)
        limits = Limits(tokens, self._sampling)
        completion = self._complete(self._processor.generate(shown, Prose(4 * tokens), limits))
        if completion.cancelled:
            return None
        return completion.text.strip() or text[: 4 * tokens]

    def _too_many(self, reading: Reading, notes: Sequence[Note], at_end: bool) -> Sequence[Note]:
        """Return the notes that are to become one now: those of a level that outgrow the room, at the end all.

        None are returned while there is room.
        """
        room = self._room(aside("condense", words=999, task=_short(reading.task)))
        for _, level in groupby(sorted(notes, key=lambda note: note.level), key=lambda note: note.level):
            group = list(level)
            if len(fitting := self._fitting(group, room)) < len(group):
                return fitting
        return self._fitting(notes, room) if at_end and len(notes) > 1 else ()

    def _fitting(self, notes: Sequence[Note], room: int) -> Sequence[Note]:
        """Return as many of the first notes as the room holds, at least two."""
        count = len(notes)
        while count > 2 and len(self._encoded(notes[:count])) > room:
            count -= 1
        return notes[:count]

    def _encoded(self, notes: Sequence[Note]) -> Segment:
        return self._processor.encode(Event(EventKind.DOCUMENT, _listed(notes), note="notes"))

    def _shown(self, reading: Reading, page: Stretch) -> Event:
        share = page.first / max(1, reading.document.characters)
        return Event(
            EventKind.DOCUMENT, page.text, note=f"{page.source(reading.document.name)}, at {share:.0%}"
        )


def questions(task: str) -> list[str]:
    """Return the questions of a task that has several, else the task as it is."""
    found = [part for part in re.split(r"(?<=[?\uff1f\u061f])\s*", task.strip()) if part]
    return found if len(found) > 1 else [task]


def _ask(question: str) -> Event:
    return aside("note", task=_short(question))


def _listed(notes: Sequence[Note]) -> str:
    return "\n".join(f"- {note.text}" for note in notes)


def _short(task: str) -> str:
    words = " ".join(task.split())
    return words if len(words) <= 200 else f"{words[:200]} ..."
