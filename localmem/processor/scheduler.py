"""The decoding thread: all completions in the making advance together, a batch at a time."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from localmem.errors import ModelBroken
from localmem.processor.llama import CacheFull, Llama, Row
from localmem.processor.reuse import common
from localmem.processor.slots import Slots
from localmem.processor.snapshots import Snapshots
from localmem.processor.work import Work

Found = TypeVar("Found")

LEAST_CHUNK = 16
"""Rows that are left to a prompt at least, where others generate in the same decode."""


class Scheduler:
    """Owns a Llama: everything that touches it runs on one thread, in the order given here.

    One prompt is evaluated at a time, first come, first served, beside the generations under way; a generation
    that is prepared ahead of need goes on only while no other does. `shift` lets what only moved in a prompt be
    moved in the cache too. Every method may be called from any thread.
    """

    def __init__(self, llama: Llama, slots: Slots, snapshots: Snapshots | None, *, shift: bool) -> None:
        self._llama, self._slots, self._snapshots, self._shift = llama, slots, snapshots, shift
        self._changed = threading.Condition()
        self._works: list[Work] = []
        self._jobs: list[Callable[[], None]] = []
        self._idle: dict[str, Callable[[], None]] = {}
        self._batch: list[Work] = []
        self._closing = False
        self._mover: Work | None = None
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
        self._thread.start()
        atexit.register(self.close)

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
        """Run something between two decodes, and return what it returns."""
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

    def later(self, name: str, job: Callable[[], None]) -> None:
        """Run something when nothing else is to be done; one of the same name that waits is replaced."""
        with self._changed:
            if not self._closing:
                self._idle[name] = job
                self._changed.notify()

    def close(self) -> None:
        """Cancel what is under way and end the thread; a second time does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        for work in list(self._works):
            self.cancel(work)
        self._thread.join()
        atexit.unregister(self.close)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._works or self._jobs or self._closing or self._idle)
                jobs, self._jobs = self._jobs, []
                if not jobs and not self._works and self._idle and not self._closing:
                    jobs = [self._idle.pop(next(iter(self._idle)))]
            self._llama.stop.clear()  # what it stopped is over
            for job in jobs:
                job()
            try:
                self._step()
            except Exception as error:  # whatever it is, those who wait must hear of it
                for work in list(self._works):
                    self._end(work, error)
            with self._changed:
                if self._closing and not self._works and not self._jobs:
                    return

    def _step(self) -> None:
        for work in [work for work in self._works if work.cancelled or self._closing]:
            self._end(work)
        urgent = [work for work in self._works if not work.prepares] or list(self._works)
        self._admit(urgent)
        rows, parts = self._compose(urgent)
        if rows and self._decode(rows, [work for work, _ in parts]):
            self._deliver(rows, parts)

    def _admit(self, works: list[Work]) -> None:
        """Give the next work that waits a slot, once no other evaluates its prompt."""
        if any(work.slot is not None and not work.begun for work in works):
            return
        for work in works:
            if work.slot is None:
                work.start()
                if work.complete:
                    self._end(work)
                    continue
                self._seat(work)
                return

    def _seat(self, work: Work) -> None:
        ids, owner = work.known, work.limits.owner
        slot = self._slots.take(ids, owner, ahead=work.limits.ahead)
        if slot is None:
            self._make_room()
            return
        if self._snapshots is not None and not work.limits.ahead:
            self._snapshots.restore(slot, ids)
        moves = []
        if self._shift and self._mover is None and slot.ids and not work.limits.ahead:
            moves = self._slots.set_aside(slot, ids)
            self._mover = work if moves else None
        else:
            self._slots.keep(slot, min(common(slot.ids, ids), len(ids) - 1))
        work.seated(slot, moves)

    def _make_room(self) -> None:
        """End what holds a slot ahead of need, where somebody needs one now."""
        for other in self._works:
            if other.prepares and other.slot is not None:
                self._end(other)
                return

    def _compose(self, works: list[Work]) -> tuple[list[Row], list[tuple[Work, int]]]:
        """Return the rows of the next decode, and of each work in it how many: first who generates, then a prompt."""
        seated = [work for work in works if work.slot is not None]
        going = [work for work in seated if work.begun]
        rows: list[Row] = []
        parts: list[tuple[Work, int]] = []
        reading = [work for work in seated if not work.begun]
        room = self._llama.chunk - (LEAST_CHUNK if reading and going else 0)
        for index, work in enumerate(going):
            work.draft(max(0, room // max(1, len(going)) - work.missing))
            if len(rows) + work.missing + len(work.drafts) > room:
                work.drafts = []
            if len(rows) + work.missing > room and rows:
                self._works.remove(work)  # first in the next batch
                self._works.insert(0, work)
                del going[index:]
                break
            parts.append((work, self._add(rows, work, room - len(rows))))
        parts += [(work, self._add(rows, work, self._llama.chunk - len(rows))) for work in reading]
        return rows, parts

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
        """Make room in the cache: what is idle goes, then what is prepared, then the newest begins again later."""
        if self._slots.free():
            return
        prepared = [work for work in self._works if work.prepares and work.slot is not None]
        if prepared and len(self._works) > 1:
            self._end(prepared[-1])
        elif len(works) > 1:
            self._unseat(works[-1])
            self._works.append(self._works.pop(self._works.index(works[-1])))
        else:
            raise ModelBroken("the KV cache is too small for one window")

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
                except Exception as error:
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
        work.finish(error)

    def _unseat(self, work: Work) -> None:
        if work is self._mover:
            self._slots.drop_aside()
            self._mover = None
        if work.slot is not None:
            self._slots.release(work.slot)
            work.unseated()
