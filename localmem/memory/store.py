"""One DuckDB file, one thread that writes it: every write is a closure run inside one transaction."""

from __future__ import annotations

import fcntl
import os
import queue
import shutil
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from localmem.crash import reach
from localmem.errors import DiskFault, HomeInUse, HomeUnusable, LocalmemError
from localmem.memory.clock import Clock, stamp
from localmem.memory.compaction import compact
from localmem.memory.migrations import MIGRATIONS, Migration

if TYPE_CHECKING:
    import duckdb

Cursor: TypeAlias = Any
"""A `duckdb.DuckDBPyConnection` inside a transaction."""

T = TypeVar("T")

SETTINGS = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "enable_external_access": False,
    "memory_limit": "2GB",  # the model needs the rest
}
FULL = 1 << 20  # free bytes below which an input/output error is put down to a full disk


class Store:
    """The database of a home. Reads run in the calling thread, writes in one thread of the store's own."""

    def __init__(self, path: Path, *, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        """Open or create the store at `path` and bring it to the newest migration.

        Raises HomeInUse, HomeUnusable (a newer store, no right to write) and DiskFault (full or damaged).
        """
        self.path = path
        self._gate = threading.Lock()
        self._closed = False
        self._quiet = threading.Condition()
        self._readers = 0
        self._root: Any = self._connect()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="localmem-writer", daemon=True)
        self._thread.start()
        try:
            self._migrate(migrations, clock)
        except BaseException:
            self.close()
            raise

    def write(self, work: Callable[[Cursor], T], point: str = "edit") -> T:
        """Run `work` in one transaction on the writer thread and return what it returned, once committed.

        An exception of `work` rolls everything back and is raised here. `point` names the write for
        `crash.reach`. An interrupt of the caller is raised when the write under way has ended.

        Raises DiskFault when the disk fails; nothing of the write is kept then. Raises HomeUnusable once closed.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a write inside a write: use the desk that was handed in")
        future: Future[T] = Future()
        with self._gate:  # after the last job, which close puts there, nobody would answer
            self._refuse_if_closed()
            self._jobs.put((lambda: self._transact(work, point), future))
        try:
            return future.result()
        except (KeyboardInterrupt, SystemExit):
            if not future.cancel():
                future.exception()
            raise

    def read(self, work: Callable[[Cursor], T]) -> T:
        """Run `work` on a cursor of its own, over one consistent state of the store, in this thread.

        Raises HomeUnusable once the store is closed, and DiskFault.
        """
        import duckdb

        with self._quiet:
            self._readers += 1
        try:
            cursor = self._cursor()
            try:
                cursor.begin()
                return work(cursor)
            finally:
                cursor.close()
        except duckdb.Error as error:
            raise self._fault(error) from error
        except RuntimeError as error:
            if str(error) == "Query interrupted":  # what DuckDB makes of a Ctrl-C
                raise KeyboardInterrupt from error
            raise
        finally:
            with self._quiet:
                self._readers -= 1
                self._quiet.notify_all()

    def compact(self) -> None:
        """Write the store into a fresh file that takes the place of this one, whole or not at all.

        DuckDB keeps the bytes of what was deleted in free blocks of its file: in the fresh one there are none of
        them. Raises DiskFault when the disk refuses; the store is as it was then.
        """
        future: Future[None] = Future()
        with self._gate:
            self._refuse_if_closed()
            self._jobs.put((self._rewrite, future))
        future.result()

    def _rewrite(self) -> None:
        import duckdb

        with self._quiet:  # no read begins meanwhile
            self._quiet.wait_for(lambda: not self._readers)
            self._invalidate()
            try:
                compact(self.path)
            except duckdb.Error as error:
                raise self._disk_fault(error) from error
            except OSError as error:
                reason = error.strerror or "input/output error"
                raise DiskFault(f"the store {self.path} cannot be rewritten ({reason}): make room") from error

    def close(self) -> None:
        """Finish the writes that wait, then close the file for good. Closing twice is fine."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()
        with self._gate:
            if self._root is not None:
                self._close_root()

    def _close_root(self) -> None:
        import duckdb

        try:
            self._root.close()
        except duckdb.Error:
            pass  # the last checkpoint failed (a full disk): the log beside the file still holds everything
        self._root = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            run, future = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(run())
            except BaseException as error:
                future.set_exception(error)
            del job, run, future

    def _transact(self, work: Callable[[Cursor], T], point: str) -> T:
        import duckdb

        reach(f"{point}.before")
        try:
            cursor = self._cursor()
            try:
                cursor.begin()
                try:
                    value = work(cursor)
                except BaseException:
                    self._roll_back(cursor)
                    raise
                reach(f"{point}.commit")
                try:
                    cursor.commit()
                except duckdb.Error:
                    self._invalidate()
                    raise
            finally:
                cursor.close()
        except duckdb.Error as error:
            raise self._fault(error) from error
        reach(f"{point}.committed")
        self._keep_private()
        return value

    def _roll_back(self, cursor: Cursor) -> None:
        import duckdb

        try:
            cursor.rollback()
        except duckdb.Error:
            self._invalidate()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise HomeUnusable(f"the home {self.path.parent} is closed: open it again")

    def _cursor(self) -> Cursor:
        with self._gate:
            if threading.current_thread() is not self._thread:  # which still finishes the writes that wait
                self._refuse_if_closed()
            if self._root is None:
                self._root = self._connect()
            return self._root.cursor()

    def _invalidate(self) -> None:
        """Drop the connection: after a fatal error DuckDB refuses all work until the file is opened again."""
        with self._gate:
            if self._root is not None:
                self._close_root()

    def _fault(self, error: duckdb.Error) -> Exception:
        """Return what a DuckDB error means to the user; one that only a bug can cause stays as it is."""
        import duckdb

        if isinstance(error, duckdb.FatalException | duckdb.InternalException):
            self._invalidate()
        elif not isinstance(
            error, duckdb.IOException | duckdb.TransactionException | duckdb.SerializationException
        ):
            return cast(Exception, error)
        return self._disk_fault(error)

    def _disk_fault(self, error: duckdb.Error) -> DiskFault:
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError:
            free = FULL
        if free < FULL:
            return DiskFault(
                f"the disk of {self.path.parent} is full: nothing was lost, make room and try again"
            )
        return DiskFault(f"the store {self.path} failed ({_line(error)}): check the disk, or restore a copy")

    def _connect(self) -> Cursor:
        import duckdb

        old = os.umask(0o077)
        try:
            root = duckdb.connect(str(self.path), config=SETTINGS)
        except duckdb.Error as error:
            raise self._unopened(error) from error
        finally:
            os.umask(old)
        self._keep_private()
        return root

    def _unopened(self, error: duckdb.Error) -> LocalmemError:
        if self.path.exists() and not os.access(self.path, os.R_OK | os.W_OK):
            return HomeUnusable(f"the store {self.path} cannot be read and written: change its permissions")
        holder = _lock_holder(self.path)
        if holder:
            return HomeInUse(
                f"the store {self.path} is in use by process {holder}; close it or give another --home"
            )
        fault = self._disk_fault(error)
        if "is full" in str(fault):
            return fault
        return DiskFault(f"the store {self.path} is damaged ({_line(error)}): restore a copy or move it away")

    def _keep_private(self) -> None:
        # DuckDB makes its log anew after each checkpoint, with the rights that the process's umask allows
        for file in (self.path, self.path.with_name(self.path.name + ".wal")):
            try:
                if file.stat().st_mode & 0o077:
                    file.chmod(0o600)
            except FileNotFoundError:
                pass

    def _migrate(self, migrations: Sequence[Migration], clock: Clock) -> None:
        create = "CREATE TABLE IF NOT EXISTS migrations (number INTEGER, name VARCHAR, applied_at TIMESTAMP)"
        version = "SELECT coalesce(max(number), 0) FROM migrations"
        found = self.read(lambda cursor: cursor.execute("SELECT count(*) FROM duckdb_tables()").fetchone())
        reached = 0
        if found and found[0]:
            reached = self.read(lambda cursor: _one(cursor.execute(version))) if self._is_ours() else -1
        if reached == -1:
            raise HomeUnusable(
                f"{self.path} is a DuckDB file but no store of localmem: give another home with --home"
            )
        newest = migrations[-1].number
        if reached > newest:
            raise HomeUnusable(
                f"the store {self.path} was written by a newer localmem "
                f"(version {reached}, this one knows {newest}): update localmem"
            )
        for migration in migrations:
            if migration.number > reached:

                def apply(cursor: Cursor, step: Migration = migration) -> None:
                    cursor.execute(create)
                    for statement in step.statements:
                        cursor.execute(statement)
                    cursor.execute(
                        "INSERT INTO migrations VALUES (?, ?, ?)", [step.number, step.name, stamp(clock)]
                    )

                self.write(apply, "migrate")

    def _is_ours(self) -> bool:
        sql = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'migrations'"
        return bool(self.read(lambda cursor: _one(cursor.execute(sql))))


def _one(cursor: Cursor) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def _lock_holder(path: Path) -> int:
    """Return the process that holds DuckDB's own lock on a file, 0 if none does.

    Closing a file drops this process's POSIX locks on it: call it only while we hold none.
    """
    if not path.exists() or struct.calcsize("l") != 8:
        return 0
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        with path.open("rb") as file:
            kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except (OSError, struct.error):
        return 0
    return 0 if kind == fcntl.F_UNLCK else pid
