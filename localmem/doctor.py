"""What works on this machine and what does not: each check says what it found and what mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from localmem import runtime
from localmem.errors import LocalmemError
from localmem.functions import shelf
from localmem.memory.home import STORE, Home
from localmem.processor import build, fetch, gguf, machine
from localmem.processor.profile import Profile
from localmem.processor.registry import Registry

LEAST_DISK = 1 << 30
"""Bytes free in the home under which a warning is due."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `verdict` is "ok", "warn" or "fail" (no chat is possible); `mend` is what to run or do."""

    name: str
    verdict: str
    text: str
    mend: str = ""


def examine(home: Path) -> Iterator[Check]:
    """Yield every check of this machine and of a home, which is made by none of them.

    A model file that was never checked against its hash is checked now (seconds).
    """
    yield from _python()
    yield from _llama_cpp()
    yield _compiler()
    yield from map(_package, ("duckdb", "faiss-cpu", "sentence-transformers"))
    yield from _home(home)
    try:
        registry = runtime.registry_of(home)
        profile = runtime.choose_model(registry, runtime.Options(), None)
    except LocalmemError as error:
        yield Check(
            "models.toml", "fail", str(error), f"edit {home / 'models.toml'}, or unset LOCALMEM_MODEL"
        )
        return
    yield from _model(registry, profile)
    yield _embedder(registry)
    yield from _indexes(home)
    yield from _functions(home)


def _python() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    mend = "" if good else "install localmem with Python 3.11, 3.12 or 3.13"
    yield Check("python", "ok" if good else "fail", f"{found} at {sys.executable}", mend)


def _llama_cpp() -> Iterator[Check]:
    """Say what llama.cpp runs on here, and with which line it would run on more."""
    try:
        made = build.installed()
    except (ImportError, OSError, RuntimeError) as error:
        text = f"llama-cpp-python cannot be loaded: {_line(error)}"
        yield Check("llama.cpp", "fail", text, build.reinstall())
        return
    on = ", ".join(made.backends) or "CPU only"
    yield Check("llama.cpp", "ok", f"llama-cpp-python {made.version}, {on}")
    yield _gpu(made, build.gpus())
    yield _cpu(made, build.cpu_features())


def _gpu(made: build.Build, there: Sequence[str]) -> Check:
    unused = [] if made.backends else [name for name in there if name not in made.backends]
    if unused:
        mend = build.reinstall(made.version, build.SWITCHES[unused[0]])
        return Check("gpu", "warn", f"there is one for {unused[0]}, and llama.cpp was built without it", mend)
    return Check("gpu", "ok", f"used through {', '.join(made.backends)}" if made.backends else "none found")


def _cpu(made: build.Build, there: Collection[str]) -> Check:
    """Compare what the processor can with what the build uses; a build for more than it can would crash."""
    used = [name for name in build.FEATURES if name in made.features]
    unused = [name for name in build.FEATURES if name in there and name not in made.features]
    missing = [name for name in used if there and name not in there]
    text = f"{', '.join(used) or 'no vector instructions'} used"
    mend = build.reinstall(made.version, "-DGGML_NATIVE=on") if unused or missing else ""
    if missing:
        return Check("cpu", "fail", f"{text}; this processor has no {', '.join(missing)}", mend)
    return Check(
        "cpu", "warn" if unused else "ok", text + f"; unused: {', '.join(unused)}" * bool(unused), mend
    )


def _compiler() -> Check:
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(os.environ.get("CXX") or name):
            return Check("compiler", "ok", f"{path} (builds llama-cpp-python)")
    mend = "xcode-select --install" if sys.platform == "darwin" else "sudo apt install build-essential"
    return Check("compiler", "warn", "none: needed only to build llama-cpp-python anew", mend)


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "fail", "not installed", f"pip install {name}")


def _home(home: Path) -> Iterator[Check]:
    place = next(folder for folder in (home, *home.absolute().parents) if os.path.exists(folder))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Check(
            "home", "fail", f"{place} cannot be written", f"chmod u+rwx {place}, or give another --home"
        )
    else:
        yield Check("home", "ok", f"{home}{'' if os.path.exists(home) else ' (made on first use)'}")
    free = shutil.disk_usage(place).free
    mend = "" if free > LEAST_DISK else f"free some space on the disk of {place}"
    yield Check("disk", "warn" if mend else "ok", f"{free / 1e9:.1f} GB free", mend)
    owner = Home.owner(home)
    if owner is not None:
        yield Check("owner", "warn", f"in use by {owner}", "close it before you start another localmem here")


def _model(registry: Registry, profile: Profile) -> Iterator[Check]:
    pull = f"localmem models pull {profile.name}"
    path = registry.locate(profile)
    if path is None:
        fetched = f"{profile.name} is not here; {profile.bytes / 1e9:.1f} GB"
        yield Check("model", "warn" if profile.sources else "fail", fetched, pull)
        yield _window(profile, 0)
        yield _memory(profile, None)
        return
    try:
        registry.require(profile)
        facts = gguf.read(path)
    except LocalmemError as error:
        yield Check("model", "fail", str(error), pull)
        return
    if not fetch.verify(profile, path):
        yield Check("model", "fail", f"{path} is damaged: its hash is wrong", pull)
        return
    known = "verified" if profile.sha256 else "its hash is not known"
    yield Check("model", "ok", f"{profile.name}, {path.stat().st_size / 1e9:.1f} GB, {known}")
    yield _window(profile, facts.trained_window)
    yield _memory(profile, path)


def _window(profile: Profile, trained: int) -> Check:
    known = f"{trained:,} trained" if trained else "its file will say what it was trained for"
    text = f"{profile.window:,} tokens served, {known}"
    if trained and profile.window > trained:
        return Check("window", "warn", text, f"set window = {trained} for {profile.name} in models.toml")
    return Check("window", "ok", text)


def _memory(profile: Profile, path: Path | None) -> Check:
    plan = machine.plan(profile, path, window=profile.window)
    text = f"{plan.need / 1e9:.1f} GB needed, {plan.available / 1e9:.1f} GB free"
    mend = "close other programs, or chat with a smaller --model or --window" if plan.scarce else ""
    return Check("memory", "warn" if mend else "ok", text, mend)


def _embedder(registry: Registry) -> Check:
    profile = registry[registry.embedder]
    path = registry.locate(profile)
    pull = f"localmem models pull {profile.name}"
    if path is None:
        return Check(
            "embedder", "warn", f"{profile.name} is not here: the archive is searched by words", pull
        )
    if not fetch.verify(profile, path):
        return Check("embedder", "warn", f"{path} is damaged: its hash is wrong", pull)
    return Check("embedder", "ok", f"{profile.name}, verified")


def _indexes(home: Path) -> Iterator[Check]:
    """Compare index and store of each agent, where the store is there and nobody has it open."""
    if not (home / STORE).exists():
        return
    if (owner := Home.owner(home)) is not None:
        text = f"store and indexes were not looked at: {owner} has them"
        yield Check("store", "ok", text)
        return
    try:
        with Home.open(home) as opened:
            rows = opened.agents()
            yield Check("store", "ok", f"{len(rows)} agent{'' if len(rows) == 1 else 's'}")
            for row in rows:
                state = opened.agent(row.name).index_state()
                if state is not None and not state.agrees:
                    text = (
                        f"{row.name}: {state.indexed:,} of {state.stored:,} vectors; rebuilt when it is used"
                    )
                    yield Check("index", "warn", text, f"localmem chat --agent {row.name}")
    except LocalmemError as error:
        yield Check("store", "fail", str(error), "give another home with --home, or restore a copy")


def _functions(home: Path) -> Iterator[Check]:
    """Say which functions of the user's own cannot be offered."""
    found = shelf.judged(home)
    if found.functions or found.refused:
        yield Check("functions", "ok", f"{len(found.functions)} of your own")
    for refusal in found.refused:
        yield Check("functions", "warn", str(refusal), "mend it, then `localmem functions check`")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
