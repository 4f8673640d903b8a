"""A recording decoded again on a real model: the same tokens, and what else there was at each."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localmem.errors import UnknownModel, UsageError
from localmem.functions.standard import function_set
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import (
    Calls,
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
from localmem.recording import Recording, Setup, find_run, keep, of_case, of_turn
from localmem.records import Event, EventKind, Result
from localmem.replay import Alternative, Replayed, described, doubts, load, replay
from localmem.trace import Recorded, Trace, Tracer, packed

NAME = "smollm2-135m-instruct"
WINDOW = 1024
LABELS = ("human", "persona")
SMALL = Calls(function_set("small"), labels=LABELS, unlike="Hello there")
BIAS = -9.0
VERDICT = Verdict(
    "states_a_fact",
    {f.name: "no" if f.name == "nothing_to_remember" else "yes" for f in function_set("memory")},
)
MEMORY = Calls(
    function_set("memory"), labels=LABELS, bias={"nothing_to_remember": BIAS}, verdict=VERDICT
)  # fmt: skip


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Registry.load(Path("nowhere"))[NAME]


def fresh(smollm2: Path, profile: Profile, grammar: bool = True) -> LlamaProcessor:
    return LlamaProcessor(smollm2, profile, window=WINDOW, grammar=grammar, gpu_layers=0, threads=1)


@pytest.fixture(scope="module")
def engine(smollm2: Path, profile: Profile) -> Iterator[LlamaProcessor]:
    made = fresh(smollm2, profile)
    yield made
    made.close()


def prompt(engine: LlamaProcessor, said: str) -> list[Segment]:
    return [
        engine.encode(Instructions("You call functions.\n")),
        engine.encode(Documentation("send_message(message)\n")),
        engine.encode(CoreMemory("")),
        engine.encode(Summary("")),
        engine.encode(Event(EventKind.USER, said)),
    ]


def setup(engine: LlamaProcessor) -> Setup:
    able = engine.abilities
    return Setup(
        model=NAME, sha256=able.model, window=WINDOW, chunk=engine.llama.chunk, grammar=able.grammar
    )  # fmt: skip


def record(
    engine: LlamaProcessor, shapes: Sequence[Shape], said: str = "Hello there", **how: float
) -> list[Trace]:
    """Generate a completion of each shape, one behind the other, as the calls of a turn."""
    tracer, shown = Tracer(engine), prompt(engine, said)
    for shape in shapes:
        generation = tracer.generate([*shown, engine.encode(Opening())], shape, Limits(160, Sampling(**how)))  # type: ignore[arg-type]
        for _ in generation:
            pass
        if generation.completion.call:
            shown += [engine.encode(generation.completion.call), engine.encode(Result(True, "Done."))]
    return tracer.take()


def kept(folder: Path, engine: LlamaProcessor, traces: Sequence[Trace]) -> Recording:
    keep(folder, Event(EventKind.USER, "Hello there", turn=3), setup(engine), traces)
    return of_turn(folder, "ada", 3)


def verdicts(replayed: Sequence[Replayed]) -> list[int | None]:
    return [each.differs for each in replayed]


def taken(each: Replayed) -> list[Alternative]:
    return [other for token in each.tokens for other in token.alternatives if other.taken]


def best(others: Sequence[Alternative]) -> Alternative:
    return max(others, key=lambda other: other.probability)


@pytest.mark.parametrize("how", [{}, {"temperature": 1.2, "top_p": 0.95, "seed": 7}])
def test_a_turn_comes_out_the_same_in_a_fresh_processor(
    tmp_path: Path, smollm2: Path, profile: Profile, engine: LlamaProcessor, how: dict[str, float]
) -> None:
    engine.begin_with([])
    traces = record(engine, [MEMORY, SMALL, Prose(120)], **how)
    recording = kept(tmp_path / "traces" / "1", engine, traces)
    other = fresh(smollm2, profile)
    replayed = list(replay(other, recording))
    other.close()
    assert verdicts(replayed) == [None, None, None]
    assert list(doubts(engine, recording)) == []
    for each, trace in zip(replayed, traces, strict=True):
        tokens = [token.token for token in each.tokens]
        assert tuple(tokens[: len(trace.completion.ids)]) == trace.completion.ids
        assert all(engine.tokenizer.ends(token) for token in tokens[len(trace.completion.ids) :])
        assert (each.text, each.reused) == (trace.completion.text, trace.completion.usage.reused_tokens)
        assert all(
            sum(other.taken for other in token.alternatives) == 1 for token in each.tokens if not token.forced
        )
        assert all(other.allowed for other in taken(each))
    if not how:  # the best of what was allowed is what was taken
        for token in (token for each in replayed for token in each.tokens if token.open):
            assert best(token.alternatives).taken


def test_what_was_cached_before_is_evaluated_first(tmp_path: Path, engine: LlamaProcessor) -> None:
    engine.begin_with([])
    record(engine, [SMALL], "Something else")
    traces = record(engine, [SMALL])
    reused = traces[0].completion.usage.reused_tokens
    recording = kept(tmp_path / "traces" / "1", engine, traces)
    assert reused > 0
    assert (recording.static, recording.exact) == (traces[0].prompt[:reused], False)
    assert any("evaluated afresh" in reason for reason in doubts(engine, recording))
    (again,) = replay(engine, recording)
    assert again.reused == reused
    assert again.differs is None


def test_alternatives_know_mask_bias_and_echo(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    memory, reply = replay(engine, of(engine, record(engine, [MEMORY, SMALL])))
    forced = [token.text for token in memory.tokens if token.forced]
    assert VERDICT.question.split("_")[0] in "".join(forced)
    verdict = next(token for token in memory.tokens if token.open)
    yes, no = (
        next(other for other in verdict.alternatives if other.allowed and other.text.strip() == word)
        for word in ("yes", "no")
    )
    odds = (no.probability / yes.probability) / (no.unmasked / yes.unmasked)
    assert odds == pytest.approx(math.exp(BIAS), rel=1e-3)
    assert {other.allowed for other in verdict.alternatives} == {True, False}
    assert all(other.probability == 0 for other in verdict.alternatives if not other.allowed)
    for token in (token for each in (memory, reply) for token in each.tokens if not token.forced):
        assert sum(other.probability for other in token.alternatives) <= 1 + 1e-9
        assert sum(other.unmasked for other in token.alternatives) <= 1 + 1e-9
        assert len([other for other in token.alternatives if other.allowed]) >= min(8, token.allowed)


def test_an_echo_is_told_from_what_the_grammar_forbids(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    only = Calls(function_set("small")[:1], unlike="Hello there")
    (reply,) = replay(engine, of(engine, record(engine, [only])))
    echoes = [other for token in reply.tokens for other in token.alternatives if other.echo]
    assert any("Hello".startswith(other.text.strip(' "')) for other in echoes)
    assert not any(other.allowed or other.taken for other in echoes)


def of(engine: LlamaProcessor, traces: Sequence[Trace]) -> Recording:
    """A recording that began with an empty cache."""
    recorded = tuple(
        Recorded(
            trace.prompt,
            trace.shape,
            trace.limits,
            trace.completion.ids,
            trace.completion.text,
            trace.completion.usage.reused_tokens,
            trace.completion.cancelled,
        )
        for trace in traces
    )
    return Recording(name="test", setup=setup(engine), static=(), exact=True, generations=recorded)


def test_another_token_is_found_and_the_recorded_path_followed(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    recording = of(engine, record(engine, [SMALL, SMALL]))
    (first, second) = replay(engine, recording)
    at, other = next(
        (at, other)
        for at, token in enumerate(first.tokens)
        for other in token.alternatives
        if token.allowed > 99 and token.text.strip().isalpha()  # a word in a string gives way to another
        if other.allowed and not other.taken and other.text.strip().isalpha()
    )
    generation = recording.generations[0]
    ids = (*generation.ids[:at], other.token, *generation.ids[at + 1 :])
    changed = replace(recording, generations=(replace(generation, ids=ids), recording.generations[1]))
    (once, behind) = replay(engine, changed)
    assert (once.differs, once.recorded_token) == (at + 1, other.text)
    assert once.token_now == first.tokens[at].text
    assert [token.token for token in once.tokens][: len(ids)] == list(ids)
    assert behind.differs is None  # evaluated behind another token, so its figures may differ a little
    assert [token.token for token in behind.tokens] == [token.token for token in second.tokens]


@pytest.mark.parametrize("lost", ["not allowed", "too long", "too short"])
def test_a_path_that_cannot_be_followed_is_left(engine: LlamaProcessor, lost: str) -> None:
    engine.begin_with([])
    recording = of(engine, record(engine, [SMALL]))
    generation = recording.generations[0]
    size = len(generation.ids)
    match lost:
        case "not allowed":
            ids, differs = (engine.tokenizer.eos, *generation.ids[1:]), 1
        case "too long":
            ids, differs = (*generation.ids, 99), size + 1
        case _:
            ids, differs = generation.ids[:-3], size - 2
    (once,) = replay(engine, replace(recording, generations=(replace(generation, ids=ids),)))
    assert once.differs == differs
    assert once.text == generation.text


def test_an_interrupted_completion_is_compared_as_far_as_it_came(engine: LlamaProcessor) -> None:
    engine.begin_with([])
    tracer = Tracer(engine)
    generation = tracer.generate([*prompt(engine, "Hello"), engine.encode(Opening())], Prose(400), Limits(90))
    for number, _ in enumerate(generation):
        if number == 0:
            generation.cancel()
    recording = of(engine, tracer.take())
    assert recording.generations[0].cancelled
    (once,) = replay(engine, recording)
    assert (once.differs, len(once.tokens)) == (None, len(recording.generations[0].ids))


def test_without_a_grammar_everything_is_allowed(smollm2: Path, profile: Profile) -> None:
    engine = fresh(smollm2, profile, grammar=False)
    traces = record(engine, [SMALL])
    (once,) = replay(engine, of(engine, traces))
    assert once.differs is None
    assert not any(token.forced for token in once.tokens)
    assert {token.allowed for token in once.tokens} == {engine.tokenizer.size}
    for other in taken(once):
        assert other.probability == pytest.approx(other.unmasked)
    engine.close()


# benchmark cases


def write_run(
    folder: Path, cases: dict[str, list[dict[str, object]]], static: Sequence[int] = (), **header: object
) -> Path:
    """Write a run file and its traces as the bench runner does; a member of gzip a case."""
    told = {"task": "t", "system": "ours", "model": NAME, "sha256": "", "window": WINDOW, "seed": 0} | header
    run = folder / f"ours--{NAME}--w{WINDOW}.jsonl"
    run.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"header": told}, *({"case": case, "score": 1.0} for case in cases)]
    run.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for case, traces in cases.items():
        row = {"case": case, "static": list(static), "grammar": True, "traces": traces}
        with gzip.open(run.with_suffix(".traces.jsonl.gz"), "at") as file:
            file.write(json.dumps(row) + "\n")
    return run


def test_a_case_is_replayed_from_its_static_part(tmp_path: Path, engine: LlamaProcessor) -> None:
    static = [token for segment in prompt(engine, "")[:2] for token in segment.ids]
    engine.begin_with(static)
    one = record(engine, [SMALL])
    engine.begin_with(static)
    two = record(engine, [SMALL], "What is my name?")
    assert {trace.completion.usage.reused_tokens for trace in (*one, *two)} == {len(static)}
    run = write_run(tmp_path, {"a/1": packed(one), "b:2": packed(two)}, static, sha256=engine.model)
    for case in ("a/1", "b:2"):
        recording = of_case(find_run(tmp_path, case), case)
        assert (recording.static, recording.exact) == (tuple(static), True)
        (once,) = replay(engine, recording)
        assert (once.differs, once.reused) == (None, len(static))
    traces = run.with_suffix(".traces.jsonl.gz")
    traces.write_bytes(traces.read_bytes()[:-30])  # the process was killed
    assert of_case(run, "a/1")
    with pytest.raises(UsageError, match="has no case 'b:2'"):
        of_case(run, "b:2")


ROW: dict[str, object] = {
    "shared": 0,
    "prompt": [1, 2],
    "shape": {"characters": 9},
    "tokens": 9,
    "sampling": {"temperature": 0.0, "top_p": 1.0, "min_p": 0.0, "seed": 0},
    "ids": [3],
    "text": "x",
    "reused": 0,
}


def test_a_case_is_found_or_said_to_be_nowhere(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", {"a": [ROW]})
    two = write_run(tmp_path / "two", {"a": [ROW], "b": [{**ROW, "text": "old"}]}, model="other")
    with gzip.open(two.with_suffix(".traces.jsonl.gz"), "at") as file:  # run once more
        file.write(json.dumps({"case": "b", "static": [], "grammar": False, "traces": [ROW]}) + "\n")
    (tmp_path / "notes.jsonl").write_text('{"something": "else"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    assert find_run(tmp_path, "b") == two
    assert find_run(tmp_path, "a", NAME) == one
    assert (of_case(two, "b").generations[0].text, of_case(two, "b").setup.grammar) == ("x", False)
    with pytest.raises(UsageError, match=r"2 runs have case 'a', say which: .*one.*:a, .*two.*:a"):
        find_run(tmp_path, "a")
    with pytest.raises(UsageError, match=r"no run in .* has a case 'c'"):
        find_run(tmp_path, "c")
    with pytest.raises(UsageError, match=r"there is no .*gone\.jsonl"):
        of_case(tmp_path / "gone.jsonl", "a")
    searched = write_run(tmp_path / "three", {"s": []})
    with pytest.raises(UsageError, match=r"generated nothing in case s of .*\.jsonl"):
        of_case(searched, "s")
    one.with_suffix(".traces.jsonl.gz").unlink()
    with pytest.raises(UsageError, match=r"there is no .*traces\.jsonl\.gz"):
        of_case(one, "a")
    one.write_text("nonsense\n")
    with pytest.raises(UsageError, match="cannot be read as a recording"):
        of_case(one, "a")


def test_another_model_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    registry = Registry.load(models)
    (models / registry[NAME].file).write_bytes(b"x")
    wrong = Setup(model=NAME, sha256="f" * 64, window=WINDOW)
    with pytest.raises(UsageError, match="which smollm2-135m-instruct here does not have"):
        load(registry, replace(wrong, sha256="0" * 64))
    with pytest.raises(UnknownModel, match="--model says under which name"):
        load(registry, replace(wrong, model="gone.gguf"))


def test_a_model_is_known_by_its_content(smollm2: Path, profile: Profile) -> None:
    registry = Registry.load(Path("nowhere"))
    recorded = Setup(model="gone", sha256=profile.sha256, window=WINDOW, dialect="json", gpu_layers=0)
    engine = load(registry, recorded, str(smollm2))
    assert engine.window == WINDOW
    engine.close()


def test_a_shape_in_few_words() -> None:
    assert described(Prose(1200)) == "prose, at most 1,200 characters"
    assert described(MEMORY) == (
        "core_memory_append, core_memory_replace, archival_memory_insert, nothing_to_remember"
        " · verdict states_a_fact · bias nothing_to_remember -9"
    )
    assert described(Calls(function_set("small")[:1], thought=99, heartbeat=True, unlike="Hello there")) == (
        'send_message · thought of 99 · heartbeat asked · not begun with "Hello"'
    )
