"""Rewrites a database file so that nothing of what was deleted is left in it."""

from __future__ import annotations

import os
from pathlib import Path

from localmem.crash import reach

SUFFIX = ".new"


def compact(path: Path) -> None:
    """Copy a DuckDB file that nobody has open into a fresh one, which then takes its place.

    DuckDB marks the blocks of deleted rows as free and keeps their bytes; a copy holds live rows alone. Raises
    duckdb.Error and OSError; the file is as it was then.
    """
    import duckdb

    fresh = path.with_name(path.name + SUFFIX)
    remove(fresh)
    old_mask = os.umask(0o077)
    try:
        with duckdb.connect(":memory:", config={"temp_directory": str(fresh) + ".tmp"}) as copier:
            copier.execute(f"ATTACH {_quoted(path)} AS live")
            copier.execute(f"ATTACH {_quoted(fresh)} AS fresh")
            copier.execute("COPY FROM DATABASE live TO fresh")
            copier.execute("DETACH fresh")
            copier.execute("DETACH live")
        _flush(fresh)
        reach("compact.replace")
        os.replace(fresh, path)
        _flush(path.parent)
        reach("compact.replaced")
    finally:
        os.umask(old_mask)
        remove(fresh)


def remove(fresh: Path) -> None:
    """Remove a copy that was begun, and its log."""
    for file in (fresh, fresh.with_name(fresh.name + ".wal")):
        file.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
