"""How answers are compared with gold: normalised containment, as the published protocols have it."""

from __future__ import annotations

import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Return a text in lower case without punctuation, articles and extra space (SQuAD v1.1's evaluation)."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def contains(reply: str, gold: str) -> bool:
    """Return whether a reply holds an answer, both normalised."""
    return bool(normalised(gold)) and normalised(gold) in normalised(reply)
