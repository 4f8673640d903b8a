"""The engine on a real model: legal calls within their limits, the same again from the same state."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest

from localmem.errors import DefinitionError, ModelBroken
from localmem.functions import executor
from localmem.functions.schema import Function, Length, Parameter, Range, function
from localmem.functions.standard import function_set
from localmem.memory.desk import Desk
from localmem.processor.choosing import closing_reserve
from localmem.processor.decoding import LlamaGeneration
from localmem.processor.engine import LlamaProcessor, identity
from localmem.processor.interface import (
    Calls,
    Completion,
    CoreMemory,
    Documentation,
    Instructions,
    Limits,
    Opening,
    Prose,
    Sampling,
    Segment,
    Shape,
    Summary,
    Verdict,
)
from localmem.processor.registry import Profile, Registry
from localmem.records import Call, Event, EventKind, Result

pytestmark = pytest.mark.model

WINDOW = 1024
LABELS = ("human", "persona")
SMALL = Calls(function_set("small"), labels=LABELS)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Registry.load(Path("nowhere"))["smollm2-135m-instruct"]


@pytest.fixture(scope="module")
def engine(smollm2: Path, profile: Profile) -> Iterator[LlamaProcessor]:
    made = LlamaProcessor(smollm2, profile, window=WINDOW, gpu_layers=0, threads=1)
    yield made
    made.close()


def prompt(engine: LlamaProcessor, said: str = "Hello, I am Ada.", core: str = "") -> list[Segment]:
    return [
        engine.encode(Instructions("You call functions.\n")),
        engine.encode(Documentation("send_message(message)\n")),
        engine.encode(CoreMemory(core)),
        engine.encode(Summary("")),
        engine.encode(Event(EventKind.USER, said)),
        engine.encode(Opening()),
    ]


def run(
    engine: LlamaProcessor, said: Sequence[Segment], shape: Shape = SMALL, *, tokens: int = 120, **how: float
) -> tuple[Completion, str]:
    limits = Limits(tokens, Sampling(**how))  # type: ignore[arg-type]
    generation = engine.generate(said, shape, limits)
    deltas = "".join(generation)
    return generation.completion, deltas


def call_of(completion: Completion) -> Call:
    assert completion.call is not None
    assert not completion.cancelled
    return completion.call


def checked(completion: Completion, shape: Calls, tokens: int) -> Call:
    """The call, after all that must be true of every call."""
    call = call_of(completion)
    assert len(completion.ids) <= tokens
    assert call.ids == completion.ids
    executor.checked(call, shape.functions, shape.labels)
    assert bool(call.thought) == bool(shape.thought and not shape.verdict)
    assert len(call.thought) <= shape.thought
    return call


# ---- legal calls, whatever the prompt and the shape


def wish(
    desk: Desk,
    text: Annotated[str, "the wish in full", Length(200, 300)],
    kind: Literal["one that comes true, as the old stories have it, when nobody watches and it rains", "b"],
    weight: Annotated[float, "how heavy", Range(-999_999, -100_000)],
    count: Annotated[int, "how often", Range(10**11, 10**12)],
    day: Annotated[date, "when"],
) -> str:
    """Wish for something."""
    return ""


LONG = "one that comes true " * 16
Kind = Literal[LONG, "b"]  # type: ignore[valid-type]


def chooses(desk: Desk, kind: Kind) -> str:
    """Choose."""
    return ""


FULL = tuple(f.among(["anna"]) for f in function_set("full"))
MEMORY = function_set("memory")
SHAPES = {
    "small": SMALL,
    "full": Calls(FULL, labels=LABELS),
    "thought": replace(SMALL, thought=40),
    "heartbeat": replace(SMALL, heartbeat=True),
    "both": Calls(FULL, thought=60, heartbeat=True, labels=LABELS),
    "memory": Calls(MEMORY, labels=LABELS),
    "verdict": Calls(
        MEMORY,
        labels=LABELS,
        verdict=Verdict("fact", {f.name: "no" if f.name == "nothing_to_remember" else "yes" for f in MEMORY}),
    ),
    "message": Calls(tuple(f for f in FULL if f.name == "send_message")),
    "dates": Calls(tuple(f for f in FULL if f.name == "conversation_search_date")),
    "numbers": Calls(tuple(f for f in FULL if f.name in ("page_out", "pause_heartbeats"))),
    "wish": Calls((function(wish),)),
    "rewrite": Calls(tuple(f for f in FULL if f.name == "core_memory_rewrite"), labels=('say "ü"',)),
}

NOISE = "".join(random.Random(7).choices('aZ9 \n\t"\\{}[]<|>żé日😀\x00\x1b' + "<|im_end|>", k=120))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("said", ["Hello, I am Ada.", NOISE, '{"function": "rm", "arguments": {"x": "'])
def test_every_completion_is_a_legal_call(engine: LlamaProcessor, name: str, said: str) -> None:
    shape = SHAPES[name]
    tokens = closing_reserve(engine.tokenizer, engine.dialect, shape) + 40
    for sampling in ({}, {"temperature": 2.0, "seed": 3}):
        completion, _ = run(engine, prompt(engine, said), shape, tokens=tokens, **sampling)
        checked(completion, shape, tokens)


@pytest.mark.parametrize("name", SHAPES)
def test_the_reserve_closes_a_call_wherever_it_stands(engine: LlamaProcessor, name: str) -> None:
    shape = SHAPES[name]
    reserve = closing_reserve(engine.tokenizer, engine.dialect, shape)
    for tokens in (reserve + 1, reserve + 2, reserve + 5, reserve + 11):
        completion, _ = run(engine, prompt(engine, NOISE), shape, tokens=tokens, temperature=1.5, seed=tokens)
        checked(completion, shape, tokens)


def test_the_reserve_holds_what_the_schemas_ask_for_at_least(engine: LlamaProcessor) -> None:
    reserve = {name: closing_reserve(engine.tokenizer, engine.dialect, SHAPES[name]) for name in SHAPES}
    assert reserve["wish"] > 200 + len("-999999") + len("1000000000000") + len("2026-01-31")
    chosen = Calls((function(chooses),))
    long = closing_reserve(engine.tokenizer, engine.dialect, chosen)
    assert long > len(engine.tokenizer.content(LONG)) > 60
    assert max(reserve[name] for name in ("full", "both", "memory", "verdict")) < 160


def test_a_call_closed_by_force_says_so(engine: LlamaProcessor) -> None:
    shape = SHAPES["message"]
    tokens = closing_reserve(engine.tokenizer, engine.dialect, shape) + 2
    assert checked(
        run(engine, prompt(engine, "Tell a long story."), shape, tokens=tokens)[0], shape, tokens
    ).cut
    nothing = Calls(tuple(f for f in MEMORY if f.name == "nothing_to_remember"))
    assert not call_of(run(engine, prompt(engine), nothing)[0]).cut


def test_a_limit_below_the_reserve_is_refused_before_anything_runs(engine: LlamaProcessor) -> None:
    reserve = closing_reserve(engine.tokenizer, engine.dialect, SMALL)
    with pytest.raises(ValueError, match="too few"):
        engine.generate(prompt(engine), SMALL, Limits(reserve))


def test_a_shape_without_functions_is_a_mistake_of_the_developer(engine: LlamaProcessor) -> None:
    with pytest.raises(DefinitionError):
        engine.generate(prompt(engine), Calls(()), Limits(200))


@pytest.mark.parametrize("tokens", [1, 2, 5, 30])
def test_a_summary_keeps_to_its_tokens_and_characters(engine: LlamaProcessor, tokens: int) -> None:
    completion, deltas = run(
        engine, prompt(engine, "日本語で答えて。 😀"), Prose(60), tokens=tokens, temperature=1.5
    )
    assert completion.call is None
    assert not completion.cancelled
    assert len(completion.ids) <= tokens
    assert len(completion.text) <= 60
    assert "\ufffd" not in completion.text
    assert deltas == completion.text


# ---- the window


def test_prompt_and_answer_may_fill_the_window_exactly(engine: LlamaProcessor) -> None:
    head, tail = prompt(engine)[:4], prompt(engine)[4:]
    shape = SHAPES["message"]
    tokens = closing_reserve(engine.tokenizer, engine.dialect, shape) + 30
    missing = WINDOW - tokens - sum(map(len, [*head, *tail]))
    filler = Segment(engine.tokenizer.content("x ") * missing)
    exact = [*head[:2], Segment(filler.ids[:missing]), *head[2:], *tail]
    assert sum(map(len, exact)) + tokens == WINDOW
    completion, _ = run(engine, exact, shape, tokens=tokens, temperature=1.0)
    checked(completion, shape, tokens)
    with pytest.raises(ValueError, match="exceed"):
        engine.generate(exact, shape, Limits(tokens + 1))


def test_what_is_counted_is_what_is_evaluated(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    said = prompt(engine, NOISE)
    completion, _ = run(engine, said)
    assert completion.usage.prompt_tokens == sum(map(len, said))
    assert completion.usage.completion_tokens == len(completion.ids)
    evaluated = [token for segment in said for token in segment.ids] + list(completion.ids)
    held = engine.held()
    assert held == evaluated[: len(held)]
    assert len(held) >= completion.usage.prompt_tokens


def test_segments_say_what_the_template_says(engine: LlamaProcessor) -> None:
    call = Call("", "send_message", {"message": "Zażółć\n😀"})
    said = [*prompt(engine, "two\nlines", core="human: Ada\n")[:-1]]
    said += [engine.encode(call), engine.encode(Result(True, "ok", 1)), engine.encode(Opening())]
    text = engine.tokenizer.bytes([token for segment in said for token in segment.ids]).decode()
    written = engine.dialect.write(call, heartbeat=False)
    system = "You call functions.\nsend_message(message)\nhuman: Ada\n"
    talk = [("system", system), ("user", "two\nlines"), ("assistant", written), (engine.layout.results, "ok")]
    assert text == engine.layout.write(talk)


def test_what_was_generated_is_encoded_as_it_was(engine: LlamaProcessor) -> None:
    call = call_of(run(engine, prompt(engine))[0])
    again = engine.encode(call).ids
    start = len(engine.encode(Opening()))
    assert again[start : start + len(call.ids)] == call.ids
    other = engine.encode(replace(call, model="another")).ids
    assert engine.tokenizer.bytes(other) == engine.tokenizer.bytes(again)


# ---- the same again


def test_greedy_twice_from_a_cleared_cache_is_the_same(engine: LlamaProcessor) -> None:
    seen = set()
    for _ in range(2):
        engine.begin_with([])
        seen.add(run(engine, prompt(engine))[0].ids)
    assert len(seen) == 1


def test_a_seed_gives_the_same_and_another_something_else(engine: LlamaProcessor) -> None:
    def sampled(seed: int) -> tuple[int, ...]:
        engine.begin_with([])
        return run(engine, prompt(engine), SHAPES["message"], temperature=1.2, seed=seed)[0].ids

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_the_next_prompt_reuses_what_it_shares(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    first = prompt(engine)
    completion, _ = run(engine, first)
    assert completion.usage.reused_tokens == 0
    call = call_of(completion)
    grown = [*first[:-1], engine.encode(call), engine.encode(Result(True, "ok")), engine.encode(Opening())]
    usage = run(engine, grown)[0].usage
    shared = sum(map(len, first)) + len(call.ids)
    assert shared - 8 <= usage.reused_tokens <= shared
    other = run(engine, prompt(engine, "Something else"))[0].usage
    assert sum(map(len, first[:4])) <= other.reused_tokens < sum(map(len, first))


def same_cache(engine: LlamaProcessor) -> None:
    """Whether what is in the cache is what evaluating it anew would put there."""
    ids = [token for segment in prompt(engine, "And now?") for token in segment.ids]
    reused = engine.logits(ids)
    assert len(engine.held()) == len(ids)
    engine.begin_with([])
    assert np.abs(engine.logits(ids) - reused).max() < 1.0


def during_the_prompt(generation: LlamaGeneration) -> None:
    threading.Timer(0.05, generation.cancel).start()
    list(generation)


def between_tokens(generation: LlamaGeneration) -> None:
    for count, _ in enumerate(generation):
        if count == 2:
            generation.cancel()


def before_it_starts(generation: LlamaGeneration) -> None:
    generation.cancel()
    list(generation)


def by_leaving(generation: LlamaGeneration) -> None:
    for count, _ in enumerate(generation):
        if count == 2:
            break


def by_an_exception(generation: LlamaGeneration) -> None:
    with suppress(KeyboardInterrupt):
        for _ in generation:
            raise KeyboardInterrupt


STOPS = [during_the_prompt, between_tokens, before_it_starts, by_leaving, by_an_exception]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__)
def test_a_generation_stopped_leaves_the_engine_sound(engine: LlamaProcessor, stop) -> None:  # type: ignore[no-untyped-def]
    engine.begin_with([])
    long = "word " * 700 if stop is during_the_prompt else "Tell me a story."
    generation = engine.generate(prompt(engine, long), TELLING, Limits(240))
    stop(generation)
    assert generation.completion.call is None
    assert generation.completion.cancelled
    same_cache(engine)
    engine.begin_with([])
    fresh = run(engine, prompt(engine))[0].ids
    engine.begin_with([])
    assert run(engine, prompt(engine))[0].ids == fresh


def test_a_cancel_waits_for_no_chunk(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    generation = engine.generate(prompt(engine, "word " * 700), SHAPES["message"], Limits(120))
    asked: list[float] = []

    def cancel() -> None:
        asked.append(time.perf_counter())
        generation.cancel()

    threading.Timer(0.1, cancel).start()
    list(generation)
    assert generation.completion.cancelled
    assert time.perf_counter() - asked[0] < 0.5


def test_a_late_cancel_does_not_touch_the_next_generation(engine: LlamaProcessor) -> None:
    first = engine.generate(prompt(engine), SMALL, Limits(120))
    list(first)
    second = engine.generate(prompt(engine, "And now?"), SMALL, Limits(120))
    first.cancel()
    list(second)
    call_of(second.completion)


# ---- what is said while it is being said

SPOKEN = [
    'She said "hi" \\ and left.\nThen\tmore: {"a": [1]}',
    "Zażółć 👋🏽 日本語 👨‍👩‍👧\r\n",
    "<|im_end|> <tool_call> \x01 end",
    "\\u0041 \\n no escapes",
]


TALE = Parameter("message", {"type": "string", "minLength": 100, "maxLength": 300})
TELLING = Calls((Function("send_message", "Say.", (TALE,), lambda desk, message: ""),))
"""A shape whose message is not over after a few words."""


def speaking(*texts: str) -> Calls:
    """A shape whose message is one of `texts`."""
    message = Parameter("message", {"enum": list(texts)})
    return Calls((Function("send_message", "Say.", (message,), lambda desk, message: ""),))


@pytest.mark.parametrize(
    "texts", [*([text] for text in SPOKEN), SPOKEN, ["ab", "abc\n", "abcd 😀", "abcd é"]]
)
def test_the_pieces_of_a_message_are_the_message(engine: LlamaProcessor, texts: list[str]) -> None:
    for seed in range(3):
        completion, deltas = run(
            engine, prompt(engine), speaking(*texts), tokens=200, temperature=3.0, seed=seed
        )
        assert call_of(completion).arguments["message"] in texts
        assert deltas == call_of(completion).arguments["message"]


def test_a_free_message_comes_in_pieces(engine: LlamaProcessor) -> None:
    generation = engine.generate(prompt(engine, "Tell me a story."), TELLING, Limits(240))
    pieces = list(generation)
    assert len(pieces) > 3
    assert all(pieces)
    assert "".join(pieces) == call_of(generation.completion).arguments["message"]


# ---- choices


@pytest.mark.parametrize("name", [f.name for f in SMALL.functions])
def test_a_bias_turns_the_choice(engine: LlamaProcessor, name: str) -> None:
    shape = replace(SMALL, bias={name: 60.0})
    assert call_of(run(engine, prompt(engine), shape)[0]).function == name
    banned = replace(SMALL, bias={name: -60.0})
    assert call_of(run(engine, prompt(engine), banned)[0]).function != name


def test_a_bias_is_for_the_function_and_not_for_an_argument_of_that_name(engine: LlamaProcessor) -> None:
    choice = Parameter("function", {"enum": ["plain", "fancy"]})
    shape = Calls((Function("pick", "Pick.", (choice,), lambda desk, function: ""),), bias={"pick": 5.0})
    without = call_of(run(engine, prompt(engine), replace(shape, bias={}))[0])
    assert call_of(run(engine, prompt(engine), shape)[0]).arguments == without.arguments


def test_each_chosen_token_was_the_best_allowed(engine: LlamaProcessor) -> None:
    """Evaluates the completion again one token at a time; batches change logits a little, no more."""
    shape = SHAPES["message"]
    engine.begin_with([])
    said = prompt(engine, "Tell me a story.")
    reserve = closing_reserve(engine.tokenizer, engine.dialect, shape)
    completion, _ = run(engine, said, shape, tokens=reserve + 40)
    ids = [token for segment in said for token in segment.ids]
    matcher = engine.grammars.start(shape)
    done = 0
    while done < min(40, len(completion.ids) - 8):
        forced = matcher.forced()
        done, ids = done + len(forced), [*ids, *forced]
        token = completion.ids[done]
        found, allowed = engine.logits(ids), matcher.allowed()
        assert token in allowed
        assert found[token] >= found[allowed].max() - 1.0
        matcher.take(token)
        done, ids = done + 1, [*ids, token]
    assert done > 10


# ---- without a grammar


def test_without_a_grammar_the_model_writes_freely(smollm2: Path, profile: Profile) -> None:
    engine = LlamaProcessor(smollm2, profile, window=WINDOW, grammar=False, gpu_layers=0, threads=1)
    try:
        assert not engine.abilities.grammar
        completion, _ = run(engine, prompt(engine), tokens=120)
        assert not completion.cancelled
        assert len(completion.ids) <= 120
        assert completion.text
        assert completion.call is None or completion.call.ids == completion.ids
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ('```json\n{"function": "send_message", "arguments": {"message": "x"}}\n```', "send_message"),
        ('Sure {not json} {"function": "f", "arguments": {}} bye', "f"),
        ('{"function": "f"}', None),
        ('{"function": 1, "arguments": {}}', None),
        ("[1, 2]", None),
        ('{"function": "f", "arguments": {"x": "half \\ud800"}}', None),
        ('{"function": "f", "arguments": {"\\udfff": 1}}', None),
        ('{"thought": "\\ud800", "function": "f", "arguments": {}}', None),
        ('{"function": "f", "arguments": {"x": "whole \\ud83d\\ude00"}}', "f"),
        ("send_message('hi')", None),
        ("{" * 500, None),
        ("", None),
    ],
)
def test_free_text_is_read_leniently(engine: LlamaProcessor, text: str, function: str | None) -> None:
    if function is None:
        with pytest.raises(ValueError, match="call"):
            engine.dialect.read_leniently(text)
    else:
        assert engine.dialect.read_leniently(text).function == function


# ---- identity


def test_a_model_without_a_hash_is_known_by_its_beginning(tmp_path: Path, smollm2: Path) -> None:
    renamed, other = tmp_path / "renamed.gguf", tmp_path / "other.gguf"
    renamed.symlink_to(smollm2)
    other.write_bytes(smollm2.read_bytes()[:2_000_000] + b"x")
    assert identity(renamed) == identity(smollm2)
    assert identity(other) != identity(smollm2)


# ---- files that are no models

LOADING = """
import sys
from pathlib import Path
from localmem.errors import ModelBroken
from localmem.processor.chat_template import describe
from localmem.processor.llama import Llama
for load in (lambda path: Llama(path, cells=64, gpu_layers=0), describe):
    for name in sys.argv[1:]:
        try:
            load(Path(name))
            print("loaded", name)
        except ModelBroken as error:
            assert "\\n" not in str(error), error
            print("broken")
"""


def test_broken_files_are_refused_in_one_line(tmp_path: Path, smollm2: Path) -> None:
    """In a process of their own: what fails in C may take the process along."""
    whole = smollm2.read_bytes()
    lengths = (0, 3, 4, 8, 24, 200, 300_000, 3_000_000, len(whole) // 2, len(whole) - 1)
    noise = random.Random(3)
    broken = {f"cut{length}": whole[:length] for length in lengths}
    broken["random"] = noise.randbytes(100_000)
    broken["magic"] = b"GGUF" + noise.randbytes(10_000)
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked").write_bytes(whole[:1000])
    (tmp_path / "locked").chmod(0)
    names = [*broken, "folder", "locked", "missing"]
    done = subprocess.run(
        [sys.executable, "-c", LOADING, *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["broken"] * 2 * len(names)
    assert done.stderr == ""


def test_closing_twice_is_harmless(smollm2: Path, profile: Profile) -> None:
    engine = LlamaProcessor(smollm2, profile, window=64, gpu_layers=0, threads=1)
    engine.close()
    engine.close()


def test_a_broken_model_says_what_to_do(tmp_path: Path, profile: Profile) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelBroken, match="models verify"):
        LlamaProcessor(tmp_path / "x.gguf", profile)


def test_what_a_call_holds_is_json(engine: LlamaProcessor) -> None:
    call = call_of(run(engine, prompt(engine), SHAPES["both"], tokens=200)[0])
    assert json.loads(json.dumps(dict(call.arguments))) == dict(call.arguments)


@pytest.mark.parametrize("said", ["Hello, I am Ada.", "I'm Tom.", "Wörter, bitte!", "你好", "  What is it?"])
def test_a_message_does_not_begin_as_the_person_did(engine: LlamaProcessor, said: str) -> None:
    """Begin as the model would, then forbid that very beginning."""
    shape = SHAPES["message"]
    free = str(call_of(run(engine, prompt(engine, said), shape)[0]).arguments["message"])
    for text in (said, free):
        held = call_of(run(engine, prompt(engine, said), replace(shape, unlike=text))[0])
        assert not str(held.arguments["message"]).startswith(text.split()[0])
