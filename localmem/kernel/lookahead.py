"""The look-ahead: a summary made before the eviction that needs it, and the prompt behind it already evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import RLock

from localmem.kernel.context import MainContext
from localmem.kernel.summary import summary_in
from localmem.processor.interface import Completion, Generation, Limits, Processor, Prose, Segment, Shape
from localmem.records import Record

Asked = tuple[Sequence[Segment], Shape, Limits]
"""Prompt, shape and limits of a generation."""

NOTHING = Prose(1)
"""The shape of a prompt that is only evaluated."""


class LookAhead:
    """The summary of records that will leave next, in the making. `old` is the summary it takes the place of.

    `instead` is the summary where the model writes none that is of use.
    """

    def __init__(
        self,
        processor: Processor,
        context: MainContext,
        leaving: Sequence[Record],
        old: str,
        asked: Asked,
        instead: str,
    ) -> None:
        self.leaving = tuple(leaving)
        self._processor, self._context, self._old, self._instead = processor, context, old, instead
        shown, shape, self._limits = asked
        self._generation = processor.generate(shown, shape, self._limits)
        self._reading: Generation | None = None
        self._reads, self._one = True, RLock()  # `read` is called here and where the summary is generated

    def begin(self) -> None:
        """Start it; when the summary is there, the prompt that will show it is evaluated."""
        self._generation.start(self.read)

    def read(self) -> None:
        """Evaluate the prompt as it will stand after the eviction; what was evaluated of it before stays."""
        with self._one:
            text = self._text() if self._reads and self._generation.over else ""
            if not text or (self._reading is not None and not self._reading.over):
                return
            shown = self._context.prompt_without(self.leaving, text)
            if sum(map(len, shown)) < self._processor.window:
                self._reading = self._processor.generate(shown, NOTHING, replace(self._limits, tokens=0))
                self._reading.start()

    def stop(self) -> None:
        """It is not needed any more: what is under way ends, and what was evaluated stays."""
        self._stop_reading()
        self._generation.cancel()

    def holds(self, context: MainContext, old: str) -> bool:
        """Whether it is still what an eviction would need: its records are the oldest, the summary the same."""
        oldest = context.queue[: len(self.leaving)]
        return old == self._old and [r.id for r in oldest] == [r.id for r in self.leaving]

    def suffices(self) -> bool:
        """Whether the eviction of its records makes room enough."""
        return self._context.pressure_without(self.leaving) <= ENOUGH

    def summary(self, complete: Callable[[Generation], Completion]) -> str:
        """Return the summary, waiting for it if need be; "" where it was stopped. What waited for it is not done."""
        self._stop_reading()
        complete(self._generation)
        return self._text()

    def _stop_reading(self) -> None:
        with self._one:
            self._reads = False
            if self._reading is not None:
                self._reading.cancel()

    def _text(self) -> str:
        done = self._generation.completion
        return "" if done.cancelled else summary_in(done, self._context.blocks) or self._instead


ENOUGH = 0.85
"""Pressure to which an eviction prepared earlier has to bring the window; above it one is made anew."""
