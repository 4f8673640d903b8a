"""Finds and reads official data sets under the folder of --data; a file may be a slice of the official one."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from localmem.errors import UsageError

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


def find(data: Path | None, folder: str, name: str) -> Path:
    """Return the file in `folder` of the data whose name begins with `name`. Raises UsageError."""
    if data is None:
        raise UsageError(f"this task reads {folder}/{name}*: say where with --data DIR")
    found = sorted(path for path in (data / folder).glob(f"{name}*") if path.is_file())
    if not found:
        raise UsageError(f"there is no {data / folder / name}*: fetch the official data set, or check --data")
    return found[0]


def text(path: Path) -> str:
    """Return a file's text; .gz and .xz are unpacked. Raises UsageError where it cannot be read."""
    try:
        with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:
            return str(file.read())
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): fetch it again") from error


def lines(path: Path) -> Iterator[Any]:
    """Yield the JSON values of a file, one a line. Raises UsageError naming the bad line."""
    for number, line in enumerate(text(path).splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: no JSON ({error})") from error
