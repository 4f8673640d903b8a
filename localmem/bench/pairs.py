"""Pairs of keys and values, as passages and questions: what the look-up tasks share (Liu et al. 2023)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from uuid import UUID

from localmem.bench.case import Case, Outcome


def uuid(chance: random.Random) -> str:
    """Return the next UUID that a seed gives."""
    return str(UUID(int=chance.getrandbits(128), version=4))


def passages(pairs: Mapping[str, str]) -> tuple[str, ...]:
    """Return each pair as one passage, in order."""
    return tuple(f"Key {key}: value {value}" for key, value in pairs.items())


def question(key: str) -> str:
    """Return the question for the value of a key."""
    return f"What is the value of key {key}?"


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the reply holds the value, upper and lower case alike."""
    return float(case.gold[0].lower() in outcome.reply.lower())
