"""What memory this machine has, and how much of it a model is given."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from localmem.errors import ModelBroken
from localmem.processor import gguf
from localmem.processor.profile import CACHE_BITS, Profile

_WORKING = 256 << 20
"""Bytes for the buffers of a decode and for ourselves."""
_EASY = 0.75
"""Share of the available memory that a model may take without crowding out the rest."""

LEAST_WINDOW = 2048
"""Tokens below which a window is not cut for want of memory: little would be left beside the instructions."""
_STEP = 256
"""Tokens by which a window is cut."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model is given: tokens of window for each agent, how many agents its cache holds at once.

    `cache` and `need` are the bytes of the cache and of everything; `available` those that were free, 0: unknown.
    """

    window: int
    agents: int
    cache: int
    need: int
    available: int

    @property
    def fits(self) -> str:
        """ "yes", "tight" or "no"; "unknown" where the memory is not known."""
        return fits(self.need, self.available)

    @property
    def scarce(self) -> bool:
        """Whether the model crowds out the rest, or does not fit."""
        return self.fits in ("tight", "no")


def plan(
    profile: Profile,
    path: Path | None,
    *,
    window: int | None = None,
    agents: int = 1,
    cache: str = "f16",
    available: int | None = None,
) -> Plan:
    """Plan the memory of a model: its weights, the cache, the buffers of a decode.

    What does not fit is made smaller: the agents held at once down to one, then the window, in steps down to
    LEAST_WINDOW, unless `window` asks for one. The cache is computed from the file's header where the file is here,
    else guessed from its size.
    """
    there = available_memory() if available is None else available
    weights = profile.bytes or (path.stat().st_size if path is not None and path.is_file() else 0)
    each = _cached_bytes(profile, path, weights) * CACHE_BITS[cache] / CACHE_BITS["f16"]

    def planned(window: int, agents: int) -> Plan:
        cache = round(each * cells(window, agents))
        return Plan(window, agents, cache, weights + cache + _WORKING, there)

    best = planned(window or profile.window, agents)
    while best.fits == "no" and best.agents > 1:
        best = planned(best.window, best.agents - 1)
    while best.fits == "no" and not window and best.window - _STEP >= LEAST_WINDOW:
        best = planned(best.window - _STEP, best.agents)
    return best


def cells(window: int, agents: int) -> int:
    """Return the tokens that a cache for so many agents holds: one window more, for what is made ahead of need."""
    return window * (agents + 1)


def _cached_bytes(profile: Profile, path: Path | None, weights: int) -> float:
    """Return the bytes that a token takes in the cache in half precision."""
    if path is not None and path.is_file():
        try:
            return gguf.read(path).kv_bytes(1)
        except ModelBroken:
            pass  # `verify` and loading say so; a listing goes on
    return weights / 8 / profile.window


def available_memory() -> int:
    """Return the bytes of memory that a new program can have now; 0 when the system does not say."""
    free = _linux() or _mac() or _posix()
    allowed = _container()
    return min(free, allowed) if free and allowed else free


def physical_cores() -> int:
    """Return how many cores this process may use, two threads of one core counted once: llama.cpp fills them."""
    if sys.platform == "darwin":
        return _sysctl("hw.perflevel0.physicalcpu") or _sysctl("hw.physicalcpu") or os.cpu_count() or 1
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(topology.format(cpu)).read_text() for cpu in allowed})
    except OSError:
        return len(allowed)


def fits(need: int, available: int) -> str:
    """Say "yes", "tight" or "no"; "unknown" when either figure is."""
    if not need or not available:
        return "unknown"
    if need <= available * _EASY:
        return "yes"
    return "tight" if need <= available else "no"


def _linux() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def _container() -> int:
    """Return what the control group still allows, files it only keeps at hand apart; 0 when it sets no limit."""
    group = Path("/sys/fs/cgroup")
    try:
        left = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return left + int(kept["active_file"]) + int(kept["inactive_file"])
    except (OSError, ValueError, KeyError):
        return 0


def _mac() -> int:
    """Return the whole memory of a Mac: what is free there says little, for files are kept in it."""
    return _sysctl("hw.memsize") if sys.platform == "darwin" else 0


def _sysctl(name: str) -> int:
    """Return a figure of macOS, 0 where it has none of that name."""
    try:
        return int(subprocess.run(["sysctl", "-n", name], capture_output=True, timeout=5).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _posix() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
