"""Memory pressure: a warning while the window fills, eviction and a new summary when it is full (MemGPT, 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from localmem.kernel.context import MainContext
from localmem.kernel.lookahead import Asked, LookAhead
from localmem.kernel.prompts import aside, prompt
from localmem.kernel.settings import Settings
from localmem.kernel.summary import digest, summary_in
from localmem.memory.memory import Memory
from localmem.processor.interface import Completion, Generation, Limits, Processor, Prose
from localmem.records import Event, EventKind, Eviction, Record

Complete = Callable[[Generation], Completion]
"""Waits for a generation to come to its end."""


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
        self._ahead: LookAhead | None = None

    def warn(self, now: datetime) -> Iterator[Event]:
        """Tell the model before an event that the window fills; yield the alert, if there is one.

        Never within a turn: behind a question or what was found on it, a small model answers the alert instead.
        """
        context, limits = self._context, self._settings
        if limits.warn_at < context.pressure <= limits.evict_at and not context.alerted:
            text = prompt("alert").format(percent=round(100 * context.pressure))
            alert = self._memory.add(Event(EventKind.ALERT, text, created_at=now), 0)
            context.add(alert)
            yield alert

    def relieve(self, event: Event) -> Iterator[Eviction]:
        """Make room before a decode: yield the eviction that it took, if any."""
        if self._context.pressure > self._settings.evict_at:
            yield from self._evict(event)
            self._context.keep(event)
        self._context.squeeze()

    def look_ahead(self) -> None:
        """Begin what the next eviction will need, where it is near: a summary, then the prompt that will show it.

        Both are made while nobody waits for the processor; a turn that comes before they are ready goes first.
        """
        if self._context.pressure <= self._settings.prepare_at:
            return
        if self._ahead is None or not self._ahead.holds(self._context, self._memory.summary()):
            leaving = self._context.leaving()
            asked = self._summary_of(leaving) if leaving else None
            if asked is None:
                return
            self.forget_ahead()
            old, instead = self._memory.summary(), self._digest(leaving)
            self._ahead = LookAhead(self._processor, self._context, leaving, old, asked, instead)
            self._ahead.begin()
        else:
            self._ahead.read()

    def condense(self, event: Event) -> Iterator[Eviction]:
        """Evict what would leave at the next eviction, before the window is full; yield the eviction, if any."""
        if self._context.leaving():
            yield from self._evict(event)

    def forget_ahead(self) -> None:
        """Drop the eviction that was begun ahead: what it was made of is no longer what is on disk."""
        if self._ahead is not None:
            self._ahead.stop()
            self._ahead = None

    def _evict(self, event: Event) -> Iterator[Eviction]:
        """Move the oldest records out of the queue; a summary takes their place."""
        before, leaving = self._context.used, self._context.leaving()
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.holds(self._context, self._memory.summary()) and ahead.suffices():
            leaving, summary = ahead.leaving, ahead.summary(self._complete)
        else:
            summary = ""
            if ahead is not None:
                ahead.stop()
        if not leaving:
            return
        summary = summary or self._summarise(leaving)
        stays = next(record for record in self._memory.queue() if record.id > leaving[-1].id)
        self._memory.evict(stays.id, summary, event.turn)
        self._context.drop(leaving)
        self._context.show_summary(summary)
        yield Eviction(len(leaving), summary, before, self._context.used)

    def _summarise(self, leaving: Sequence[Record]) -> str:
        """Return the new summary of the old one and what leaves, by the model or else by a digest."""
        asked = self._summary_of(leaving)
        text = ""
        if asked is not None:
            completion = self._complete(self._processor.generate(*asked))
            text = summary_in(completion, self._context.blocks)
        return text or self._digest(leaving)

    def _digest(self, leaving: Sequence[Record]) -> str:
        return digest(leaving, self._memory.summary(), 4 * self._summary_tokens)

    @property
    def _summary_tokens(self) -> int:
        return int(self._context.room * self._settings.summary_share * 0.9)

    def _summary_of(self, leaving: Sequence[Record]) -> Asked | None:
        """Return what the model is asked for the new summary; None where that does not fit the window.

        It reads the beginning of the very prompt that is in its cache, so that only the instruction is evaluated;
        beside that prompt, which the next one goes on from.
        """
        tokens = self._summary_tokens
        shown = self._context.prompt_of(leaving, aside("summarise", words=tokens * 2 // 3))
        if sum(map(len, shown)) + tokens > self._processor.window:
            return None
        limits = Limits(tokens, self._settings.sampling, self._memory.name, ahead=True)
        return shown, Prose(4 * tokens), limits
