"""Readings: documents that an agent reads to the end for a task, and the notes that it has taken so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, cast

from localmem.errors import FunctionError, UsageError
from localmem.memory import archival, archives, events, pages
from localmem.memory.clock import Clock, stamp
from localmem.memory.core import Origin
from localmem.memory.pages import Document, Stretch
from localmem.records import Event, EventKind

if TYPE_CHECKING:
    from localmem.memory.store import Cursor, Store

BUDGET = 2000
"""Steps (pages and condensations) that a reading may take."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document that is read for a task: `position` characters are read, `steps` of `budget` were taken.

    `ticket` is the event of the queue that takes the next step; `summary` is there once the state is "done". `call`
    is the agent's that began it, 0 where a person did.
    """

    id: int
    document: Document
    task: str
    position: int
    steps: int
    budget: int
    ticket: int
    state: Literal["open", "done"]
    summary: str
    call: int


@dataclass(frozen=True, slots=True)
class Note:
    """What was noted on a stretch of a document; level 0 from the text itself, above it from other notes."""

    id: int
    level: int
    first: int
    last: int
    text: str


class Readings:
    """The readings of one agent. Each step is one transaction, which also queues the event of the next."""

    def __init__(self, store: Store, agent: int, clock: Clock) -> None:
        self._store, self._agent, self._clock = store, agent, clock

    def start(self, name: str, task: str, budget: int = BUDGET) -> Reading:
        """Begin to read a document for a task, or go on where the same was begun. Raises UsageError."""

        def work(cursor: Cursor) -> Reading:
            document = pages.find(cursor, self._agent, name)
            for reading in listing(cursor, self._agent, "open"):
                if (reading.document.file, reading.task) == (document.file, task):
                    return reading
            number = start(cursor, self._agent, document, task, 0, stamp(self._clock), budget)
            return _get(cursor, self._agent, number)

        try:
            return self._store.write(work, "read")
        except FunctionError as error:
            raise UsageError(str(error)) from error

    def open(self) -> tuple[Reading, ...]:
        """Return the readings that go on, the oldest first."""
        return self._store.read(lambda cursor: tuple(listing(cursor, self._agent, "open")))

    def get(self, number: int) -> Reading:
        """Return a reading as it stands now. Raises UsageError where there is none."""
        return self._store.read(lambda cursor: _get(cursor, self._agent, number))

    def driven_by(self, event: Event) -> Reading | None:
        """Return the reading whose next step an event of the queue takes, or None."""
        if event.kind is not EventKind.HEARTBEAT or not event.ticket:
            return None
        return next((reading for reading in self.open() if reading.ticket == event.ticket), None)

    def let_go(self, event: Event) -> bool:
        """Take an event out of the queue whose reading cannot go on, for its document is gone; return whether."""
        sql = "SELECT 1 FROM readings WHERE agent = ? AND ticket = ?"

        def work(cursor: Cursor) -> bool:
            found = cursor.execute(sql, [self._agent, event.ticket]).fetchone() is not None
            if found:
                events.take(cursor, self._agent, event.ticket, events.NO_TURN)
                cursor.execute(
                    "UPDATE readings SET state = 'gone' WHERE agent = ? AND ticket = ?",
                    [self._agent, event.ticket],
                )
            return found

        return event.ticket > 0 and self._store.write(work, "read")

    def stretch(self, reading: Reading, characters: int) -> Stretch:
        """Return what comes next in the document, about so many characters; empty at its end."""
        return self._store.read(
            lambda cursor: pages.stretch(cursor, reading.document.file, reading.position, characters)
        )

    def notes(self, reading: Reading) -> tuple[Note, ...]:
        """Return the notes that were not condensed into others yet, in the order of the document."""
        rows = self._store.read(
            lambda cursor: cursor.execute(
                """SELECT id, level, first, last, text FROM notes
                   WHERE agent = ? AND reading = ? AND NOT condensed ORDER BY first, id""",
                [self._agent, reading.id],
            ).fetchall()
        )
        return tuple(Note(*row) for row in rows)

    def note(self, reading: Reading, read: Stretch, text: str) -> bool:
        """Keep what was noted on a stretch ("" for nothing), in archival memory too, and move on behind it.

        Returns False, and does nothing, where the reading went on or began anew meanwhile.
        """

        def work(cursor: Cursor) -> None:
            if text:
                self._keep(cursor, reading, text, f"notes on {read.source(reading.document.name)}")
                self._insert(cursor, reading, 0, read.first, read.last, text)
            self._next(cursor, reading, read.last)

        return self._step(reading, work)

    def condense(self, reading: Reading, notes: Sequence[Note], text: str) -> None:
        """Put one note in the place of several."""

        def work(cursor: Cursor) -> None:
            level = max(note.level for note in notes) + 1
            first, last = min(note.first for note in notes), max(note.last for note in notes)
            cursor.execute(
                "UPDATE notes SET condensed = true WHERE agent = ? AND id IN (SELECT unnest(?::BIGINT[]))",
                [self._agent, str([note.id for note in notes])],
            )
            self._insert(cursor, reading, level, first, last, text)
            self._next(cursor, reading, reading.position)

        self._step(reading, work)

    def finish(self, reading: Reading, summary: str) -> None:
        """End a reading: its summary goes to archival memory, and the agent is told."""

        def work(cursor: Cursor) -> None:
            now, document = stamp(self._clock), reading.document
            self._keep(cursor, reading, summary, f"summary of {document.name}")
            events.take(cursor, self._agent, reading.ticket, events.NO_TURN)
            cursor.execute(
                "UPDATE readings SET state = 'done', summary = ?, steps = steps + 1 WHERE agent = ? AND id = ?",
                [summary, self._agent, reading.id],
            )
            share = reading.position / max(1, document.characters)
            read = "to its end" if share > 0.999 else f"to {share:.0%} of it"
            text = f"You have read {document.name} {read}, for the task: {reading.task}\nYour notes say: {summary}"
            events.submit(cursor, self._agent, Event(EventKind.DOCUMENT, text), now, call=reading.call)

        self._step(reading, work)

    def _step(self, reading: Reading, work: Callable[[Cursor], None]) -> bool:
        """Take one step, unless it was taken meanwhile or the document has changed; return whether."""

        def once(cursor: Cursor) -> bool:
            now = _get(cursor, self._agent, reading.id)
            if (now.steps, now.state) != (reading.steps, "open"):
                return False
            work(cursor)
            return True

        return self._store.write(once, "read")

    def _keep(self, cursor: Cursor, reading: Reading, text: str, source: str) -> None:
        """Put a text into archival memory, as the work of the turn that began the reading."""
        sql = "SELECT turn FROM records WHERE agent = ? AND id = ?"
        turn = cursor.execute(sql, [self._agent, reading.call]).fetchone() or (0,)
        origin = Origin("agent", turn[0], reading.call)
        try:
            archival.insert(cursor, self._agent, text, source, (), origin, stamp(self._clock))
        except FunctionError:
            pass  # the same words were noted before

    def _insert(self, cursor: Cursor, reading: Reading, level: int, first: int, last: int, text: str) -> None:
        cursor.execute(
            "INSERT INTO notes VALUES (nextval('note_ids'), ?, ?, ?, ?, ?, ?, false, ?)",
            [self._agent, reading.id, level, first, last, text, stamp(self._clock)],
        )

    def _next(self, cursor: Cursor, reading: Reading, position: int) -> None:
        """Move on: the event that drove this step is taken, and one for the next step stands in the queue."""
        events.take(cursor, self._agent, reading.ticket, events.NO_TURN)
        ticket = _drive(cursor, self._agent, reading.document, reading.call, stamp(self._clock))
        cursor.execute(
            "UPDATE readings SET position = ?, steps = steps + 1, ticket = ? WHERE agent = ? AND id = ?",
            [position, ticket, self._agent, reading.id],
        )


def start(
    cursor: Cursor, agent: int, document: Document, task: str, call: int, now: datetime, budget: int = BUDGET
) -> int:
    """Begin to read a document for a task, and return the reading's id."""
    ticket = _drive(cursor, agent, document, call, now)
    row = cursor.execute(
        """INSERT INTO readings
           VALUES (nextval('reading_ids'), ?, ?, ?, 0, 0, ?, ?, 'open', '', ?, ?) RETURNING id""",
        [agent, document.file, task, budget, ticket, call, now],
    ).fetchone()
    assert row is not None
    return int(row[0])


def listing(cursor: Cursor, agent: int, state: str) -> list[Reading]:
    """Return an agent's readings in a state, the oldest first.

    One whose document was taken out, or lies in an archive that is no longer the agent's to search, is none.
    """
    rows = cursor.execute(
        """SELECT r.id, f.id, f.name, f.characters, r.task, r.position, r.steps, r.budget, r.ticket, r.state,
                  r.summary, r.call
           FROM readings r JOIN files f ON f.id = r.file
           WHERE r.agent = ? AND r.state = ? AND f.agent IN (SELECT unnest(?::BIGINT[])) ORDER BY r.id""",
        [agent, state, str(archives.owners(cursor, agent))],
    ).fetchall()
    return [_reading(row) for row in rows]


def _get(cursor: Cursor, agent: int, number: int) -> Reading:
    found = [*listing(cursor, agent, "open"), *listing(cursor, agent, "done")]
    for reading in found:
        if reading.id == number:
            return reading
    raise UsageError("that reading is gone: its document was taken out")


def _reading(row: Sequence[object]) -> Reading:
    number, file, name, characters, *rest = row
    document = Document(cast(int, file), cast(str, name), cast(int, characters))
    return Reading(cast(int, number), document, *rest)  # type: ignore[arg-type]


def _drive(cursor: Cursor, agent: int, document: Document, call: int, now: datetime) -> int:
    event = Event(EventKind.HEARTBEAT, f"Read on in {document.name}.")
    return events.submit(cursor, agent, event, now, call=call)
