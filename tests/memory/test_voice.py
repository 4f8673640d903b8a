"""Who "I" is: what a person says of themselves, as it is said to them."""

from __future__ import annotations

import pytest

from localmem.memory.voice import addressed


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("I am allergic to nuts.", "You are allergic to nuts."),
        ("My sister told me: I like mine.", "Your sister told you: You like yours."),
        (
            "I’ve bought a telescope. It's mine, I'm proud.",
            "You've bought a telescope. It's yours, you're proud.",
        ),
        (
            "In May I was in Rome by myself, and I'll go again",
            "In May you were in Rome by yourself, and you'll go again",
        ),
        ("The person has 12 beehives.", "You have 12 beehives."),
        ("The person's dog is Bruno.", "Your dog is Bruno."),
        ('She said "I love my dog" to me.', 'She said "I love my dog" to you.'),
        ("She said “I do” to me.", "She said “I do” to you."),
        ("first line\nI swim", "first line\nYou swim"),
    ],
)
def test_what_is_said_of_oneself_is_said_to_you(said: str, told: str) -> None:
    assert addressed(said) == told
    assert addressed(told) == told


@pytest.mark.parametrize(
    "text", ["", "Bruno is a dog.", "i.e. nothing", "I/O errors", "Mein Hund", "Ich bin Ada", "mime"]
)
def test_what_is_not_said_of_oneself_stays(text: str) -> None:
    assert addressed(text) == text
