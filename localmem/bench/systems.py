"""The systems that are compared, behind one call: a case goes in, an outcome comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from localmem.bench.bed import Bed
from localmem.bench.case import Case, Material, Outcome, Task
from localmem.bench.ours import Ours
from localmem.bench.prepared import Doing, Shelf, unheard
from localmem.errors import UsageError
from localmem.processor.interface import Instructions, Limits, Opening, Prose, Segment, Summary
from localmem.records import Event, EventKind

if TYPE_CHECKING:
    from localmem.kernel.settings import Settings
    from localmem.memory.embedder import Embedder
    from localmem.processor.engine import LlamaProcessor

TOP = 5
"""Passages that plain retrieval puts in front of the question."""


class System(Protocol):
    """One way to answer cases with a model."""

    bed: Bed

    def prepare(self, case: Case) -> None:
        """Make ready what a case shares with others, its material and the cache, which is no part of its cost."""

    def answer(self, case: Case) -> Outcome:
        """Return what comes out for a case; every case begins with the same cache."""

    def drop(self, material: Material) -> None:
        """Forget a material that no case needs any more."""


PLAIN = "You answer questions. Answer in one short sentence, from what you are given."


class Plain:
    """A model without memory functions: something is put in front of the question, and it answers in prose.

    What that is makes the system: nothing, everything, as much of the end as fits, a recursive summary of
    everything, or the passages that a search finds.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        processor: LlamaProcessor,
        folder: Path,
        embedder: Embedder | None,
        doing: Doing = unheard,
    ) -> None:
        self._name, self._task, self._doing = name, task, doing
        text = "\n".join(filter(None, (PLAIN, task.instructions)))
        self._head = [processor.encode(Instructions(text)), processor.encode(Summary(""))]
        self.bed = Bed(processor, self._head[:1])
        self._shelf = Shelf(folder, "", embedder, doing)
        self._summaries: dict[str, str | None] = {}

    def prepare(self, case: Case) -> None:
        if case.search or (case.question and self._name == "retrieval"):
            self._shelf.prepare(_as_passages(case.material), _silent)
        if case.search or not case.question:
            return
        self.bed.rest()
        if self._name == "summary":
            self._summary(case.material)

    def answer(self, case: Case) -> Outcome:
        if case.search:
            return Outcome(found=tuple(_bare(text) for text in self._search(case, 10)))
        if not case.question:
            return Outcome()
        self.bed.rest()
        before = self._before(case)
        self.bed.tracer.take()
        if before is None or not self._fits(self._prompt(before, case.question), self._task.reply):
            return Outcome(fits=False)
        reply = self._write(self._prompt(before, case.question), self._task.reply)
        return Outcome(reply=reply, usage=self.bed.tracer.traces[0].completion.usage)

    def drop(self, material: Material) -> None:
        self._shelf.drop(_as_passages(material))
        self._summaries.pop(material.id, None)

    def _before(self, case: Case) -> list[str] | None:
        """Return what is put in front of the question, None where the window is too small to make it."""
        pieces = case.material.pieces()
        match self._name:
            case "no-memory":
                return []
            case "full-context":
                return pieces
            case "truncation":
                return self._last(pieces, case.question)
            case "retrieval":
                return self._search(case, TOP)
            case _:
                summary = self._summary(case.material)
                return None if summary is None else [summary]

    def _prompt(self, before: Sequence[str], question: str) -> list[Segment]:
        known = "\n".join(before)
        text = f"What is known:\n{known}\n\nQuestion: {question}" if known else question
        encode = self.bed.processor.encode
        return [*self._head, encode(Event(EventKind.USER, text)), encode(Opening())]

    def _fits(self, shown: Sequence[Segment], answer: int) -> bool:
        """Return whether a prompt and so many tokens of an answer go into the window."""
        return sum(map(len, shown)) + answer <= self.bed.processor.window

    def _last(self, pieces: Sequence[str], question: str) -> list[str]:
        """Return as many of the last pieces as fit, counted in tokens; of one too long for that, its end."""
        kept: list[str] = []
        for piece in reversed(pieces):
            if not self._fits(self._prompt([piece, *kept], question), self._task.reply):
                break
            kept.insert(0, piece)
        if pieces and not kept:
            last = pieces[-1]
            size = _most(
                len(last),
                lambda size: self._fits(self._prompt([last[-size:]], question), self._task.reply),
            )
            kept = [last[-size:]] if size else []
        return kept

    def _search(self, case: Case, top: int) -> list[str]:
        with self._shelf.copy(_as_passages(case.material), _silent) as (memory, _):
            return [hit.text for hit in memory.search_archive(case.question, 1, top).hits]

    def _summary(self, material: Material) -> str | None:
        """Summarise a material piece by piece, each time together with the summary so far.

        None where the window has no room for that.
        """
        if material.id not in self._summaries:
            self._summaries[material.id] = self._summarised(material.pieces())
        return self._summaries[material.id]

    def _summarised(self, pieces: Sequence[str]) -> str | None:
        summary, waiting, count = "", list(pieces), len(pieces)
        tokens = self._summary_tokens()
        while waiting:
            self._doing(f"summarising, {count - len(waiting):,} of {count:,} pieces")
            part, waiting = self._part(summary, waiting)
            if not part:
                return None
            summary = self._write(self._asking(summary, part), tokens)
            self.bed.rest()
        return summary

    def _summary_tokens(self) -> int:
        return min(SUMMARY_TOKENS, self.bed.processor.window // 4)

    def _part(self, summary: str, pieces: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return as many of the first pieces as take half of the window, and the others.

        A piece that is too long for the window alone is split; nothing comes first where nothing fits.
        """
        size, count = 0, 0
        for piece in pieces:
            size += len(self.bed.processor.encode(Event(EventKind.USER, piece)))
            if count and size > self.bed.processor.window // 2:
                break
            count += 1
        while count and not self._is_askable(summary, pieces[:count]):
            count -= 1
        if count:
            return list(pieces[:count]), list(pieces[count:])
        first, *others = pieces
        most = _most(len(first), lambda size: self._is_askable(summary, [first[:size]]))
        return ([first[:most]], [first[most:], *others]) if most else ([], [*pieces])

    def _is_askable(self, summary: str, part: Sequence[str]) -> bool:
        return self._fits(self._asking(summary, part), self._summary_tokens())

    def _asking(self, summary: str, part: Sequence[str]) -> list[Segment]:
        asked = SUMMARISE.format(summary=summary or "(nothing)", part="\n".join(part))
        encode = self.bed.processor.encode
        return [*self._head, encode(Event(EventKind.USER, asked)), encode(Opening())]

    def _write(self, shown: Sequence[Segment], tokens: int) -> str:
        generation = self.bed.tracer.generate(shown, Prose(8 * tokens), Limits(tokens))
        for _ in generation:
            pass
        return generation.completion.text.strip()


SUMMARY_TOKENS = 400
SUMMARISE = (
    "Summary so far:\n{summary}\n\nNew:\n{part}\n\n"
    "Write a new summary that keeps names, facts and figures of both, in at most 250 words. Only the summary."
)


def _most(size: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number from 1 to `size` that fits, 0 where none does; what is less fits too."""
    least = 0
    while least < size:
        middle = (least + size + 1) // 2
        if fits(middle):
            least = middle
        else:
            size = middle - 1
    return least


def _as_passages(material: Material) -> Material:
    """Return a material as passages alone, for systems that have no other memory."""
    return Material(id=f"{material.id} as passages", passages=tuple(dict.fromkeys(material.pieces())))


def _silent(*_: object) -> None:
    raise AssertionError("passages have no conversation")


def _bare(text: str) -> str:
    return text.removeprefix("Person: ").removeprefix("You: ")


def build(
    name: str,
    task: Task,
    processor: LlamaProcessor,
    settings: Settings,
    folder: Path,
    embedder: Embedder | None,
    doing: Doing = unheard,
) -> System:
    """Return the system of that name for a task; it keeps what it prepares in `folder`. Raises UsageError."""
    if name in ("ours", "grammar-off"):
        return Ours(task, processor, settings, folder, embedder, doing)
    if name in ("no-memory", "full-context", "truncation", "summary", "retrieval"):
        return Plain(name, task, processor, folder, embedder, doing)
    raise UsageError(f"no system {name!r}")
