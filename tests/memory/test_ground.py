"""What the memory step keeps must be said in the message; in doubt it is kept."""

from __future__ import annotations

import pytest

from localmem.memory.ground import agreed, borne_out, may_answer, names, told, whole_sentences


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ("I am Mira and I live in Bergen.", "Tell me a long story about a lighthouse."),
        ("You have a dog called Bruno.", "Write a short poem about the sea, please."),
        ("Ada lives in Lisbon.", "Thank you, that was a very good explanation of it."),
    ],
)
def test_what_is_made_up(fact: str, message: str) -> None:
    assert not told(fact, message)


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ("You are allergic to nuts.", "Can you remember that I'm allergic to nuts?"),
        ("Mira lives in Bergen.", "My sister is called Mira and she lives in Bergen."),
        ("You have a dog.", "Yes, I do."),
        ("You have lived in Krakow for five years.", "Mieszkam w Krakowie od pięciu lat."),
        ("You have a dog and two cats.", "Mam psa i dwa koty, a do tego chomika."),
        ("You like tea.", "I really am in love with teas of all sorts."),
        ("", "Forget that about the lighthouse in the north."),
        ("犬を飼っています", "私は犬を飼っています。"),
    ],
)
def test_what_is_told_or_may_be(fact: str, message: str) -> None:
    assert told(fact, message)


PAGE = "Mrs. Averell spoke to Odile of Perpetua. Mr. Lambert Talbrook came to Selwick, by way of Longstaple."
ASKED = "To whom is Perpetua Morrow engaged?"


@pytest.mark.parametrize(
    ("note", "question", "kept"),
    [
        ("Perpetua is engaged to Lambert.", ASKED, "Perpetua is engaged to Lambert."),
        ("Perpetua Morrow is engaged to Lambert.", ASKED, "Perpetua Morrow is engaged to Lambert."),
        ("Perpetua Morrow married Sir Hugh Osgood.", ASKED, ""),
        ("Mrs. Averell is there. She met Hugh Osgood.", ASKED, "Mrs. Averell is there."),
        (ASKED, ASKED, ""),
        ("They are engaged.", ASKED, "They are engaged."),
        ("Ein Haus in London, für die Tante.", "Wohin ziehen sie?", "Ein Haus in London, für die Tante."),
        ("", ASKED, ""),
    ],
)
def test_a_note_keeps_the_sentences_whose_names_stand_on_the_page(
    note: str, question: str, kept: str
) -> None:
    assert borne_out(note, PAGE, question) == kept


@pytest.mark.parametrize(
    ("page", "question", "may"),
    [
        ("Emma lives in Highbury with her father.", "Where does Emma live?", True),
        ("emma: hi there", "Where does Emma live?", True),
        ("Annas kleines Huendchen bellt.", "Wie heisst der Hund von Anna?", True),
        ("Nobody came to the ball.", "Where does Emma live?", False),
        ("Nobody came to the ball.", "WHERE DOES EMMA LIVE?", True),
        ("Nobody came to the ball.", "Where is the ball?", True),
        ("Был дом у моря.", "Где живёт Анна?", True),
        ("Был дом у моря.", "Where does Anna live?", True),
    ],
)
def test_a_page_may_have_the_answer(page: str, question: str, may: bool) -> None:
    assert may_answer(page, question) == may


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who paid for it, Emma or Harriet, and when?", "Harriet"),
        ("Does the novel say whether he is known there?", "No"),
    ],
)
def test_an_answer_out_of_the_question_is_one(question: str, answer: str) -> None:
    assert borne_out(answer, "Harriet paid. No more is known.", question) == answer
    assert borne_out(question, "Harriet paid.", question) == ""


def test_answers_that_share_a_telling_word_agree() -> None:
    given = ["In Bath", "Emma lives in Highbury.", "At Highbury", "Highbury, in Surrey", "Emma lives there."]
    assert agreed(given, "Where does Emma live?") == [
        ("Emma lives in Highbury.", 3),
        ("In Bath", 1),
        ("Emma lives there.", 1),
    ]
    assert agreed([], "Where?") == []


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        ("He came. He went. He came. He went. He", "He came. He went."),
        ("It was seen by", "It was seen by"),
        ("她来了。她走了。她来了。她", "她来了。 她走了。"),
        ("她走了。她走了。", "她走了。"),
        ("", ""),
    ],
)
def test_of_what_was_cut_whole_sentences_are_left(said: str, whole: str) -> None:
    assert whole_sentences(said) == whole


def test_names_are_capitalised_within_a_sentence() -> None:
    assert names("To whom did Mrs. Averell go? She went to Selwick. Nobody knew.") == {"averell", "selwick"}
