"""What the next call may be, and whether the model runs again: the state narrows both."""

from __future__ import annotations

from collections.abc import Sequence

from localmem.functions.schema import Function
from localmem.functions.standard import EDITS_CORE, SILENT, function_set
from localmem.kernel.settings import Settings
from localmem.processor.interface import Calls, Verdict
from localmem.records import Block, Call, Event, EventKind, Result

VERDICT = "tells_a_fact"
"""The question of the memory step, as a field of its calls: yes leads to an edit, no to nothing."""

SELF = "persona"
"""The block about the agent itself; what a person tells about the world goes elsewhere."""


class Policy:
    """The rules of one agent's turns, from its settings; `own` are functions beside the standard set."""

    def __init__(self, settings: Settings, own: Sequence[Function] = ()) -> None:
        self._settings = settings
        self._standard = (*function_set(settings.functions), *own)
        self._remembering = function_set("memory") if settings.memory_step else ()
        answers = {f.name: "no" if f.name in SILENT else "yes" for f in self._remembering}
        self._verdict = Verdict(VERDICT, answers)
        self.functions: tuple[Function, ...] = tuple(
            {function.name: function for function in (*self._standard, *self._remembering)}.values()
        )

    def outside(self, call: Call) -> bool:
        """Return whether a call touches more than the agent's memory."""
        return any(function.outside for function in self.functions if function.name == call.function)

    def remembers(self, event: Event, calls: Sequence[Call], final: bool) -> bool:
        """Return whether this is the memory step, which stands before everything else in a person's turn."""
        return bool(self._remembering) and event.kind is EventKind.USER and not calls and not final

    def shape(self, event: Event, calls: Sequence[Call], blocks: Sequence[Block], final: bool) -> Calls:
        """Return what the next call may be; on the last step of a chain only a message."""
        labels = writable(blocks)
        remembering = self.remembers(event, calls, final)
        if remembering:
            labels = tuple(label for label in labels if label != SELF) or labels
            offered = self._remembering
        elif final:
            offered = tuple(function for function in self._standard if function.name == "send_message")
        elif self._remembering:
            offered = tuple(function for function in self._standard if function.name not in EDITS_CORE)
        else:
            offered = self._standard
        return Calls(
            tuple(function for function in offered if function.callable_with(labels)),
            thought=self._settings.thought,
            heartbeat=self._settings.heartbeat == "asked",
            labels=labels,
            bias=self._settings.bias,
            verdict=self._verdict if remembering else None,
        )

    def goes_on(self, event: Event, calls: Sequence[Call], result: Result) -> bool:
        """Return whether the model runs again before the next event (a heartbeat).

        A failed call always goes on, so that the model reads the error; and a person's turn does not end
        before the person was answered, whatever the model asked for.
        """
        answered = any(call.function == "send_message" for call in calls)
        if not result.ok or (event.kind is EventKind.USER and not answered):
            return True
        if self._settings.heartbeat == "asked":
            return calls[-1].heartbeat
        return calls[-1].function != "send_message"


def writable(blocks: Sequence[Block]) -> tuple[str, ...]:
    """Return the labels of the blocks that the model may edit."""
    return tuple(block.label for block in blocks if not block.read_only)
