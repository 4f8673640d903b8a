"""What a turn yields as lines of JSON between two processes: each comes back exactly as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from localmem import errors
from localmem.errors import LocalmemError, ServerGone
from localmem.records import Call, Delta, Event, Eviction, Item, PageRead, Result, Usage


@dataclass(frozen=True, slots=True)
class Begin:
    """A turn begins, on an event that `by` sent: a terminal's own name for itself, "" for nobody's."""

    event: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """A turn is over. `error` names a class of `localmem.errors`, "" where nothing failed."""

    event: int
    usage: Usage = field(default=Usage())
    error: str = ""
    message: str = ""


Frame = Item | Begin | End
"""Everything that a stream carries."""

_KINDS: Mapping[str, type] = {
    kind.__name__.lower(): kind for kind in (Event, Call, Result, Delta, Eviction, PageRead, Begin, End)
}

T = TypeVar("T")

VERSION = "X-Localmem-Version"
"""The header by which each side knows the other's version."""


def pack(frame: Frame) -> bytes:
    """Return a frame as one line of JSON."""
    return plain({"type": type(frame).__name__.lower(), **_fields(frame)})


def unpack(line: bytes) -> Frame:
    """Return the frame of a line. Raises ServerGone for what no localmem of this version wrote."""
    try:
        data = json.loads(line)
        frame: Frame = _revived(_KINDS[data.pop("type")], data)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ServerGone("`localmem run` is of another version: stop it and start it again") from error
    return frame


def plain(data: object) -> bytes:
    """Return data, dataclasses among it, as one line of JSON."""
    return json.dumps(data, default=_fields, separators=(",", ":")).encode() + b"\n"


def read(kind: type[T], data: object) -> T:
    """Return a dataclass of `kind` from what `plain` made of one, once it was read as JSON."""
    made: T = _revived(kind, data)
    return made


def failed(error: Exception) -> tuple[str, str]:
    """Return the name of an error's class and its message, as `raised` takes them."""
    name = type(error).__name__
    known = isinstance(error, LocalmemError) and hasattr(errors, name)
    return (name, str(error)) if known else ("SystemFault", f"{name} in `localmem run`: {error}")


def raised(name: str, message: str) -> LocalmemError:
    """Return an error that came over the wire, of the class that it was."""
    kind = getattr(errors, name, errors.SystemFault)
    error: LocalmemError = kind(message)
    return error


def _fields(value: object) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _revived(hint: Any, value: Any) -> Any:
    """Return a value read from JSON as its type says."""
    if get_origin(hint) in (Union, UnionType):
        if value is None:
            return None
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple:
        return tuple(_revived(get_args(hint)[0], one) for one in value)
    if not isinstance(hint, type):
        return value
    if is_dataclass(hint):
        return hint(**{name: _revived(_hints(hint)[name], one) for name, one in value.items()})
    if issubclass(hint, datetime):
        return datetime.fromisoformat(value)
    if issubclass(hint, Enum):
        return hint(value)
    return value
