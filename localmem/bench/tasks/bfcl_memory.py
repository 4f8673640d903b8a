"""BFCL v4's memory category: conversations in which a person tells much, then questions about what was told.

Source: Berkeley Function-Calling Leaderboard v4 (ShishirPatil/gorilla), `BFCL_v4_memory`, its
`memory_prereq_conversation` and its `possible_answer`; every scenario of which both are there is taken.
Protocol: a scenario's conversations are held one after the other, the agent answering itself. Each begins with an
empty history, and so does each question: memory is carried over and nothing else (`_flush_memory_to_local_file` of
the official runner). While the conversations last, our agent may also search those before; for the questions that is
taken away. The agent is told its part in the scenario and that its memory lasts; the official runner has it answer
as a dictionary of answer and context, here as a message. Right when the reply holds any gold answer on word
boundaries, both without , . / - _ * ^ ( ) and in lower case. Cases are one question of every scenario in turn, the
scenario with the fewest messages first.

One case: notetaker, five conversations of 24 messages, such as "Monday: Team meeting ran over by 30 minutes. Need to
finalize Q1 budget report before Friday. ..." The person asks "I am stressed out. I forgot, how many minutes did the
team meeting on Monday run over?"; right is "30" or "thirty".
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from localmem.bench import data as files
from localmem.bench.case import Anchor, Case, Material, Outcome, Said, Task
from localmem.errors import UsageError
from localmem.memory.core import DEFAULT_BLOCKS

PARTS = {
    "student": "I support a college student: I remember their studies and their life, and advise from that.",
    "customer": "I am in an online shop's customer support: I remember what customers tell and prefer.",
    "finance": "I assist a senior finance professional: I remember facts, goals and decisions, work and family.",
    "healthcare": "I assist a patient: I remember medical history, treatments, results and wishes.",
    "notetaker": "I keep the person's notes: I remember tasks, deadlines and preferences.",
}
"""The agent's part in each scenario, as its persona."""
OTHER = "The person is somebody else: I call them you."

INSTRUCTIONS = """\
Your memory lasts over many conversations, the conversations themselves do not: keep in memory whatever may be asked
later, and keep it up to date. Answer questions shortly and precisely. When you do not know the answer, say so."""

_STRIPPED = re.compile(r"[,./\-_*^()]")


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a question, the scenarios in turn; each scenario is one material."""
    path = files.find(data, "bfcl_memory", "BFCL_v4_memory")
    golds = {
        answer["id"]: tuple(str(gold) for gold in answer["ground_truth"])
        for answer in files.lines(_answers(path.parent))
    }
    materials: dict[str, Material] = {}
    for told in sorted((path.parent / "memory_prereq_conversation").glob("memory_*.json*")):
        material = _material(told)
        materials[material.id] = material
    asked: dict[str, list[Case]] = {}
    for entry in files.lines(path):
        if scenario := materials.get(entry["scenario"]):
            asked.setdefault(scenario.id, []).append(_case(entry, scenario, golds))
    if not asked:
        raise UsageError(f"{path.parent} has no memory_prereq_conversation of its questions: fetch it again")
    chance = random.Random(seed)
    for every in asked.values():
        chance.shuffle(every)
    shortest = sorted(asked, key=lambda name: sum(map(len, materials[name].sessions)))
    rounds = max(map(len, asked.values()))
    return [asked[name][at] for at in range(rounds) for name in shortest if at < len(asked[name])]


def _answers(folder: Path) -> Path:
    """Return the file of gold answers: in the official tree it lies in a folder of its own."""
    inside = folder / "possible_answer"
    return (
        files.find(inside, "", "BFCL_v4_memory") if inside.is_dir() else files.find(folder, "", inside.name)
    )


def _material(path: Path) -> Material:
    """Return a scenario's conversations; it is named by the file's name."""
    scenario = path.name.partition(".")[0].removeprefix("memory_")
    part = PARTS.get(scenario)
    return Material(
        id=scenario,
        blocks=(replace(DEFAULT_BLOCKS[0], value=f"{part} {OTHER}"),) if part else (),
        sessions=tuple(
            tuple(Said(_message(turn)) for turn in conversation["question"])
            for conversation in files.lines(path)
        ),
        wiped=True,
    )


def _message(turn: Sequence[Mapping[str, str]]) -> str:
    return "\n".join(message["content"] for message in turn if message["role"] == "user")


def _case(entry: Mapping[str, Any], material: Material, golds: Mapping[str, tuple[str, ...]]) -> Case:
    if entry["id"] not in golds:
        raise UsageError(f"bfcl_memory: question {entry['id']} has no answer: fetch the data again")
    return Case(
        id=entry["id"],
        material=material,
        question=_message(entry["question"][0]),
        gold=golds[entry["id"]],
        detail={"scenario": entry["scenario"]},
    )


def _bare(text: str) -> str:
    """Return a text as the official checker compares it."""
    return _STRIPPED.sub("", text).lower().replace("'", '"')


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the reply holds a gold answer on word boundaries."""
    reply = _bare(outcome.reply)
    return float(any(re.search(rf"\b{re.escape(_bare(gold))}\b", reply) for gold in case.gold))


_DIFFERS = (
    "all five scenarios, 155 questions; the leaderboard's own memory functions, answers as a dictionary"
)
_WHERE = "Berkeley Function-Calling Leaderboard v4, memory"
TASK = Task(
    name="bfcl_memory",
    title="Memory (BFCL v4)",
    source="ShishirPatil/gorilla, BFCL v4 memory (Apache-2.0)",
    metric="share of right answers",
    cases=cases,
    score=score,
    instructions=INSTRUCTIONS,
    n=80,
    anchors=tuple(
        Anchor(f"Claude Haiku 4.5, {back_end}", score / 100, _WHERE, _DIFFERS)
        for back_end, score in (
            ("mean of three back ends", 54.4),
            ("key-value", 51.6),
            ("vector", 55.5),
            ("recursive summary", 56.1),
        )
    ),
)
