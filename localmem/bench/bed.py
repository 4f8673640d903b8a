"""What a system answers on: a model that begins every case alike, and the agent's instructions for a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localmem.bench.case import Task
from localmem.kernel.prompts import prompt
from localmem.processor.interface import Segment
from localmem.trace import Tracer

if TYPE_CHECKING:
    from localmem.processor.engine import LlamaProcessor


class Bed:
    """A loaded model that begins every case in the same state: what never changes of the prompt is cached.

    The static ids are evaluated once, in chunks, on an empty cache; `rest` cuts the cache back to them. So a
    case's result does not depend on the cases before it, and costs only what is its own.
    """

    def __init__(self, processor: LlamaProcessor, static: Sequence[Segment]) -> None:
        self.processor = processor
        self.tracer = Tracer(processor)
        self.static = [token for segment in static for token in segment.ids]

    def rest(self) -> None:
        """Bring the cache into the state in which every case begins."""
        self.processor.begin_with(self.static)


def instructions(task: Task) -> str:
    """Return the agent's instructions for a task: its own, and behind them what the protocol tells it."""
    return "\n".join(filter(None, (prompt("system").rstrip(), task.instructions))) + "\n"
