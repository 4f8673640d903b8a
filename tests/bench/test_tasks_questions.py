"""The tasks that ask questions of an archive, of conversations and of a book, and the one of first calls."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from bench.official import write, write_babi, write_bfcl, write_litm, write_longchat

from localmem.bench.case import Case, Material, Outcome, Step, Task
from localmem.bench.tasks import (
    bfcl_memory,
    calls,
    document_qa,
    hidden_sentences,
    key_value,
    long_conversation,
)
from localmem.errors import UsageError
from localmem.functions.standard import SETS
from localmem.memory.home import Home

TASKS = [
    module.TASK
    for module in (document_qa, key_value, bfcl_memory, calls, long_conversation, hidden_sentences)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a tiny invented data set in every official format."""
    for writer in (write_litm, write_bfcl, write_longchat, write_babi):
        writer(tmp_path)
    return tmp_path


def said(text: str, *functions: str) -> Outcome:
    return Outcome(reply=text, steps=tuple(Step(function=name, arguments={}) for name in functions))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_seed_decides_the_cases(task: Task, data: Path) -> None:
    first = task.cases(data, 3)
    assert first == task.cases(data, 3)
    assert [case.id for case in first] != [case.id for case in task.cases(data, 4)]
    assert len({case.id for case in first}) == len(first)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_order_begins_with_other_cases(task: Task, data: Path) -> None:
    """Of every level, the first case must depend on the seed: else the first n are no fair sample."""
    begins: dict[int | None, set[str]] = {}
    for seed in range(12):
        firsts: dict[int | None, str] = {}
        for case in task.cases(data, seed):
            firsts.setdefault(case.level, case.id)
        for level, name in firsts.items():
            begins.setdefault(level, set()).add(name)
    assert all(len(names) > 1 for names in begins.values()), begins
    assert bool(task.level) == (None not in begins)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_materials_can_be_stored(task: Task, data: Path, tmp_path: Path) -> None:
    materials = {case.material.id: case.material for case in task.cases(data, 0)}
    for case in task.cases(data, 0):
        assert case.material == materials[case.material.id], "one id, two materials"
        assert case.question
        json.dumps(dict(case.detail))
    for number, material in enumerate(list(materials.values())[:2]):
        assert len(set(material.passages)) == len(material.passages), "the archive refuses what it holds"
        assert all(
            one.text and one.reply != "" and len(one.reply or "") <= 2000
            for session in material.sessions
            for one in session
        )
        with Home.open(tmp_path / f"home-{number}") as home:
            blocks = home.create_agent("a", blocks=material.blocks).blocks()
        assert [block.value for block in blocks] == [block.value for block in material.blocks]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_nothing_said_is_never_right(task: Task, data: Path) -> None:
    assert {task.score(case, Outcome()) for case in task.cases(data, 0)} == {0.0}


@pytest.mark.parametrize("task", [task for task in TASKS if task.needs_data], ids=lambda task: task.name)
def test_missing_data_is_named(task: Task, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        task.cases(None, 0)
    with pytest.raises(UsageError, match=re.escape(str(tmp_path))):
        task.cases(tmp_path, 0)


@pytest.mark.parametrize("task", [key_value.TASK, calls.TASK], ids=lambda task: task.name)
def test_some_tasks_need_no_data(task: Task) -> None:
    assert not task.needs_data
    assert len(task.cases(None, 0)) >= task.n
    assert task.cases(None, 0) == task.cases(None, 0) != task.cases(None, 1)


def by_question(task: Task, data: Path) -> dict[str, Case]:
    return {case.question: case for case in task.cases(data, 0)}


def test_documents_are_one_archive_without_doubles(data: Path) -> None:
    cases = by_question(document_qa.TASK, data)
    archive = cases["who named the moss ball"].material
    assert archive.passages[0] == "Moss ball: The moss ball was named by Ada Quill in 1911."
    assert len(archive.passages) == 3
    assert [cases[question].detail["gold"] for question in sorted(cases)] == [1, 1, 2, 0]


def test_a_document_answer_stands_in_the_first_line(data: Path) -> None:
    case = by_question(document_qa.TASK, data)["who named the moss ball"]
    assert document_qa.score(case, said("It was ada  quill!")) == 1
    assert document_qa.score(case, said("\nThe Ada Quill, in 1911.\nMore.")) == 1
    assert document_qa.score(case, said("I looked it up.\nAda Quill")) == 0
    assert document_qa.score(case, said("Quill")) == 0
    other = by_question(document_qa.TASK, data)["how many holes does a tin whistle have"]
    assert document_qa.score(other, said("Six holes.")) == document_qa.score(other, said("6")) == 1


def test_the_retrieval_bound_counts_gold_passages(data: Path) -> None:
    cases = document_qa.TASK.cases(data, 0)
    passages = cases[0].material.passages

    def by_words(query: str, k: int) -> list[str]:
        words = set(query.split())
        return sorted(passages, key=lambda text: -len(words & set(text.lower().split())))[:k]

    assert document_qa.retrieval_bound(by_words, cases, 1) == 1
    assert document_qa.retrieval_bound(lambda query, k: passages[:1], cases, 1) == 0.25
    assert document_qa.retrieval_bound(lambda query, k: passages, cases, 2) == 0.75
    assert document_qa.retrieval_bound(by_words, [], 1) == 0


def test_a_record_of_pairs_is_passages(data: Path) -> None:
    cases = key_value.TASK.cases(data, 0)
    assert Counter(case.level for case in cases) == {75: 6, 140: 6}
    for case in cases:
        key = case.question.removeprefix("What is the value of key ").removesuffix("?")
        assert len(case.material.passages) == case.level
        assert case.material.passages[3] == f"Key {key}: value {case.gold[0]}"
        assert key_value.TASK.score(case, said(f"It is {case.gold[0].upper()}.")) == 1
        assert key_value.TASK.score(case, said(f"It is {case.gold[0][:-1]}.")) == 0


def test_pairs_are_made_of_identifiers() -> None:
    cases = key_value.TASK.cases(None, 5)
    assert Counter(case.level for case in cases) == {75: 250, 140: 250}
    case = cases[0]
    assert str(UUID(case.gold[0])) == case.gold[0]
    key = case.question.split()[-1][:-1]
    assert f"Key {key}: value {case.gold[0]}" in case.material.passages
    assert len({passage for case in cases for passage in case.material.passages}) == 250 * (75 + 140)


def test_scenarios_take_turns_and_the_short_one_begins(data: Path) -> None:
    cases = bfcl_memory.TASK.cases(data, 0)
    scenarios = [case.detail["scenario"] for case in cases]
    assert scenarios == ["notetaker", "customer"] * 3 + ["customer"] * 2
    material = cases[1].material
    assert material.wiped
    assert [[one.text for one in session] for session in material.sessions] == [
        [f"customer says {c}.{m}" for m in range(4)] for c in range(3)
    ]
    assert {one.reply for session in material.sessions for one in session} == {None}
    assert "customer support" in material.blocks[0].value
    assert material.blocks[0].label == "persona"


def test_answers_of_the_official_tree_are_found(data: Path) -> None:
    flat = bfcl_memory.TASK.cases(data, 0)
    moved = data / "bfcl_memory/possible_answer/BFCL_v4_memory.json"
    moved.parent.mkdir()
    (data / "bfcl_memory/possible_answer.jsonl").rename(moved)
    assert bfcl_memory.TASK.cases(data, 0) == flat


def test_a_question_without_an_answer_is_named(data: Path) -> None:
    (data / "bfcl_memory/possible_answer.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"memory_\d-\w+-\d has no answer"):
        bfcl_memory.TASK.cases(data, 0)


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Your reading was 138/85 mmHg.", 1),
        ("It was 13885", 1),
        ("It cost 49.99!", 0),
        ("An Art Contest, I think.", 1),
        ("An art-contest", 0),
        ("Many art contests", 0),
        ("138 over 85", 0),
    ],
)
def test_answers_stand_on_word_boundaries(reply: str, right: int, data: Path) -> None:
    """ "$49.99" alone can never be found: no word begins at a dollar sign. Officially so."""
    assert bfcl_memory.score(bfcl_memory.TASK.cases(data, 0)[0], said(reply)) == right


def test_a_record_is_a_conversation_that_was_held(data: Path) -> None:
    case = next(case for case in long_conversation.TASK.cases(data, 0) if case.id == "topics-5-1")
    (session,) = case.material.sessions
    assert not case.material.wiped
    assert not case.material.passages
    assert (case.question, case.gold) == ("What is first?", ("The benefits of whistling",))
    assert len(session) == 6
    assert session[1].text == "Why the benefits of whistling?"
    assert session[1].reply == "Because."
    assert session[2].text.splitlines() == [
        "Great, this is the end of The benefits of whistling.",
        "I would like to discuss the topic of the future of soft cheese.",
    ]
    assert Counter(case.level for case in long_conversation.TASK.cases(data, 0)) == {
        5: 4,
        15: 4,
        25: 4,
        200: 4,
        680: 4,
    }


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("The impact of rain on roofs", 1),
        ("We first talked about how rain affects roofs.", 1),
        ("Rain.", 0),
        ("The future of soft cheese", 0),
        ("Rain on roofs, whistling, and soft cheese.", 0),
        ("", 0),
    ],
)
def test_the_first_topic_and_no_other_is_right(reply: str, right: int, data: Path) -> None:
    case = next(case for case in long_conversation.TASK.cases(data, 0) if case.id == "topics-15-0")
    assert long_conversation.score(case, said(reply)) == right


def test_a_line_is_a_passage_and_its_number_comes_last(data: Path) -> None:
    case = next(case for case in long_conversation.TASK.cases(data, 0) if case.id == "lines-200-2")
    assert len(case.material.passages) == 9
    assert case.material.passages[4] == "line no 4-2: REGISTER_CONTENT is <1388>"
    assert case.question == "Tell me what is the <REGISTER_CONTENT> in line no 4-2? I need the number."
    assert long_conversation.score(case, said("In line no 4-2 it is <1388>.")) == 1
    assert long_conversation.score(case, said("It is 1,388")) == 1
    assert long_conversation.score(case, said("1388 is in line 4-2")) == 0
    assert long_conversation.score(case, said("none")) == 0


def test_a_broken_record_is_named(data: Path) -> None:
    write(data / "longchat/lines_200.jsonl.xz", [{"prompt": "no record"}])
    with pytest.raises(UsageError, match=r"lines_200\.jsonl\.xz, line 1"):
        long_conversation.TASK.cases(data, 0)


def test_facts_stand_in_order_among_the_pages(data: Path) -> None:
    cases = hidden_sentences.TASK.cases(data, 0)
    assert [case.detail["task"] for case in cases[:5]] == list(hidden_sentences.LABELS)
    assert Counter(case.level for case in cases) == {4: 20, 16: 20, 64: 20}
    case = next(case for case in cases if case.id == "16-qa2-3")
    assert (case.question, case.gold) == ("Who is there?", ("garden",))
    pages = case.material.passages
    bare = [re.fullmatch(r"Page (\d+)\. (.*)", page) for page in pages]
    assert [int(found[1]) for found in bare if found] == list(range(1, len(pages) + 1))
    text = " ".join(found[2] for found in bare if found)
    places = [
        text.index(fact) for fact in ("Mary stood up 1.", "Mary went to the garden.", "Bill sat down 1.")
    ]
    assert all(one < other for one, other in pairwise(places))
    for case in cases:
        days = re.findall(r"Jeff waited (\d+) days", " ".join(case.material.passages))
        assert days == [str(at) for at in range(5, 44)] or not days
    assert "A TITLE" not in text
    assert "Mrs. Holt laughed." in text


def test_a_text_is_as_long_as_its_level_says(data: Path) -> None:
    for case in hidden_sentences.TASK.cases(data, 0):
        assert case.level is not None
        pages = [page.partition(". ")[2] for page in case.material.passages]
        assert 0 <= sum(len(page) + 1 for page in pages) - 4000 * case.level <= 60
        assert all(120 <= len(page.split()) < 140 for page in pages[:-1])
        assert all(page.endswith((".", "!", '"')) for page in pages)


def test_a_place_is_not_always_the_same(data: Path) -> None:
    cases = [case for case in hidden_sentences.TASK.cases(data, 0) if case.level == 64]
    where = {
        next(at for at, page in enumerate(case.material.passages) if "Mary went" in page) for case in cases
    }
    assert len(where) > 5


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Kitchen", 1),
        ("She is in the kitchen. Before, in the garden.", 1),
        ("The kitchen or the garden", 0),
        ("I found it. The kitchen", 0),
        ("garden", 0),
    ],
)
def test_one_label_in_the_first_sentence(reply: str, right: int, data: Path) -> None:
    case = next(case for case in hidden_sentences.TASK.cases(data, 0) if case.detail["task"] == "qa1")
    assert hidden_sentences.score(case, said(reply)) == right


def test_labels_in_the_question_do_not_count() -> None:
    case = Case(
        id="x",
        material=Material(id="x"),
        question="What did Fred give to Jeff?",
        gold=("football",),
        detail={"task": "qa5"},
    )
    assert hidden_sentences.score(case, said("Fred gave Jeff the football")) == 1
    assert hidden_sentences.score(case, said("Fred gave Mary the football")) == 0


def test_a_broken_archive_is_named(data: Path) -> None:
    path = data / "babi/babi_v1-2_en_1k.tar.xz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match="cannot be read"):
        hidden_sentences.TASK.cases(data, 0)


def test_first_calls_of_every_kind_take_turns() -> None:
    cases = calls.TASK.cases(None, 0)
    assert len(cases) == 60
    assert [case.detail["kind"] for case in cases[:10]] == [*calls.RIGHT, *calls.RIGHT]
    assert Counter(case.material.id for case in cases) == dict.fromkeys((p.id for p in calls.PEOPLE), 10)
    assert len({case.question for case in cases}) == 60
    names = {function.__name__ for every in SETS.values() for function in every}
    assert all(right <= names for right in calls.RIGHT.values())


def test_what_must_be_found_stands_nowhere_in_core_memory() -> None:
    for case in calls.TASK.cases(None, 0):
        (block,) = case.material.blocks
        assert bool(case.gold) == (case.detail["kind"] == "stored")
        rest = " ".join([*case.material.passages, *(one.text for one in case.material.sessions[0])])
        assert not case.gold or any(gold in rest for gold in case.gold)
        assert not any(gold in block.value for gold in case.gold)


@pytest.mark.parametrize(
    ("kind", "outcome", "right"),
    [
        ("told", said("", "core_memory_append", "send_message"), 1),
        ("told", said("Noted!", "send_message", "core_memory_append"), 0),
        ("told", said("", "archival_memory_insert"), 0),
        ("corrected", said("", "core_memory_rewrite"), 1),
        ("known", said("Nine.", "nothing_to_remember", "send_message"), 1),
        ("known", said("Nine.", "conversation_search", "send_message"), 0),
        ("stored", said("", "nothing_to_remember", "archival_memory_search"), 1),
        ("stored", said("No idea.", "send_message"), 0),
        ("stored", said("{gold}, as you told me.", "send_message"), 1),
        ("chat", said("Hello!", "send_message"), 1),
        ("chat", said("Hello!", "core_memory_append", "send_message"), 0),
        ("chat", said("Hello!", "nothing_to_remember"), 0),
    ],
)
def test_the_first_call_decides(kind: str, outcome: Outcome, right: int) -> None:
    case = next(case for case in calls.TASK.cases(None, 0) if case.detail["kind"] == kind)
    reply = outcome.reply.format(gold=case.gold[0] if case.gold else "")
    assert calls.score(case, Outcome(reply=reply, steps=outcome.steps)) == right
