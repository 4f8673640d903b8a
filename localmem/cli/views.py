"""How memory, search results and the window are laid out as lines of text, and as data for --json."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from localmem.cli.common import counted, one_line, safe
from localmem.records import Block, Page, Usage

UNDO = "undo"
"""The author of a change that took a turn back, as `memory.history` has it."""

if TYPE_CHECKING:
    from localmem.functions.schema import Function
    from localmem.kernel.context import Report
    from localmem.kernel.tidy import Step
    from localmem.memory.agents import AgentRow
    from localmem.memory.audit import Audit, Remembered
    from localmem.memory.forget import Plan
    from localmem.memory.history import Change
    from localmem.memory.memory import Memory
    from localmem.memory.timers import Timer
    from localmem.memory.undo import Undone


def memory_data(memory: Memory) -> dict[str, object]:
    """Return what an agent holds: its blocks in full, its summary, and how much there is of the rest."""
    counts = memory.counts()
    return {
        "agent": memory.name,
        "model": memory.model,
        "functions": memory.functions,
        "system": memory.system,
        "blocks": [asdict(block) | {"used": len(block.value)} for block in memory.blocks()],
        "summary": memory.summary(),
        "recall": counts.recall,
        "archival": counts.archival,
        "queue": len(memory.queue()),
        "last_active": counts.last_active,
    }


def memory_lines(memory: Memory) -> Iterator[str]:
    """Lay out what an agent holds."""
    for block in memory.blocks():
        yield from block_lines(block)
    summary = memory.summary()
    yield "summary of what left the window" + ("" if summary else ": nothing has")
    if summary:
        yield from indented(summary)
    counts = memory.counts()
    yield (
        f"recall {counts.recall:,} messages · archive {counts.archival:,} passages · "
        f"queue {len(memory.queue()):,} records · last active {when(counts.last_active)}"
    )


def block_lines(block: Block) -> Iterator[str]:
    """Lay out a block of core memory."""
    fixed = ", read-only" if block.read_only else ""
    yield f"{block.label}: {len(block.value):,} of {block.limit:,} characters{fixed}"
    yield from indented(block.value or "(empty)")


def agent_lines(rows: Sequence[AgentRow], current: str = "") -> Iterator[str]:
    """Lay out the agents of a home; a star marks the current one."""
    shown = [
        (
            f"{row.name} *" if row.name == current else row.name,
            Path(row.model).name if row.model else "-",
            f"{row.records:,}",
            f"{row.passages:,}",
            when(row.last_active),
        )
        for row in rows
    ]
    return table(("NAME", "MODEL", "RECORDS", "PASSAGES", "LAST ACTIVE"), shown)


def timer_lines(timers: Sequence[Timer]) -> Iterator[str]:
    """Lay out the timers that will fire, the next one first."""
    if not timers:
        yield "no timer is set"
    for timer in timers:
        again = f", every {timer.every}" if timer.every else ""
        yield f"{timer.id:>3}  {when(timer.due)}{again}  {one_line(timer.note, 60)}"


def function_lines(functions: Sequence[Function]) -> Iterator[str]:
    """Lay out what an agent may call: its signature, what it does and what it touches."""
    for function in functions:
        yield function.signature()
        touches = f" It {function.touches}: you are asked first." if function.touches else ""
        yield f"  {' '.join(function.doc.split())}{touches}"


def usage_lines(turns: int, usage: Usage) -> Iterator[str]:
    """Lay out what a chat has cost, and what there is in storage."""
    yield f"turns      {turns:,} in this chat"
    yield f"read       {usage.prompt_tokens:,} tokens, {usage.reused_tokens:,} of them from the cache"
    yield f"written    {usage.completion_tokens:,} tokens in {usage.forward_passes:,} passes"
    rate = f", {speed(usage)} (reading included)" if speed(usage) else ""
    yield f"time       {usage.seconds:.1f} s{rate}"


def speed(usage: Usage) -> str:
    """Return how fast tokens were written, "" while nothing can be said of it."""
    if usage.seconds < 0.05 or not usage.completion_tokens:
        return ""
    rate = usage.completion_tokens / usage.seconds
    return f"{rate:.1f} tok/s" if rate < 10 else f"{rate:,.0f} tok/s"


def page_lines(name: str, page: Page) -> Iterator[str]:
    """Lay out one page of search results of a tier."""
    more = f", page {page.page} of {page.pages}" if page.pages > 1 else ""
    yield f"{name}: {page.total:,} found{more}"
    for hit in page.hits:
        yield f"  {when(hit.created_at)} {safe(hit.source)}"
        yield from indented(hit.text, "    ")


def page_data(page: Page) -> dict[str, object]:
    """Return a page of search results as `memory search --json` prints it."""
    return {
        "total": page.total,
        "page": page.page,
        "pages": page.pages,
        "hits": [asdict(hit) for hit in page.hits],
    }


def undone_lines(undone: Undone) -> Iterator[str]:
    """Lay out what was taken back with a turn, and what could not be."""
    said = one_line(undone.event.text, 60)
    yield f"taken back: turn {undone.turn} ({undone.event.kind.value}: {said})"
    blocks = f"{', '.join(undone.blocks)} as before" if undone.blocks else ""
    out = f"{counted(undone.passages, 'passage')} out" if undone.passages else ""
    back = f"{counted(undone.restored, 'passage')} back" if undone.restored else ""
    yield "  " + " · ".join(part for part in (counted(undone.records, "record"), blocks, out, back) if part)
    if undone.outside:
        yield f"  not taken back: what {', '.join(undone.outside)} did outside this memory"


def history_lines(changes: Sequence[Change]) -> Iterator[str]:
    """Lay out the changes of core memory, oldest first."""
    for change in changes:
        turn = f", turn {change.turn}" if change.turn else ""
        by = f"turn {change.turn} taken back" if change.author == UNDO else f"by {change.author}{turn}"
        rests = f", rests on {', '.join(map(str, change.rests_on))}" if change.rests_on else ""
        undone = ", taken back since" if change.undone else ""
        yield f"{when(change.created_at)} {change.label} {by}{rests}{undone}"
        for sign, lines in (("-", change.removed), ("+", change.added)):
            for line in lines:
                yield from indented(f"{sign} {line}")
        if not change.removed and not change.added:
            yield f"  ({change.characters:,} of {change.limit:,} characters)"


def audit_data(audit: Audit) -> dict[str, object]:
    """Return what `memory audit --json` prints; pairs name their memories by their places in the list."""
    places = {id(memory): place for place, memory in enumerate(audit.memories)}
    rows = []
    for memory in audit.memories:
        row = {key: value for key, value in asdict(memory).items() if key != "origin"}
        rows.append(row)
    pairs = [
        {"first": places[id(pair.first)], "second": places[id(pair.second)], "share": pair.share}
        for pair in audit.alike
    ]
    return {"memories": rows, "alike": pairs, "unsupported": len(audit.unsupported)}


def audit_lines(audit: Audit, everything: bool) -> Iterator[str]:
    """Lay out the doubtful memories, or all, with what each rests on."""
    shown = audit.memories if everything else audit.unsupported
    for memory in shown:
        yield from _remembered(memory)
    for pair in audit.alike:
        yield f"nearly the same ({pair.share:.0%} of their words)"
        for each in (pair.first, pair.second):
            yield f"  {_place(each)}: {one_line(each.text, 100)}"
    yield (
        f"{len(audit.memories):,} memories: {len(audit.unsupported):,} that no record supports, "
        f"{len(audit.alike):,} pairs that say nearly the same"
    )


def _remembered(memory: Remembered) -> Iterator[str]:
    doubt = "" if memory.supported else ": no record supports it"
    turn = f", turn {memory.turn}" if memory.turn else ""
    yield f"{_place(memory)} by {memory.author}{turn}, {when(memory.created_at)}{doubt}"
    yield from indented(memory.text)
    for ground in memory.rests_on:
        yield f"    rests on record {ground.record}: {one_line(ground.text, 100)}"


def _place(memory: Remembered) -> str:
    return f"passage {memory.passage}" if memory.passage else memory.where


def going_lines(plan: Plan) -> Iterator[str]:
    """Lay out what would be forgotten."""
    for each in plan.going:
        number = f" {each.id}" if each.what in ("record", "passage") else ""
        yield f"{each.what}{number}{f', {when(each.created_at)}' if each.created_at else ''}"
        yield from indented(one_line(each.text, 200))
    if plan.summaries:
        yield f"{plan.summaries:,} summaries are made anew"
    if plan.elsewhere:
        yield f"it stays in {', '.join(plan.elsewhere)}: forget it there, or take out the document"
    yield (
        "nothing holds this"
        if plan.empty
        else "traces of turns and snapshots go too: they repeat what was said"
    )


def step_line(step: Step) -> str:
    """Return one thing that there is to tidy as a line."""
    if step.second is None:
        return f"move to the archive from {step.first.where}: {one_line(step.first.text, 100)}"
    both = " / ".join(f"{_place(each)}: {one_line(each.text, 80)}" for each in (step.first, step.second))
    return f"{'drop one of' if step.share == 1 else 'look at'} ({step.share:.0%} alike) {both}"


def context_lines(report: Report) -> Iterator[str]:
    """Lay out how the window is used."""
    for name, tokens in report.sections.items():
        yield f"{name:<10} {tokens:>7,}  {'#' * round(30 * tokens / report.window)}"
    free = report.window - report.used
    yield f"{'free':<10} {free:>7,}  (the answer is written here)"
    yield f"{'window':<10} {report.window:>7,}  (when it fills, the oldest is summarised)"


def indented(text: str, by: str = "  ") -> Iterator[str]:
    """Yield the lines of a text, indented and safe to show."""
    yield from textwrap.indent(safe(text), by).splitlines()


def when(time: datetime | None) -> str:
    """Return a time as people read it."""
    return f"{time:%Y-%m-%d %H:%M}" if time else "never"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lay out rows in columns under their heads."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
