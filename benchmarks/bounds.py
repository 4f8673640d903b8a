"""What limits document QA: how often a search finds the passage, and how often a model reads the answer in it.

    python -m benchmarks.bounds --data DIR [-n 40] [--seed 0] [--model M]

Takes the cases that `localmem bench run document_qa` takes. The first figures are the share of questions whose own
words find the gold passage among the first k of the archive, words and meaning fused as the agent's search does it;
the last is the share of right answers of the model with the gold passage, and nothing else, in front of the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from localmem.bench import tasks
from localmem.bench.case import Case, Material
from localmem.bench.prepared import Shelf, record
from localmem.bench.runner import embedder_of
from localmem.bench.systems import build
from localmem.bench.tasks.document_qa import retrieval_bound
from localmem.memory.home import default_home
from localmem.runtime import Options, choose_model, load_processor, registry_of, settings_of

DEPTHS = (1, 3, 5, 10)


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), required=True, help="The official data sets."
)
@click.option("-n", "count", type=click.IntRange(1), default=40, show_default=True, help="Questions.")
@click.option("--seed", default=0, show_default=True)
@click.option("--model", help="As in `localmem models list`; else the default.")
@click.option("--home", type=click.Path(path_type=Path), envvar="LOCALMEM_HOME", default=default_home)
def main(data: Path, count: int, seed: int, model: str | None, home: Path) -> None:
    """Measure what limits document QA."""
    task = tasks.load("document_qa")
    cases = task.cases(data, seed)[:count]
    registry = registry_of(home)
    options = Options(model=model)
    profile = choose_model(registry, options, None)
    with TemporaryDirectory() as folder:
        embedder = embedder_of(registry)
        if embedder is None:
            raise SystemExit(f"{registry.embedder} is not here: `localmem models pull {registry.embedder}`")
        shelf = Shelf(Path(folder), "", embedder)
        with shelf.copy(cases[0].material, record) as (memory, _):

            @cache
            def found(question: str) -> list[str]:
                return [hit.text for hit in memory.search_archive(question, 1, max(DEPTHS)).hits]

            def search(question: str, k: int) -> Sequence[str]:
                return found(question)[:k]

            for k in DEPTHS:
                print(
                    f"gold passage among the first {k}: {retrieval_bound(search, cases, k):.3f}", flush=True
                )
        processor = load_processor(registry, profile, options)
        settings = settings_of(profile, options)
        reader = build("full-context", task, processor, settings, Path(folder), None)
        scores = [task.score(case, reader.answer(case)) for case in map(with_gold_alone, cases)]
        processor.close()
    print(
        f"right with the gold passage in front, {profile.name}: {sum(scores) / len(scores):.3f} of {len(scores)}"
    )


def with_gold_alone(case: Case) -> Case:
    """Return a case whose archive is the passage that answers it."""
    place = case.detail["gold"]
    assert isinstance(place, int)
    passage = case.material.passages[place]
    return replace(case, material=Material(id=case.id, passages=(passage,)))


if __name__ == "__main__":
    main()
