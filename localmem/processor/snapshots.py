"""Snapshots: an agent's keys and values on disk, so that a new process goes on without evaluating its prompt."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localmem.processor.llama import Llama
from localmem.processor.reuse import common
from localmem.processor.slots import Slot, Slots

MOST_BYTES = 2 << 30
"""Disk that all snapshots may take together; the oldest go first."""

LEAST_FREE = 1 << 30
"""Disk that is left free: below it nothing is saved."""

WORTH = 64
"""Tokens that a snapshot must spare, or hold more than the last one, for it to be read or written."""

STAMP = "snapshot.json"
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot on disk: its file, what that file's size and checksum must be, the ids whose state it holds."""

    path: Path
    size: int
    crc: int
    ids: list[int]

    def whole(self) -> bool:
        """Whether the file is the one that was written."""
        with suppress(OSError):
            return self.path.stat().st_size == self.size and _checksum(self.path) == self.crc
        return False


class Snapshots:
    """The snapshots in a folder, one folder an agent. They are a cache: whatever does not match is ignored.

    `stamp` is what a snapshot must have been made with: the model, the window, the library, the kind of cache.
    Nothing is raised: a disk that refuses costs time later and nothing else.
    """

    def __init__(self, folder: Path, llama: Llama, slots: Slots, stamp: Mapping[str, object]) -> None:
        self._folder, self._llama, self._slots, self._stamp = folder, llama, slots, dict(stamp)
        self._saved: dict[str, list[int]] = {}

    def save(self, slot: Slot) -> bool:
        """Write what a slot holds; False where it is not exact, nearly what is there already, or does not fit."""
        if not slot.owner or slot.shifted or slot.ahead or not slot.ids:
            return False
        before = self._saved.get(slot.owner, [])
        if common(before, slot.ids) == len(before) and 0 <= len(slot.ids) - len(before) < WORTH and before:
            return False
        folder = self._folder / slot.owner
        with suppress(OSError):
            for made in (self._folder, folder):
                made.mkdir(mode=0o700, exist_ok=True)
            if shutil.disk_usage(folder).free < LEAST_FREE:
                return False
            self._write(folder, slot)
            self._saved[slot.owner] = list(slot.ids)
            self._prune()
            return True
        return False

    def restore(self, slot: Slot, ids: Sequence[int]) -> bool:
        """Read an agent's snapshot into its slot where that holds more of a prompt than the slot does."""
        if not slot.owner or slot.owner in self._saved:  # what this process saved, it holds still or gave up
            return False
        found = self._find(self._folder / slot.owner)
        if found is None or common(found.ids, ids) < common(slot.ids, ids) + WORTH:
            return False
        if not found.whole():
            return False
        self._slots.empty(slot)
        if self._llama.load(slot.sequence, found.path, len(found.ids)) != found.ids:
            self._slots.empty(slot)
            return False
        slot.ids = list(found.ids)
        return True

    def leaves(self, slot: Slot) -> None:
        """Save a slot that is about to be taken from its agent: that snapshot will be wanted again."""
        self.save(slot)
        self._saved.pop(slot.owner or "", None)

    def drop(self, owner: str) -> None:
        """Remove what is kept of an agent."""
        if owner.strip("."):
            shutil.rmtree(self._folder / owner, ignore_errors=True)
        self._saved.pop(owner, None)

    def _write(self, folder: Path, slot: Slot) -> None:
        """Write state and stamp; the stamp names its state, so a kill between the two leaves the old pair."""
        fresh = folder / f"{os.urandom(8).hex()}.kv"
        try:
            os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            size = self._llama.save(slot.sequence, fresh, slot.ids)
            if (
                not size or fresh.stat().st_size != size
            ):  # the disk is full; to read that back ends the process
                raise OSError("not saved")
            crc = _checksum(fresh)
            stamp = {**self._stamp, "file": fresh.name, "bytes": size, "crc": crc, "ids": slot.ids}
            beside = folder / f"{STAMP}.fresh"
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(stamp, file)
            os.replace(beside, folder / STAMP)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        for old in folder.glob("*.kv"):
            if old != fresh:
                old.unlink(missing_ok=True)

    def _find(self, folder: Path) -> Found | None:
        try:
            stamp: Any = json.loads((folder / STAMP).read_text())
            if any(stamp[key] != value for key, value in self._stamp.items()):
                return None
            ids = stamp["ids"]
            if not ids or not all(type(token) is int for token in ids):
                return None
            return Found(folder / Path(stamp["file"]).name, stamp["bytes"], stamp["crc"], ids)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _prune(self) -> None:
        """Remove the oldest snapshots beyond what all may take."""
        states = sorted(self._states(), key=lambda state: state.stat().st_mtime)
        total = sum(state.stat().st_size for state in states)
        for state in states[:-1]:
            if total <= MOST_BYTES:
                return
            total -= state.stat().st_size
            (state.parent / STAMP).unlink(missing_ok=True)
            state.unlink(missing_ok=True)
            self._saved.pop(state.parent.name, None)

    def _states(self) -> Iterator[Path]:
        return self._folder.glob("*/*.kv")


def _checksum(path: Path) -> int:
    crc = 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                crc = zlib.crc32(block, crc)
    except OSError:
        return -1
    return crc
