"""The chain of calls that an event sets off: what was made so far, and what is still to be asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localmem.kernel.policy import Made, Policy
from localmem.processor.interface import Calls
from localmem.records import Call, Event, Record, Result


@dataclass(frozen=True, slots=True)
class Step:
    """The call that comes next, in its `shape`; on the last step (`final`) of a chain it is a message.

    `about` is the message that it asks about where it is a memory step; `answered` says that the event needs no
    more calls: then there is nothing to go on with where a person interrupts.
    """

    shape: Calls
    about: Event | None
    final: bool
    answered: bool


class Chain:
    """The calls that a turn has `made`, held to a policy; `recent` are the newest records, of whole turns or not."""

    def __init__(
        self, policy: Policy, event: Event, recent: Sequence[Record], made: Sequence[Made] = ()
    ) -> None:
        self.event, self.made = event, [*made]
        self._policy, self._unasked = policy, policy.unasked(event, recent)

    @property
    def final(self) -> bool:
        """Whether the next step ends the chain: the limit of steps is reached, or that of errors in a row."""
        return self._policy.is_last(self.made)

    @property
    def answered(self) -> bool:
        """Whether the event needs no more calls."""
        return not self._policy.goes_on(self.event, self.made)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to be done in this turn."""
        return self.answered and (self.final or not self._unasked)

    def about(self) -> Event | None:
        """Take the message that the next step is to ask about, None where it asks about none.

        Messages that had given way come behind the answer: who wrote last has it then.
        """
        if not self._unasked or self.final:
            return None
        own = self._unasked[0].turn == self.event.turn
        return self._unasked.pop(0) if own or self.answered else None

    def asked(self, call: Call) -> Event | None:
        """Take the message that a call which was made, but has not run, had asked about."""
        if not call.aside:
            return None
        return self._unasked.pop(0) if self._unasked else self.event

    def ends_with(self, step: Step, call: Call, result: Result) -> bool:
        """Return whether the turn is to be closed with the result of a call."""
        made = [*self.made, (call, result)]
        answered = not self._policy.goes_on(self.event, made)
        return step.final or (answered and (not self._unasked or self._policy.is_last(made)))
