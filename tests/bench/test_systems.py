"""The systems that are compared: what each puts in front of the question, what fits, what counts as legal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bench.scripted import Scripted, answer

from localmem.bench.case import Case, Material, Outcome, Said, Task
from localmem.bench.ours import Ours, is_legal
from localmem.bench.systems import PLAIN, Plain, build
from localmem.errors import UsageError
from localmem.functions.standard import function_set
from localmem.kernel.settings import Settings
from localmem.processor.interface import Calls, Completion, Limits, Prose, Shape
from localmem.records import Block, Call, Usage
from localmem.testing import HashEmbedder, Move
from localmem.trace import Trace

REPLY = 10
PLAINS = ("no-memory", "full-context", "truncation", "summary", "retrieval")
MATERIAL = Material(
    id="m",
    blocks=(Block("facts", "0. Tin floats.\n\n1. Lead sinks.", 2000),),
    passages=("Moss is green.", "Fog is grey."),
    sessions=((Said("I keep bees.", "How many?"), Said("Three hives.")),),
)
PIECES = [
    "0. Tin floats.", "1. Lead sinks.", "Moss is green.", "Fog is grey.",
    "Person: I keep bees.", "You: How many?", "Person: Three hives.",
]  # fmt: skip
QUESTION = "Is fog grey?"


def task(instructions: str = "") -> Task:
    return Task(
        name="t", title="T", source="", metric="", instructions=instructions, reply=REPLY,
        cases=lambda data, seed: [], score=lambda case, outcome: 0.0,
    )  # fmt: skip


def asked(material: Material = MATERIAL, question: str = QUESTION, search: bool = False) -> Case:
    return Case(id="c", material=material, question=question, search=search)


def plain(
    name: str, folder: Path, window: int = 4096, script: Callable[[Shape], Move] = lambda shape: "It is."
) -> tuple[Plain, Scripted]:
    processor = Scripted(script, window)
    return Plain(name, task("Be brief."), processor, folder, HashEmbedder()), processor  # type: ignore[arg-type]


def shown(processor: Scripted, number: int = -1) -> str:
    """Return what the person's message of a prompt is."""
    return processor.prompts[number].rpartition("<user>")[2].partition("</user>")[0].strip()


def flat(pieces: list[str]) -> str:
    return " ".join(" ".join(pieces).split())


class TestWhatStandsInFrontOfTheQuestion:
    def test_nothing(self, tmp_path: Path) -> None:
        system, processor = plain("no-memory", tmp_path)
        assert system.answer(asked()).reply == "It is."
        (prompt,) = processor.prompts
        assert prompt == flat([f"<system> {PLAIN} Be brief. </system> <user> {QUESTION} </user> <call>"])

    def test_everything_in_order(self, tmp_path: Path) -> None:
        system, processor = plain("full-context", tmp_path)
        system.answer(asked())
        assert shown(processor) == flat(["What is known:", *PIECES, f"Question: {QUESTION}"])

    @pytest.mark.parametrize("window", range(44, 75, 3))
    def test_as_many_of_the_last_pieces_as_fit(self, tmp_path: Path, window: int) -> None:
        system, processor = plain("truncation", tmp_path, window)
        assert system.answer(asked()).fits
        known = shown(processor).removeprefix("What is known: ").partition(" Question:")[0]
        count = next(n for n in range(1, 8) if known == flat(PIECES[-n:]))
        used = len(processor.prompts[0].split()) + REPLY
        assert used <= window
        if count < len(PIECES):
            assert used + len(PIECES[-count - 1].split()) > window

    def test_the_five_nearest_passages(self, tmp_path: Path) -> None:
        passages = tuple(f"{'fog ' * number}and number {number}" for number in range(9))
        system, processor = plain("retrieval", tmp_path)
        system.answer(asked(Material(id="r", passages=passages), "fog"))
        known = [text for text in passages if flat([text]) in shown(processor)]
        assert len(known) == 5
        assert "and number 0" not in known

    def test_a_summary_of_everything(self, tmp_path: Path) -> None:
        made = iter(["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "It is."])
        system, processor = plain("summary", tmp_path, 84, lambda shape: next(made))
        assert system.answer(asked()).fits
        *steps, last = [shown(processor, at) for at in range(len(processor.prompts))]
        news = [step.partition(" New: ")[2].partition(" Write a new summary")[0] for step in steps]
        assert len(news) > 1
        assert " ".join(news) == flat(PIECES)
        before = [step.partition("Summary so far: ")[2].partition(" New: ")[0] for step in steps]
        assert before == ["(nothing)", "first", "second", "third", "fourth"][: len(steps)]
        newest = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"][len(steps) - 1]
        assert last == f"What is known: {newest} Question: {QUESTION}"

    def test_a_summary_is_made_once_a_material(self, tmp_path: Path) -> None:
        system, processor = plain("summary", tmp_path)
        for _ in range(3):
            system.answer(asked())
        assert len(processor.prompts) == 4
        system.drop(MATERIAL)
        system.answer(asked())
        assert len(processor.prompts) == 6

    def test_the_usage_is_that_of_the_answer(self, tmp_path: Path) -> None:
        system, processor = plain("summary", tmp_path)
        usage = system.answer(asked()).usage
        assert usage.prompt_tokens == len(processor.prompts[-1].split())


class TestWhatDoesNotFit:
    LONG = Material(id="long", passages=("fog " + " ".join(f"w{at}" for at in range(3000)),))

    def test_everything_says_so_without_an_answer(self, tmp_path: Path) -> None:
        system, processor = plain("full-context", tmp_path, 45)
        assert system.answer(asked()) == Outcome(fits=False)
        assert processor.prompts == []
        exactly = (
            len(flat([PLAIN, "Be brief.", "What is known:", *PIECES, "Question:", QUESTION]).split()) + 15
        )
        assert plain("full-context", tmp_path, exactly)[0].answer(asked()).fits
        assert not plain("full-context", tmp_path, exactly - 1)[0].answer(asked()).fits

    @pytest.mark.parametrize(
        ("name", "fits"),
        [("no-memory", True), ("full-context", False), ("truncation", True), ("summary", True), ("retrieval", False)],
    )  # fmt: skip
    def test_one_piece_larger_than_the_window(self, tmp_path: Path, name: str, fits: bool) -> None:
        system, processor = plain(name, tmp_path, 300)
        assert system.answer(asked(self.LONG)).fits is fits
        assert all(len(prompt.split()) < 300 for prompt in processor.prompts)

    def test_the_end_of_it_is_what_truncation_keeps(self, tmp_path: Path) -> None:
        system, processor = plain("truncation", tmp_path, 300)
        system.answer(asked(self.LONG))
        assert "w2998 w2999 Question:" in shown(processor)
        assert len(processor.prompts[0].split()) + REPLY == 300

    def test_all_of_it_is_summarised(self, tmp_path: Path) -> None:
        system, processor = plain("summary", tmp_path, 300)
        system.answer(asked(self.LONG))
        news = [
            step.partition(" New: ")[2].partition(" Write a new summary")[0]
            for step in processor.prompts[:-1]
        ]
        characters = "".join("".join(part.split()) for part in news)
        assert characters == "".join(self.LONG.passages[0].split())

    def test_a_window_too_small_for_a_summary(self, tmp_path: Path) -> None:
        system, _ = plain("summary", tmp_path, 55)
        assert system.answer(asked()) == Outcome(fits=False)

    def test_a_question_larger_than_the_window(self, tmp_path: Path) -> None:
        for name in PLAINS:
            system, _ = plain(name, tmp_path / name, 300)
            (tmp_path / name).mkdir()
            assert system.answer(asked(question="why " * 400)) == Outcome(fits=False)


def test_a_search_asks_memory_and_no_model(tmp_path: Path) -> None:
    system, processor = plain("retrieval", tmp_path)
    assert system.answer(asked(question="keep bees hives", search=True)).found[:2] == (
        "I keep bees.", "Three hives.",
    )  # fmt: skip
    assert processor.prompts == []


def test_nothing_asked_is_nothing_answered(tmp_path: Path) -> None:
    system, processor = plain("full-context", tmp_path)
    assert system.answer(asked(question="")) == Outcome()
    assert processor.prompts == []


def test_a_system_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no system 'other'"):
        build("other", task(), Scripted(lambda shape: ""), Settings(), tmp_path, None)  # type: ignore[arg-type]


# our agent


def agent(folder: Path, script: Callable[[Shape], Move], **settings: object) -> tuple[Ours, Scripted]:
    processor = Scripted(script, 8192)
    ours = Ours(task("Be brief."), processor, replace(Settings(), **settings), folder, HashEmbedder())  # type: ignore[arg-type]
    return ours, processor


def silent(shape: Shape) -> Move:
    raise AssertionError("no model is to be asked")


def offered(shape: Shape) -> list[str]:
    assert isinstance(shape, Calls)
    return [function.name for function in shape.functions]


def test_an_answer_is_a_turn_of_the_agent(tmp_path: Path) -> None:
    moves = iter(
        [
            Call("", "core_memory_append", {"label": "human", "content": "asks of fog"}),
            Call("", "archival_memory_insert", {"content": "Somebody asked."}),
            Call("", "send_message", {"message": "Yes."}),
        ]
    )
    ours, _ = agent(tmp_path, lambda shape: next(moves), functions="full")
    only = replace(MATERIAL, sessions=())
    outcome = ours.answer(asked(only))
    assert (outcome.reply, outcome.completions, outcome.legal) == ("Yes.", 3, 3)
    assert [(step.function, step.ok) for step in outcome.steps] == [
        ("core_memory_append", True), ("archival_memory_insert", True), ("send_message", True),
    ]  # fmt: skip
    assert outcome.blocks["facts"] == MATERIAL.blocks[0].value
    assert outcome.blocks["human"].endswith("asks of fog")
    assert outcome.passages == ("Somebody asked.",)
    assert outcome.usage.forward_passes == 3


def test_the_agent_knows_the_protocol_and_begins_with_the_same_cache(tmp_path: Path) -> None:
    ours, processor = agent(tmp_path, lambda shape: answer(shape, "Yes."))
    static = list(ours.bed.static)
    only = replace(MATERIAL, sessions=())
    for _ in range(2):
        ours.answer(asked(only))
    assert processor.began == [static, static]
    assert "Be brief." in processor.prompts[0].partition("Tin floats")[0]
    assert "Tin floats" not in " ".join(processor.prompts[0].split()[: len(static)])


def test_a_conversation_is_held_with_the_given_replies(tmp_path: Path) -> None:
    """The memory step is the model's own; what it says is the reply that was given, if one was."""

    def script(shape: Shape) -> Move:
        if "nothing_to_remember" in offered(shape):
            return Call("", "core_memory_append", {"label": "human", "content": processor.question()})
        return Call("", "send_message", {"message": "Mine."})

    ours, processor = agent(tmp_path, script, memory_step=True)
    outcome = ours.answer(asked(question=""))
    assert outcome.blocks["human"].endswith("I keep bees.\nThree hives.")
    assert (outcome.reply, outcome.completions) == ("", 0)
    said = [prompt for prompt in processor.prompts if "How many?" in prompt]
    assert said
    assert sum("nothing_to_remember" not in offered(shape) for shape in processor.shapes) == 1


def test_a_search_case_is_recorded_and_not_played(tmp_path: Path) -> None:
    ours, _ = agent(tmp_path, silent, memory_step=True)
    assert ours.answer(asked(question="bees", search=True)).found == ("I keep bees.",)
    assert ours.answer(asked(question="how many", search=True)).found == ("How many?",)


def test_recorded_and_played_are_not_mixed_up(tmp_path: Path) -> None:
    ours, processor = agent(tmp_path, lambda shape: answer(shape, "Mine."))
    assert ours.answer(asked(question="mine", search=True)).found == ()
    assert processor.prompts == []
    ours.answer(asked())
    played = len(processor.prompts)
    assert played > 2
    assert ours.answer(asked(question="mine", search=True)).found == ()
    ours.answer(asked())
    assert len(processor.prompts) == played + 1
    assert len(list(tmp_path.iterdir())) == 2
    ours.drop(MATERIAL)
    assert list(tmp_path.iterdir()) == []


SHAPE = Calls(function_set("small"), labels=("human", "persona"))


def trace(call: Call | None, shape: Shape = SHAPE) -> Trace:
    return Trace((), shape, Limits(9), Completion(call, "", (), Usage()))


@pytest.mark.parametrize(
    ("call", "legal"),
    [
        (Call("", "core_memory_append", {"label": "human", "content": "x"}), True),
        (Call("", "send_message", {"message": "hello"}), True),
        (Call("", "core_memory_append", {"label": "nobody", "content": "x"}), False),
        (Call("", "core_memory_append", {"label": "human"}), False),
        (Call("", "core_memory_append", {"label": "human", "content": "x", "more": 1}), False),
        (Call("", "send_message", {"message": 7}), False),
        (Call("", "send_message", {"message": "x" * 100_000}), False),
        (Call("", "search", {}), False),
        (Call("", "", {}), False),
        (None, False),
    ],
)
def test_a_call_is_legal_when_it_binds(call: Call | None, legal: bool) -> None:
    assert is_legal(trace(call)) is legal
    assert not is_legal(trace(call, Prose(99)))


def test_completions_that_do_not_bind_are_counted(tmp_path: Path) -> None:
    moves = iter(
        [
            Call("", "core_memory_append", {"label": "nobody", "content": "x"}),
            Call("", "archival_memory_insert", {"content": 7}),
            Call("", "send_message", {"message": "Yes."}),
        ]
    )
    ours, _ = agent(tmp_path, lambda shape: next(moves))
    outcome = ours.answer(asked(replace(MATERIAL, sessions=())))
    assert (outcome.completions, outcome.legal, outcome.reply) == (3, 1, "Yes.")
    assert [step.ok for step in outcome.steps] == [False, False, True]
