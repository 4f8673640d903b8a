"""The file of an export: a zip with a manifest and one JSONL a table, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localmem import __version__
from localmem.crash import reach
from localmem.errors import BadInput, DiskFault, UsageError
from localmem.memory import moving
from localmem.memory.carried import CARRIED
from localmem.memory.migrations import MIGRATIONS
from localmem.memory.moving import Cargo

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

FORMAT = 1
"""Of the file; how the tables look is said by `store`, the number of the newest migration."""

MANIFEST = "manifest.json"
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError, NotImplementedError)
"""What reading a damaged file may raise, before anything is done with it."""


def write(cursor: Cursor, agent: int, name: str, file: Path, now: datetime, overwrite: bool) -> int:
    """Write an agent into a file and return its bytes. Raises UsageError and DiskFault."""
    if file.exists() and not overwrite:
        raise UsageError(f"{file} is there already: give another name, or --force to replace it")
    if file.is_dir() or not file.parent.is_dir():
        raise UsageError(f"{file} cannot be written: {file.parent} is no folder, or this name is one")
    fresh = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                tables = {
                    carried.table: _write_table(archive, cursor, agent, carried.table) for carried in CARRIED
                }
                manifest = {
                    "format": FORMAT,
                    "store": MIGRATIONS[-1].number,
                    "localmem": __version__,
                    "agent": name,
                    "exported_at": f"{now.isoformat(timespec='seconds')}Z",
                    "tables": tables,
                }
                archive.writestr(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
            target.flush()
            os.fsync(target.fileno())
        reach("export.replace")
        os.replace(fresh, file)
        reach("export.replaced")
        return file.stat().st_size
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise DiskFault(f"{file} cannot be written ({reason}): make room, or choose another place") from error
    finally:
        with suppress(OSError):
            fresh.unlink()


@contextmanager
def opened(file: Path) -> Iterator[Cargo]:
    """Yield the agent that a file holds, after every byte was checked against the manifest.

    Raises BadInput for a file that cannot be read, is no export, is damaged, or of a newer localmem.
    """
    try:
        archive = zipfile.ZipFile(file)
    except OSError as error:
        raise BadInput(
            f"{file} cannot be read ({error.strerror or error}): give the file of an export"
        ) from error
    except UNREADABLE as error:
        raise BadInput(f"{file} is no export of an agent, or it was cut: export it again") from error
    with archive:
        try:
            manifest = json.loads(archive.read(MANIFEST))
            made = manifest["format"], manifest["store"]
            newer = made[0] > FORMAT or made[1] > MIGRATIONS[-1].number
            if not newer:
                for table, facts in manifest["tables"].items():
                    _verify(archive, table, facts)
            name, tables = str(manifest["agent"]), manifest["tables"]
            columns = {table: tuple(map(str, facts["columns"])) for table, facts in tables.items()}
        except (*UNREADABLE, AttributeError, OSError, RuntimeError) as error:
            raise BadInput(f"{file} is damaged, or no export of an agent: export it again") from error
        if newer:
            raise BadInput(
                f"{file} was written by a newer localmem ({str(manifest.get('localmem'))[:20]}): update localmem"
            )
        if unknown := [table for table in columns if table not in {carried.table for carried in CARRIED}]:
            raise BadInput(f"{file} holds a table {unknown[0]!r:.60} that this localmem does not know")
        yield Cargo(name, columns, lambda table: _lines(archive, table))


def _write_table(archive: zipfile.ZipFile, cursor: Cursor, agent: int, table: str) -> dict[str, Any]:
    """Write one table and return what the manifest says of it."""
    carried = next(each for each in CARRIED if each.table == table)
    columns = list(moving.types(cursor, carried))
    digest, rows = hashlib.sha256(), 0
    with archive.open(f"{table}.jsonl", "w", force_zip64=True) as entry:
        for line in moving.unload(cursor, agent, carried):
            data = f"{line}\n".encode()
            digest.update(data)
            entry.write(data)
            rows += 1
    return {"rows": rows, "columns": columns, "sha256": digest.hexdigest()}


def _verify(archive: zipfile.ZipFile, table: str, facts: dict[str, Any]) -> None:
    """Raise ValueError unless a table is there as the manifest says."""
    digest, rows = hashlib.sha256(), 0
    with archive.open(f"{table}.jsonl") as entry:
        for line in entry:
            digest.update(line)
            rows += 1
    if (rows, digest.hexdigest()) != (facts["rows"], facts["sha256"]):
        raise ValueError(f"{table} is not as it was written")


def _lines(archive: zipfile.ZipFile, table: str) -> Iterator[str]:
    with archive.open(f"{table}.jsonl") as entry:
        for line in entry:  # bytes are cut at line feeds alone
            yield line.decode()
