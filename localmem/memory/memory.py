"""Everything one agent holds, behind one door: its log, queue, core blocks and archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar

from localmem.crash import reach
from localmem.errors import FunctionError, UsageError
from localmem.memory import archival, archives, core, events, forget, letters, log, pages, search
from localmem.memory.archival import Passage
from localmem.memory.audit import Audit, audit
from localmem.memory.choices import Choices
from localmem.memory.clock import Clock, shown, stamp
from localmem.memory.core import BlockVersion, Origin
from localmem.memory.desk import Desk
from localmem.memory.forget import Digest, Plan
from localmem.memory.history import Change, history
from localmem.memory.inbox import Inbox
from localmem.memory.index import Indexes
from localmem.memory.pages import Document
from localmem.memory.readings import Readings
from localmem.memory.settling import settle
from localmem.memory.standing import STANDING
from localmem.memory.store import Store
from localmem.memory.undo import Undone, retake, undo
from localmem.records import Block, Call, Event, Hit, Page, Record, Result

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

T = TypeVar("T")
Said = TypeVar("Said", Event, Call)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much an agent finds: spoken records, passages (attached archives' too), and when it last did anything."""

    recall: int
    archival: int
    last_active: datetime | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was begun and not closed: its event, all its records so far, and the calls performed."""

    id: int
    steps: int
    event: Event
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class IndexState:
    """How the vector index stands to the store: vectors stored, vectors indexed, and whether they agree."""

    stored: int
    indexed: int
    agrees: bool


class Memory:
    """The memory of one agent. Reads are consistent; every method that writes is one transaction.

    `inbox` holds what waits for the agent: events and timers.
    """

    def __init__(
        self,
        store: Store,
        agent: int,
        name: str,
        clock: Clock,
        indexes: Indexes,
    ) -> None:
        self.name = name
        self._store = store
        self._agent = agent
        self._clock = clock
        self._indexes = indexes
        self._settled = False
        self.edition = 0  # grows with every change from outside a turn: an agent that is awake looks anew
        self.inbox = Inbox(store, agent, clock)
        self.readings = Readings(store, agent, clock)

    # what it holds

    @property
    def model(self) -> str | None:
        """The model this agent runs on, if one was chosen."""
        return self._field("model")

    @property
    def system(self) -> str | None:
        """System instructions of its own, if it has any."""
        return self._field("system")

    @property
    def choices(self) -> Choices:
        """Which functions beside the standard set it is offered, and which of them run without asking."""
        return Choices(self._store, self._agent, self._clock)

    @property
    def functions(self) -> str | None:
        """The set of functions of its own, if one was chosen; else its model's profile says which."""
        return self._field("functions")

    @property
    def vectors(self) -> bool:
        """Whether the archive is searched by meaning too: an embedder is at hand."""
        return self._indexes.meaning() is not None

    def set_model(self, name: str) -> None:
        """Choose the model this agent runs on."""
        self._store.write(
            lambda cursor: cursor.execute("UPDATE agents SET model = ? WHERE id = ?", [name, self._agent]),
            "set_model",
        )

    def blocks(self) -> tuple[Block, ...]:
        """Return the core blocks, in the order in which they were made."""
        return self._store.read(lambda cursor: core.blocks(cursor, self._agent))

    def block(self, label: str) -> Block:
        """Return one core block. Raises UsageError, naming those there are."""
        there = {block.label: block for block in self.blocks()}
        if label not in there:
            raise UsageError(f"{self.name} has no block {label!r}; there are: {', '.join(there) or 'none'}")
        return there[label]

    def block_versions(self, label: str | None = None) -> tuple[BlockVersion, ...]:
        """Return every version of one block, or of all, oldest first, with where each came from."""
        return self._store.read(lambda cursor: core.versions(cursor, self._agent, self._clock, label))

    def history(self, label: str | None = None) -> tuple[Change, ...]:
        """Return every change of one block, or of all, oldest first; turns taken back are among them.

        Raises UsageError for a label that no block ever had, naming those there are.
        """
        found = self._store.read(lambda cursor: history(cursor, self._agent, self._clock, label))
        if label is not None and not found:
            self.block(label)
        return found

    def audit(self) -> Audit:
        """Return every memory with what it rests on, near duplicates, and what nothing on record supports."""
        return self._store.read(lambda cursor: audit(cursor, self._agent, self._clock))

    def passages(self) -> tuple[Passage, ...]:
        """Return every passage of the archive with where it came from, retired ones included."""
        return self._store.read(lambda cursor: archival.passages(cursor, self._agent, self._clock))

    def summary(self) -> str:
        """Return the summary of what left the queue, "" while nothing has."""
        return self._store.read(lambda cursor: log.head(cursor, self._agent)[1])

    def queue(self) -> tuple[Record, ...]:
        """Return the records from the head of the queue on, in order; paged-out results have their stub."""

        def work(cursor: Cursor) -> tuple[Record, ...]:
            start, _ = log.head(cursor, self._agent)
            return log.read(cursor, self._agent, self._clock, start=start)

        return self._store.read(work)

    def records(self, start: int = 0, limit: int | None = None) -> tuple[Record, ...]:
        """Return the log from record id `start` on, in order, at most `limit` records."""
        tail = "ORDER BY r.id" if limit is None else f"ORDER BY r.id LIMIT {int(limit)}"
        return self._store.read(lambda cursor: log.read(cursor, self._agent, self._clock, tail, start=start))

    def counts(self) -> Counts:
        """Return how much there is in recall and archival storage, and the time of the newest record."""

        def work(cursor: Cursor) -> Counts:
            sql = f"SELECT count(text), max(created_at) FROM records WHERE agent = ? AND {STANDING}"
            row = cursor.execute(sql, [self._agent]).fetchone()
            said, last = row if row else (0, None)
            found = archival.count(cursor, archives.owners(cursor, self._agent))
            return Counts(said, found, shown(last, self._clock) if last else None)

        return self._store.read(work)

    def paused(self) -> bool:
        """Return whether timed events are to wait: the agent paused its heartbeats."""
        now = stamp(self._clock)
        return bool(self._store.read(lambda cursor: events.muted_until(cursor, self._agent, now)))

    # a turn

    def submit(self, event: Event) -> Event:
        """Commit an event to the agent's queue, which acknowledges it, and return it with its ticket.

        Callable from any thread; it stops nothing (`Agent.submit` does). Raises UsageError.
        """
        return self.inbox.submit(event)

    def open_turn(self, event: Event) -> Event:
        """Commit an event, which acknowledges it, and open its turn; return it with id, turn and time.

        One with a ticket leaves the queue in the same transaction, so that it is processed once; raises UsageError
        when it does not wait there. One that goes on with work that was set aside opens that turn again.
        """

        def work(cursor: Cursor) -> Event:
            now = stamp(self._clock)
            again = events.resumed_by(cursor, self._agent, event.ticket) if event.ticket else 0
            number = log.insert(cursor, self._agent, event, again, now)
            if again:
                cursor.execute(
                    "UPDATE turns SET open = true WHERE id = ? AND agent = ?", [again, self._agent]
                )
            else:
                cursor.execute("INSERT INTO turns VALUES (?, ?, true, 0)", [number, self._agent])
            if event.ticket:
                events.take(cursor, self._agent, event.ticket, again or number)
            return replace(event, id=number, turn=again or number, created_at=shown(now, self._clock))

        return self._store.write(work, "open_turn")

    def add(self, record: Said, turn: int) -> Said:
        """Commit one record of a turn; return it with its id, turn and time."""

        def work(cursor: Cursor) -> Said:
            now = stamp(self._clock)
            number = log.insert(cursor, self._agent, record, turn, now)
            return replace(record, id=number, turn=turn, created_at=shown(now, self._clock))

        return self._store.write(work, "add")

    def perform(
        self, call: Call, work: Callable[[Desk], Result], *, close: bool | Callable[[Result], bool] = False
    ) -> Result:
        """Run a call on the desk; commit its effects, its result and the turn's progress together.

        A FunctionError undoes the effects and becomes a failed result. Any other exception undoes them and is
        raised: the call has no result then. A call that has its result already is not run again. `close` says
        whether the turn ends with this result.
        """

        def run(cursor: Cursor) -> Result:
            done = self._result_of(cursor, call)
            if done is not None:
                return done
            origin = Origin("agent", call.turn, call.id, log.grounds(cursor, self._agent, call))
            result = work(self._desk(cursor, origin))
            reach("perform.effects")
            return self._finish(cursor, call, result, close)

        def refuse(cursor: Cursor) -> Result:
            return self._finish(cursor, call, refusal, close)

        try:
            return self._changed(run, "perform")
        except FunctionError as error:
            refusal = Result(False, str(error))
            return self._store.write(refuse, "refuse")

    def start(self, call: Call) -> None:
        """Commit that a call which touches the outside is about to run: from then on it may have happened."""
        row = [self._agent, call.id, stamp(self._clock)]
        self._store.write(lambda cursor: cursor.execute("INSERT INTO started VALUES (?, ?, ?)", row), "start")

    def started(self, call: Call) -> bool:
        """Return whether a call to the outside was begun, now or before a crash."""
        sql = "SELECT 1 FROM started WHERE agent = ? AND call = ?"
        return bool(self._store.read(lambda cursor: cursor.execute(sql, [self._agent, call.id]).fetchone()))

    def close_turn(self, turn: int) -> None:
        """End a turn: it no longer counts as unfinished."""
        self._store.write(lambda cursor: self._close(cursor, turn), "close_turn")

    def unfinished(self, turn: int | None = None) -> Turn | None:
        """Return the oldest turn that was not closed (the process ended in its midst), or None.

        With `turn`: that one, if it is this agent's and was not closed.
        """

        def work(cursor: Cursor) -> Turn | None:
            sql = """SELECT id, steps FROM turns
                     WHERE agent = $agent AND open AND ($turn IS NULL OR id = $turn) ORDER BY id LIMIT 1"""
            row = cursor.execute(sql, {"agent": self._agent, "turn": turn}).fetchone()
            if row is None:
                return None
            where = "AND r.turn = $turn ORDER BY r.id"
            records = log.read(cursor, self._agent, self._clock, where, turn=row[0])
            event = records[0]
            assert isinstance(event, Event)
            return Turn(row[0], row[1], event, records)

        return self._store.read(work)

    def evict(self, head: int, summary: str, turn: int | None = None) -> None:
        """Move the head of the queue to record id `head`, the first one kept, under a new summary.

        It is a part of `turn`, else of the turn of the newest record, and is taken back with it.
        """
        self._store.write(
            lambda cursor: log.evict(cursor, self._agent, head, summary, turn, stamp(self._clock)), "evict"
        )

    def evicted_at(self) -> int:
        """Return the id of the newest record at the time of the last eviction, 0 if there was none."""
        return self._store.read(lambda cursor: log.evicted_at(cursor, self._agent))

    def others(self) -> tuple[str, ...]:
        """Return the names of the other agents of this home."""
        return self._store.read(lambda cursor: letters.others(cursor, self._agent))

    def post(self, call: Call, agent: str, message: str) -> None:
        """Deliver what a call says to another agent and waits for, before it is performed; once for each call.

        Raises FunctionError as `Desk.write_to`.
        """
        origin = Origin("agent", call.turn, call.id)
        self._store.write(
            lambda cursor: letters.write(
                cursor, self._agent, agent, message, True, origin, stamp(self._clock)
            ),
            "post",
        )

    def heard_out(self, call: Call) -> bool:
        """Return whether the agent that a call told something has answered, or ended its turn without."""
        return self._store.read(lambda cursor: letters.heard_out(cursor, self._agent, call.id))

    def told_by(self, turn: int) -> str | None:
        """Return the agent whose message set off a turn, None where none did."""
        return self._store.read(lambda cursor: letters.sender(cursor, self._agent, turn))

    def settle(self) -> None:
        """Give passages their missing vectors and save the index, after a yield; quick when nothing waits."""
        meaning = self._indexes.meaning()
        if meaning is None or self._settled:
            return
        self._settled = True
        try:
            for owner in self._store.read(lambda cursor: archives.owners(cursor, self._agent)):
                settle(self._store, owner, meaning)
        except BaseException:
            self._settled = False
            raise

    # edits from outside a turn, taking turns back, and search

    def forgetting(self, what: str) -> Plan:
        """Return what goes when `what` is forgotten (see `forget.plan`); `Home.forget` does it.

        Raises UsageError for a text too short, and for a record or passage that there is not.
        """
        return self._store.read(lambda cursor: forget.plan(cursor, self._agent, self._clock, what))

    def forget(self, plan: Plan, digest: Digest) -> None:
        """Take what a plan names out of the store; its bytes stay in the files until `Home.forget` is done."""
        self._changed(lambda cursor: forget.forget(cursor, self._agent, self._clock, plan, digest), "forget")
        self.edition += 1

    def undo(self) -> Undone:
        """Take back the last turn that stands, memory edits included, and return what that was.

        Its rows stay on disk and count no longer; an edit by the user since stays. Raises UsageError where
        no turn is left.
        """
        try:
            return self._changed(lambda cursor: undo(cursor, self._agent, self._clock), "undo")
        finally:
            self.edition += 1

    def retake(self) -> Event:
        """Take back the last turn and put what the person said in it into the queue once more; return that event.

        Both commit together. Raises UsageError where the last turn is not one that a person began.
        """
        try:
            return self._changed(lambda cursor: retake(cursor, self._agent, self._clock), "retake")
        finally:
            self.edition += 1

    def put_block(self, block: Block, by: str) -> None:
        """Create or replace a block, on behalf of `by` ("user").

        Raises UsageError for a bad label and a value over the limit.
        """

        def work(cursor: Cursor) -> None:
            core.put(cursor, self._agent, block, Origin(by), stamp(self._clock))

        self._store.write(work, "put_block")
        self.edition += 1

    def edit(self, work: Callable[[Desk], T], *, author: str = "user") -> T:
        """Run `work` on a desk in one transaction and return its value. Its FunctionErrors are raised."""
        try:
            return self._changed(lambda cursor: work(self._desk(cursor, Origin(author))), "edit")
        finally:
            self.edition += 1

    def search_archive(self, query: str, page: int = 1, size: int = 5) -> Page:
        """Return one page of passages that match the query by words or by meaning, best first."""
        meaning = self._indexes.meaning()
        return self._store.read(
            lambda cursor: search.archive(cursor, self._agent, query, page, size, meaning, self._clock)
        )

    def search_recall(self, query: str, page: int = 1, size: int = 5) -> Page:
        """Return one page of what was said that matches the query, best first."""
        return self._store.read(
            lambda cursor: search.recall(cursor, self._agent, query, page, size, 0, self._clock)
        )

    def related(self, text: str, turn: int, size: int = 5) -> tuple[tuple[Hit, ...], tuple[Hit, ...]]:
        """Return what memory holds on a text from before `turn`: passages and things said, `size` of each."""
        meaning = self._indexes.meaning()
        return self._store.read(
            lambda cursor: search.related(cursor, self._agent, text, size, turn, meaning, self._clock)
        )

    def search_recall_dates(self, start: date, end: date, page: int = 1, size: int = 5) -> Page:
        """Return one page of what was said between two days, both included, oldest first."""
        return self._store.read(
            lambda cursor: search.recall_dates(cursor, self._agent, start, end, page, size, self._clock)
        )

    def index_state(self) -> IndexState | None:
        """Return how the vector index stands to the store, None without an embedder."""
        meaning = self._indexes.meaning()
        if meaning is None:
            return None

        def work(cursor: Cursor) -> IndexState:
            sql = "SELECT count(*) FROM vectors WHERE agent = ? AND embedder = ?"
            row = cursor.execute(sql, [self._agent, meaning.embedder.name]).fetchone()
            return IndexState(row[0] if row else 0, *meaning.index(self._agent).state(cursor))

        return self._store.read(work)

    def attachments(self) -> tuple[tuple[str, bool], ...]:
        """Return the archives attached to this agent by name, and whether it may write there."""
        return tuple(self._store.read(lambda cursor: archives.attached(cursor, self._agent)))

    def documents(self) -> tuple[Document, ...]:
        """Return the documents that this agent can open and read."""
        return tuple(self._store.read(lambda cursor: pages.listing(cursor, self._agent)))

    # inside

    def _field(self, column: str) -> str | None:
        sql = f"SELECT {column} FROM agents WHERE id = ?"
        row = self._store.read(lambda cursor: cursor.execute(sql, [self._agent]).fetchone())
        return row[0] if row else None

    def _desk(self, cursor: Cursor, origin: Origin) -> Desk:
        return Desk(cursor, self._agent, origin, stamp(self._clock), self._clock, self._indexes.meaning())

    def _changed(self, work: Callable[[Cursor], T], point: str) -> T:
        try:
            return self._store.write(work, point)
        finally:
            self._settled = False

    def _result_of(self, cursor: Cursor, call: Call) -> Result | None:
        where = "AND r.turn = $turn AND r.kind = 'result' AND r.call = $call"
        found = log.read(cursor, self._agent, self._clock, where, start=call.id, turn=call.turn, call=call.id)
        return found[0] if found and isinstance(found[0], Result) else None

    def _finish(
        self, cursor: Cursor, call: Call, result: Result, close: bool | Callable[[Result], bool]
    ) -> Result:
        now = stamp(self._clock)
        result = replace(result, call=call.id)
        number = log.insert(cursor, self._agent, result, call.turn, now)
        result = replace(result, id=number, turn=call.turn, created_at=shown(now, self._clock))
        cursor.execute(
            "UPDATE turns SET steps = steps + 1 WHERE id = ? AND agent = ?", [call.turn, self._agent]
        )
        if close(result) if callable(close) else close:
            self._close(cursor, call.turn)
        return result

    def _close(self, cursor: Cursor, turn: int) -> None:
        cursor.execute("UPDATE turns SET open = false WHERE id = ? AND agent = ?", [turn, self._agent])
