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

from localmem.bench.case import Material, Said
from localmem.memory.core import DEFAULT_BLOCKS
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Call, Event, EventKind, Record, Result

if TYPE_CHECKING:
    from localmem.memory.embedder import Embedder

AGENT = "default"
BEGINNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BETWEEN_SESSIONS = timedelta(days=3)
BETWEEN_TURNS = timedelta(minutes=1)
PART = 128
"""Passages that are stored, and given their vectors, before it is said how far that is."""


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

Doing = Callable[[str], None]
"""Is told in a few words what is going on, where that takes a while."""


def unheard(text: str) -> None:
    """Tell nobody what is going on."""


class Shelf:
    """The homes of prepared materials, in `folder`.

    `system` are the agent's instructions, `earlier` the records that stand in its queue at the end.
    """

    def __init__(
        self,
        folder: Path,
        system: str,
        embedder: Embedder | None,
        doing: Doing = unheard,
        earlier: Sequence[Record] = (),
    ) -> None:
        self._folder, self._system, self._embedder, self._doing = folder, system, embedder, doing
        self._earlier = earlier

    @contextmanager
    def copy(self, material: Material, talk: Talk) -> Iterator[tuple[Memory, Clock]]:
        """Yield the memory of a fresh copy of a prepared material, and its clock; both are gone afterwards."""
        made = self.prepare(material, talk)
        clock = Clock()
        clock.move(BETWEEN_SESSIONS * len(material.sessions))
        with TemporaryDirectory(dir=self._folder) as folder:
            here = Path(folder) / "home"
            shutil.copytree(made, here)
            with Home.open(here, clock=clock, embedder=self._embedder) as home:
                yield home.agent(AGENT), clock

    def drop(self, material: Material) -> None:
        """Forget a material: no case that is left needs it."""
        path = self._path(material)
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(_half(path), ignore_errors=True)

    def _path(self, material: Material) -> Path:
        """Return where a material is prepared: known by what it holds, for data may change under its id."""
        return self._folder / sha256(repr(material).encode(errors="replace")).hexdigest()[:16]

    def prepare(self, material: Material, talk: Talk) -> Path:
        """Return the home of a material, made once; one that is half made is begun anew."""
        path = self._path(material)
        if path.exists():
            return path
        begun = _half(path)
        shutil.rmtree(begun, ignore_errors=True)
        clock = Clock()
        with Home.open(begun, clock=clock, embedder=self._embedder) as home:
            blocks = (*DEFAULT_BLOCKS, *material.blocks)
            memory = home.create_agent(AGENT, blocks=blocks, system=self._system)
            self._insert(memory, material.passages)
            self._hold(memory, clock, material.sessions, talk)
            if material.wiped:
                memory = self._wiped(home, memory)
            _show(memory, self._earlier)
            memory.settle()
        begun.rename(path)
        return path

    def _insert(self, memory: Memory, passages: Sequence[str]) -> None:
        """Store passages, each once, with their vectors; what is blank is none."""
        wanted = list(dict.fromkeys(passage for passage in passages if passage.strip()))
        for start in range(0, len(wanted), PART):
            self._doing(f"storing passages, {start:,} of {len(wanted):,}")
            memory.edit(partial(_stored, wanted[start : start + PART]))
            memory.settle()

    def _hold(self, memory: Memory, clock: Clock, sessions: Sequence[Sequence[Said]], talk: Talk) -> None:
        """Hold conversations, three days apart; after each the queue is emptied."""
        messages = sum(map(len, sessions))
        held = 0
        for session in sessions:
            for said in session:
                self._doing(f"holding conversations, message {held + 1:,} of {messages:,}")
                talk(memory, clock, said.text, said.reply)
                clock.move(BETWEEN_TURNS)
                held += 1
            _empty(memory)
            clock.move(BETWEEN_SESSIONS)

    def _wiped(self, home: Home, memory: Memory) -> Memory:
        """Return an agent that holds the same blocks and passages, and no conversation."""
        home.rename_agent(AGENT, "before")
        after = home.create_agent(AGENT, blocks=memory.blocks(), system=self._system)
        self._insert(after, [passage.text for passage in memory.passages() if not passage.retired])
        home.delete_agent("before")
        return after


def _half(path: Path) -> Path:
    """Return where a home lies until it is whole."""
    return path.with_suffix(".begun")


def record(memory: Memory, clock: Clock, text: str, reply: str | None) -> None:
    """Keep a message and its given reply as they were: a Talk in which no model takes part."""
    said: list[Record] = [Event(EventKind.USER, text)]
    if reply is not None:
        said += [Call("", "send_message", {"message": reply}), Result(True, "")]
    _show(memory, said)


def _stored(passages: Sequence[str], desk: Desk) -> None:
    for passage in passages:
        desk.insert_passage(passage)


def _empty(memory: Memory) -> None:
    """Let everything in the queue leave it, without a summary."""
    records = memory.queue()
    if records:
        memory.evict(records[-1].id + 1, "")


def _show(memory: Memory, earlier: Sequence[Record]) -> None:
    """Put records into the queue, as turns that were."""
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
