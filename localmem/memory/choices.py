"""The functions that an agent was given beside the standard set, and those that it may run without asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from localmem.memory.clock import Clock, stamp
from localmem.memory.store import Store

if TYPE_CHECKING:
    from localmem.memory.store import Cursor


class Choices:
    """What one agent was given and permitted, by the names of functions. Every change is one transaction."""

    def __init__(self, store: Store, agent: int, clock: Clock) -> None:
        self._store, self._agent, self._clock = store, agent, clock

    def names(self) -> tuple[str, ...]:
        """Return the functions that it was given, in the order in which it got them."""
        sql = "SELECT name FROM chosen WHERE agent = ? ORDER BY created_at, rowid"
        rows = self._store.read(lambda cursor: cursor.execute(sql, [self._agent]).fetchall())
        return tuple(row[0] for row in rows)

    def add(self, names: Sequence[str]) -> None:
        """Give it functions; one that it has already stays as it is."""
        there = set(self.names())
        new = [name for name in dict.fromkeys(names) if name not in there]

        def work(cursor: Cursor) -> None:
            for name in new:
                cursor.execute("INSERT INTO chosen VALUES (?, ?, ?)", [self._agent, name, stamp(self._clock)])

        self._store.write(work, "choose")

    def remove(self, names: Sequence[str]) -> None:
        """Take functions away, and the permission to run them."""

        def work(cursor: Cursor) -> None:
            for name in names:
                cursor.execute("DELETE FROM chosen WHERE agent = ? AND name = ?", [self._agent, name])
                self._forget(cursor, name)

        self._store.write(work, "choose")

    def permits(self) -> Mapping[str, str]:
        """Return the functions that run without asking, each with the hash of the code that was permitted."""
        sql = "SELECT name, digest FROM permits WHERE agent = ?"
        return dict(self._store.read(lambda cursor: cursor.execute(sql, [self._agent]).fetchall()))

    def permit(self, name: str, digest: str) -> None:
        """Let a function run without asking, while its code has this hash."""

        def work(cursor: Cursor) -> None:
            self._forget(cursor, name)
            row = [self._agent, name, digest, stamp(self._clock)]
            cursor.execute("INSERT INTO permits VALUES (?, ?, ?, ?)", row)

        self._store.write(work, "choose")

    def ask_again(self, name: str) -> None:
        """Take a lasting permission back."""
        self._store.write(lambda cursor: self._forget(cursor, name), "choose")

    def _forget(self, cursor: Cursor, name: str) -> None:
        cursor.execute("DELETE FROM permits WHERE agent = ? AND name = ?", [self._agent, name])
