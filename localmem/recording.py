"""Generations on disk, to be decoded again: a file for each of an agent's newest turns, a line for each case."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from localmem import __version__
from localmem.errors import UsageError
from localmem.functions.schema import Function
from localmem.records import Event
from localmem.trace import Recorded, Trace, packed, unpacked

KEPT = 50
"""Turns of an agent whose generations are kept, the newest."""

SUFFIX = ".json.gz"
QUICK = 1
"""Compression that costs a turn next to nothing; another level saves a fifth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What generations ran on.

    `sha256` tells the model's file from others, as `Abilities.model` does; `chunk` are the prompt tokens of one
    decode. 0 and "" say that something was not recorded.
    """

    model: str
    sha256: str
    window: int
    chunk: int = 0
    grammar: bool = True
    dialect: str = ""
    gpu_layers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The generations of one turn or case, in order, and the ids that were cached when the first began.

    `exact` says that the cache is known to have held these ids, evaluated in chunks from the first one on. When a
    turn of a chat begins, the cache holds what was evaluated and generated before it, in other batches.
    """

    name: str
    setup: Setup
    static: tuple[int, ...]
    exact: bool
    generations: tuple[Recorded, ...]


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """One line of the list of turns that can be replayed; `text` is that of the event."""

    turn: int
    model: str
    generations: int
    text: str
    kept_at: datetime


def keep(folder: Path, event: Event, setup: Setup, traces: Sequence[Trace]) -> None:
    """Write the generations of an event's turn into a folder, which keeps the newest turns.

    A disk that refuses costs the recording and nothing else.
    """
    if not traces:
        return
    row = {"case": event.turn, "text": event.text, "version": __version__, **asdict(setup)}
    row |= {"static": [], "traces": packed(traces)}
    fresh = folder / "fresh"
    try:
        for made in (folder.parent, folder):
            made.mkdir(mode=0o700, exist_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(gzip.compress(json.dumps(row).encode(), QUICK))
        os.replace(fresh, folder / f"{event.turn}{SUFFIX}")
        for old in _turns(folder)[:-KEPT]:
            (folder / f"{old}{SUFFIX}").unlink()
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def kept(folder: Path) -> Iterator[KeptTurn]:
    """Yield the turns that a folder keeps, the newest first. Raises UsageError for a damaged file."""
    for turn in reversed(_turns(folder)):
        path = folder / f"{turn}{SUFFIX}"
        with _reading(path):
            row = json.loads(gzip.decompress(path.read_bytes()))
            when = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            yield KeptTurn(turn, row["model"], len(row["traces"]), row["text"], when)


def of_turn(folder: Path, agent: str, turn: int, own: Sequence[Function] = ()) -> Recording:
    """Return what was kept of a turn. Raises UsageError where nothing is, naming the turns there are.

    `own` are the functions that the agent has beside the standard ones.
    """
    path, there = folder / f"{turn}{SUFFIX}", _turns(folder)
    if turn not in there:
        held = (
            f"kept are turns {there[0]} to {there[-1]}, `localmem replay` lists them"
            if there
            else "none is kept"
        )
        raise UsageError(f"nothing is kept of turn {turn} of {agent}: {held}")
    with _reading(path):
        row = json.loads(gzip.decompress(path.read_bytes()))
        setup = Setup(**{field.name: row[field.name] for field in fields(Setup)})
        return _recording(f"turn {turn} of {agent}", setup, row, exact=False, own=own)


def of_case(run: Path, case: str) -> Recording:
    """Return what was kept of a case beside its run file. Raises UsageError where nothing is."""
    path = run.with_suffix(".traces.jsonl.gz")
    found: Mapping[str, Any] = {}
    with _reading(run), run.open(encoding="utf-8") as file:
        header = json.loads(file.readline())["header"]
        for row in _rows(path):
            found = row if row["case"] == case else found  # of a case that was run twice, the second counts
        if not found:
            raise UsageError(f"{path} has no case {case!r}: see the cases in {run.name}")
        setup = Setup(
            model=header["model"],
            sha256=header["sha256"],
            window=header["window"],
            chunk=header.get("chunk", 0),
            grammar=found["grammar"],
            dialect=header.get("dialect", ""),
            gpu_layers=header.get("gpu_layers"),
        )
        return _recording(f"case {case} of {run.name}", setup, found, exact=True)


def find_run(folder: Path, case: str, model: str | None = None) -> Path:
    """Return the run file under a folder whose run had a case, on `model` if given. Raises UsageError.

    Several are named, for one to be chosen.
    """
    runs = []
    for run in sorted(folder.rglob("*.jsonl")):
        with _reading(run), run.open(encoding="utf-8") as file:
            head = json.loads(file.readline() or "{}")
            if "header" not in head or (model and Path(model).name != head["header"]["model"]):
                continue
            if any(json.loads(line).get("case") == case for line in file if line.endswith("\n")):
                runs.append(run)
    if not runs:
        on = f" on {model}" if model else ""
        raise UsageError(
            f"no run in {folder} has a case {case!r}{on}: check the name, or give another --runs"
        )
    if len(runs) > 1:
        shown = ", ".join(f"{run}:{case}" for run in runs)
        raise UsageError(f"{len(runs)} runs have case {case!r}, say which: {shown}")
    return runs[0]


def _recording(
    name: str, setup: Setup, row: Mapping[str, Any], *, exact: bool, own: Sequence[Function] = ()
) -> Recording:
    if not row["traces"]:
        raise UsageError(f"the model generated nothing in {name}: there is nothing to replay")
    generations = tuple(unpacked(row["traces"], own))
    static = tuple(row["static"])
    if not exact:
        static = generations[0].prompt[: generations[0].reused]
    return Recording(
        name=name, setup=setup, static=static, exact=exact or not static, generations=generations
    )


def _turns(folder: Path) -> list[int]:
    """Return the numbers of the turns in a folder, ascending."""
    names = (path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    return sorted(int(name) for name in names if name.isdecimal())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a compressed file up to where a process that was killed stopped writing."""
    with gzip.open(path, "rt", encoding="utf-8") as file, suppress(EOFError):
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading into a UsageError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"there is no {error.filename}: check the name") from error
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read as a recording ({type(error).__name__}: {error})") from error
