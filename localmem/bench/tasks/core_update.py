"""Letta's core memory update: a fact that contradicts core memory is told, and must take the old one's place.

Source: letta-ai/letta-evals, `letta_bench_gen.jsonl`; the contradicting facts are those of
`core_memory_update.jsonl`.
Protocol: ten facts are one block of core memory. The person tells a fact that contradicts one of them; then queue
and recall storage are wiped, and the person asks. Right when the reply holds the new answer and not the old one
(normalised containment; an old answer that is denied, as in "not Nora Fishel", is not held; published: judged by
GPT-4.1). Some new answers are whole sentences that no reply repeats
word for word: a reply that quotes the new fact would get .54 of them right, for many quote the old one too.

One case: the block holds "4. Nora Fishel and Eliza Woodley collaborated on a charity event that combined music and
literature." among nine others. The person says "Joren Sullivar and Eliza Woodley collaborated on a charity event that
combined music and literature." In a new conversation: "Which person collaborated with Eliza Woodley on a charity
event that combined music and literature?"; right is "Joren Sullivar", without "Nora Fishel".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from localmem.bench import letta
from localmem.bench.case import ALL, Case, Material, Outcome, Said, Task
from localmem.bench.scoring import contains, normalised

DENIALS = "not|no longer|rather than|instead of"
"""Words that take back what follows them."""


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a question."""
    return [
        Case(
            id=question.id,
            material=Material(
                id=question.id,
                blocks=(letta.block(question.facts),),
                sessions=((Said(question.contradicting),),),
                wiped=True,
            ),
            question=question.text,
            gold=(question.contradicting_answer,),
            wrong=(question.answer,),
        )
        for question in letta.questions(data, seed)
    ]


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the reply holds the new answer and not the old one, unless the new one holds it too."""
    new, old = normalised(case.gold[0]), normalised(case.wrong[0])
    said = re.sub(rf"\b(?:{DENIALS}) {re.escape(old)}", "", normalised(outcome.reply))
    stale = old in said and old not in new
    return float(contains(outcome.reply, new) and not stale)


TASK = Task(
    name="core_update",
    title="Core memory update (Letta)",
    source=letta.SOURCE,
    metric="share of right answers",
    cases=cases,
    score=score,
    systems=ALL,
    n=100,
)
