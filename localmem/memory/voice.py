"""Turns what a person says of themselves into the second person: a small model repeats a voice as it finds it."""

from __future__ import annotations

import re

FORMS = {
    "i am": "you are",
    "am i": "are you",
    "i'm": "you're",
    "i was": "you were",
    "was i": "were you",
    "i've": "you've",
    "i'd": "you'd",
    "i'll": "you'll",
    "i": "you",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "the person is": "you are",
    "the person was": "you were",
    "the person has": "you have",
    "the person's": "your",
}
"""English alone: other languages stay as they are."""

APOSTROPHE = "['\u2019]"
_FORM = "|".join(sorted(FORMS, key=len, reverse=True)).replace("'", APOSTROPHE)
SPOKEN = re.compile(rf"\b(?:{_FORM})\b(?![./]\w|{APOSTROPHE})", re.IGNORECASE)
QUOTED = re.compile('("[^"]*"|\u201c[^\u201d]*\u201d)')
BEGINNING = re.compile(r"(?:^|\n|[.!?:]\s+)$")
"""What stands before a word that begins a sentence."""


def addressed(text: str) -> str:
    """Return what somebody said of themselves as it is said to them: "I am late" becomes "You are late".

    What stands in double quotes stays.
    """
    parts = QUOTED.split(text)
    return "".join(part if at % 2 else SPOKEN.sub(_turned, part) for at, part in enumerate(parts))


def _turned(found: re.Match[str]) -> str:
    said = FORMS[found.group().lower().replace("\u2019", "'")]
    begins = BEGINNING.search(found.string[: found.start()])
    return said.capitalize() if begins else said
