"""Traces: packed and unpacked unharmed, recorded without a difference to anybody, kept within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmem import recording, runtime
from localmem.errors import DefinitionError, UsageError
from localmem.functions.standard import SETS, function_set
from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.memory.home import Home
from localmem.processor.interface import (
    Calls,
    Completion,
    Limits,
    Opening,
    Prose,
    Sampling,
    Shape,
    Verdict,
)
from localmem.recording import KEPT, Setup, keep, kept, of_turn
from localmem.records import Call, Event, EventKind, Item, Usage
from localmem.runtime import Options
from localmem.session import Session
from localmem.testing import ScriptedProcessor
from localmem.trace import Trace, Tracer, packed, unpacked

TOKENS = st.lists(st.integers(0, 200_000), max_size=12).map(tuple)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NOON = datetime(2026, 3, 4, 12).astimezone()
NAMES = sorted({python.__name__ for functions in SETS.values() for python in functions})


@st.composite
def calls(draw: st.DrawFn) -> Calls:
    functions = function_set(draw(st.sampled_from(sorted(SETS))))
    answers = st.sampled_from(["yes", "no"])
    verdict = Verdict(draw(TEXT), {function.name: draw(answers) for function in functions})
    return Calls(
        functions,
        thought=draw(st.integers(0, 500)),
        heartbeat=draw(st.booleans()),
        labels=draw(st.lists(TEXT, max_size=3).map(tuple)),
        bias=draw(st.dictionaries(st.sampled_from(NAMES), st.floats(-9, 9), max_size=3)),
        verdict=draw(st.sampled_from([None, verdict])),
        unlike=draw(TEXT),
    )


@st.composite
def traces(draw: st.DrawFn) -> list[Trace]:
    """Generations of which each prompt may share its beginning with the one before."""
    made: list[Trace] = []
    for _ in range(draw(st.integers(0, 4))):
        before = made[-1].prompt if made else ()
        prompt = before[: draw(st.integers(0, len(before)))] + draw(TOKENS)
        sampling = Sampling(draw(st.floats(0, 2)), draw(st.floats(0, 1)), 0.0, draw(st.integers(0, 99)))
        usage = Usage(len(prompt), draw(st.integers(0, len(prompt))))
        completion = Completion(None, draw(TEXT), draw(TOKENS), usage, draw(st.booleans()))
        shape: Shape = draw(st.one_of(calls(), st.integers(1, 9000).map(Prose)))
        made.append(Trace(prompt, shape, Limits(draw(st.integers(1, 4096)), sampling), completion))
    return made


@given(traces())
def test_what_is_packed_comes_back(made: list[Trace]) -> None:
    back = unpacked(json.loads(json.dumps(packed(made))))
    assert [
        (r.prompt, r.shape, r.limits, r.ids, r.text, r.reused, r.cancelled) for r in back
    ] == [
        (
            *(t.prompt, t.shape, t.limits, t.completion.ids, t.completion.text),
            *(t.completion.usage.reused_tokens, t.completion.cancelled),
        )
        for t in made
    ]  # fmt: skip
    for one, other in zip(made, back, strict=True):
        if isinstance(one.shape, Calls) and isinstance(other.shape, Calls):
            assert (other.shape.bias, other.shape.verdict) == (one.shape.bias, one.shape.verdict)
            answers = one.shape.verdict and other.shape.verdict and other.shape.verdict.answers
            assert not one.shape.verdict or answers == one.shape.verdict.answers


def test_a_shared_beginning_is_written_once() -> None:
    long = tuple(range(1000, 3000))
    done = Completion(None, "", (), Usage())
    rows = packed([Trace((*long, n), Prose(9), Limits(9), done) for n in range(3)])
    assert [(row["shared"], len(row["prompt"])) for row in rows] == [(0, 2001), (2000, 1), (2000, 1)]


def test_a_function_that_is_gone_is_named() -> None:
    shape = Calls(function_set("small"))
    rows = packed([Trace((1,), shape, Limits(9), Completion(None, "", (), Usage()))])
    rows[0]["shape"]["functions"][0] = "core_memory_forget"
    with pytest.raises(DefinitionError, match="no function core_memory_forget any more"):
        unpacked(rows)


def script() -> Iterator[Call]:
    yield Call("", "core_memory_append", {"label": "human", "content": "likes tea"})
    yield Call("", "archival_memory_insert", {"content": "Tea is on the top shelf."})
    yield Call("", "send_message", {"message": "Tea it is, then."})


def shown(items: Iterator[Item]) -> list[str]:
    return [repr(item) for item in items if not isinstance(item, Event)]


def test_nobody_notices_a_tracer(tmp_path: Path) -> None:
    plain, traced = ScriptedProcessor(script()), ScriptedProcessor(script())
    tracer = Tracer(traced)
    seen = []
    for name, processor in (("plain", plain), ("traced", tracer)):
        with Home.open(tmp_path / name, clock=lambda: NOON) as home:
            agent = Agent(home.create_agent("a"), processor, Settings(), clock=lambda: NOON)
            seen.append(shown(agent.turn(Event(EventKind.USER, "I like tea"))))
    assert seen[0] == seen[1]
    assert traced.prompts == plain.prompts
    assert (tracer.window, tracer.abilities) == (plain.window, plain.abilities)
    taken = tracer.take()
    assert tracer.take() == []
    assert [trace.shape for trace in taken] == traced.shapes
    words = {number: word for word, number in traced._words.items()}
    assert [" ".join(words[id_] for id_ in trace.prompt) for trace in taken] == traced.prompts
    assert [trace.completion.call and trace.completion.call.function for trace in taken] == [
        "core_memory_append",
        "archival_memory_insert",
        "send_message",
    ]


def test_a_tracer_holds_the_newest_where_nobody_takes_them() -> None:
    say = Call("", "send_message", {"message": "hi"})
    processor = ScriptedProcessor(lambda shape: say)
    tracer = Tracer(processor, most=3)
    for number in range(10):
        prompt = [tracer.encode(Opening())]
        assert "".join(tracer.generate(prompt, Calls(function_set("small")), Limits(300 + number))) == "hi"
        assert len(tracer.traces) <= 3
    assert [trace.limits.tokens for trace in tracer.take()] == [307, 308, 309]


def test_a_generation_that_was_given_up_is_kept_as_far_as_it_came() -> None:
    say = Call("", "send_message", {"message": "one two three"})
    tracer = Tracer(ScriptedProcessor([say]))
    pieces = iter(tracer.generate([tracer.encode(Opening())], Calls(function_set("small")), Limits(300)))
    assert next(pieces) == "one"
    pieces.close()  # type: ignore[attr-defined]
    assert [trace.completion.cancelled for trace in tracer.take()] == [True]


# turns of a session


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose model repeats itself."""
    say = Call("", "send_message", {"message": "one two three"})
    quiet = Call("", "nothing_to_remember", {})

    def move(shape: Shape) -> Call:
        return quiet if isinstance(shape, Calls) and shape.verdict else say

    monkeypatch.setattr(runtime, "load_processor", lambda *_: ScriptedProcessor(move, window=8192))
    with Home.open(tmp_path / "home") as made:
        yield made


def session(home: Home) -> Session:
    return Session(home, Options(model="qwen2.5-coder-0.5b-instruct"))


def play(session: Session, text: str = "hello") -> int:
    """Play a turn and return its number."""
    turns = [item.turn for item in session.turn(Event(EventKind.USER, text)) if isinstance(item, Event)]
    return turns[-1]


def test_a_turn_is_kept_privately_and_comes_back(home: Home) -> None:
    made = session(home)
    turn = play(made)
    folder = home.traces("default")
    assert [(each.turn, each.text) for each in kept(folder)] == [(turn, "hello")]
    back = of_turn(folder, "default", turn)
    assert (back.setup.sha256, back.setup.window, back.setup.dialect) == ("scripted", 8192, "json")
    asked = [generation.shape for generation in back.generations]
    assert asked == made.agent.processor.processor.shapes  # type: ignore[attr-defined]
    assert (back.exact, back.static) == (True, ())
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_an_interrupted_turn_is_kept(home: Home) -> None:
    made = session(home)
    items = made.turn(Event(EventKind.USER, "hello"))
    turn = 0
    for item in items:
        turn = getattr(item, "turn", turn)
        if getattr(item, "text", "") == "one":
            break
    items.close()  # type: ignore[attr-defined]
    assert made.memory.unfinished() is None
    generations = of_turn(home.traces("default"), "default", turn).generations
    assert [generation.cancelled for generation in generations] == [False, True]
    play(made)
    assert len(list(kept(home.traces("default")))) == 2


def test_a_resumed_turn_is_kept_under_its_own_number(home: Home) -> None:
    made = session(home)
    opened = made.memory.open_turn(Event(EventKind.USER, "hello"))
    assert list(made.resume())
    assert [(each.turn, each.text) for each in kept(home.traces("default"))] == [(opened.turn, "hello")]
    assert list(made.resume()) == []


def test_the_newest_turns_stay(home: Home) -> None:
    home.create_agent("default")
    folder = home.traces("default")
    done = Completion(None, "said", (1,), Usage())
    setup = Setup(model="m", sha256="", window=9)
    for turn in range(1, KEPT + 8):
        event = Event(EventKind.USER, f"message {turn}", turn=turn * 7)
        keep(folder, event, setup, [Trace((1, 2), Prose(9), Limits(9), done)])
    assert [each.turn for each in kept(folder)] == [turn * 7 for turn in range(KEPT + 7, 7, -1)]
    assert len(list(folder.iterdir())) == KEPT


def test_memory_does_not_grow_with_a_chat(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localmem.session.MOST_TRACES", 5)
    made = session(home)
    tracer = made.agent.processor
    assert isinstance(tracer, Tracer)
    play(made)
    assert tracer.traces == []
    for _ in range(4):  # by somebody who takes no notice of traces
        assert list(made.agent.turn(Event(EventKind.USER, "hello")))
    assert len(tracer.traces) == 5


def test_traces_follow_their_agent(home: Home) -> None:
    made = session(home)
    turn = play(made)
    home.rename_agent("default", "ada")
    folder = home.traces("ada")
    assert [each.turn for each in kept(folder)] == [turn]
    home.delete_agent("ada")
    assert not folder.exists()
    assert list(kept(folder)) == []


def test_a_disk_that_refuses_costs_the_trace_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(home)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recording.os, "replace", full)
        lost = play(made)
    folder = home.traces("default")
    assert list(folder.iterdir()) == []
    with pytest.raises(UsageError, match=f"nothing is kept of turn {lost} of default: none is kept"):
        of_turn(folder, "default", lost)
    folder.rmdir()
    folder.write_text("in the way")
    assert play(made) > lost
    folder.unlink()
    turn = play(made)
    with pytest.raises(UsageError, match=f"kept are turns {turn} to {turn}"):
        of_turn(folder, "default", lost)


def test_a_damaged_file_is_one_line(home: Home) -> None:
    turn = play(session(home))
    path = home.traces("default") / f"{turn}.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"\.json\.gz cannot be read"):
        of_turn(path.parent, "default", turn)
