"""A run file: a header, then one line a case as it is answered; and beside it the traces of every case."""

from __future__ import annotations

import gzip
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localmem.bench.case import Case, Outcome
from localmem.bench.systems import System
from localmem.errors import BadInput
from localmem.trace import packed


class RunFile:
    """The file of one task, system, model, window, seed and stamp, in the folder `runs`."""

    def __init__(self, runs: Path, header: Mapping[str, Any]) -> None:
        named = "{system}--{model}--w{window}--s{seed}--{stamp}".format(**header)
        self.path = runs / header["task"] / f"{named}.jsonl"
        self.traces = self.path.with_suffix(".traces.jsonl.gz")
        self._header = header

    def begin(self) -> dict[str, float]:
        """Write the header unless it is there; return the scores of the cases done without an error.

        A half-written last line, of a process that was killed, is cut off.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self._append(self.path, {"header": self._header})
        done: dict[str, float] = {}
        for row in _whole_lines(self.path):
            if "case" in row and not row["error"]:
                done[row["case"]] = row["score"]
        return done

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
        with gzip.open(self.traces, "at", encoding="utf-8") as file:
            file.write(json.dumps(traces) + "\n")
        about = {
            "case": case.id,
            "level": case.level,
            "score": score,
            "seconds": round(seconds, 3),
            "error": error,
        }
        self._append(self.path, about | asdict(outcome))

    def _append(self, path: Path, row: Mapping[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


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


def commit() -> str:
    """Return the commit that this code is of, with a mark where it was changed since; "" outside a checkout."""
    here = Path(__file__).parent
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
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
