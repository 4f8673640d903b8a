"""How long work is shown on standard error: a bar on a terminal, a line per tenth elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import click

from localmem.cli.screen import Status
from localmem.processor.fetch import Progress


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


_LATELY = 20.0
"""Seconds that the rate of a Meter is taken from: what was there already went quickly before, and tells nothing."""

_QUICK = 50_000_000
"""Bytes that are hashed before anybody could read of it."""


class Bar:
    """Listens to one pull. `begin` and `tenth` forget at each change of source or stage."""

    def __init__(self) -> None:
        self.line = Status(faint=False)
        self.key = ("", "")
        self.drawn, self.tenth = 0.0, -1
        self.since, self.start = 0.0, 0

    def __call__(self, progress: Progress) -> None:
        if progress.stage == "failed":
            self.close()
            click.echo(f"  {progress.source}: {progress.note}", err=True)
            return
        now = time.monotonic()
        if self.key != (progress.stage, progress.source):
            self._begin(progress, now)
        if progress.stage == "fetch" and progress.done == self.start:
            return  # nothing has come from this source yet
        if progress.stage == "check" and progress.total < _QUICK:
            return
        share = progress.done / progress.total if progress.total else 0.0
        if self.line.live and (now - self.drawn > 0.1 or share >= 1):
            self.drawn = now
            self.line.show(self._line(progress, share, now))
        elif not self.line.live and int(share * 10) > self.tenth and progress.stage == "fetch":
            self.tenth = int(share * 10)
            click.echo(f"  {share:4.0%}  {_amount(progress)}", err=True)

    def close(self) -> None:
        """End the line that is being drawn."""
        self.line.keep()
        self.key, self.drawn = ("", ""), 0.0

    def _begin(self, progress: Progress, now: float) -> None:
        fetching = progress.stage == "fetch"
        if fetching:
            self.close()
            there = f", {size(progress.done)} are here already" if progress.done else ""
            click.echo(f"  from {progress.source}{there}", err=True)
        self.key, self.tenth = (progress.stage, progress.source), -1
        self.since, self.start = now, progress.done

    def _line(self, progress: Progress, share: float, now: float) -> str:
        seconds, got = now - self.since, progress.done - self.start
        rate = got / seconds if seconds > 0.5 else 0.0
        left = (progress.total - progress.done) / rate if rate and progress.total else 0.0
        filled = round(share * 24)
        verb = "checking" if progress.stage == "check" else "fetching"
        line = f"  {verb} [{'#' * filled}{'-' * (24 - filled)}]"
        line += f" {share:4.0%}  {_amount(progress)}"
        if rate:
            line += f"  {rate / 1e6:.1f} MB/s"
        return line + (f"  {left // 60:.0f}:{left % 60:02.0f} left" if left >= 1 else "")


class Meter:
    """A bar for work that is counted in `unit`s, with rate and time left; `amount` writes a number of them."""

    def __init__(self, verb: str, unit: str, amount: Callable[[float], str]) -> None:
        self._verb, self._unit, self._amount = verb, unit, amount
        self._line = Status(faint=False)
        self._drawn, self._tenth = 0.0, 0
        self._lately: deque[tuple[float, int]] = deque()

    def __call__(self, done: int, total: int, name: str = "") -> None:
        """Show how far the work is."""
        now = time.monotonic()
        lately = self._lately
        lately.append((now, done))
        while now - lately[0][0] > _LATELY and len(lately) > 2:
            lately.popleft()
        share = done / total if total else 1.0
        if now - lately[0][0] < 1:
            return
        if self._line.live and now - self._drawn > 0.1:
            self._drawn = now
            self._line.show(self._shown(done, total, share, now, name))
        elif not self._line.live and int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            click.echo(f"  {share:4.0%}  {self._amount(done)} of {self._amount(total)}", err=True)

    def clear(self) -> None:
        """Take the line away, to say something else."""
        self._line.clear()

    def _shown(self, done: int, total: int, share: float, now: float, name: str) -> str:
        filled, (since, first) = round(share * 24), self._lately[0]
        rate = (done - first) / (now - since)
        line = f"  {self._verb} [{'#' * filled}{'-' * (24 - filled)}] {share:4.0%}"
        if rate:
            left = (total - done) / rate
            line += f"  {self._amount(rate)}{self._unit}/s  {left // 60:.0f}:{left % 60:02.0f} left"
        return f"{line}  {name}"


def _amount(progress: Progress) -> str:
    return f"{size(progress.done)} of {size(progress.total) if progress.total else 'an unknown size'}"
