"""The loop: an event comes in, the model calls functions until it yields, every record is on disk first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files

from localmem.errors import BadInput, FunctionError
from localmem.functions import executor
from localmem.functions.schema import Function
from localmem.functions.standard import EDITS_CORE, WRITES
from localmem.kernel.context import MainContext, Report
from localmem.kernel.policy import Policy, writable
from localmem.kernel.settings import Settings
from localmem.kernel.summary import digest, unanswered
from localmem.memory.desk import Desk
from localmem.memory.memory import Memory
from localmem.processor.interface import Generation, Limits, Processor, Prose
from localmem.records import Call, Delta, Event, EventKind, Eviction, Item, Record, Result, Usage


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
            processor, settings, memory.system or prompt("system"), self._policy.functions
        )
        self._generation: Generation | None = None
        self._interrupted = False
        self.usage = Usage()
        self._reload()

    def turn(self, event: Event) -> Iterator[Item]:
        """Yield every record of one turn, until the model yields control.

        The first item is the event itself, with its id: from then on it is acknowledged, and no crash loses
        it. Raises BadInput for an empty message before anything is stored. A timed event yields nothing while
        the agent has paused its heartbeats.
        """
        if event.kind is EventKind.USER and not event.text.strip():
            raise BadInput("the message is empty: write something")
        if event.kind in (EventKind.HEARTBEAT, EventKind.TIMER) and self.memory.paused():
            return
        self._interrupted = False
        event = self._stamped(event)
        yield from self._login(event)
        event = self.memory.open_turn(event)
        self.context.add(event)
        with self._cancelled_by_closing(event):
            yield event
            yield from self._steps(event, 0, [])

    def resume(self) -> Iterator[Item]:
        """Go on with the turn that a crash interrupted, if there is one; yields like `turn`."""
        turn = self.memory.unfinished()
        if turn is None:
            return
        self._interrupted = False
        answered = {record.call for record in turn.records if isinstance(record, Result)}
        calls = [record for record in turn.records if isinstance(record, Call)]
        with self._cancelled_by_closing(turn.event):
            steps = turn.steps
            if calls and calls[-1].id not in answered:
                steps += 1
                final = steps >= self.settings.max_steps
                result = self._execute(turn.event, calls, final, crashed=True)
                yield result
                if final or not self._policy.goes_on(turn.event, calls, result):
                    return
            yield from self._steps(turn.event, steps, calls)

    def interrupt(self) -> None:
        """End the turn under way, keeping what was said; for signal handlers and any thread."""
        self._interrupted = True
        if self._generation is not None:
            self._generation.cancel()

    def report(self) -> Report:
        """Return how the window is used, in tokens."""
        return self.context.report()

    def _steps(self, event: Event, start: int, calls: list[Call]) -> Iterator[Item]:
        """The chain of calls that one event sets off; `calls` are those made already."""
        errors = 0
        for step in range(start, max(start + 1, self.settings.max_steps)):
            yield from self._relieve_pressure(event)
            final = step >= self.settings.max_steps - 1 or errors >= self.settings.max_errors
            call = yield from self._decide(event, calls, final)
            if call is None:
                return
            self.context.add(call)
            calls.append(call)
            yield call
            result = self._execute(event, calls, final)
            yield result
            errors = 0 if result.ok else errors + 1
            if final or not self._policy.goes_on(event, calls, result):
                return

    def _decide(self, event: Event, calls: list[Call], final: bool) -> Generator[Item, None, Call | None]:
        """Let the model choose its next call. Yields pieces of a message; returns the call, or None."""
        shape = self._policy.shape(event, calls, self.memory.blocks(), final)
        behind = [self._aside("remember", message=quoted(event.text))] if shape.verdict else []
        room = self.processor.window - sum(map(len, self.context.prompt(*behind)))
        limits = Limits(min(self.context.answer, room), self.settings.sampling)
        generation = self.processor.generate(self.context.prompt(*behind), shape, limits)
        self._generation = generation
        if self._interrupted:
            generation.cancel()
        said = ""
        try:
            for piece in generation:
                said += piece
                yield Delta(piece)
        finally:
            self._generation = None
            completion = generation.completion
            self.usage += completion.usage
            if completion.cancelled:
                self._abandon(event, said)
        if completion.cancelled:
            return None
        if completion.call is None:
            model = self.processor.abilities.model
            written = Call("", "", {}, ids=completion.ids, model=model, usage=completion.usage)
        else:
            written = replace(completion.call, aside=shape.verdict is not None)
        return self.memory.add(written, event.turn)

    @contextmanager
    def _cancelled_by_closing(self, event: Event) -> Iterator[None]:
        """Close the turn on disk when its iterator is closed: a call that did not run yet never will."""
        try:
            yield
        except GeneratorExit:
            turn = self.memory.unfinished()
            if turn is not None and turn.id == event.turn:
                last = turn.records[-1]
                if isinstance(last, Call):
                    stopped = Result(False, "interrupted before it ran")
                    self.context.add(self.memory.perform(last, lambda desk: stopped, close=True))
                else:
                    self.memory.close_turn(turn.id)
            raise

    def _abandon(self, event: Event, said: str) -> None:
        """Keep what had been said when a turn was interrupted, and close the turn."""
        if not said:
            self.memory.close_turn(event.turn)
            return
        call = self.memory.add(Call("", "send_message", {"message": said}, cut=True), event.turn)
        result = self.memory.perform(call, lambda desk: Result(True, "interrupted"), close=True)
        self.context.add(call)
        self.context.add(result)

    def _execute(self, event: Event, calls: list[Call], final: bool, crashed: bool = False) -> Result:
        """Run the last call: its effects, its result and the turn's progress commit together.

        What touches the outside cannot be undone: it runs first, and once only. `crashed` says that it may have
        run already.
        """
        call, labels = calls[-1], writable(self.memory.blocks())
        told = self._reach_out(call, labels, crashed) if self._policy.outside(call) else None

        def work(desk: Desk) -> Result:
            if told is not None:
                return told
            if not call.function:
                return Result(False, "that was no function call; write one as described", call.id)
            if any((made.function, made.arguments) == (call.function, call.arguments) for made in calls[:-1]):
                return Result(False, "you did exactly this already; its result stands above", call.id)
            if call.cut and call.function in WRITES:
                return Result(False, "too long: it was cut and nothing was kept; say it shorter", call.id)
            return Result(True, executor.run(call, self._policy.functions, labels, desk), call.id)

        result = self.memory.perform(
            call, work, close=lambda result: final or not self._policy.goes_on(event, calls, result)
        )
        self.context.add(result)
        if call.function in EDITS_CORE and result.ok:
            self.context.show_core(self.memory.blocks())
        if call.function == "page_out" and result.ok:
            self._reload()
        return result

    def _reach_out(self, call: Call, labels: tuple[str, ...], crashed: bool) -> Result:
        """Run a call that touches the outside; its record on disk says that it was started."""
        if crashed:
            return Result(
                False, "it is not known whether this was done: localmem stopped in its midst", call.id
            )
        try:
            return Result(True, executor.run(call, self._policy.functions, labels, None), call.id)
        except FunctionError as error:
            return Result(False, str(error), call.id)

    def _relieve_pressure(self, event: Event) -> Iterator[Item]:
        """Warn once when the window fills, and evict when it is full."""
        pressure, limits = self.context.pressure, self.settings
        if limits.warn_at < pressure <= limits.evict_at and not self.context.alerted:
            text = prompt("alert").format(percent=round(100 * pressure))
            alert = self.memory.add(self._stamped(Event(EventKind.ALERT, text)), event.turn)
            self.context.add(alert)
            yield alert
        if self.context.pressure > limits.evict_at:
            yield from self._evict(event)
        self.context.squeeze()

    def _evict(self, event: Event) -> Iterator[Item]:
        """Move the oldest records out of the queue; a summary takes their place."""
        before, leaving = self.context.used, self.context.leaving()
        if not leaving:
            return
        summary = self._summarise(leaving)
        self.context.drop(leaving)
        if event.id not in {record.id for record in self.context.queue}:
            summary += unanswered(event)
        stays = [record for record in self.memory.queue() if record.id > leaving[-1].id]
        self.memory.evict(stays[0].id, summary)
        self.context.show_summary(summary)
        yield Eviction(len(leaving), summary, before, self.context.used)

    def _summarise(self, leaving: Sequence[Record]) -> str:
        """Return the new summary of the old one and what leaves, by the model or else by a digest.

        The model reads the beginning of the very prompt that is in its cache, so that only the instruction is
        evaluated.
        """
        tokens = int(self.context.room * self.settings.summary_share * 0.9)
        characters = 4 * tokens
        instruction = self._aside("summarise", words=tokens * 2 // 3)
        shown = self.context.prompt_of(leaving, instruction)
        if sum(map(len, shown)) + tokens > self.processor.window:
            return digest(leaving, self.memory.summary(), characters)
        generation = self.processor.generate(shown, Prose(characters), Limits(tokens, self.settings.sampling))
        self._generation = generation
        try:
            for _ in generation:
                pass
        finally:
            self._generation = None
        self.usage += generation.completion.usage
        text = generation.completion.text.strip()
        if generation.completion.cancelled or not text:
            return digest(leaving, self.memory.summary(), characters)
        return text

    def _login(self, event: Event) -> Iterator[Item]:
        """Tell the model, once a session, how long it has been and what it holds. Costs no inference."""
        counts = self.memory.counts()
        quiet = timedelta(minutes=self.settings.quiet_minutes)
        if event.kind is not EventKind.USER or event.created_at is None:
            return
        if counts.last_active is not None and event.created_at - counts.last_active < quiet:
            return
        text = "You meet this person for the first time."
        if counts.last_active is not None:
            away = event.created_at - counts.last_active
            text = f"The person is back after {ago(away)}."
        text += f" Recall storage: {counts.recall} messages. Archival memory: {counts.archival} passages."
        note = f"{event.created_at:%Y-%m-%d %H:%M %A}"
        login = self.memory.add(Event(EventKind.LOGIN, text, note, created_at=event.created_at), 0)
        self.context.add(login)
        yield login

    def _stamped(self, event: Event) -> Event:
        """Return the event with the time, and with the time in its note when the last record is older."""
        now = self._clock()
        last = self.memory.counts().last_active
        note = event.note
        if not note and last is not None:
            away = now - last
            minutes = away / timedelta(minutes=1)
            if self.settings.clock_minutes <= minutes < self.settings.quiet_minutes:
                note = f"{now:%Y-%m-%d %H:%M}"
        return Event(event.kind, event.text, note, created_at=now)

    def _aside(self, name: str, **values: object) -> Event:
        """Return an instruction of the kernel that is shown once and kept nowhere."""
        return Event(EventKind.ALERT, prompt(name).format(**values))

    def _reload(self) -> None:
        """Build the main context from what is on disk."""
        self.context.show_core(self.memory.blocks())
        self.context.show_summary(self.memory.summary())
        self.context.show_queue(self.memory.queue())


def quoted(text: str) -> str:
    """Return a message on one line, short enough to be shown a second time."""
    words = " ".join(text.split())
    return words if len(words) <= 400 else f"{words[:250]} ... {words[-150:]}"


def ago(away: timedelta) -> str:
    """Return a span of time in words, in its largest unit."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(away.total_seconds() // seconds)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"


@cache
def prompt(name: str) -> str:
    """Return one of the kernel's prompts, a text file beside this one."""
    return (files("localmem.kernel") / f"{name}.txt").read_text("utf-8").strip() + "\n"
