"""Who "I" is: what a person says of themselves, as it is said to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmem.memory.voice import addressed


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("I am allergic to nuts.", "You are allergic to nuts."),
        ("My sister lives in Rome. I like it.", "Your sister lives in Rome. You like it."),
        ("I\u2019ve bought a boat, and it is mine.", "You've bought a boat, and it is yours."),
        ("i'm late, i like it", "you're late, you like it"),
        ("Last May I was there by myself, and I'll go again", None),
        (
            "In spring I was there by myself, and I'll go again",
            "In spring you were there by yourself, and you'll go again",
        ),
        ("The person has 12 beehives.", "You have 12 beehives."),
        ("The person's dog is with me.", "Your dog is with you."),
        ('She said "I love the dog" to me and the cat.', 'She said "I love the dog" to you and the cat.'),
        ('5\'10" tall, I am strong, TV 40"', '5\'10" tall, you are strong, TV 40"'),
        ("first line\n- I like to swim", "first line\n- You like to swim"),
        ("with my sister", "with your sister"),
    ],
)
def test_what_is_said_of_oneself_is_said_to_you(said: str, told: str | None) -> None:
    assert addressed(said) == (told or said)
    assert addressed(told or said) == (told or said)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bruno is a dog.",
        "Jag bor i Stockholm",
        "Mam psa i kota",
        "My mieszkamy w Krakowie",
        "Me gusta el caf\u00e9",
        "Il me faut un chien",
        "Jeg er i have",
        "Annemin ad\u0131 \u0130. Demir and \u0131 harfi",
        "I love you",
        "Remind me of the day when I called you",
        "has type I diabetes and the flu",
        "Napoleon I was the emperor of the French",
        "coal from the mine",
        "Portland, ME and the sea",
        "for i in range(10): the end",
        "C:\\me\\my and the rest",
        "--my-flag and the rest, I/O and the rest, my_name and the rest",
        "i.e. the end",
        "\u201cI am late\u201d",
    ],
)
def test_what_is_not_clear_stays(text: str) -> None:
    assert addressed(text) == text


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    assert len(addressed(text)) <= 3 * len(text)


def test_nothing_is_turned_twice() -> None:
    once = addressed("I was at the lake and my dog swam. " * 50)
    assert addressed(once) == once
