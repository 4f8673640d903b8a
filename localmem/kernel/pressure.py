"""Memory pressure: a warning while the window fills, eviction and a new summary when it is full (MemGPT, 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from localmem.kernel.context import MainContext
from localmem.kernel.prompts import aside, prompt
from localmem.kernel.settings import Settings
from localmem.kernel.summary import digest, unanswered
from localmem.memory.memory import Memory
from localmem.processor.interface import Completion, Limits, Processor, Prose, Segment, Shape
from localmem.records import Event, EventKind, Eviction, Item, Record

Complete = Callable[[Sequence[Segment], Shape, Limits], Completion]
"""Runs the processor to the end of a completion."""


class Pressure:
    """Keeps one agent's main context within its room."""

    def __init__(
        self,
        memory: Memory,
        processor: Processor,
        context: MainContext,
        settings: Settings,
        complete: Complete,
    ) -> None:
        self._memory, self._processor, self._context = memory, processor, context
        self._settings, self._complete = settings, complete

    def relieve(self, event: Event) -> Iterator[Item]:
        """Make room before a decode: yield the alert or the eviction that it took, if any."""
        context, limits = self._context, self._settings
        if limits.warn_at < context.pressure <= limits.evict_at and not context.alerted:
            text = prompt("alert").format(percent=round(100 * context.pressure))
            alert = self._memory.add(Event(EventKind.ALERT, text), event.turn)
            context.add(alert)
            yield alert
        if context.pressure > limits.evict_at:
            yield from self._evict(event)
        context.squeeze()

    def show_summary(self, event: Event) -> None:
        """Show the summary, and in it the event that is being worked on if it has left the queue."""
        summary = self._memory.summary()
        if event.id not in {record.id for record in self._context.queue}:
            summary += unanswered(event)
        self._context.show_summary(summary)

    def _evict(self, event: Event) -> Iterator[Item]:
        """Move the oldest records out of the queue; a summary takes their place."""
        before, leaving = self._context.used, self._context.leaving()
        if not leaving:
            return
        summary = self._summarise(leaving)
        stays = next(record for record in self._memory.queue() if record.id > leaving[-1].id)
        self._memory.evict(stays.id, summary)
        self._context.drop(leaving)
        self.show_summary(event)
        yield Eviction(len(leaving), summary, before, self._context.used)

    def _summarise(self, leaving: Sequence[Record]) -> str:
        """Return the new summary of the old one and what leaves, by the model or else by a digest.

        The model reads the beginning of the very prompt that is in its cache, so that only the instruction is
        evaluated.
        """
        tokens = int(self._context.room * self._settings.summary_share * 0.9)
        characters = 4 * tokens
        shown = self._context.prompt_of(leaving, aside("summarise", words=tokens * 2 // 3))
        old = self._memory.summary()
        if sum(map(len, shown)) + tokens > self._processor.window:
            return digest(leaving, old, characters)
        completion = self._complete(shown, Prose(characters), Limits(tokens, self._settings.sampling))
        text = "" if completion.cancelled else completion.text.strip()
        return text or digest(leaving, old, characters)
