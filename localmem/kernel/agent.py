"""The loop: an event comes in, the model calls functions until it yields, every record is on disk first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from threading import Lock

from localmem.errors import LocalmemError
from localmem.functions import executor
from localmem.functions.schema import Function
from localmem.functions.standard import TELLS
from localmem.kernel.arrival import login, refuse_unusable, stamped
from localmem.kernel.chain import Chain, Step
from localmem.kernel.context import MainContext, Report
from localmem.kernel.outside import UNKNOWN, Outside, Peers, Permit, alone, refused
from localmem.kernel.policy import NOT_TOLD, Made, Policy, pointless
from localmem.kernel.pressure import Pressure
from localmem.kernel.prompts import ASIDE_TOKENS, prompt, question
from localmem.kernel.readahead import related, written
from localmem.kernel.reading import Reader
from localmem.kernel.settings import Settings
from localmem.kernel.tidy import NOTE, STEPS, Tidy, is_tidying, plan
from localmem.memory.desk import Desk
from localmem.memory.events import TIMED
from localmem.memory.memory import Memory, Turn
from localmem.processor.interface import Completion, Generation, Limits, Processor
from localmem.records import Block, Call, Delta, Event, EventKind, Item, Result, Usage

RECENT = 200
"""Records in front of a turn among which messages are looked for that had given way."""


class Agent:
    """One agent awake: its memory on disk, a processor, and the main context between them.

    `turn` and `resume` are iterators: the caller prints, and closing one cancels the turn and leaves the state
    sound. `functions` are offered beside the standard set; one that says what it touches runs only where `permit`
    returns "" for its call, and is refused with the text it returns otherwise. Raises WindowTooSmall when the
    processor's window leaves no room.
    """

    def __init__(
        self,
        memory: Memory,
        processor: Processor,
        settings: Settings,
        *,
        functions: Sequence[Function] = (),
        permit: Permit = refused,
        peers: Peers = alone,
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self.memory, self.processor, self.settings = memory, processor, settings
        self._clock = clock
        self._policy = Policy(settings, functions)
        self._outside = Outside(memory, permit, peers, lambda: self._stops)
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
        self._calling, self._called, self._heard = Lock(), 0, 0
        self.usage = Usage()
        self._reader = Reader(memory.readings, processor, settings, self._complete)
        self.context.load(memory)
        self._edition = memory.edition

    def submit(self, event: Event) -> Event:
        """Commit an event to the queue, which acknowledges it, and return it with its ticket; from any thread.

        What a person says stops the turn under way, at its next call or inside the generation: the half-made call
        is dropped, and the turn is set aside to be gone on with. Raises BadInput and UsageError before anything is
        stored.
        """
        refuse_unusable(event)
        event = self.memory.submit(event)
        if event.kind is EventKind.USER:
            with self._calling:
                self._called = max(self._called, event.ticket)
            generation = self._generation
            if self._gives_way and generation is not None:
                generation.cancel()
        return event

    def next_event(self) -> Event | None:
        """Return the event of the queue whose turn is next, due timers included; None when none is to run now.

        `turn` takes it from the queue. `Inbox.next_due` says when the next timer is due.
        """
        return self.memory.inbox.next()

    def turn(self, event: Event) -> Iterator[Item]:
        """Yield every record of one turn, until the model yields control or a person says something (`submit`).

        The event, from the queue or not, comes back with its id: from then on it is acknowledged, and no crash
        loses it. Raises BadInput for an empty or unstorable message before anything is stored, and UsageError
        for an event that has left the queue. A timed event yields nothing while the agent has paused its
        heartbeats: it waits in the queue.
        """
        refuse_unusable(event)
        if event.kind in TIMED and self.memory.paused():
            if not event.ticket:
                self.memory.submit(event)
            return
        self._catch_up()
        if is_tidying(event):
            yield from self.tidy(event=event)
            return
        self._interrupted = False
        reading = self.memory.readings.driven_by(event)
        if reading is not None:
            self._heard = self._called
            yield from self._reader.step(reading)
            return
        if event.kind is EventKind.HEARTBEAT and self.memory.readings.let_go(event):
            return
        self._heard = max(self._called, event.ticket if event.kind is EventKind.USER else 0)
        counts, now = self.memory.counts(), self._clock()
        interrupts = any(turn.latest for turn in self.memory.inbox.interrupted())
        opening = login(counts, now, self.settings) if event.kind is EventKind.USER else None
        if opening is not None:
            opening = self.memory.add(opening, 0)
            self.context.add(opening)
            yield opening
        yield from self._pressure.warn(now)
        event = self.memory.open_turn(stamped(event, now, counts.last_active, self.settings, interrupts))
        self.context.add(event)
        with self._closing(event):
            yield event
            again = self.memory.unfinished(event.turn) if event.turn != event.id else None
            yield from self._pick_up(again) if again else self._steps(self._chain(event))

    def read_on(self, number: int) -> Iterator[Item]:
        """Go on with a reading to its end, or until it is interrupted; yield each step. Raises UsageError."""
        self._interrupted, self._heard = False, self._called
        while (reading := self.memory.readings.get(number)).state == "open":
            if self._stops:
                return
            yield from self._reader.step(reading)

    def tidy(self, steps: int = STEPS, event: Event | None = None) -> Iterator[Item]:
        """Tidy memory in a turn of its own, which `undo` takes back; yields its records, `tidy.changes` tells them.

        It stops at any time: closing the iterator and `interrupt` keep what was done. Without an event, nothing
        is stored where there is nothing to be done.
        """
        self._interrupted = False
        self._heard = self._called
        self._catch_up()
        if event is None and not plan(self.memory) and not self.context.leaving():
            return
        asked = replace(event or Event(EventKind.TIDY, NOTE), kind=EventKind.TIDY)
        asked = self.memory.open_turn(replace(asked, created_at=self._clock()))
        work = Tidy(self.memory, self.processor, self.settings, self._complete, self._pressure.condense)
        try:
            with self._closing(asked):
                for item in work.run(asked, steps):
                    yield item
                    if self._stops:
                        break
                if (turn := self.memory.unfinished(asked.turn)) is not None:
                    self._close(turn.records[-1], asked.turn)
        finally:
            self.reload()

    def resume(self) -> Iterator[Item]:
        """Go on with the turn that a crash interrupted, if there is one; yields like `turn`."""
        turn = self.memory.unfinished()
        if turn is None:
            return
        self._catch_up()
        if turn.event.kind is EventKind.TIDY:
            self._close(turn.records[-1], turn.id)
            return
        self._interrupted = False
        self._heard = self._called
        yield from self._pick_up(turn)

    def _pick_up(self, turn: Turn) -> Iterator[Item]:
        """Go on with an open turn where it was left."""
        results = {record.call: record for record in turn.records if isinstance(record, Result)}
        calls = [record for record in turn.records if isinstance(record, Call)]
        made = [(call, results[call.id]) for call in calls if call.id in results]
        with self._closing(turn.event):
            if len(calls) == len(made):
                yield from self._steps(self._chain(turn.event, made))
                return
            yield calls[-1]
            chain = self._chain(turn.event, made, before=calls[-1].id)
            step = self._step(chain, chain.asked(calls[-1]))
            yield self._execute(chain, step, calls[-1], crashed=True)
            if not step.final:
                yield from self._steps(chain)

    def interrupt(self) -> None:
        """End the turn under way, keeping what was said; for signal handlers and any thread."""
        self._interrupted = True
        if self._generation is not None:
            self._generation.cancel()

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` ended the last turn, or will end the one under way."""
        return self._interrupted

    def look_ahead(self) -> None:
        """Prepare the next eviction while nobody waits; for the time after a turn."""
        self._pressure.look_ahead()

    def reload(self) -> None:
        """Show what is on disk: it was changed from outside a turn, or a turn was taken back."""
        self._edition = self.memory.edition
        self.context.load(self.memory)
        self.context.forget_ahead()
        self._pressure.forget_ahead()

    def _catch_up(self) -> None:
        if self._edition != self.memory.edition:
            self.reload()

    def report(self) -> Report:
        """Return how the window is used, in tokens."""
        return self.context.report()

    @property
    def functions(self) -> tuple[Function, ...]:
        """What the model may call: the standard set, and those that the agent was given beside it."""
        return self._policy.functions

    @property
    def _gives_way(self) -> bool:
        """Whether a person said something since the turn under way began: `_called` and `_heard` are tickets."""
        return self._called > self._heard

    @property
    def _stops(self) -> bool:
        """Whether the turn under way is to end."""
        return self._interrupted or self._gives_way

    def _chain(self, event: Event, made: Sequence[Made] = (), before: int | None = None) -> Chain:
        """Return the chain of an event as it stood before a record, else as it stands."""
        person = event.kind is EventKind.USER
        recent = self.memory.records(max(0, event.turn - RECENT)) if person else ()
        return Chain(self._policy, event, [r for r in recent if before is None or r.id < before], made)

    def _steps(self, chain: Chain) -> Iterator[Item]:
        """Let the model make one call after the other, to the end of the chain."""
        event = chain.event
        self.context.forget_ahead()
        self.context.keep(event)
        while True:
            if chain.over or (chain.answered and self._gives_way):
                self.memory.close_turn(event.turn)
                return
            if self._gives_way:
                self.memory.inbox.set_aside(event.turn)
                return
            self._show_edits()
            about = chain.about()
            if chain.answered:
                self.context.forget_ahead()  # it would be taken for something that the person told
            elif about is None:
                self._read_ahead(chain)
            yield from self._pressure.relieve(event)
            step = self._step(chain, about)
            call = yield from self._decide(event, step)
            if call is None:
                return
            self.context.add(call)
            yield call
            yield self._execute(chain, step, call)
            if step.final or chain.over:
                return

    def _step(self, chain: Chain, about: Event | None) -> Step:
        offered = {function.name for function in self._policy.functions}
        others = self.memory.others() if TELLS in offered else ()
        void = pointless(self.memory, self.context.queue, offered)
        final, blocks = chain.final, self.context.blocks
        shape = self._policy.shape(chain.event, chain.made, blocks, final, about, void, others)
        return Step(shape, about, final, chain.answered)

    def _show_edits(self) -> None:
        """Show core memory anew if it is no longer what the prompt says: a block may be shared with others."""
        blocks = self.memory.blocks()
        if blocks != self.context.blocks:
            self.context.show_core(blocks)
            self.context.forget_ahead()  # lines of core memory are among what was read

    def _read_ahead(self, chain: Chain) -> None:
        """Put what memory holds on a person's message in front of it, once a turn.

        It comes behind the memory step, which would take what was read for something that the person told.
        """
        event = chain.event
        if not self.settings.read_ahead or event.kind is not EventKind.USER:
            return
        if self.context.has_read_ahead(event):
            return
        shown = [record.id for record in self.context.queue]
        lines = related(self.memory, event, self.memory.blocks(), shown, written(chain.made))
        self.context.read_ahead(event, lines, self.settings.read_ahead)

    def _decide(self, event: Event, step: Step) -> Generator[Item, None, Call | None]:
        """Let the model choose its next call. Yields pieces of a message; returns the call, or None."""
        behind = [question(step.about.text, self.processor)] if step.about else []
        limits = Limits(self.context.answer, self.settings.sampling, self.memory.name)
        shown = self.context.prompt(*behind)
        generation = self._under_way(self.processor.generate(shown, step.shape, limits))
        said, over = "", False
        try:
            for piece in generation:
                said += piece
                yield Delta(piece)
            over = not generation.completion.cancelled
        finally:
            self._generation = None
            self.usage += generation.completion.usage
            if not over and self._gives_way and not self._interrupted and not step.answered:
                self.memory.inbox.set_aside(event.turn)
            elif not over:
                self._abandon(event, said)
        if not over:
            return None
        call, usage = generation.completion.call, generation.completion.usage
        if call is None:
            model = self.processor.abilities.model
            call = Call("", "", {}, ids=generation.completion.ids, model=model, usage=usage)
        verdict = step.shape.verdict
        aside = verdict is not None and call.function in verdict.answers
        return self.memory.add(replace(call, aside=aside), event.turn)

    def _execute(self, chain: Chain, step: Step, call: Call, crashed: bool = False) -> Result:
        """Run a call: its effects, its result and the turn's progress commit together.

        What needs no desk runs before; what touches the outside cannot be undone, and runs once only. `crashed`
        says that it may have run already.
        """
        shape, shown = step.shape, [record.id for record in self.context.queue]
        wrong = self._policy.objection(call, chain.made, shown)
        function = self._policy.named(call)
        apart = function is None or function.outside or not function.desk
        told = self._outside.run(call, shape, crashed) if apart and not wrong else None

        def work(desk: Desk) -> Result:
            if told is not None:
                return told
            if not wrong and self._policy.made_up(call, step.about):
                return Result(True, NOT_TOLD)
            desk.saw(seen)
            return Result(not wrong, wrong or executor.run(call, shape.functions, shape.labels, desk))

        if call.function == TELLS and not wrong:
            self._outside.await_answer(call, shape)
        seen = self._seen_by(call) if crashed else self.context.blocks
        result = self.memory.perform(call, work, close=lambda result: chain.ends_with(step, call, result))
        chain.made.append((call, result))
        self.context.add(result)
        if call.function == "page_out" and result.ok:
            self.context.load(self.memory)
        self._show_edits()
        self._outside.stir(chain.event, call, result)
        return result

    def _seen_by(self, call: Call) -> list[Block]:
        """Return the blocks as they were when a call was made: since the crash others may have edited them."""
        versions = self.memory.block_versions()
        seen = {
            v.block.label: v.block for v in versions if not call.created_at or v.created_at <= call.created_at
        }
        return list(seen.values())

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
            stopped = Result(
                False, UNKNOWN if self.memory.started(last) else "interrupted before it was done"
            )
            self.context.add(self.memory.perform(last, lambda desk: stopped, close=True))
        else:
            self.memory.close_turn(turn)

    def _under_way(self, generation: Generation) -> Generation:
        """Let `interrupt` end a generation, even where it came before the start."""
        self._generation = generation
        if self._stops:
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
