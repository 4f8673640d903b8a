"""Where the socket of a home lies, and how it is bound and reached: only the home's user may open it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localmem.errors import HomeUnusable

FOLDER, NAME = "run", "socket"
LONGEST = 103
"""Bytes that the address of a Unix-domain socket may have on every system."""


def socket_of(home: Path) -> Path:
    """Return where the socket of a home lies."""
    return home / FOLDER / NAME


def bind(server: socket.socket, home: Path) -> None:
    """Bind a server's socket in a folder of its own, both private; one that a killed process left is replaced.

    Call it only as the owner of the home's lock: then no other process listens there. Raises HomeUnusable.
    """
    path = socket_of(home)
    before = os.umask(0o177)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.parent.chmod(0o700)
        path.unlink(missing_ok=True)
        with _address(path) as address:
            server.bind(address)
        path.chmod(0o600)
    except OSError as error:
        raise HomeUnusable(f"no socket can be made at {path} ({error.strerror or error})") from error
    finally:
        os.umask(before)


def connect(home: Path, timeout: float | None = None) -> socket.socket:
    """Return a connection to the process that serves a home. Raises OSError where there is none."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout)
        with _address(socket_of(home)) as address:
            client.connect(address)
        client.settimeout(None)
    except BaseException:
        client.close()
        raise
    return client


def may_open(connection: socket.socket) -> bool:
    """Return whether the other side is this process's user, where the system tells (Linux)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(user == os.geteuid())


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield an address for a socket's path; one that is too long is reached through its folder (Linux)."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
