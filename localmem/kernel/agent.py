"""The loop: an event comes in, the model calls functions until it yields, every record is on disk first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime

from localmem.errors import BadInput, FunctionError, LocalmemError
from localmem.functions import executor
from localmem.functions.schema import Function
from localmem.kernel.arrival import login, stamped
from localmem.kernel.context import MainContext, Report
from localmem.kernel.policy import NOT_TOLD, Made, Policy
from localmem.kernel.pressure import Pressure
from localmem.kernel.prompts import ASIDE_TOKENS, prompt, question
from localmem.kernel.readahead import related, written
from localmem.kernel.settings import Settings
from localmem.memory.desk import Desk
from localmem.memory.memory import Memory
from localmem.processor.interface import Calls, Completion, Generation, Limits, Processor
from localmem.records import Call, Delta, Event, EventKind, Item, Result, Usage, spoken


class Agent:
    """One agent awake: its memory on disk, a processor, and the main context between them.

    `turn` and `resume` are iterators: the caller prints, and closing one cancels the turn and leaves the state
    sound. `functions` are offered beside the standard set. Raises WindowTooSmall when the processor's window
    leaves no room.
    """

    def __init__(
        self,
        memory: Memory,
        processor: Processor,
        settings: Settings,
        *,
        functions: Sequence[Function] = (),
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self.memory, self.processor, self.settings = memory, processor, settings
        self._clock = clock
        self._policy = Policy(settings, functions)
        self.context = MainContext(
            processor,
            settings,
            memory.system or prompt("system"),
            self._policy.functions,
            aside=ASIDE_TOKENS if settings.memory_step else 0,
        )
        self._pressure = Pressure(memory, processor, self.context, settings, self._complete)
        self._generation: Generation | None = None
        self._interrupted = False
        self.usage = Usage()
        self.context.load(memory)

    def turn(self, event: Event) -> Iterator[Item]:
        """Yield every record of one turn, until the model yields control.

        The event comes back with its id: from then on it is acknowledged, and no crash loses it. Raises BadInput
        for an empty or unstorable message before anything is stored. A timed event yields nothing while the agent
        has paused its heartbeats.
        """
        refuse_unusable(event)
        if event.kind in (EventKind.HEARTBEAT, EventKind.TIMER) and self.memory.paused():
            return
        self._interrupted = False
        counts, now = self.memory.counts(), self._clock()
        opening = login(counts, now, self.settings) if event.kind is EventKind.USER else None
        if opening is not None:
            opening = self.memory.add(opening, 0)
            self.context.add(opening)
            yield opening
        event = self.memory.open_turn(stamped(event, now, counts.last_active, self.settings))
        self.context.add(event)
        with self._closing(event):
            yield event
            yield from self._steps(event, [])

    def resume(self) -> Iterator[Item]:
        """Go on with the turn that a crash interrupted, if there is one; yields like `turn`."""
        turn = self.memory.unfinished()
        if turn is None:
            return
        self._interrupted = False
        results = {record.call: record for record in turn.records if isinstance(record, Result)}
        calls = [record for record in turn.records if isinstance(record, Call)]
        made = [(call, results[call.id]) for call in calls if call.id in results]
        with self._closing(turn.event):
            if len(calls) > len(made):
                yield calls[-1]
                final = self._is_last(made)
                shape = self._shape(turn.event, made, final)
                yield self._execute(turn.event, made, calls[-1], shape, final, crashed=True)
                if final or not self._policy.goes_on(turn.event, made):
                    return
            yield from self._steps(turn.event, made)

    def interrupt(self) -> None:
        """End the turn under way, keeping what was said; for signal handlers and any thread."""
        self._interrupted = True
        if self._generation is not None:
            self._generation.cancel()

    def look_ahead(self) -> None:
        """Prepare the next eviction while nobody waits; for the time after a turn."""
        self._pressure.look_ahead()

    def report(self) -> Report:
        """Return how the window is used, in tokens."""
        return self.context.report()

    def _steps(self, event: Event, made: list[Made]) -> Iterator[Item]:
        """The chain of calls that one event sets off; `made` holds those of this turn so far."""
        self.context.forget_ahead()
        self._pressure.show_summary(event)
        while True:
            final = self._is_last(made)
            if final or not self._policy.remembers(event, made):
                self._read_ahead(event, made)
            yield from self._pressure.relieve(event)
            shape = self._shape(event, made, final)
            call = yield from self._decide(event, shape)
            if call is None:
                return
            self.context.add(call)
            yield call
            yield self._execute(event, made, call, shape, final)
            if final or not self._policy.goes_on(event, made):
                return

    def _shape(self, event: Event, made: Sequence[Made], final: bool) -> Calls:
        return self._policy.shape(event, made, self.memory.blocks(), final, self._pointless())

    def _pointless(self) -> set[str]:
        """Return the searches that can find nothing: of an empty archive, of what all stands in the queue."""
        held = self.memory.counts()
        said = sum(bool(spoken(record)) for record in self.context.queue)
        nothing = set() if held.archival else {"archival_memory_search"}
        return nothing | (
            set() if held.recall > said else {"conversation_search", "conversation_search_date"}
        )

    def _read_ahead(self, event: Event, made: Sequence[Made]) -> None:
        """Put what memory holds on a person's message in front of it, once a turn.

        It comes behind the memory step, which would take what was read for something that the person told.
        """
        if not self.settings.read_ahead or event.kind is not EventKind.USER:
            return
        if self.context.has_read_ahead(event):
            return
        shown = [record.id for record in self.context.queue]
        lines = related(self.memory, event, self.memory.blocks(), shown, written(made))
        self.context.read_ahead(event, lines, self.settings.read_ahead)

    def _is_last(self, made: Sequence[Made]) -> bool:
        """Whether this step ends the chain: the limit of steps is reached, or that of errors in a row."""
        last = made[-self.settings.max_errors :]
        failing = len(last) == self.settings.max_errors and not any(result.ok for _, result in last)
        return failing or len(made) >= self.settings.max_steps - 1

    def _decide(self, event: Event, shape: Calls) -> Generator[Item, None, Call | None]:
        """Let the model choose its next call. Yields pieces of a message; returns the call, or None."""
        behind = [question(event.text, self.processor)] if shape.verdict else []
        limits = Limits(self.context.answer, self.settings.sampling, self.memory.name)
        shown = self.context.prompt(*behind)
        generation = self._under_way(self.processor.generate(shown, shape, limits))
        said, over = "", False
        try:
            for piece in generation:
                said += piece
                yield Delta(piece)
            over = not generation.completion.cancelled
        finally:
            self._generation = None
            self.usage += generation.completion.usage
            if not over:
                self._abandon(event, said)
        if not over:
            return None
        call, usage = generation.completion.call, generation.completion.usage
        if call is None:
            model = self.processor.abilities.model
            call = Call("", "", {}, ids=generation.completion.ids, model=model, usage=usage)
        aside = shape.verdict is not None and call.function in shape.verdict.answers
        return self.memory.add(replace(call, aside=aside), event.turn)

    def _execute(
        self, event: Event, made: list[Made], call: Call, shape: Calls, final: bool, crashed: bool = False
    ) -> Result:
        """Run a call: its effects, its result and the turn's progress commit together.

        What touches the outside cannot be undone: it runs before, and once only. `crashed` says that it may have
        run already.
        """
        shown = [record.id for record in self.context.queue]
        wrong = self._policy.objection(call, made, shown)
        outside = not wrong and self._policy.outside(call)
        told = self._reach_out(call, shape, crashed) if outside else None

        def work(desk: Desk) -> Result:
            if told is not None:
                return told
            if not wrong and self._policy.made_up(call, event):
                return Result(True, NOT_TOLD)
            return Result(not wrong, wrong or executor.run(call, shape.functions, shape.labels, desk))

        def closes(result: Result) -> bool:
            return final or not self._policy.goes_on(event, [*made, (call, result)])

        before = self.memory.blocks()
        result = self.memory.perform(call, work, close=closes)
        made.append((call, result))
        self.context.add(result)
        if call.function == "page_out" and result.ok:
            self.context.load(self.memory)
        elif (blocks := self.memory.blocks()) != before:
            self.context.show_core(blocks)
            self.context.forget_ahead()  # lines of core memory are among what was read
        return result

    def _reach_out(self, call: Call, shape: Calls, crashed: bool) -> Result:
        """Run a call that touches the outside; its record on disk says that it was started."""
        if crashed:
            return Result(False, "it is not known whether this was done: localmem stopped in its midst")
        try:
            return Result(True, executor.run(call, shape.functions, shape.labels, None))
        except FunctionError as error:
            return Result(False, str(error))

    def _abandon(self, event: Event, said: str) -> None:
        """Keep what had been said when a turn was interrupted, and close the turn."""
        if not said:
            self.memory.close_turn(event.turn)
            return
        call = self.memory.add(Call("", "send_message", {"message": said}, cut=True), event.turn)
        result = self.memory.perform(call, lambda desk: Result(True, "interrupted"), close=True)
        self.context.add(call)
        self.context.add(result)

    @contextmanager
    def _closing(self, event: Event) -> Iterator[None]:
        """Close the turn on disk when it ends before its time: its iterator is closed, or something fails.

        A call that has not run by then never will. A turn that was killed stays open, and is resumed.
        """
        try:
            yield
        except (GeneratorExit, KeyboardInterrupt, Exception):
            with suppress(LocalmemError):
                turn = self.memory.unfinished(event.turn)
                if turn is not None:
                    self._close(turn.records[-1], event.turn)
            raise

    def _close(self, last: Item, turn: int) -> None:
        if isinstance(last, Call):
            stopped = Result(False, "interrupted before it was done")
            self.context.add(self.memory.perform(last, lambda desk: stopped, close=True))
        else:
            self.memory.close_turn(turn)

    def _under_way(self, generation: Generation) -> Generation:
        """Let `interrupt` end a generation, even where it came before the start."""
        self._generation = generation
        if self._interrupted:
            generation.cancel()
        return generation

    def _complete(self, generation: Generation) -> Completion:
        """Run a generation that nobody watches to its end."""
        try:
            for _ in self._under_way(generation):
                pass
        finally:
            self._generation = None
            self.usage += generation.completion.usage
        return generation.completion


def refuse_unusable(event: Event) -> None:
    """Raise BadInput for an event whose text cannot be stored, or is an empty message."""
    if event.kind is EventKind.USER and not event.text.strip():
        raise BadInput("the message is empty: write something")
    try:
        event.text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"the message holds half a character (position {error.start}): paste it again, as UTF-8"
        ) from None
