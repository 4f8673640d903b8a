"""Turns what a person says of themselves into the second person: a small model repeats a voice as it finds it."""

from __future__ import annotations

import re

FORMS = {
    "I": "you",
    "I am": "you are",
    "am I": "are you",
    "I'm": "you're",
    "I was": "you were",
    "was I": "were you",
    "I've": "you've",
    "I'd": "you'd",
    "I'll": "you'll",
    "me": "you",
    "my": "your",
    "is mine": "is yours",
    "are mine": "are yours",
    "myself": "yourself",
    "the person is": "you are",
    "the person was": "you were",
    "the person has": "you have",
    "the person's": "your",
}
SPELT = {
    spelt: told for form, told in FORMS.items() for spelt in (form, form.lower(), form[0].upper() + form[1:])
}
"""The forms as they are written: in the middle of a sentence, carelessly, at its beginning."""

VERBS = (
    "am|was|have|had|do|did|can|will|like|love|live|work|want|need|hate|go|went|got|play|eat|drink|drive|own|study|"
    "prefer|think|know|also|just|never|always|used|moved|bought|grew|enjoy|[a-z]+ed"
)
ENGLISH = re.compile(
    r"\b(?:(?i:the|and|with|been|from|that|this|would|(?:did|do|ca)n't)|[Ii]'(?:m|ve|ll|d)|"
    rf"I (?:{VERBS})|[Mm]y \w+(?: \w+)? (?:is|are|was|were|has|lives|works)|(?:is|are|was|were) m(?:y|ine))\b"
)
"""What shows that a sentence is English: "i", "I", "me" and "my" are words of other languages too."""

DOUBT = re.compile(
    r"\b(?i:you|your|yours)\b"  # whose "you" would it be?
    r"|\b(?:[A-Z]\w+|type|class|phase|part|vitamin|chapter|volume) I\b"  # a number
    r"|[\w\\/=-][\\/=_-](?:I|i|me|my)\b|\b(?:I|i|me|my)[\\/=_-]"  # paths, options and names in code
)
"""Sentences that stay as they are: what is left alone is awkward at worst, what is turned wrongly is false."""

_LONGEST_FIRST = "|".join(sorted(SPELT.keys() - {"i"}, key=len, reverse=True))
SPOKEN = re.compile(rf"(?<![\w'])(?:{_LONGEST_FIRST}|i(?= (?:{VERBS})\b))(?![\w'])")
"""The forms in a sentence; a small "i" is one in front of a verb."""

QUOTED = re.compile(
    r"""((?<![\w'])"[^"]*"|\u201c[^\u201d]*\u201d|\u201e[^\u201c\u201d]*[\u201c\u201d]|\u00ab[^\u00bb]*\u00bb)"""
)
SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*|[.!?\n]+")
WORD = re.compile(r"\w")


def addressed(text: str) -> str:
    """Return what somebody says of themselves as it is said to them: "I am late" becomes "You are late".

    English alone; sentences in which it is not clear, and what stands in quotes, stay as they are.
    """
    parts = QUOTED.split(text)
    return "".join(
        part if at % 2 else SENTENCE.sub(lambda found: _sentence(found.group()), part)
        for at, part in enumerate(parts)
    )


def _sentence(said: str) -> str:
    plain = said.replace("\u2019", "'")
    if not SPOKEN.search(plain) or not ENGLISH.search(plain) or DOUBT.search(plain):
        return said
    word = WORD.search(plain)
    first = word.start() if word else 0

    def turned(found: re.Match[str]) -> str:
        form = SPELT[found.group()]
        return form.capitalize() if found.start() == first and found.group()[0].isupper() else form

    return SPOKEN.sub(turned, plain)
