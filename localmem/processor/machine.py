"""What memory this machine has, and whether a model fits into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from localmem.errors import ModelBroken
from localmem.processor import gguf
from localmem.processor.profile import Profile

_WORKING = 256 << 20
"""Bytes for the buffers of a decode and for ourselves."""
_EASY = 0.75
"""Share of the available memory that a model may take without crowding out the rest."""


def available_memory() -> int:
    """Return the bytes of memory that a new program can have now; 0 when the system does not say."""
    free = _linux() or _mac() or _posix()
    allowed = _container()
    return min(free, allowed) if free and allowed else free


def memory_needed(profile: Profile, path: Path | None) -> int:
    """Return about how many bytes the model takes when it runs: weights, KV cache of its window, buffers.

    The cache is computed from the file's header where the file is here, else guessed from its size.
    """
    cache = profile.bytes // 8
    if path is not None and path.is_file():
        try:
            cache = gguf.read(path).kv_bytes(profile.window)
        except ModelBroken:
            pass  # `verify` and loading say so; a listing goes on
    return profile.bytes + cache + _WORKING


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
    """Return what the control group still allows; 0 when it sets no limit."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
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
