"""Our agent as a system: its tiers prepared, a turn of its own loop as the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localmem.answer import Answer
from localmem.bench.bed import Bed, instructions
from localmem.bench.case import Case, Material, Outcome, Step, Task
from localmem.bench.prepared import Clock, Doing, Shelf, record, unheard
from localmem.errors import FunctionError
from localmem.functions import executor
from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.memory.memory import Memory
from localmem.processor.interface import (
    Abilities,
    Calls,
    Completion,
    Encodable,
    Generation,
    Limits,
    Processor,
    Segment,
    Shape,
)
from localmem.records import Call, Event, EventKind, Result, Usage
from localmem.trace import Trace

if TYPE_CHECKING:
    from localmem.memory.embedder import Embedder
    from localmem.processor.engine import LlamaProcessor


class Ours:
    """The agent as it ships, under the settings of the model's profile and the task's own instructions."""

    def __init__(
        self,
        task: Task,
        processor: LlamaProcessor,
        settings: Settings,
        folder: Path,
        embedder: Embedder | None,
        doing: Doing = unheard,
    ) -> None:
        self._settings = settings
        system = instructions(task)
        self._shelf = Shelf(folder, system, embedder, doing, task.earlier)
        self.bed = Bed(processor, self._static(processor, bool(task.earlier)))

    def prepare(self, case: Case) -> None:
        if case.search:
            self._shelf.prepare(_as_it_was(case.material), record)
            return
        self._shelf.prepare(case.material, self._talk)
        self.bed.rest()

    def answer(self, case: Case) -> Outcome:
        if case.search:
            return Outcome(found=tuple(self._search(case)))
        with self._shelf.copy(case.material, self._talk) as (memory, clock):
            answer = Answer()
            before = {passage.id for passage in memory.passages()}
            self.bed.rest()
            self.bed.tracer.take()
            if case.question:
                agent = Agent(memory, self.bed.tracer, self._settings, clock=clock)
                for item in agent.turn(Event(case.event, case.question)):
                    answer.add(item)
            traces = self.bed.tracer.traces
            calls = [trace for trace in traces if isinstance(trace.shape, Calls)]
            return Outcome(
                reply=answer.reply,
                steps=tuple(_step(call, result) for call, result in answer.steps),
                completions=len(calls),
                legal=sum(is_legal(trace) for trace in calls),
                usage=sum((trace.completion.usage for trace in traces), Usage()),
                blocks={block.label: block.value for block in memory.blocks()},
                passages=tuple(p.text for p in memory.passages() if p.id not in before and not p.retired),
            )

    def drop(self, material: Material) -> None:
        self._shelf.drop(material)
        self._shelf.drop(_as_it_was(material))

    def _static(self, processor: Processor, examples: bool) -> Sequence[Segment]:
        """Return the part of the prompt that no case changes: instructions, functions, and worked examples.

        In front of examples stands core memory, which the cases of a task with examples have as it is at first.
        """
        nothing = Material(id="static")
        with self._shelf.copy(nothing, record) as (memory, clock):
            shown = Agent(memory, processor, self._settings, clock=clock).context.prompt()
        self._shelf.drop(nothing)
        return shown[:-1] if examples else shown[:2]

    def _search(self, case: Case) -> list[str]:
        """Return what recall storage finds; it holds what was said, to which no model adds anything."""
        with self._shelf.copy(_as_it_was(case.material), record) as (memory, _):
            return [hit.text for hit in memory.search_recall(case.question, 1, 10).hits]

    def _talk(self, memory: Memory, clock: Clock, text: str, reply: str | None) -> None:
        """Let the agent take in one message; where a reply is given, it says that and nothing else."""
        self.bed.rest()
        processor: Processor = self.bed.tracer
        if reply is not None:
            processor = Rehearsed(processor, reply, remembers=self._settings.memory_step)
        for _ in Agent(memory, processor, self._settings, clock=clock).turn(Event(EventKind.USER, text)):
            pass


def _as_it_was(material: Material) -> Material:
    """Return a material to be recorded instead of played, under an id of its own."""
    return replace(material, id=f"{material.id} as it was")


def _step(call: Call, result: Result | None) -> Step:
    ok, text = (result.ok, result.text) if result else (None, "")
    return Step(
        function=call.function, arguments=dict(call.arguments), ok=ok, result=text, thought=call.thought
    )


def is_legal(trace: Trace) -> bool:
    """Return whether a completion is a call that its shape allows."""
    call = trace.completion.call
    if call is None or not isinstance(trace.shape, Calls):
        return False
    try:
        executor.checked(call, trace.shape.functions, trace.shape.labels)
    except FunctionError:
        return False
    return True


class Rehearsed:
    """A processor whose agent is to give a reply that is known: a conversation that was held already.

    With a memory step what the agent keeps is decided by the model, and the reply needs none. Without one the
    model decides call by call, and what it says is put aside for the known reply.
    """

    def __init__(self, processor: Processor, reply: str, *, remembers: bool) -> None:
        self._processor, self._reply, self._remembers = processor, reply, remembers

    @property
    def window(self) -> int:
        return self._processor.window

    @property
    def abilities(self) -> Abilities:
        return self._processor.abilities

    def encode(self, record: Encodable) -> Segment:
        return self._processor.encode(record)

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> Generation:
        if isinstance(shape, Calls) and shape.verdict is None:
            known = Call("", "send_message", {"message": self._reply})
            if self._remembers:
                return _Known(Completion(known, "", (), Usage()))
            return _Replaced(self._processor.generate(prompt, shape, limits), known)
        return self._processor.generate(prompt, shape, limits)


class _Known:
    """A generation whose completion is there already."""

    over = True

    def __init__(self, completion: Completion) -> None:
        self.completion = completion

    def start(self, then: Callable[[], None] | None = None) -> None:
        if then is not None:
            then()

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def cancel(self) -> None:
        pass


class _Replaced:
    """A generation whose message, if that is what it comes to, is replaced by another."""

    def __init__(self, generation: Generation, known: Call) -> None:
        self._generation, self._known = generation, known

    def start(self, then: Callable[[], None] | None = None) -> None:
        self._generation.start(then)

    @property
    def over(self) -> bool:
        return self._generation.over

    def __iter__(self) -> Iterator[str]:
        yield from self._generation

    def cancel(self) -> None:
        self._generation.cancel()

    @property
    def completion(self) -> Completion:
        done = self._generation.completion
        if done.call is None or done.call.function == "send_message":
            return Completion(self._known, "", (), done.usage, done.cancelled)
        return done
