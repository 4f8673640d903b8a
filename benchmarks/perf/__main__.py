"""Measures the engine against its peers: python -m benchmarks.perf NAME [--model M] [-n N] [--json]"""

from __future__ import annotations

from importlib import import_module

import click

from benchmarks.perf.common import show

NAMES = ("decode", "window", "resume", "agents", "startup", "turn", "interrupt")


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option("--model", help="As in `localmem models list`; else the default.")
@click.option("-n", "count", type=click.IntRange(1), help="Rounds, or recorded calls; else the usual number.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on standard output.")
def main(name: str, model: str | None, count: int | None, as_json: bool) -> None:
    """Measure ours and the peer in turn, in one run."""
    show(import_module(f"benchmarks.perf.{name}").measure(model, count), model, as_json)


if __name__ == "__main__":
    main()
