"""The decoding thread: all completions in the making advance together, a batch at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from localmem.errors import ModelBroken
from localmem.processor.llama import CacheFull, Llama, Row
from localmem.processor.reuse import common
from localmem.processor.slots import Slots
from localmem.processor.snapshots import Snapshots
from localmem.processor.work import Work

Found = TypeVar("Found")

MOST_ROWS = {"cpu": 5}
"""Tokens that several works generate in one decode at most, by `Llama.kind`: more cost less in a second decode.

From eight rows on llama.cpp repacks the weights, which pays for prompts alone (benchmarks/README.md).
"""

LEAST_CHUNK = 16
"""Rows that are left to a prompt at least, where others generate in the same decode."""


class Scheduler:
    """Owns a Llama: everything that touches it runs on one thread, which frees it at the end.

    One prompt is evaluated at a time, first come, first served, beside the generations under way; a generation
    that is prepared ahead of need goes on only while no other does. `shift` lets what only moved in a prompt be
    moved in the cache too. Every method may be called from any thread.
    """

    def __init__(self, llama: Llama, slots: Slots, snapshots: Snapshots | None, *, shift: bool) -> None:
        self._llama, self._slots, self._snapshots, self._shift = llama, slots, snapshots, shift
        self._changed = threading.Condition()
        self._works: list[Work] = []
        self._jobs: list[Callable[[], object]] = []
        self._idle: dict[str, Callable[[], object]] = {}
        self._then: list[Callable[[], None]] = []
        self._batch: list[Work] = []
        self._closing = self._stepping = self._crowded = False
        self._mover: Work | None = None
        self._most = min(llama.chunk, MOST_ROWS.get(llama.kind, llama.chunk))
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether the model has been freed, or is about to be."""
        return self._closing

    def submit(self, work: Work) -> None:
        """Begin a completion. Raises ModelBroken when the model has been freed."""
        with self._changed:
            if self._closing:
                raise ModelBroken("the model has been freed")
            self._works.append(work)
            self._changed.notify()

    @property
    def busy(self) -> bool:
        return bool(self._works)

    def cancel(self, work: Work) -> None:
        """Stop a completion, between two tokens or inside a decode; one that is over stays as it is."""
        work.cancelled = True
        if work in self._batch:
            self._llama.stop.set()

    def ask(self, job: Callable[[], Found]) -> Found:
        """Run something between two decodes, and return what it returns.

        Raises ModelBroken when the model has been freed, RuntimeError where a token is just being chosen.
        """
        if threading.current_thread() is self._thread:
            if self._stepping:
                raise RuntimeError("what chooses a token cannot wait for the thread that it runs on")
            return job()
        future: Future[Found] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

        with self._changed:
            if self._closing:
                raise ModelBroken("the model has been freed")
            self._jobs.append(run)
            self._changed.notify()
        return future.result()

    def later(self, name: str, job: Callable[[], object]) -> None:
        """Run something when nothing else is to be done; one of the same name that waits is replaced."""
        with self._changed:
            if not self._closing:
                self._idle[name] = job
                self._changed.notify()

    def close(self) -> None:
        """Cancel what is under way, keep what the agents hold, and free the model; a second time does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        for work in list(self._works):
            self.cancel(work)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            for slot in self._slots:
                if self._snapshots is not None and not slot.busy:
                    with suppress(Exception):
                        self._snapshots.save(slot)
        finally:
            self._closing = True
            for work in list(self._works):
                work.finish(ModelBroken("the model has been freed"))
            self._llama.close()

    def _turn(self) -> bool:
        """Run what is asked for, then one step of all works; return whether there may be more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._works or self._jobs or self._closing or self._idle)
            jobs, self._jobs = self._jobs, []
            if not jobs and not self._works and self._idle and not self._closing:
                jobs = [self._idle.pop(next(iter(self._idle)))]
        for job in jobs:
            with suppress(Exception):  # only what nobody waits for raises here
                job()
        try:
            self._stepping = True
            self._step()
        except BaseException as error:  # whatever it is, those who wait must hear of it
            self._recover(error)
        finally:
            self._stepping = False
        then, self._then = self._then, []
        for each in then:
            with suppress(Exception):
                each()
        with self._changed:
            return bool(self._works or self._jobs or not self._closing)

    def _recover(self, error: BaseException) -> None:
        """What a failure nobody foresaw left in the cache is not known: all works end, and nothing is kept."""
        for work in list(self._works):
            self._end(work, error)
        self._slots.reset()

    def _step(self) -> None:
        for work in [work for work in self._works if work.cancelled or self._closing]:
            self._end(work)
        urgent = [work for work in self._works if not work.prepares] or list(self._works)
        self._admit(urgent)
        rows, parts = self._compose(urgent)
        if rows and self._decode(rows, [work for work, _ in parts]):
            self._deliver(rows, parts)

    def _admit(self, works: list[Work]) -> None:
        """Give the next work that waits a slot, once no other evaluates its prompt and there is room for one."""
        if any(work.slot is not None and not work.begun for work in works):
            return
        self._crowded = self._crowded and any(work.slot is not None for work in works)
        if self._crowded:
            return
        for work in works:
            if work.slot is None:
                try:
                    work.start()
                except BaseException as error:
                    self._end(work, error)
                    continue
                if work.complete:
                    self._end(work)
                    continue
                self._seat(work)
                return

    def _seat(self, work: Work) -> None:
        ids, owner, ahead = work.known, work.limits.owner, work.limits.ahead
        shift = self._shift and self._mover is None and not ahead
        slot = self._slots.take(ids, owner, ahead=ahead, shift=shift)
        if slot is None:
            self._make_room(work)
            return
        if self._snapshots is not None and not ahead:
            self._snapshots.restore(slot, ids)
        moves = []
        if shift and slot.ids:
            moves = self._slots.set_aside(slot, ids)
            self._mover = work if moves else None
        else:
            self._slots.keep(slot, min(common(slot.ids, ids), len(ids) - 1))
        work.seated(slot, moves)

    def _make_room(self, work: Work) -> None:
        """Take a slot from what is made ahead of need, where somebody waits for one; it goes on in another later."""
        for other in [] if work.prepares else self._works:
            if other.prepares and other.slot is not None:
                self._unseat(other)
                return

    def _compose(self, works: list[Work]) -> tuple[list[Row], list[tuple[Work, int]]]:
        """Return the rows of the next decode, and of each work in it how many: first who generates, then a prompt."""
        seated = [work for work in works if work.slot is not None]
        going = [work for work in seated if work.begun]
        rows: list[Row] = []
        parts: list[tuple[Work, int]] = []
        reading = [work for work in seated if not work.begun]
        room = self._llama.chunk - (LEAST_CHUNK if reading and going else 0)
        most = room if reading or len(going) == 1 else min(room, self._most)
        for work in going:
            work.draft(max(0, most // len(going) - work.missing))
            if len(rows) + work.missing + len(work.drafts) > most:
                work.drafts = []
            if len(rows) + work.missing <= most or not rows:
                parts.append((work, self._add(rows, work, room - len(rows))))
        if len(parts) < len(going):  # who has to wait is first in the next decode
            served = [work for work, _ in parts]
            with self._changed:
                self._works[:] = [work for work in self._works if work not in served] + served
        parts += [(work, self._add(rows, work, self._llama.chunk - len(rows))) for work in reading]
        return rows, [(work, count) for work, count in parts if count]

    def _add(self, rows: list[Row], work: Work, room: int) -> int:
        """Put what a work has to evaluate behind the rows there are; return how many rows it took."""
        slot = work.slot
        assert slot is not None
        while work.moves and work.moves[0].to == len(slot.ids):
            self._slots.bring_back(slot, work.moves.pop(0), work.known)
            if not work.moves:
                self._mover = None
        start = len(slot.ids)
        until = work.moves[0].to if work.moves else len(work.known)
        ids = work.known[start : min(until, start + room)]
        last = start + len(ids) == len(work.known)
        ids += work.drafts if last else []
        read_from = len(work.known) - 1 if last else start + len(ids)
        for position, token in enumerate(ids, start):
            rows.append(Row(token, position, slot.sequence, position >= read_from))
        return len(ids)

    def _decode(self, rows: list[Row], works: list[Work]) -> bool:
        """Evaluate rows; return False when that was stopped, or had to wait for memory."""
        self._llama.stop.clear()
        self._batch = works
        try:
            if any(work.cancelled for work in works):
                return False
            return self._llama.evaluate(rows)
        except CacheFull:
            self._win_cells(works)
            return False
        except ModelBroken as error:
            for work in works:
                self._end(work, error)
            return False
        finally:
            self._batch = []

    def _win_cells(self, works: list[Work]) -> None:
        """Make room in the cache: what is idle goes, then what is prepared; then the newest waits for an end."""
        if self._slots.free():
            return
        others = [work for work in self._works if work.slot is not None and work is not works[0]]
        prepared = [work for work in others if work.prepares]
        if others:
            self._unseat((prepared or others)[-1])
            self._crowded = not prepared or works[0].prepares
        else:
            self._end(works[0], ModelBroken("the KV cache is too small for one window"))

    def _deliver(self, rows: list[Row], parts: list[tuple[Work, int]]) -> None:
        at = 0
        for work, count in parts:
            slot = work.slot
            assert slot is not None
            held = len(slot.ids)
            slot.ids.extend(row.token for row in rows[at : at + count])
            reached = held + count >= len(work.known)
            work.evaluated(reached)
            if reached:
                last, held = at + len(work.known) - 1 - held, len(work.known)
                try:
                    right = work.advance(lambda row, last=last: self._llama.logits(last + row))  # type: ignore[misc]
                except BaseException as error:
                    self._slots.keep(slot, held)
                    self._end(work, error)
                else:
                    self._slots.keep(slot, held + right)
                    if work.complete:
                        self._end(work)
            at += count

    def _end(self, work: Work, error: BaseException | None = None) -> None:
        """Let go of a work: its slot keeps what was evaluated."""
        self._unseat(work)
        if work in self._works:
            self._works.remove(work)
        self._crowded = False
        work.finish(error)
        if work.then is not None and work.complete:
            self._then.append(work.then)

    def _unseat(self, work: Work) -> None:
        if work is self._mover:
            self._slots.drop_aside()
            self._mover = None
        if work.slot is not None:
            self._slots.release(work.slot)
            work.unseated()
