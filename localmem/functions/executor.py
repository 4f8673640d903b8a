"""Runs a call: binds and validates its arguments first, so that a wrong call is told from a bug inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import date

from localmem.errors import FunctionError
from localmem.functions.schema import DATE_PATTERN, Function
from localmem.memory.desk import Desk
from localmem.records import Call

LONGEST_SHOWN = 80
"""Characters of a wrong value that its error repeats."""

STOPPED: ContextVar[Callable[[], bool]] = ContextVar("stopped", default=lambda: False)
"""Says whether the turn under way is to end: what runs for long asks now and then, and stops."""


def run(call: Call, functions: Sequence[Function], labels: Sequence[str], desk: Desk | None) -> str:
    """Return the text of a call's result. Raises FunctionError when the call is wrong or refused.

    A function that touches the outside gets no desk.
    """
    function, arguments = checked(call, functions, labels)
    return function.run(desk, **arguments)


def checked(
    call: Call, functions: Sequence[Function], labels: Sequence[str]
) -> tuple[Function, dict[str, object]]:
    """Return the function that a call names, and its arguments as Python values. Raises FunctionError."""
    function = next((f for f in functions if f.name == call.function), None)
    if function is None:
        known = ", ".join(f.name for f in functions)
        raise FunctionError(f"there is no function {_shown(call.function)} now; there are {known}")
    return function, bind(function, call.arguments, labels)


def bind(function: Function, arguments: Mapping[str, object], labels: Sequence[str]) -> dict[str, object]:
    """Return the arguments as Python values. Raises FunctionError naming the first that is wrong."""
    names = [parameter.name for parameter in function.parameters]
    if unknown := [name for name in arguments if name not in names]:
        raise FunctionError(
            f"{function.name} has no argument {_shown(unknown[0])}; it has {', '.join(names)}"
        )
    bound: dict[str, object] = {}
    for parameter in function.parameters:
        if parameter.name in arguments:
            schema = parameter.json_schema(labels)
            bound[parameter.name] = _value(f"argument {parameter.name}", arguments[parameter.name], schema)
        elif parameter.required:
            raise FunctionError(f"{function.name} needs the argument {parameter.name!r}")
    return bound


def _value(where: str, value: object, schema: Mapping[str, object]) -> object:
    if "enum" in schema:
        choices = schema["enum"]
        assert isinstance(choices, list)
        if value not in choices:
            raise FunctionError(f"{where} is one of {', '.join(map(str, choices))}, not {_shown(value)}")
        return value
    kinds: dict[object, type | tuple[type, ...]] = {
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
    }
    if not isinstance(value, kinds[schema["type"]]) or (
        isinstance(value, bool) != (schema["type"] == "boolean")
    ):
        raise FunctionError(f"{where} is of type {schema['type']}, not {_shown(value)}")
    if isinstance(value, str):
        return _text(where, value, schema)
    if isinstance(value, int | float) and schema["type"] != "boolean":
        least, most = schema["minimum"], schema["maximum"]
        assert isinstance(least, int)
        assert isinstance(most, int)
        if not least <= value <= most:
            raise FunctionError(f"{where} is between {least} and {most}, not {_shown(value)}")
    return value


def _text(where: str, value: str, schema: Mapping[str, object]) -> object:
    if schema.get("pattern") == DATE_PATTERN:
        if not re.fullmatch(DATE_PATTERN, value):
            raise FunctionError(f"{where} is a date such as 2026-01-31, not {_shown(value)}")
        return date.fromisoformat(value)
    if "pattern" in schema:
        return _matching(where, value, schema)
    least, most = schema["minLength"], schema["maxLength"]
    assert isinstance(least, int)
    assert isinstance(most, int)
    if not least <= len(value) <= most:
        raise FunctionError(f"{where} has {len(value)} characters; it may have {least} to {most}")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise FunctionError(f"{where} holds half a character (a lone surrogate)")
    return value


def _matching(where: str, value: str, schema: Mapping[str, object]) -> str:
    pattern, examples = schema["pattern"], schema["examples"]
    assert isinstance(pattern, str)
    assert isinstance(examples, list)
    if not re.fullmatch(pattern, value):
        raise FunctionError(f"{where} is written like {examples[0]!r}, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Return what the model wrote, cut: an error stands in the window and must not fill it."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
