"""Who owns a home: its folder, and the lock that one process at a time holds on it."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from datetime import datetime
from pathlib import Path

from localmem.errors import DiskFault, HomeInUse, HomeUnusable, LocalmemError
from localmem.memory.clock import Clock

LOCK = "owner.lock"


def make(path: Path, store: str) -> None:
    """Make the folder of a home, private unless other things than its `store` are in it: then it keeps its rights.

    Raises HomeUnusable and DiskFault.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = (path / store).exists() or not any(path.iterdir())
        if mine and path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except FileExistsError as error:
        raise HomeUnusable(f"home {path} is not a folder: give another with --home") from error
    except OSError as error:
        raise _unusable(path, error) from error


def own(path: Path, clock: Clock) -> int:
    """Take the owner's lock and return its file descriptor; the system frees it when the process dies.

    Raises HomeInUse, HomeUnusable and DiskFault.
    """
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        for attempt in range(3):  # another process may be asking, for an instant, who the owner is
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == 2:
                    raise
                time.sleep(0.02)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n{_command()}\n{_since(clock())}\n".encode(errors="replace"), 0)
    except BlockingIOError as error:
        owner = _described(lock)
        os.close(lock)
        raise HomeInUse(f"home {path} is in use by {owner}; close it or give another with --home") from error
    except OSError as error:
        os.close(lock)
        raise _unusable(path, error) from error
    return lock


def owner_of(path: Path) -> str | None:
    """Return who holds a home, as in "process 123 (localmem chat)", None when nobody does."""
    try:
        lock = os.open(path / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _described(lock)
    finally:
        os.close(lock)
    return None


def _described(lock: int) -> str:
    fields = os.pread(lock, 1000, 0).decode(errors="replace").splitlines()
    return f"process {fields[0]} ({fields[1]})" if len(fields) >= 3 else "another process"


def _command() -> str:
    words, skip = [os.path.basename(sys.argv[0] or "python")], False
    for word in sys.argv[1:]:
        if not skip and not word.startswith("-"):
            words.append(word)
            break
        skip = word == "--home"
    return " ".join(" ".join(words).split())[:60]


def _since(now: datetime) -> str:
    return now.isoformat(timespec="seconds")


def _unusable(path: Path, error: OSError) -> LocalmemError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFault(f"the disk of {path} is full: free some space and try again")
    if error.errno == errno.EIO:
        return DiskFault(f"the disk of {path} failed ({error.strerror}): check the disk, or restore a copy")
    return HomeUnusable(f"home {path} cannot be used ({error.strerror}): give another with --home")
