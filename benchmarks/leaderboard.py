"""Writes what README.md and benchmarks/README.md say of benchmarks/results, and the pictures.

    python -m benchmarks.leaderboard [--check]

Reads the published rows, benchmarks/results/*.jsonl, and writes tables between the markers `<!-- leaderboard -->` and
`<!-- /leaderboard -->`: the leaderboard into README.md, the full tables into benchmarks/README.md. Pictures go beside
the rows, as PNG and SVG. With --check nothing is written: exit code 1 and one line where a table is not what the rows
give, or a picture is missing (pictures themselves differ a little by matplotlib's version).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from localmem.bench.pictures import save
from localmem.bench.plots import plots
from localmem.bench.report import leaderboard, table
from localmem.bench.results import Row, newest, read_rows
from localmem.errors import LocalmemError, UsageError

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- leaderboard -->", "<!-- /leaderboard -->"
FULL = "benchmarks/README.md"


def published(root: Path) -> list[Row]:
    """Return the published rows of a checkout, the newest of each kind."""
    files = sorted((root / "benchmarks" / "results").glob("*.jsonl"))
    return newest(row for file in files for row in read_rows(file))


def parts(rows: Sequence[Row]) -> dict[str, str]:
    """Return what stands between the markers of each file; nothing without rows."""
    pictures = [f"![{plot.title}](results/{plot.name}.svg)" for plot in plots(rows)]
    brief, tables = leaderboard(rows, markdown=True), table(rows, markdown=True)
    more = f"Intervals, costs and every baseline: [{FULL}]({FULL})."
    return {
        "README.md": "\n\n".join([brief, more]) if brief else "",
        FULL: "\n\n".join(["## Memory tasks", tables, *pictures]) if tables else "",
    }


def placed(text: str, part: str, name: str) -> str:
    """Return a file's text with another part between its markers. Raises UsageError where they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{name} lacks the markers {BEGIN} and {END}")
    inner = f"\n\n{part}\n\n" if part else "\n"
    return f"{before}{begin}{inner}{end}{after}"


def stale(root: Path) -> str:
    """Return what is not as the results have it, "" where all is."""
    rows = published(root)
    for name, part in parts(rows).items():
        text = (root / name).read_text("utf-8")
        if placed(text, part, name) != text:
            return f"{name} is not what benchmarks/results gives: python -m benchmarks.leaderboard"
    for plot in plots(rows):
        if not (root / "benchmarks" / "results" / f"{plot.name}.svg").exists():
            return f"benchmarks/results/{plot.name}.svg is missing: python -m benchmarks.leaderboard"
    return ""


def write(root: Path) -> list[Path]:
    """Write the parts and the pictures; return the files that changed or were drawn."""
    rows = published(root)
    written = []
    for name, part in parts(rows).items():
        text = (root / name).read_text("utf-8")
        if (now := placed(text, part, name)) != text:
            (root / name).write_text(now, "utf-8")
            written.append(root / name)
    return written + save(rows, root / "benchmarks" / "results")


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leaderboard", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is stale")
    try:
        if parser.parse_args(arguments).check:
            said = stale(root)
            print(said or "README.md and benchmarks/README.md are what benchmarks/results gives")
            return int(bool(said))
        for path in write(root):
            print(path.relative_to(root))
    except LocalmemError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
