"""Document question answering: the passages of an encyclopedia lie in archival memory, a question is asked of them.

Source: Liu et al. 2023 ("Lost in the Middle"), `nq-open-oracle`: 1,500 questions of NaturalQuestions-Open, each with
the Wikipedia passage that answers it.
Protocol: MemGPT (Packer et al. 2023), section 3.2.1: the agent searches the archive itself. All passages that differ
are one archive, each as "Title: text"; the questions come as they were typed, in an order that the seed decides.
Right when the first line of the reply holds any gold answer, both normalised as SQuAD does (`best_subspan_em`; the
first line alone, so that a copied passage does not count). `retrieval_bound` says how often a search finds the gold
passage.

One case: among the passages stands "Maryse Ouellet: In late-2011, she announced plans for a clothing and jewelry
line ... their own reality show titled Miz & Mrs. that will premiere in 2018." The person asks "when does the miz and
maryse show start"; right is "2018".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from localmem.bench import data as files
from localmem.bench.case import Anchor, Case, Material, Outcome, Task
from localmem.bench.scoring import contains

INSTRUCTIONS = """\
Archival memory holds passages of an encyclopedia. Search it before you answer, again with other words when the
answer is not among the results. Answer in one line, with the answer alone."""


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a question; all share one archive. `detail["gold"]` is the place of its passage there."""
    records = list(files.lines(files.find(data, "litm", "nq-open-oracle")))
    golds = [next(each for each in record["ctxs"] if each["isgold"]) for record in records]
    texts = [f"{gold['title']}: {gold['text']}" for gold in golds]
    places: dict[str, int] = {}
    for text in texts:
        places.setdefault(text, len(places))
    archive = Material(id="archive", passages=tuple(places))
    made = [
        Case(
            id=str(number),
            material=archive,
            question=record["question"],
            gold=tuple(record["answers"]),
            detail={"gold": places[text]},
        )
        for number, (record, text) in enumerate(zip(records, texts, strict=True))
    ]
    random.Random(seed).shuffle(made)
    return made


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the first line of the reply holds a gold answer."""
    first = outcome.reply.strip().partition("\n")[0]
    return float(any(contains(first, gold) for gold in case.gold))


def retrieval_bound(search: Callable[[str, int], Sequence[str]], cases: Sequence[Case], k: int) -> float:
    """Return the share of cases whose gold passage is among the first k that `search(question, k)` returns.

    What is above it in a score was known without the archive, or found by asking in other words.
    """
    found = 0
    for case in cases:
        place = case.detail["gold"]
        assert isinstance(place, int)
        found += case.material.passages[place] in list(search(case.question, k))[:k]
    return found / len(cases) if cases else 0.0


_FIGURE = "MemGPT, figure 5 (read off)"
_DIFFERS = (
    "Wikipedia with millions of passages, judged by an LLM; "
    "here the archive is the gold passages alone, and an answer counts that holds the gold one"
)
TASK = Task(
    name="document_qa",
    title="Document question answering (NaturalQuestions)",
    source="nelson-liu/lost-in-the-middle, nq-open-oracle (MIT; passages of Wikipedia, CC BY-SA 3.0)",
    metric="share of right answers",
    cases=cases,
    score=score,
    instructions=INSTRUCTIONS,
    n=50,
    anchors=(
        Anchor("MemGPT with GPT-4, at every number K of documents", 0.7, _FIGURE, _DIFFERS),
        Anchor("GPT-4 alone, at its best K", 0.68, _FIGURE, _DIFFERS),
        Anchor("GPT-4 alone, at K = 200", 0.12, _FIGURE, _DIFFERS),
    ),
)
