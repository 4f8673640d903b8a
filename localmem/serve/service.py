"""All agents of a home at once: a worker for each, one model for those that share it, until it is stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any

from localmem import __version__
from localmem.errors import UsageError
from localmem.memory.home import Home
from localmem.records import Event
from localmem.runtime import Options, memory_of
from localmem.serve.models import Models
from localmem.serve.wire import End
from localmem.serve.worker import Worker, stopping
from localmem.session import Loading, Session

PATIENCE = 300.0
"""Seconds that an agent waits for the answer of another; it comes as an event then."""

Told = Callable[[str, Event | None, End], None]
"""Hears of each turn that is over: the agent, the event, and how it ended."""


class Service:
    """The agents of an open home, awake when there is something to do. The home is the caller's.

    `options` hold for every agent; its model for those that have none of their own.
    """

    def __init__(
        self,
        home: Home,
        options: Options,
        *,
        loading: Loading = lambda registry, profile: nullcontext(),
        told: Told = lambda agent, event, end: None,
    ) -> None:
        self.home, self.options, self.models = home, options, Models()
        self._loading, self._told = loading, told
        self._gate = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._closed = False
        self._leaving: set[str] = set()
        home.leaving = self._let_go

    def start(self) -> None:
        """Begin with what waits for the agents: turns that were left open, events, timers."""
        for row in self.home.agents():
            if row.name not in self._leaving:
                self.worker(row.name)

    def worker(self, name: str) -> Worker:
        """Return an agent's worker; the default agent is made on first use. Raises UnknownAgent."""
        with self._gate:
            if self._closed:
                raise stopping()
            if name in self._leaving:
                raise UsageError(f"{name} is being deleted")
            memory = memory_of(self.home, name)
            worker = self._workers.get(name)
            if worker is None or worker.memory is not memory:
                worker = self._workers[name] = Worker(memory, lambda: self._wake(name), self._told)
            return worker

    def refresh(self) -> None:
        """Let go of agents that were deleted or renamed, and take up those that are new."""
        names = {row.name for row in self.home.agents()}
        with self._gate:
            if self._closed:
                return
            gone = [
                self._workers.pop(name)
                for name, worker in list(self._workers.items())
                if name not in names or self.home.agent(name) is not worker.memory
            ]
        for worker in gone:
            worker.close(gone=True)
        self.start()

    def status(self) -> dict[str, Any]:
        """Return what is being served, as data."""
        with self._gate:
            workers = dict(self._workers)
        due = self.next_due()
        return {
            "version": __version__,
            "process": os.getpid(),
            "home": str(self.home.path),
            "models": self.models.names(),
            "next_timer": due,
            "agents": [
                {
                    "name": name,
                    "model": worker.model,
                    "busy": worker.busy,
                    "waiting": len(worker.memory.inbox.pending()),
                }
                for name, worker in workers.items()
            ],
        }

    def next_due(self) -> datetime | None:
        """Return when the next timer of any agent is due, None where there is none."""
        dues = [self.home.agent(row.name).inbox.next_due() for row in self.home.agents()]
        return min((due for due in dues if due is not None), default=None)

    def close(self) -> None:
        """End the turns under way, keeping what was said, and free the models. Events that wait stay on disk."""
        with self._gate:
            self._closed = True
            workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            worker.interrupt()
        for worker in workers:
            worker.close()

    @contextmanager
    def _let_go(self, name: str) -> Iterator[None]:
        """End the work of an agent that is being deleted, and begin none: what it wrote afterwards would stay."""
        with self._gate:
            self._leaving.add(name)
            worker = self._workers.pop(name, None)
        if worker is not None:
            worker.close(gone=True)
        try:
            yield
        finally:
            with self._gate:
                self._leaving.discard(name)

    def _wake(self, name: str) -> Session:
        own = memory_of(self.home, name).model
        options = replace(self.options, agent=name, model=own or self.options.model)
        return Session(self.home, options, self._loading, self.models.load, self._let_know)

    def _let_know(self, name: str, done: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        """Wake an agent for what waits for it, and wait, on the thread of the one that asks, until it is done."""
        with self._gate:
            worker = self._workers.get(name)
        if worker is None:
            return
        worker.memory.inbox.stir()
        end = time.monotonic() + PATIENCE
        while not (done() or stopped() or worker.stopping or time.monotonic() > end):
            time.sleep(0.05)
