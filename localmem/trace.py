"""Records every generation of a processor: prompt ids, shape, limits and what came out, to be decoded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from localmem.errors import DefinitionError
from localmem.functions import standard
from localmem.functions.schema import Function, function
from localmem.processor.interface import (
    Abilities,
    Calls,
    Completion,
    Encodable,
    Generation,
    Limits,
    Processor,
    Prose,
    Sampling,
    Segment,
    Shape,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Trace:
    """One generation. `prompt` are its ids, of which `reused` were cached; `ids` what was generated."""

    prompt: tuple[int, ...]
    shape: Shape
    limits: Limits
    completion: Completion


class Tracer:
    """A processor that keeps what it is asked and what it answers; `traces` are those since `take`.

    With `most`, only so many are kept, the newest, where nobody takes them.
    """

    def __init__(self, processor: Processor, most: int | None = None) -> None:
        self.processor = processor
        self.traces: list[Trace] = []
        self._most = most

    @property
    def window(self) -> int:
        return self.processor.window

    @property
    def abilities(self) -> Abilities:
        return self.processor.abilities

    def encode(self, record: Encodable) -> Segment:
        return self.processor.encode(record)

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> Generation:
        generation = self.processor.generate(prompt, shape, limits)
        ids = tuple(token for segment in prompt for token in segment.ids)
        return _Traced(generation, lambda done: self._keep(Trace(ids, shape, limits, done)))

    def take(self) -> list[Trace]:
        """Return the traces so far, and begin anew."""
        traces, self.traces = self.traces, []
        return traces

    def close(self) -> None:
        """Free what the processor holds; the seam asks for no such method, the engine has one."""
        close = getattr(self.processor, "close", None)
        if close is not None:
            close()

    def _keep(self, trace: Trace) -> None:
        self.traces.append(trace)
        if self._most is not None:
            del self.traces[: -self._most]


class _Traced:
    """A generation that says what came out of it once it is over, or was given up."""

    def __init__(self, generation: Generation, over: Callable[[Completion], None]) -> None:
        self._generation, self._over = generation, over

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self._generation
        finally:
            self._over(self._generation.completion)

    def start(self, then: Callable[[], None] | None = None) -> None:
        self._generation.start(then)

    @property
    def over(self) -> bool:
        return self._generation.over

    def cancel(self) -> None:
        self._generation.cancel()

    @property
    def completion(self) -> Completion:
        return self._generation.completion


def packed(traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """Return traces as plain data; each prompt as how much it shares with the one before, and the rest."""
    rows: list[dict[str, Any]] = []
    before: tuple[int, ...] = ()
    for trace in traces:
        shared = 0
        for one, other in zip(before, trace.prompt, strict=False):
            if one != other:
                break
            shared += 1
        before = trace.prompt
        rows.append(
            {
                "shared": shared,
                "prompt": list(trace.prompt[shared:]),
                "shape": shape_as_data(trace.shape),
                "tokens": trace.limits.tokens,
                "sampling": asdict(trace.limits.sampling),
                "ids": list(trace.completion.ids),
                "text": trace.completion.text,
                "reused": trace.completion.usage.reused_tokens,
                "cancelled": trace.completion.cancelled,
            }
        )
    return rows


@dataclass(frozen=True, slots=True)
class Recorded:
    """A generation read back: what it was asked, and what it answered then, if it was not cancelled before."""

    prompt: tuple[int, ...]
    shape: Shape
    limits: Limits
    ids: tuple[int, ...]
    text: str
    reused: int
    cancelled: bool = False


def unpacked(rows: Sequence[Mapping[str, Any]], own: Sequence[Function] = ()) -> list[Recorded]:
    """Return generations from plain data. Raises DefinitionError for a function that there no longer is."""
    recorded: list[Recorded] = []
    before: tuple[int, ...] = ()
    for row in rows:
        before = (*before[: row["shared"]], *row["prompt"])
        limits = Limits(row["tokens"], Sampling(**row["sampling"]))
        shape = shape_from_data(row["shape"], own)
        answer = tuple(row["ids"]), row["text"], row["reused"], row.get("cancelled", False)
        recorded.append(Recorded(before, shape, limits, *answer))
    return recorded


def shape_as_data(shape: Shape) -> dict[str, Any]:
    """Return a shape as plain data."""
    if isinstance(shape, Prose):
        return {"characters": shape.characters}
    return {
        "functions": [function.name for function in shape.functions],
        "thought": shape.thought,
        "heartbeat": shape.heartbeat,
        "labels": list(shape.labels),
        "others": next((list(f.others) for f in shape.functions if f.others), []),
        "bias": dict(shape.bias),
        "verdict": [shape.verdict.question, dict(shape.verdict.answers)] if shape.verdict else None,
        "unlike": shape.unlike,
    }


def shape_from_data(data: Mapping[str, Any], own: Sequence[Function] = ()) -> Shape:
    """Return a shape from plain data. Raises DefinitionError for a function that there no longer is."""
    if "characters" in data:
        return Prose(data["characters"])
    known = {python.__name__: function(python) for every in standard.SETS.values() for python in every}
    known |= {each.name: each for each in own}
    if missing := [name for name in data["functions"] if name not in known]:
        raise DefinitionError(
            f"there is no function {missing[0]} any more: it was recorded by another version"
        )
    verdict = Verdict(*data["verdict"]) if data["verdict"] else None
    return Calls(
        tuple(known[name].among(data.get("others", [])) for name in data["functions"]),
        thought=data["thought"],
        heartbeat=data["heartbeat"],
        labels=tuple(data["labels"]),
        bias=data["bias"],
        verdict=verdict,
        unlike=data["unlike"],
    )
