"""The home: the one folder that holds everything, owned by one process, readable by its user alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from threading import RLock
from types import TracebackType

from localmem.crash import reach
from localmem.errors import BadInput, DiskFault, LocalmemError
from localmem.memory import agents, archives, exports, moving, names, owner, sharing
from localmem.memory.agents import AgentRow
from localmem.memory.archive import Archive
from localmem.memory.archives import ArchiveRow
from localmem.memory.clock import Clock, stamp, system_clock
from localmem.memory.core import DEFAULT_BLOCKS
from localmem.memory.embedder import FOLDER, Embedder, find_embedder
from localmem.memory.forget import Digest, Plan
from localmem.memory.index import Indexes
from localmem.memory.memory import Memory
from localmem.memory.scrub import MARK, scrub
from localmem.memory.sharing import SharedBlock
from localmem.memory.store import Cursor, Store
from localmem.records import Block

STORE = "localmem.duckdb"
TRACES = "traces"
SNAPSHOTS = "snapshots"


def default_home() -> Path:
    """Return the folder for an application's data that this system gives its user."""
    import platformdirs

    return Path(platformdirs.user_data_dir("localmem"))


class Home:
    """An open home. Close it, or use it as a context manager: another process can open it only then."""

    def __init__(
        self, path: Path, lock: int, store: Store, clock: Clock, embedder: Embedder | None, folder: Path
    ) -> None:
        self.path = path
        self.models = path / "models"
        self.store = store
        self._lock = lock
        self._clock = clock
        self._embedder = embedder
        self._embedder_folder = folder
        self._indexes = Indexes(path / "index", self._find_embedder)
        self._open: dict[str, Memory] = {}
        self.leaving: Callable[[str], AbstractContextManager[object]] = nullcontext
        """Entered around the deletion of an agent: who keeps it awake ends its work, and wakes it no more."""
        self._removing = RLock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Clock = system_clock,
        embedder: Embedder | None = None,
        embedder_folder: str | Path = FOLDER,
    ) -> Home:
        """Open the home at `path`, making it if need be.

        Without an `embedder`, the one in `embedder_folder` is used once it is there; a relative folder lies
        under the home's models.

        Raises HomeInUse (another process has it), HomeUnusable (no folder, not writable, of a newer
        localmem) and DiskFault (the disk is full, the store is damaged).
        """
        path = Path(os.path.abspath(path.expanduser()))
        owner.make(path, STORE)
        lock = owner.own(path, clock)
        try:
            store = Store(path / STORE, clock=clock)
            home = cls(path, lock, store, clock, embedder, path / "models" / embedder_folder)
            with suppress(DiskFault):  # there is no room for it yet: next time
                home._finish_forgetting()
            home._keep_names()
            return home
        except BaseException:
            os.close(lock)
            raise

    @staticmethod
    def owner(path: Path) -> str | None:
        """Return who holds a home, as in "process 123 (localmem chat)", None when nobody does."""
        return owner.owner_of(path)

    def close(self) -> None:
        """Finish what is being written and give the home back. Closing twice is fine."""
        if self._lock < 0:
            return
        self._keep_names()
        self.store.close()
        try:
            os.ftruncate(self._lock, 0)
        except OSError:
            pass
        os.close(self._lock)
        self._lock = -1

    def __enter__(self) -> Home:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def agents(self) -> list[AgentRow]:
        """Return every agent, in the order in which they were made."""
        return list(self.store.read(lambda cursor: agents.listing(cursor, self._clock)))

    def create_agent(
        self,
        name: str,
        *,
        model: str | None = None,
        blocks: Sequence[Block] | None = None,
        system: str | None = None,
        functions: str | None = None,
    ) -> Memory:
        """Make an agent, with the blocks `persona` and `human` unless others are given.

        `functions` names a set of functions that it is offered whatever its model's profile says.
        Raises UsageError for a bad or taken name and for a block over its limit.
        """
        first = DEFAULT_BLOCKS if blocks is None else tuple(blocks)
        self.store.write(
            lambda cursor: agents.create(cursor, name, model, system, functions, first, stamp(self._clock)),
            "create_agent",
        )
        self._keep_names()
        return self.agent(name)

    def agent(self, name: str) -> Memory:
        """Return an agent's memory, the same object each time. Raises UnknownAgent, naming those there."""
        number = self.store.read(lambda cursor: agents.find(cursor, name))
        if name not in self._open:
            made = Memory(self.store, number, name, self._clock, self._indexes)
            return self._open.setdefault(name, made)  # another thread may have been quicker
        return self._open[name]

    def delete_agent(self, name: str) -> None:
        """Delete an agent with everything it holds, down to its bytes in the files. Raises UnknownAgent.

        Bytes for whose removal the disk has no room go when the home is opened again.
        """
        number = self.store.read(lambda cursor: agents.find(cursor, name))
        with self.leaving(name), self._removing:
            self._mark([number])
            self._drop_copies(number, name)
            self.store.write(lambda cursor: agents.delete(cursor, name, stamp(self._clock)), "delete_agent")
            self._open.pop(name, None)
            reach("delete_agent.index")
            with suppress(DiskFault):
                self._finish_forgetting()
        self._keep_names()

    def rename_agent(self, name: str, new: str) -> Memory:
        """Give an agent another name. Raises UnknownAgent, and UsageError for a bad or taken name."""
        self.store.write(lambda cursor: agents.rename(cursor, name, new), "rename_agent")
        self._open.pop(name, None)
        if agents.NAME.fullmatch(name):
            shutil.rmtree(self.path / SNAPSHOTS / new, ignore_errors=True)
            with suppress(OSError):  # a cache: what cannot be moved is made anew
                (self.path / SNAPSHOTS / name).rename(self.path / SNAPSHOTS / new)
        self._keep_names()
        return self.agent(new)

    def archives(self) -> list[ArchiveRow]:
        """Return every archive, in the order in which they were made."""
        return list(self.store.read(lambda cursor: archives.listing(cursor, self._clock)))

    def archive(self, name: str) -> Archive:
        """Return a named archive. Raises UnknownArchive, naming those there."""
        number = self.store.read(lambda cursor: archives.find(cursor, name))
        return Archive(self.store, number, name, self._clock, self._indexes)

    def archive_of(self, agent: str) -> Archive:
        """Return the archive that is an agent's own. Raises UnknownAgent."""
        number = self.store.read(lambda cursor: agents.find(cursor, agent))
        return Archive(self.store, number, "", self._clock, self._indexes)

    def create_archive(self, name: str) -> Archive:
        """Make an archive, attached to nobody. Raises UsageError for a bad or taken name."""
        self.store.write(lambda cursor: archives.create(cursor, name, stamp(self._clock)), "archive")
        self._keep_names()
        return self.archive(name)

    def delete_archive(self, name: str) -> None:
        """Delete an archive with everything in it, for every agent, as `delete_agent` does. Raises UnknownArchive."""
        with self._removing:
            self._mark([self.store.read(lambda cursor: archives.find(cursor, name))])
            self.store.write(lambda cursor: archives.delete(cursor, name), "archive")
            with suppress(DiskFault):
                self._finish_forgetting()
        self._keep_names()

    def attach(self, archive: str, agent: str, *, writable: bool = False) -> None:
        """Let an agent search an archive, and write to it if asked. Raises UnknownAgent and UnknownArchive."""

        def work(cursor: Cursor) -> None:
            archives.attach(cursor, agents.find(cursor, agent), archive, writable, stamp(self._clock))

        self.store.write(work, "archive")

    def detach(self, archive: str, agent: str) -> None:
        """Let an agent search an archive no longer. Raises UnknownAgent, UnknownArchive and UsageError."""
        self.store.write(
            lambda cursor: archives.detach(cursor, agents.find(cursor, agent), archive), "archive"
        )

    def forget(self, name: str, plan: Plan, digest: Digest) -> None:
        """Take away for good what a plan of `Memory.forgetting` names: no byte of it is left in this home's files.

        A process that ends in its midst finishes when the home is opened again. An agent that is awake is to be
        closed before: its model's cache holds what was said. Raises UnknownAgent, and DiskFault when there is no
        room to rewrite the store; then what was forgotten is found no more, and its bytes go when the home is
        opened again.
        """
        number = self.store.read(lambda cursor: agents.find(cursor, name))
        prompts = [number, *self.store.read(lambda cursor: sharing.seen_by(cursor, number))]
        with self._removing:
            self._mark(prompts)
            scrub(self.path, plan.texts)
            self._drop_copies(number, name)
            reach("forgetting.files")
            self.agent(name).forget(plan, digest)
            self._finish_forgetting()

    def _mark(self, numbers: Sequence[int]) -> None:
        """Write down of which agents and archives something is about to go, for the case of a kill in the midst."""
        with (self.path / MARK).open("a") as file:
            file.writelines(f"{each}\n" for each in numbers)
            file.flush()
            os.fsync(file.fileno())

    def _finish_forgetting(self) -> None:
        """Rid the files of what was forgotten in the store: they hold its bytes still."""
        mark = self.path / MARK
        if not mark.exists():
            return
        names = {row[0]: row[1] for row in self.store.read(agents.numbers)}
        for number in map(int, mark.read_text().split()):
            self._indexes.drop(number)
            self._drop_copies(number, names.get(number, ""))
        reach("forgetting.index")
        self.store.compact()
        mark.unlink()

    def _drop_copies(self, number: int, name: str) -> None:
        """Drop what holds copies of an agent's prompts: traces and snapshots, which are made anew."""
        shutil.rmtree(self.path / TRACES / str(number), ignore_errors=True)
        if agents.NAME.fullmatch(name):
            shutil.rmtree(self.path / SNAPSHOTS / name, ignore_errors=True)

    def copy_agent(self, name: str, new: str) -> Memory:
        """Make another agent of an agent as it is now; what either does from then on is its own.

        It sees the same archives. A block that it sees of a third agent becomes the copy's own.
        Raises UnknownAgent, and UsageError for a bad or taken name.
        """

        def work(cursor: Cursor) -> None:
            agent = agents.find(cursor, name)
            agents.check(cursor, new)
            made = moving.load(cursor, moving.pack(cursor, agent, name), new, self._clock)
            archives.copy(cursor, agent, made)

        self.store.write(work, "copy_agent")
        return self.agent(new)

    def export_agent(self, name: str, file: Path, *, overwrite: bool = False) -> int:
        """Write an agent with all that it holds into one file, whole or not at all; return the file's bytes.

        Raises UnknownAgent, UsageError where the file is there already and may not be overwritten or its folder
        is not there, and DiskFault.
        """
        return self.store.read(
            lambda cursor: exports.write(
                cursor, agents.find(cursor, name), name, file, stamp(self._clock), overwrite
            )
        )

    def import_agent(self, file: Path, name: str | None = None) -> Memory:
        """Make an agent of an export, under the name it had unless another is given, in one transaction.

        Raises BadInput for a file that is no export, is damaged or of a newer localmem, and UsageError for a bad
        or taken name; nothing is changed then.
        """
        with exports.opened(file) as cargo:
            called = name or cargo.name

            def work(cursor: Cursor) -> None:
                agents.check(cursor, called, "give it another name with --as")
                moving.load(cursor, cargo, called, self._clock)

            try:
                self.store.write(work, "import_agent")
            except BadInput as error:
                raise BadInput(f"{file} cannot be imported: {error}") from error
        return self.agent(called)

    def share_block(
        self, label: str, agent: str, shared_with: str, *, read_only: bool = False, replace: bool = False
    ) -> None:
        """Let another agent see a block of `agent`, and edit it unless `read_only`: one block from then on.

        `replace` sets a block of its own of that label aside where it holds a text. Raises UnknownAgent, and
        UsageError where there is no such block or it is shared otherwise.
        """

        def work(cursor: Cursor) -> None:
            owner, other = agents.find(cursor, agent), agents.find(cursor, shared_with)
            sharing.share(cursor, label, owner, other, read_only, replace, stamp(self._clock))

        self.store.write(work, "share")

    def unshare_block(self, label: str, agent: str, shared_with: str) -> None:
        """End a sharing; a block of its own that was set aside for it is back. Raises UnknownAgent, UsageError."""
        self.store.write(
            lambda cursor: sharing.unshare(
                cursor, label, agents.find(cursor, agent), agents.find(cursor, shared_with)
            ),
            "unshare",
        )

    def shared_blocks(self) -> tuple[SharedBlock, ...]:
        """Return which blocks are shared with whom."""
        return self.store.read(sharing.listing)

    def traces(self, name: str) -> Path:
        """Return the folder for the traces of an agent's turns; a new name does not move it. Raises UnknownAgent."""
        return self.path / TRACES / str(self.store.read(lambda cursor: agents.find(cursor, name)))

    def _keep_names(self) -> None:
        """Write down what there is for shells that complete names: a cache, which nothing waits for."""
        with suppress(LocalmemError):
            names.keep(self.path, self.store.read(names.of_store))

    def _find_embedder(self) -> Embedder | None:
        if self._embedder is None:
            self._embedder = find_embedder(self._embedder_folder)
        return self._embedder
