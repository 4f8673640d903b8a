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


def holds_words(reply: str, gold: str) -> bool:
    """Return whether a reply holds an answer in whole words, both normalised: "2" is not in "12"."""
    return bool(normalised(gold)) and f" {normalised(gold)} " in f" {normalised(reply)} "


def rouge_l_recall(reply: str, gold: str) -> float:
    """Return the share of an answer's words that a reply holds in the same order (ROUGE-L recall, Lin 2004)."""
    said, words = normalised(reply).split(), normalised(gold).split()
    if not words:
        return 0.0
    longest = [0] * (
        len(said) + 1
    )  # of the common subsequences of the words so far and each beginning of the reply
    for word in words:
        before = 0
        for place, other in enumerate(said, 1):
            here = before + 1 if word == other else max(longest[place], longest[place - 1])
            before, longest[place] = longest[place], here
    return longest[-1] / len(words)
