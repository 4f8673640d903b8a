"""Key-value look-up: one of many pairs of UUIDs is asked for.

Source: Liu et al. 2023 ("Lost in the Middle"), section 3; with --data the authors' records
(`litm/kv-retrieval-75_keys`, `-140_keys`), without it records made from the seed.
Protocol: each pair is one archival passage, in the record's order; the value of one key is asked for. Right when the
reply holds it, upper and lower case alike.

One case, 75 keys: among 75 passages stands "Key 2a8d601d-1d69-4e64-9f90-8ad825a74195: value
bb3ba2a5-7de8-434b-a86e-a88bb9fa7289". Asked "What is the value of key 2a8d601d-1d69-4e64-9f90-8ad825a74195?", right
is "bb3ba2a5-7de8-434b-a86e-a88bb9fa7289".
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localmem.bench import data as files
from localmem.bench import pairs
from localmem.bench.case import Case, Material, Task

LEVELS = (75, 140)
RECORDS = 250
"""Records that are made a level: as many as the authors' slice has."""

INSTRUCTIONS = """\
Archival memory holds key-value pairs. Search it for the key; answer with its value alone."""


@dataclass(frozen=True, slots=True)
class _Record:
    """Pairs of keys and values, and the key that is asked for."""

    pairs: dict[str, str]
    key: str


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a record; the level is its number of keys."""
    made = []
    for keys in LEVELS:
        chance = random.Random(f"{seed}-{keys}")
        records = _official(data, keys) if data else [_generated(keys, chance) for _ in range(RECORDS)]
        level = [_case(keys, number, record) for number, record in enumerate(records)]
        chance.shuffle(level)
        made += level
    return made


def _official(data: Path, keys: int) -> list[_Record]:
    lines = files.lines(files.find(data, "litm", f"kv-retrieval-{keys}_keys"))
    return [_Record(dict(line["ordered_kv_records"]), line["key"]) for line in lines]


def _generated(keys: int, chance: random.Random) -> _Record:
    made = {pairs.uuid(chance): pairs.uuid(chance) for _ in range(keys)}
    return _Record(made, chance.choice(list(made)))


def _case(keys: int, number: int, record: _Record) -> Case:
    return Case(
        id=f"{keys}-{number}",
        material=Material(id=f"{keys}-{number}", passages=pairs.passages(record.pairs)),
        question=pairs.question(record.key),
        gold=(record.pairs[record.key],),
        level=keys,
    )


TASK = Task(
    name="key_value",
    title="Key-value look-up (Lost in the Middle)",
    source="Liu et al. 2023; nelson-liu/lost-in-the-middle, kv-retrieval (MIT)",
    metric="share of right answers",
    cases=cases,
    score=pairs.score,
    systems=("no-memory", "full-context", "truncation", "retrieval", "ours"),
    instructions=INSTRUCTIONS,
    level="keys",
    n=30,
    needs_data=False,
)
