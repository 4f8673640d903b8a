"""Nested key-value look-up: a value may be the key of another pair, so one question takes several look-ups.

Source: MemGPT (Packer et al. 2023), section 3.2.3, over the pairs of Liu et al. 2023 ("Lost in the Middle"); with
--data the authors' files (`litm/kv-retrieval-140_keys`, `memgpt_nested_kv/random_orderings`), without it pairs and
orderings made from the seed.
Protocol: 140 pairs of UUIDs, each pair one archival passage. Nesting n chains n + 1 pairs: the value of each is the
key of the next. The agent is told that values may be keys (MemGPT's agent was told so too, and how to go on) and
sees two worked examples as earlier turns, with words in place of UUIDs. Right when the reply holds the last value.

One case, nesting 1: among 140 passages stand "Key 8bc19970-...: value d5b8e735-..." and
"Key d5b8e735-...: value 90a9d0da-...". Asked "What is the value of key 8bc19970-...?", right is "90a9d0da-...".
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from localmem.bench import data as files
from localmem.bench.case import ALL, Anchor, Case, Material, Task
from localmem.bench.pairs import passages, question, score, uuid
from localmem.records import Call, Event, EventKind, Record, Result

PAIRS, LEVELS, SAMPLES = 140, 5, 30

Pairs = list[tuple[str, str]]

INSTRUCTIONS = """\
Archival memory holds key-value pairs, and the value of a key may be a key itself. So after every search, search for
the value that it found. A value is final when no pair has it as its key: answer with that value alone."""


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return 30 cases a level; with data the authors' own in their order, whatever the seed."""
    made = _official(data) if data else _generated(seed)
    return [
        _case(level, sample, pairs, chain)
        for level in range(LEVELS)
        for sample, (pairs, chain) in enumerate(made[level])
    ]


def _official(data: Path) -> list[list[tuple[Pairs, list[int]]]]:
    records = [
        [(key, value) for key, value in record["ordered_kv_records"]]
        for record in files.lines(files.find(data, "litm", "kv-retrieval-140_keys"))
    ]
    made = []
    for level in range(LEVELS):
        name = f"random_orderings_100_samples_140_indices_{level + 1}_levels"
        chains = [list(chain) for chain in files.lines(files.find(data, "memgpt_nested_kv", name))]
        made.append(list(zip(records, chains[:SAMPLES], strict=False)))
    return made


def _generated(seed: int) -> list[list[tuple[Pairs, list[int]]]]:
    chance = random.Random(seed)
    records = [[(uuid(chance), uuid(chance)) for _ in range(PAIRS)] for _ in range(SAMPLES)]
    return [
        [(record, chance.sample(range(PAIRS), level + 1)) for record in records] for level in range(LEVELS)
    ]


def _case(level: int, sample: int, pairs: Pairs, chain: Sequence[int]) -> Case:
    nested = dict(pairs)
    keys = [pairs[at][0] for at in chain]
    nested |= dict(pairwise(keys))
    return Case(
        id=f"{level}-{sample}",
        material=Material(id=f"{level}-{sample}", passages=passages(nested)),
        question=question(keys[0]),
        gold=(nested[keys[-1]],),
        level=level,
    )


def _look_up(key: str, found: str) -> tuple[Record, Record]:
    call = Call("", "archival_memory_search", {"query": key, "page": 1})
    return call, Result(True, found)


def _found(*pairs: str) -> str:
    lines = [f"- {pair} (agent, 2026-01-02)" for pair in pairs]
    return "\n".join([f"Page 1 of 1, {len(pairs)} results (data, no instructions):", *lines])


EXAMPLES: tuple[Record, ...] = (
    Event(EventKind.USER, "What is the value of key delta-16?"),
    *_look_up("delta-16", _found("Key delta-16: value ember-58")),
    *_look_up("ember-58", _found("Key delta-16: value ember-58")),
    Call("", "send_message", {"message": "ember-58"}),
    Result(True, ""),
    Event(EventKind.USER, "What is the value of key amber-41?"),
    *_look_up("amber-41", _found("Key amber-41: value birch-07")),
    *_look_up("birch-07", _found("Key birch-07: value cedar-93", "Key amber-41: value birch-07")),
    *_look_up("cedar-93", _found("Key birch-07: value cedar-93")),
    Call("", "send_message", {"message": "cedar-93"}),
    Result(True, ""),
)
"""Two worked examples: each search ends when the value turns up as the key of no pair."""

_PAPER = "MemGPT, figure 7 (read off, +-.05)"
_OLD = "whole records in the prompt, GPT's own function calls; the same pairs and orderings"
TASK = Task(
    name="nested_key_value",
    title="Nested key-value look-up (MemGPT)",
    source="cpacker/MemGPT, paper_experiments/nested_kv_task (Apache-2.0); nelson-liu/lost-in-the-middle (MIT)",
    metric="share of right answers",
    cases=cases,
    score=score,
    systems=ALL,
    instructions=INSTRUCTIONS,
    earlier=EXAMPLES,
    level="nesting",
    n=30,
    needs_data=False,
    anchors=tuple(
        Anchor(who, score, _PAPER, _OLD, level)
        for who, scores in (
            ("GPT-4", (0.9, 0.3, 0.1, 0.0)),
            ("GPT-4 Turbo", (0.92, 0.5, 0.2, 0.0)),
            ("MemGPT with GPT-4", (1.0, 1.0, 1.0, 1.0)),
        )
        for level, score in enumerate(scores)
    ),
)
