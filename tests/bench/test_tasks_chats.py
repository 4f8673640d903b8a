"""The tasks on multi-session chat: cases from a file in the data's format, and scores of right and wrong outcomes."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localmem.bench import chats, similarity
from localmem.bench.case import Case, Outcome, Said
from localmem.bench.scoring import holds_words, rouge_l_recall
from localmem.bench.tasks import chat_facts, chat_opener, dmr_style, load, memory_quality
from localmem.errors import ModelMissing, UsageError
from localmem.records import EventKind
from localmem.testing import HashEmbedder

NAMES = ("chat_facts", "chat_opener", "memory_quality", "dmr_style")
Line = tuple[str, str | None]


def session(number: int, *lines: Line, gap: str = "2 days") -> dict[str, Any]:
    turns = []
    for at, (text, facts) in enumerate(lines):
        turn = {"speaker": f"Speaker {at % 2 + 1}", "text": text}
        turns.append(turn if facts is None else turn | {"facts": facts})
    return {
        "session": number,
        "turns": turns,
        "persona_summary": {},
        "gap_to_next_session": gap,
        "opener_followup": "",
        "opener_newfact": "",
    }


def dialogue(name: str, dog: str) -> dict[str, Any]:
    return {
        "id": name,
        "init_personas": {},
        "sessions": [
            session(
                1,
                (
                    f"I walk my dog {dog} in the rain.  ",
                    f"I have a dog named {dog}. I walk in the U. S. a lot.",
                ),
                ("My two boats are green.", "I have two boats. My boats are green."),
                ("Same here!", "I own a tent."),
                ("Same here!", None),
            ),
            session(
                2,
                ("I sell lamps.", "I work at a lamp shop. I have 3 lamps."),
                ("I sew.", "I sew. Speaker 1 sells lamps."),
                ("Three lamps, to be exact.", "I have 3 lamps."),
            ),
            session(3, ("Rain again.", None), ("I moved to Oslo.", "I live in Oslo."), gap="5 hours"),
            session(4, ("How is Oslo?", None), ("Cold.", "I am cold."), ("I am 41.", "I am 41 years old.")),
        ],
        "time_back_at_session3": [],
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "msc"
    folder.mkdir()
    rows = [
        dialogue(f"test_{number}", dog) for number, dog in enumerate(("Rolf", "Ida", "Pim", "Otto", "Bo"))
    ]
    with lzma.open(folder / "msc_sessions1-4_test.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


def of(cases: Any, name: str) -> list[Case]:
    return [case for case in cases if case.material.id == name]


@pytest.mark.parametrize("name", NAMES)
def test_cases_follow_the_seed_and_materials_are_shared(name: str, data: Path) -> None:
    task = load(name)
    cases = task.cases(data, 3)
    assert task.name == name
    assert cases == task.cases(data, 3)
    assert [case.id for case in cases] != [case.id for case in task.cases(data, 4)]
    assert len({case.id for case in cases}) == len(cases)
    assert {case.material.id for case in cases} == {f"test_{number}" for number in range(5)}
    assert len({case.material for case in cases}) == 5


@pytest.mark.parametrize("name", NAMES)
def test_missing_data_are_named(name: str, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(UsageError, match="msc_sessions"):
            load(name).cases(folder, 0)


def test_a_conversation_is_played_from_either_side(data: Path) -> None:
    one = next(each for each in chats.dialogues(data, 0) if each.id == "test_0")
    assert chats.held(one, chats.FIRST, 2) == (
        (
            Said("I walk my dog Rolf in the rain.", "My two boats are green."),
            Said("Same here!", "Same here!"),
        ),
        (Said("I sell lamps.", "I sew."), Said("Three lamps, to be exact.", chats.FAREWELL)),
    )
    assert chats.held(one, chats.SECOND, 3)[2] == (
        Said(chats.GREETING, "Rain again."),
        Said("I moved to Oslo.", chats.FAREWELL),
    )


def test_facts_are_cut_at_their_ends_and_told_once(data: Path) -> None:
    one = next(each for each in chats.dialogues(data, 0) if each.id == "test_0")
    told = chats.facts(one, chats.FIRST, 2)
    assert [fact.text for fact in told] == [
        "I have a dog named Rolf.",
        "I walk in the U. S. a lot.",
        "I own a tent.",
        "I work at a lamp shop.",
        "I have 3 lamps.",
    ]
    assert [turn.text for turn in told[-1].turns] == ["I sell lamps.", "Three lamps, to be exact."]
    assert told[-1].session == 2
    assert "Speaker 1 sells lamps." not in [fact.text for fact in chats.facts(one, chats.SECOND, 4)]


def test_a_fact_must_find_its_turn_among_the_first_five(data: Path) -> None:
    cases = of(chat_facts.cases(data, 0), "test_0")
    assert all(case.search for case in cases)
    assert "I own a tent." not in [case.question for case in cases]  # its turn's text was said by both
    case = next(case for case in cases if case.question == "I have a dog named Rolf.")
    other = tuple(f"other {number}" for number in range(9))
    fifth = Outcome(found=(*other[:4], "I walk my dog Rolf in the rain.", *other[4:]))
    sixth = Outcome(found=(*other[:5], "I walk my dog Rolf in the rain."))
    assert (chat_facts.score(case, fifth), chat_facts.rank(case, fifth)) == (1.0, 5)
    assert (chat_facts.score(case, sixth), chat_facts.rank(case, sixth)) == (0.0, 6)
    assert [chat_facts.recall(case, sixth, depth) for depth in (1, 5, 10)] == [0.0, 0.0, 1.0]
    assert chat_facts.rank(case, Outcome(found=other)) is None
    assert chat_facts.score(case, Outcome()) == 0.0


def test_facts_of_a_dialogue_stand_in_a_row(data: Path) -> None:
    names = [case.material.id for case in chat_facts.cases(data, 0)]
    assert [name for at, name in enumerate(names) if not at or names[at - 1] != name] == list(
        dict.fromkeys(names)
    )


def test_an_opener_is_asked_for_after_three_sessions(data: Path) -> None:
    (case,) = of(chat_opener.cases(data, 0), "test_1")
    assert case.event is EventKind.LOGIN
    assert "5 hours" in case.question
    assert len(case.material.sessions) == 3
    assert case.gold == ("I have two boats.", "My boats are green.", "I sew.", "I live in Oslo.")
    assert case.detail == {"opener": "How is Oslo?"}


def test_openers_are_compared_with_persona_lines_and_the_human(data: Path) -> None:
    (case,) = of(chat_opener.cases(data, 0), "test_1")
    encode = HashEmbedder().encode
    own = chat_opener.human(case, encode)
    assert own.human == pytest.approx(1)
    exact = chat_opener.similarities("I live in Oslo.", case, encode)
    assert exact.best == pytest.approx(1)
    assert exact.best > exact.best_three > 0
    assert chat_opener.similarities("zebra", case, encode).best < 0.3
    assert chat_opener.similarities("  ", case, encode) == chat_opener.Similarities(0, 0, 0)
    assert chat_opener.similarities("boats", replace(case, gold=()), encode).best == 0


def test_what_was_kept_is_cut_into_statements() -> None:
    kept = "- The person has a dog. They like jazz\n\n2) user's mom is a nurse;\n* \nHe is tall."
    lines = memory_quality.stored(Outcome(blocks={"human": kept, "persona": "I am kind."}))
    assert lines == ["The person has a dog.", "They like jazz", "user's mom is a nurse;", "He is tall."]
    assert [memory_quality.first_person(line) for line in lines] == [
        "I have a dog.",
        "I like jazz",
        "my mom is a nurse;",
        "I am tall.",
    ]
    assert memory_quality.stored(Outcome()) == []


def test_core_memory_is_judged_by_facts(data: Path) -> None:
    (case,) = of(memory_quality.cases(data, 0), "test_0")
    assert case.question == ""
    assert case.gold[0] == "I have a dog named Rolf."
    assert len(case.gold) == 5
    encode = HashEmbedder().encode

    def parts(kept: str) -> memory_quality.Parts:
        return memory_quality.parts(case, Outcome(blocks={"human": kept}), encode)

    whole = parts("\n".join(case.gold))
    assert (whole.precision, whole.recall, whole.duplicates, whole.f1) == (1.0, 1.0, 0.0, 1.0)
    half = parts("The person has a dog named Rolf.\nQuantum zebras juggle.")
    assert (half.lines, half.precision, half.recall) == (2, 0.5, pytest.approx(0.2))
    assert half.f1 == pytest.approx(2 * 0.5 * 0.2 / 0.7)
    again = parts("The person has a dog named Rolf.\nI have a dog named Rolf.\nUser has a dog named Rolf.")
    assert again.duplicates == pytest.approx(2 / 3)
    assert parts("").f1 == 0.0


def test_questions_are_made_of_facts_that_stand_in_their_turn(data: Path) -> None:
    cases = of(dmr_style.cases(data, 0), "test_2")
    assert [(case.question, case.gold) for case in cases] == [
        ("What is the name of my dog?", ("Pim",)),
        ("How many lamps do I have?", ("3", "three")),
        ("How old am I?", ("41",)),
    ]  # "lamp shop" was never said
    assert all(len(case.material.sessions) == 4 and not case.material.wiped for case in cases)


@pytest.mark.parametrize(
    ("told", "text", "question", "answers"),
    [
        ("Saturn is my favorite planet.", "I love Saturn", "What is my favorite planet?", ("Saturn",)),
        ("I live in Illinois right now.", "illinois it is", "Where do I live?", ("Illinois",)),
        ("My mom was a nurse.", "she was a nurse", "What did my mom do for a living?", ("nurse",)),
        ("I'm a tax accountant.", "a tax accountant", "What do I do for a living?", ("tax accountant",)),
    ],
)
def test_templates(told: str, text: str, question: str, answers: tuple[str, ...]) -> None:
    assert _made(told, text) == [(question, answers)]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ("He is my favorite animal.", "he is"),
        ("I live in a house.", "a house"),
        ("I live in Rome and in Paris.", "Rome and in Paris"),
        ("I work at the shop where my mother is.", "the shop where my mother is"),
        ("I live in Rome.", "I live in a Romeo's flat"),
        ("I like rain.", "rain"),
    ],
)
def test_what_makes_no_question(told: str, text: str) -> None:
    assert _made(told, text) == []


def _made(told: str, text: str) -> list[tuple[str, tuple[str, ...]]]:
    turn = chats.Turn(chats.FIRST, text, (told,))
    one = chats.Dialogue("one", (chats.Session((turn,), "1 day"),))
    return [(question.text, question.answers) for question in dmr_style.questions(one)]


def test_answers_are_held_in_whole_words(data: Path) -> None:
    case = of(dmr_style.cases(data, 0), "test_2")[1]
    assert dmr_style.score(case, Outcome(reply="You have three lamps.")) == 1.0
    assert dmr_style.score(case, Outcome(reply="You have 3.")) == 1.0
    assert dmr_style.score(case, Outcome(reply="You have 33 lamps.")) == 0.0
    assert dmr_style.score(case, Outcome()) == 0.0
    assert dmr_style.rouge_l(case, Outcome(reply="You have three lamps.")) == 1.0
    assert dmr_style.rouge_l(case, Outcome()) == 0.0


def test_rouge_l_recall_counts_words_in_order() -> None:
    assert rouge_l_recall("it was the big red dog", "big dog") == 1.0
    assert rouge_l_recall("dog, big one", "big dog") == 0.5
    assert rouge_l_recall("c b a d", "a b c d") == pytest.approx(2 / 3)  # "a" is an article, not a word
    assert rouge_l_recall("x y z w", "w x q z") == 0.5
    assert rouge_l_recall("", "dog") == rouge_l_recall("dog", "") == 0.0
    assert holds_words("In New York!", "new york")
    assert not holds_words("In Newark", "new")
    assert not holds_words("anything", "the")


def test_scores_by_meaning_say_what_is_missing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMEM_HOME", str(tmp_path / "home"))
    (case,) = of(chat_opener.cases(data, 0), "test_1")
    with pytest.raises(ModelMissing, match="models pull all-minilm-l6-v2"):
        chat_opener.score(case, Outcome(reply="Hello"))


def test_scores_by_meaning(data: Path, tmp_path: Path, minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    (home / "models" / minilm.name).symlink_to(minilm)
    monkeypatch.setenv("LOCALMEM_HOME", str(home))
    (opener,) = of(chat_opener.cases(data, 0), "test_1")
    near = chat_opener.score(opener, Outcome(reply="How do you like living in Oslo?"))
    assert near > 0.6 > chat_opener.score(opener, Outcome(reply="The stock market fell today.")) + 0.2
    (kept,) = of(memory_quality.cases(data, 0), "test_0")
    good = Outcome(blocks={"human": "The person has a dog called Rolf. Works in a shop that sells lamps."})
    bad = Outcome(blocks={"human": "The person is a vegan astronaut."})
    assert memory_quality.score(kept, good) > 0.5
    assert memory_quality.score(kept, bad) == 0.0
    assert similarity.encoder() is similarity.encoder()
