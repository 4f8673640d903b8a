"""What the memory step keeps must be said in the message; in doubt it is kept."""

from __future__ import annotations

import pytest

from localmem.memory.ground import borne_out, told


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


PAGE = "Mrs. Averell went to Selwick Cottage with Odile; it was in Shropshire, and the rooms were small."


@pytest.mark.parametrize(
    ("note", "kept"),
    [
        ("They move to Selwick Cottage in Shropshire.", "They move to Selwick Cottage in Shropshire."),
        ("They move to Selwick Cottage. She is engaged to Hugh Osgood.", "They move to Selwick Cottage."),
        ("Where do they move to?", ""),
        ("The mother and her daughters live in it now.", "The mother and her daughters live in it now."),
        ("Sie ziehen nach London, in das Haus der Tante.", "Sie ziehen nach London, in das Haus der Tante."),
        ("", ""),
    ],
)
def test_a_note_keeps_the_sentences_whose_names_stand_on_the_page(note: str, kept: str) -> None:
    assert borne_out(note, PAGE, "Where do they move to? Whom does Odile marry?") == kept
