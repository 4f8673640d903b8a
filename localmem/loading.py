"""Loads files and folders into an archive, chunk by chunk; stopped anywhere, it goes on where it was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from localmem.errors import BadInput, UnreadableFile, UsageError

if TYPE_CHECKING:
    from localmem.documents.parsing import Document
    from localmem.memory.archive import Archive

BATCH = 32  # chunks that get their vectors and are stored in one transaction


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a load is: bytes of files done of all there are, and what is being read."""

    name: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class FileLoaded:
    """What came of one file: `new` of its passages were stored now; `reason` says why it was skipped."""

    path: str
    state: Literal["loaded", "changed", "unchanged", "skipped"]
    passages: int = 0
    new: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to be loaded, and whether it was named itself."""

    path: Path
    size: int
    named: bool


def load(archive: Archive, paths: Sequence[Path]) -> Iterator[Advance | FileLoaded]:
    """Load files, and folders with what they hold, into an archive; yield how far it is and what came of each.

    Hidden files of a folder are left out, and a file that cannot be read is skipped. A file that was loaded and has
    not changed costs a look at its bytes; of one that has, only the changed passages are embedded. Closing the
    iterator, or a kill, keeps what was stored. At the end the agents that search there are told what is new.

    Raises UsageError, before anything is loaded, for a path that does not exist.
    """
    found = list(_files(paths))
    total, done = sum(file.size for file in found), 0
    for file in found:
        name = _shown(file.path.name)
        yield Advance(name, done, total)
        try:
            for item in _load(archive, file):
                if isinstance(item, FileLoaded):
                    yield item
                else:
                    yield Advance(name, done + int(item * file.size), total)
        except (UnreadableFile, BadInput) as error:
            yield FileLoaded(_shown(str(file.path)), "skipped", reason=str(error))
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            yield FileLoaded(_shown(str(file.path)), "skipped", reason=reason)
        done += file.size
    archive.announce()
    yield Advance("", total, total)


def key(path: Path) -> str:
    """Return what a file is known by in an archive: its whole path."""
    return os.path.realpath(path)


def _shown(name: str) -> str:
    """Return the name of a file as it can be shown: on disk it is bytes, which may be no UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _files(paths: Sequence[Path]) -> Iterator[_Found]:
    """Yield what there is to load, each file once, folders in the order of their names."""
    seen: set[str] = set()
    for path in paths:
        try:
            there = path.exists()
        except OSError as error:
            raise UsageError(f"{_shown(str(path))}: {error.strerror}") from error
        if not there:
            raise UsageError(f"there is no file or folder {_shown(str(path))}")
    for path in paths:
        for file in [path] if not path.is_dir() else _inside(path):
            if (name := key(file)) not in seen:
                seen.add(name)
                yield _Found(file, _size(file), named=not path.is_dir())


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # loading it says why
        return 0


def _inside(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, and the folders in it that cannot be read, which loading them says."""
    closed: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where) / name for name in sorted(names) if not name.startswith("."))
    yield from (Path(error.filename) for error in closed)


def _load(archive: Archive, file: _Found) -> Iterator[float | FileLoaded]:
    """Load one file: yield the share that is done, then what came of it."""
    from localmem.documents import chunking, parsing
    from localmem.memory.files import digest

    path = key(file.path)
    if file.path.is_dir():
        raise UnreadableFile("the folder cannot be read")
    if not stat.S_ISREG(file.path.stat().st_mode):
        raise UnreadableFile("it is no ordinary file")
    if _shown(path) != path:
        raise UnreadableFile("the name of it or of its folder is not UTF-8: rename it")
    suffix = parsing.kind(file.path)
    if not suffix and not file.named:
        raise UnreadableFile(
            f"files that end in {file.path.suffix or 'nothing'} are not read; name it to try"
        )
    data = file.path.read_bytes()
    content, before = digest(data), archive.file(path)
    if before is not None and before.whole and before.hash == content:
        yield FileLoaded(path, "unchanged", before.passages)
        return
    document = parsing.parse(data, suffix)
    _check_vectors(archive, document)
    chunks = list(chunking.chunks(document, archive.tokenizer()))
    missing = archive.missing(chunks)
    number = archive.begin(path, file.path.name, content, len(data), chunking.characters(document))
    for start in range(0, len(missing), BATCH):
        yield start / len(missing)
        archive.store(missing[start : start + BATCH], file.path.name)
    archive.finish(number, chunks)
    yield FileLoaded(path, "changed" if before and before.whole else "loaded", len(chunks), len(missing))


def _check_vectors(archive: Archive, document: Document) -> None:
    """Raise UnreadableFile unless every vector that came with a text can be searched with the others here."""
    given = [section for section in document.sections if section.vector]
    if not given:
        return
    here, dimension = archive.embedder(), archive.dimension()
    if not dimension:
        raise UnreadableFile(
            "it brings vectors, and no embedder is here to search them: `localmem models pull`"
        )
    for section in given:
        if section.embedder not in ("", here):
            raise UnreadableFile(
                f"its vectors were made by {section.embedder} and are of no use to {here}: leave them out"
            )
        if len(section.vector) != dimension:
            raise UnreadableFile(
                f"its vectors have {len(section.vector)} numbers, those of {here} have {dimension}: leave them out"
            )
