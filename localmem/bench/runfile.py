"""A run file: a header, then one line a case as it is answered; and beside it the traces of every case."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import platform
import shutil
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any

from localmem.bench.case import Case, Outcome
from localmem.bench.systems import System
from localmem.errors import BadInput, HomeInUse
from localmem.trace import packed

PROGRAM = (":/localmem", ":/grammars", ":/models.toml", ":/benchmarks/*.py")
"""What of a checkout makes a commit's code: notes, tests and published results do not."""


PREPARED = "prepared"
"""The folder, among those of the tasks, for what is prepared."""


class RunFile:
    """The file of one task, system, model, window, seed and stamp, in the folder `runs`.

    `code` is the version of the code that runs now, `begun` the one that answered the last case; `prepared`
    is the folder of what its cases need until they are done.
    """

    def __init__(self, runs: Path, header: Mapping[str, Any]) -> None:
        named = "{system}--{model}--w{window}--s{seed}--{stamp}".format(**header)
        self.path = runs / header["task"] / f"{named}.jsonl"
        self.traces = self.path.with_suffix(".traces.jsonl.gz")
        self.prepared = runs / PREPARED / named
        self._header = header
        self.code = self.begun = _code(header)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep other processes from running the same cases meanwhile. Raises HomeInUse when one does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _owned(self.path):
            yield

    def begin(self) -> dict[str, float]:
        """Write the header unless cases stand under one; return the scores of those done without an error.

        A half-written end, of a process that was killed, is cut off, of the traces too.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = _whole_lines(self.path) if self.path.exists() else []
        if any("case" in row for row in rows):
            self.begun = _code(rows[0].get("header", self._header) | rows[-1])
        else:
            self.path.write_bytes(b"")
            _append(self.path, _line({"header": self._header}))
        if self.traces.exists():
            os.truncate(self.traces, _whole_members(self.traces.read_bytes()))
        return {row["case"]: row["score"] for row in rows if "case" in row and not row["error"]}

    def add(
        self, case: Case, outcome: Outcome, score: float, seconds: float, error: str, system: System
    ) -> None:
        """Append what came out of a case, and the traces that led to it."""
        bed = system.bed
        traces = {
            "case": case.id,
            "static": bed.static,
            "grammar": bed.processor.abilities.grammar,
            "traces": packed(bed.tracer.take()),
        }
        _append(self.traces, gzip.compress(_line(traces)))
        about = {
            "case": case.id,
            "level": case.level,
            "score": score,
            "seconds": round(seconds, 3),
            "error": error,
            "commit": self._header["commit"],
        }
        _append(self.path, _line(about | asdict(outcome)))


def tidy(runs: Path) -> None:
    """Remove what was prepared for runs that no process is at: of stopped ones, which prepare it once more."""
    for folder in (runs / PREPARED).glob("*"):
        with ExitStack() as owned, suppress(HomeInUse):
            for file in runs.glob(f"*/{escape(folder.name)}.jsonl"):
                owned.enter_context(_owned(file))
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it may be in use, or was never made
        (runs / PREPARED).rmdir()


@contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Keep other processes from writing a run file meanwhile. Raises HomeInUse when one does."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUse(
                f"{path} is being written by another run: wait for it, or give another --runs"
            ) from None
        yield


def _code(header: Mapping[str, Any]) -> str:
    """Return in words which version of the code a header names."""
    return f"commit {header['commit']}" if header["commit"] else f"version {header['version']}"


def _line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of JSON; half a character, which has no UTF-8, as its escape."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _append(path: Path, data: bytes) -> None:
    """Append in one write, so that an interruption comes before or after it; a full disk may take a part."""
    with path.open("ab", buffering=0) as file:
        while data:
            data = data[file.write(data) :]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return a run file's rows; cut off a last line that is not whole. Raises BadInput for another bad line."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise BadInput(f"{path} is damaged ({error}): remove it to run its cases again") from error


def _whole_members(data: bytes) -> int:
    """Return how long the beginning of a compressed file is that consists of whole members."""
    end = 0
    while end < len(data):
        member = zlib.decompressobj(wbits=31)
        try:
            member.decompress(data[end:])
        except zlib.error:
            break
        if not member.eof:
            break
        end = len(data) - len(member.unused_data)
    return end


def commit() -> str:
    """Return the commit that this code is of, with a "+" where it was changed since; "" outside a checkout."""
    try:
        # installed, it may lie in another's checkout
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git("status", "--porcelain", "--", *PROGRAM)
        return _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    command = ["git", "--no-optional-locks", *arguments]
    said = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=True)
    return said.stdout.strip()


def machine() -> str:
    """Return what the run was made on: processor, cores and system."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"
