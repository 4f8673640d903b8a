"""Prepares what an agent is given before it is asked, once a material, and hands out copies of it on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from localmem.bench.case import Material
from localmem.memory.core import DEFAULT_BLOCKS
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Call, Event, Record, Result

if TYPE_CHECKING:
    from localmem.memory.embedder import Embedder

AGENT = "default"
BEGINNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BETWEEN_SESSIONS = timedelta(days=3)
BETWEEN_TURNS = timedelta(minutes=1)


class Clock:
    """A clock that stands still until it is moved: runs with one seed see the same times."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


Talk = Callable[[Memory, Clock, str, str | None], None]
"""Lets an agent take in one message of the person; the last argument is the reply it is to give, if any."""


class Shelf:
    """The homes of prepared materials, in `folder`. `system` are the agent's instructions."""

    def __init__(self, folder: Path, system: str, embedder: Embedder | None) -> None:
        self._folder, self._system, self._embedder = folder, system, embedder

    @contextmanager
    def copy(self, material: Material, talk: Talk) -> Iterator[tuple[Memory, Clock]]:
        """Yield the memory of a fresh copy of a prepared material, and its clock; both are gone afterwards."""
        made = self._prepare(material, talk)
        clock = Clock()
        clock.move(BETWEEN_SESSIONS * len(material.sessions))
        with TemporaryDirectory(dir=self._folder) as folder:
            here = Path(folder) / "home"
            shutil.copytree(made, here)
            with Home.open(here, clock=clock, embedder=self._embedder) as home:
                yield home.agent(AGENT), clock

    def drop(self, material: Material) -> None:
        """Forget a material: no case that is left needs it."""
        shutil.rmtree(self._path(material), ignore_errors=True)

    def _path(self, material: Material) -> Path:
        return self._folder / sha256(material.id.encode()).hexdigest()[:16]

    def _prepare(self, material: Material, talk: Talk) -> Path:
        """Return the home of a material; one that is half made is begun anew."""
        path = self._path(material)
        if path.exists():
            return path
        begun = path.with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)
        clock = Clock()
        with Home.open(begun, clock=clock, embedder=self._embedder) as home:
            blocks = (*DEFAULT_BLOCKS, *material.blocks)
            memory = home.create_agent(AGENT, blocks=blocks, system=self._system)
            _insert(memory, material.passages)
            for session in material.sessions:
                for said in session:
                    talk(memory, clock, said.text, said.reply)
                    clock.move(BETWEEN_TURNS)
                _empty(memory)
                clock.move(BETWEEN_SESSIONS)
            if material.wiped:
                memory = _wiped(home, memory, self._system)
            _show(memory, material.earlier)
            memory.settle()
        begun.rename(path)
        return path


def _insert(memory: Memory, passages: Sequence[str]) -> None:
    def work(desk: Desk) -> None:
        for passage in passages:
            desk.insert_passage(passage)

    if passages:
        memory.edit(work)


def _empty(memory: Memory) -> None:
    """Let everything in the queue leave it, without a summary."""
    records = memory.queue()
    if records:
        memory.evict(records[-1].id + 1, "")


def _wiped(home: Home, memory: Memory, system: str) -> Memory:
    """Return an agent that holds the same blocks and passages, and no conversation."""
    home.rename_agent(AGENT, "before")
    after = home.create_agent(AGENT, blocks=memory.blocks(), system=system)
    _insert(after, [passage.text for passage in memory.passages() if not passage.retired])
    home.delete_agent("before")
    return after


def _show(memory: Memory, earlier: Sequence[Record]) -> None:
    """Put worked examples into the queue, as turns that were."""
    turn, call = 0, Call("", "", {})
    for record in earlier:
        if isinstance(record, Event):
            if turn:
                memory.close_turn(turn)
            turn = memory.open_turn(record).turn
        elif isinstance(record, Call):
            call = memory.add(record, turn)
        else:
            memory.perform(call, partial(_as_it_was, record))
    if turn:
        memory.close_turn(turn)


def _as_it_was(result: Result, desk: Desk) -> Result:
    return result
