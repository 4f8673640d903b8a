"""One agent's thread: it runs the agent's turns one after another and publishes what they yield."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TypeVar, cast

from localmem.errors import LocalmemError, ServerGone, UsageError
from localmem.kernel.arrival import refuse_unusable
from localmem.memory.memory import Memory
from localmem.records import Event, EventKind, Item, Usage
from localmem.serve.wire import Begin, End, Frame, failed
from localmem.session import Session

T = TypeVar("T")

BACKLOG = 20_000
"""Frames kept for a subscriber that does not read; one that falls behind further is let go."""

RETRY = 60.0
"""Seconds until what could not be done (no model, no room on the disk) is tried again, unless something new comes."""


class Subscription:
    """What an agent's turns yield from now on, in order."""

    def __init__(self) -> None:
        self._frames: queue.Queue[Frame | None] = queue.Queue(BACKLOG)
        self._lost = False

    def put(self, frame: Frame | None) -> None:
        """Hand over a frame, None for the last."""
        try:
            self._frames.put_nowait(frame)
        except queue.Full:
            self._lost = True

    def next(self, seconds: float) -> Frame | None:
        """Return the next frame, None when no more will come. Raises queue.Empty when none came in time."""
        return None if self._lost else self._frames.get(timeout=seconds)


class _Job:
    """Something to be done between two turns, for the one that waits for it."""

    def __init__(self, by: str, work: Callable[[], object]) -> None:
        self.by, self._work = by, work
        self.done: Future[object] = Future()

    def run(self) -> None:
        try:
            self.done.set_result(self._work())
        except BaseException as error:
            self.done.set_exception(error)


class Worker:
    """Owns the turns of one agent. All methods may be called from any thread.

    `wake` puts the agent on its model, in the worker's thread and only once there is something to do; `told`
    hears of each turn that is over.
    """

    def __init__(
        self, memory: Memory, wake: Callable[[], Session], told: Callable[[str, Event | None, End], None]
    ) -> None:
        self.memory, self.busy, self.stopping, self._gone = memory, False, False, False
        self._wake, self._told = wake, told
        self._gate = threading.Lock()
        self._session: Session | None = None
        self._waking: Future[Session] | None = None
        self._jobs: deque[_Job] = deque()
        self._subscribers: list[Subscription] = []
        self._senders: dict[int, str] = {}
        self._coming: list[str] = []
        self._unwanted: set[str] = set()
        self._under_way: tuple[EventKind | None, str] = (None, "")
        self._thread = threading.Thread(target=self._run, name=f"agent {memory.name}")
        self._thread.start()

    @property
    def model(self) -> str | None:
        """The model that the agent is awake on, None while it sleeps."""
        session = self._session
        return session.profile.name if session else None

    def session(self) -> Session:
        """Return the agent's session once it is awake. Raises what waking it raised."""
        with self._gate:
            self._refuse_if_stopping()
            if self._session is not None:
                return self._session
            waking = self._waking = self._waking or Future()
        self.memory.inbox.stir()
        return waking.result()

    def submit(self, event: Event, by: str = "") -> Event:
        """Put an event into the agent's queue, which acknowledges it; return it with its ticket.

        Raises BadInput, and what waking the agent raises: nothing is kept then.
        """
        refuse_unusable(event)
        with self._gate:
            self._coming.append(by)
        try:
            session = self.session()
            with self._gate:  # the turn that it begins looks for the sender
                self._refuse_if_stopping()
                answering, to = self._under_way
                others = answering is EventKind.USER and to != by
                # What a person says stops the agent's own work, and its answer to them; not that to somebody else.
                event = self.memory.submit(event) if others else session.agent.submit(event)
                self._senders[event.ticket] = by
        except BaseException:
            with self._gate:
                self._unwanted.discard(by)
            raise
        finally:
            with self._gate:
                self._coming.remove(by)
        return event

    def do(self, work: Callable[[Session], T], by: str = "") -> T:
        """Run `work` on the agent's thread between two turns; return or raise what it does.

        Raises UsageError where `by` called it off before it began, and ServerGone where the work ends here.
        """
        session = self.session()
        job = _Job(by, lambda: work(session))
        with self._gate:
            self._refuse_if_stopping()
            self._jobs.append(job)
        self.memory.inbox.stir()
        return cast("T", job.done.result())

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Yield a subscription to everything that the agent's turns yield meanwhile."""
        mine = Subscription()
        with self._gate:
            self._refuse_if_stopping()
            self._subscribers.append(mine)
        try:
            yield mine
        finally:
            with self._gate:
                self._subscribers.remove(mine)

    def interrupt(self, by: str | None = None) -> None:
        """End what is under way, keeping what was said.

        With `by`: not if it answers a person elsewhere. What that one said last is then ended as soon as it begins.
        """
        with self._gate:
            answering, to = self._under_way
            waits = [job for job in self._jobs if by and job.by == by]
            for job in waits:
                self._jobs.remove(job)
                job.done.set_exception(UsageError("it was called off before it began"))
            if by and to != by and by in (*self._coming, *self._senders.values()):
                self._unwanted.add(by)
                return
            if waits or (by is not None and answering is EventKind.USER and to != by) or not self.busy:
                return
        if self._session is not None:
            self._session.interrupt()

    def close(self, *, gone: bool = False) -> None:
        """End the turn under way, keeping what was said, and free the model; returns when that is done.

        Of an agent that is `gone` the model keeps nothing.
        """
        with self._gate:
            self.stopping, self._gone = True, gone
        self.interrupt()
        self.memory.inbox.stir()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self.stopping:
                try:
                    self._step()
                except Exception as error:  # a full disk, say: what waits is tried again
                    with suppress(Exception):
                        self._told(self.memory.name, None, End(0, Usage(), *failed(error)))
                    self.memory.inbox.wait(RETRY)
        finally:
            with self._gate:
                self.stopping = True
                for waiting in self._subscribers:
                    waiting.put(None)
                if self._waking is not None:
                    self._waking.set_exception(stopping())
            for job in self._jobs:
                job.done.set_exception(stopping())
            if self._session is not None:
                self._session.close(gone=self._gone)

    def _step(self) -> None:
        """Do the next thing: what was asked for between turns, a turn, or wait for either."""
        while job := self._next_job():
            job.run()
            self.busy = False
        event, left = self.memory.inbox.next(), self.memory.unfinished()
        if event is None and left is None and self._waking is None:
            due = self.memory.inbox.next_due()
            left_until = max(0.0, (due - datetime.now(due.tzinfo)).total_seconds()) if due else None
            self.memory.inbox.wait(left_until)
            return
        session = self._session or self._woken()
        if session is None:
            self.memory.inbox.wait(RETRY)
        elif left is not None:
            self._play(session, left.event, session.resume)
        elif event is not None:
            self._play(session, event, lambda: session.turn(event))

    def _next_job(self) -> _Job | None:
        with self._gate:
            job = self._jobs.popleft() if self._jobs and not self.stopping else None
            self.busy = job is not None
        return job

    def _woken(self) -> Session | None:
        """Wake the agent for all who wait for it; None where that failed, which they are told."""
        try:
            session = self._wake()
        except Exception as error:
            with self._gate:
                waking, self._waking = self._waking, None
            if waking is not None:
                waking.set_exception(error)
            else:
                self._told(self.memory.name, None, End(0, Usage(), *failed(error)))
            return None
        with self._gate:
            waking, self._waking, self._session = self._waking, None, session
        if waking is not None:
            waking.set_result(session)
        return session

    def _play(self, session: Session, event: Event, turn: Callable[[], Iterator[Item]]) -> None:
        """Publish a turn. What goes wrong in it ends it, and not the worker; what still waits then waits a while."""
        with self._gate:
            by = self._senders.pop(event.ticket, "")
            self._under_way, self.busy = (event.kind, by), True
            unwanted = by in self._unwanted
            self._unwanted.discard(by)
        usage, error = Usage(), ("", "")
        self._publish(Begin(event.ticket, by))
        try:
            session.agent.usage = usage
            with closing(cast("Generator[Item, None, None]", turn())) as items:
                for item in items:
                    self._publish(item)
                    if self.stopping or unwanted:
                        session.interrupt()
            usage = session.agent.usage
        except Exception as failure:
            error = failed(failure)
        with self._gate:
            self.busy, self._under_way = False, (None, "")
        end = End(event.ticket, usage, *error)
        self._publish(end)
        with suppress(OSError):  # nobody reads what it says
            self._told(self.memory.name, event, end)
        if error[0] and (self.memory.unfinished() or self.memory.inbox.turn_of(event.ticket) == 0):
            self.memory.inbox.wait(RETRY)
            return
        with suppress(LocalmemError):  # passages are found by their words until it succeeds
            self.memory.settle()

    def _publish(self, frame: Frame) -> None:
        with self._gate:
            for subscriber in self._subscribers:
                subscriber.put(frame)

    def _refuse_if_stopping(self) -> None:
        if self.stopping:
            raise stopping()


def stopping() -> ServerGone:
    return ServerGone("`localmem run` is being stopped: start it again, or go on without it")
