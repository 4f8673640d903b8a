"""Decoding: recorded calls under the grammar, against raw llama.cpp generating as many tokens freely.

The prompt is in the cache for both when the time starts. `ratio` is the time of the free generation by that of the
call, over all calls. The other peers make the same calls on their own terms, on fewer of them, and are compared by
seconds a token: llama.cpp's own GBNF sampling, and outlines' generate.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from benchmarks.perf.common import Outcome, RecordedCall, loaded, profile_of, recorded, spread
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Limits, Prose, Segment
from localmem.processor.llama import Row
from localmem.processor.machine import physical_cores
from localmem.records import Usage

PEERS = 4
"""Calls that the slower peers make."""

ALIKE = 12
"""Calls that are made once more with drafts and without."""


def measure(model: str | None, n: int | None) -> Outcome:
    """Time every recorded call, ours and free in turn."""
    calls = recorded(n)
    registry, profile = profile_of(model)
    raw = Raw(str(registry.require(profile)), profile.window)
    with loaded(model) as processor, watched(processor) as evaluating:
        usages: list[Usage] = []
        ours: list[float] = []
        free: list[float] = []
        inside = 0.0
        for call in calls:
            ids = fitting(processor, call)
            usage, seconds = constrained(processor, ids, call, evaluating)
            inside += evaluating[0]
            raw.read(ids)
            usages.append(usage)
            ours.append(seconds)
            free.append(raw.generate(ids, usage.completion_tokens))
            click.echo(f"{len(ours)}/{len(calls)}  ratio {sum(free) / sum(ours):.3f}", err=True)
        plain = without_drafts(processor, recorded(min(len(calls), ALIKE)))
    usage = sum(usages, Usage())
    tokens = usage.completion_tokens
    peers = slower_peers(raw, profile_of(model)[1].dialect, recorded(min(len(calls), PEERS)))
    return Outcome(
        name="decode",
        ratio=sum(free) / sum(ours),
        ours=sum(ours) / tokens,
        peer=sum(free) / tokens,
        unit="seconds a token",
        n=len(calls),
        details={
            "tokens": tokens,
            "passes_per_token": usage.forward_passes / tokens,
            "outside_decode_share": 1 - inside / sum(ours),
            "forced_share": usage.forced_tokens / tokens,
            "drafted": usage.drafted_tokens,
            "accepted": usage.accepted_tokens,
            "ratio_quartiles": spread([f / o for f, o in zip(free, ours, strict=True)]),
            "without_drafts": plain,
            **peers,
        },
    )


def fitting(processor: LlamaProcessor, call: RecordedCall) -> list[int]:
    """Return the ids of a call's prompt, its beginning cut where another model's window is smaller."""
    ids = list(processor.tokenizer.markup(call.prompt))
    return ids[-(processor.window - call.tokens) :]


@contextmanager
def watched(processor: LlamaProcessor) -> Iterator[list[float]]:
    """Yield a list whose only value grows by the seconds that the processor spends inside llama.cpp's decode."""
    spent, evaluate = [0.0], processor.llama.evaluate

    def timed(rows: Sequence[Row]) -> bool:
        started = time.perf_counter()
        try:
            return evaluate(rows)
        finally:
            spent[0] += time.perf_counter() - started

    processor.llama.evaluate = timed  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        processor.llama.evaluate = evaluate  # type: ignore[method-assign]


def constrained(
    processor: LlamaProcessor, ids: Sequence[int], call: RecordedCall, evaluating: list[float] | None = None
) -> tuple[Usage, float]:
    """Return the cost of a call and the seconds it took, its prompt being in the cache.

    `evaluating` is set to those of them that were spent inside decodes.
    """
    said = [Segment(tuple(ids))]
    for _ in processor.generate(said, Prose(1), Limits(0)):
        pass
    if evaluating is not None:
        evaluating[0] = 0.0
    generation = processor.generate(said, call.shape, Limits(call.tokens))
    for _ in generation:
        pass
    usage = generation.completion.usage
    return usage, usage.seconds


def without_drafts(processor: LlamaProcessor, calls: Sequence[RecordedCall]) -> dict[str, float]:
    """Return what the same engine needs without drafts on some of the calls, by what it needs with them."""
    seconds = {True: 0.0, False: 0.0}
    passes = 0
    tokens = 0
    for call in calls:
        ids = fitting(processor, call)
        for drafts in (True, False):
            processor.drafts = drafts
            usage, spent = constrained(processor, ids, call)
            seconds[drafts] += spent / usage.completion_tokens
        passes += usage.forward_passes
        tokens += usage.completion_tokens
    processor.drafts = True
    return {"passes_per_token": passes / tokens, "time_ratio": seconds[False] / seconds[True]}


class Raw:
    """llama-cpp-python as it comes, on the same file with the same threads."""

    def __init__(self, path: str, window: int) -> None:
        from llama_cpp import Llama

        cores = physical_cores()
        self.llama: Any = Llama(path, n_ctx=window, n_threads=cores, n_threads_batch=cores, verbose=False)

    def read(self, ids: Sequence[int]) -> None:
        """Evaluate a prompt."""
        next(self.llama.generate(list(ids), temp=0.0))

    def generate(self, ids: Sequence[int], count: int) -> float:
        """Return the seconds that so many free tokens take behind a prompt that is in the cache."""
        tokens = self.llama.generate(list(ids), temp=0.0)
        started = time.perf_counter()
        for _ in range(count):
            next(tokens)
        return time.perf_counter() - started


def slower_peers(raw: Raw, dialect: str, calls: Sequence[RecordedCall]) -> dict[str, Any]:
    """Return the seconds a token of llama.cpp's GBNF sampling and of outlines on some of the calls."""
    from localmem.processor import dialect as dialects

    schemas = [json.dumps(unbounded(dialects.load(dialect).schema(call.shape))) for call in calls]
    return {
        "gbnf_seconds_a_token": _gbnf(raw, calls, schemas),
        "outlines_seconds_a_token": _outlines(raw, calls, schemas),
        "peer_calls": len(calls),
    }


def unbounded(schema: Any) -> Any:
    """Return a schema whose strings may have any length: llama.cpp cannot parse a bound of thousands."""
    if isinstance(schema, dict):
        return {key: unbounded(value) for key, value in schema.items() if key != "maxLength"}
    return [unbounded(value) for value in schema] if isinstance(schema, list) else schema


def _gbnf(raw: Raw, calls: Sequence[RecordedCall], schemas: Sequence[str]) -> float:
    from llama_cpp import LlamaGrammar

    spent, tokens = 0.0, 0
    for call, schema in zip(calls, schemas, strict=True):
        grammar = LlamaGrammar.from_json_schema(schema, verbose=False)
        ids = raw.llama.tokenize(call.prompt.encode(), add_bos=False, special=True)
        raw.read(ids)
        started = time.perf_counter()
        done = raw.llama.create_completion(ids, max_tokens=call.tokens, temperature=0.0, grammar=grammar)
        spent += time.perf_counter() - started
        tokens += done["usage"]["completion_tokens"]
    return spent / max(1, tokens)


def _outlines(raw: Raw, calls: Sequence[RecordedCall], schemas: Sequence[str]) -> float:
    """Outlines forgets the prompt after every call: the time to evaluate it is measured and taken off."""
    import outlines
    from outlines.backends import get_json_schema_logits_processor

    model = outlines.models.LlamaCpp(raw.llama)
    spent, tokens = 0.0, 0
    for call, schema in zip(calls, schemas, strict=True):
        ids = raw.llama.tokenize(call.prompt.encode(), add_bos=False, special=True)
        raw.llama.reset()
        started = time.perf_counter()
        raw.read(ids)
        reading = time.perf_counter() - started
        raw.llama.reset()
        steps = get_json_schema_logits_processor("llguidance", model, schema)
        started = time.perf_counter()
        text = outlines.Generator(model, processor=steps)(
            call.prompt, max_tokens=call.tokens, temperature=0.0
        )
        spent += time.perf_counter() - started - reading
        tokens += len(raw.llama.tokenize(str(text).encode(), add_bos=False))
    return spent / max(1, tokens)
