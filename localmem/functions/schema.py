"""A function the model may call, read off a typed Python function: hints and docstring are its schema."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, get_args, get_origin, get_type_hints

from localmem.errors import DefinitionError

Label = typing.NewType("Label", str)
"""The hint for a writable core block: in the grammar it is an enumeration of those that exist."""

AgentName = typing.NewType("AgentName", str)
"""The hint for another agent of the home: in the grammar it is an enumeration of those that exist."""

_LEAP_YEAR = "([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"
_DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
DAY = f"([1-9][0-9]{{3}}-{_DAY}|{_LEAP_YEAR}-02-29)"
"""Days of the calendar and no others, so that the model cannot write one that is none."""
DATE_PATTERN = f"^{DAY}$"


@dataclass(frozen=True, slots=True)
class Length:
    """Bounds of a string in characters, for use in `Annotated`."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, for use in `Annotated`."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that a whole string matches, and an example of one, for use in `Annotated`.

    It is held by the grammar: groups, classes, alternatives and bounded repeats; nothing unbounded, no
    look-around, no reference back.
    """

    regex: str
    example: str


BEYOND = re.compile(r"[*+]|\{\d*,\}|\(\?(?!:)|\\[1-9]|[\^$]|\\[bBAZ]|[?}]\?")
"""What a grammar does not take, or what has no end, in a pattern without its classes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: its hint as a JSON schema, except `Label` and `AgentName`, which the state fills in."""

    name: str
    schema: Mapping[str, object]
    doc: str = ""
    required: bool = True
    label: bool = False
    agent: bool = False

    def json_schema(self, labels: Sequence[str]) -> dict[str, object]:
        """Return the JSON schema of this argument while the blocks `labels` may be written."""
        return {"enum": list(labels)} if self.label else dict(self.schema)


@dataclass(frozen=True, slots=True)
class Function:
    """What the model sees of a function, and the Python that runs when it is called.

    `run` takes the desk (the memory of the agent inside one transaction) and the arguments by name, and returns
    the text of the result. Without `desk` it gets None and runs before the transaction of its result. A function
    that is `outside` touches more than the agent's memory: it gets no desk either, and after a crash it counts as
    unknown, never as undone. Where it says what it `touches`, a person is asked before it runs; `digest`, the hash
    of its code, ends a lasting permission when the code changes. `origin` says where it comes from.
    """

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    run: Callable[..., str]
    outside: bool = False
    desk: bool = True
    touches: str = ""
    origin: str = ""
    digest: str = ""

    def signature(self) -> str:
        """Return the function on one line, as the model's documentation shows it."""
        shown = ", ".join(p.name if p.required else f"{p.name}?" for p in self.parameters)
        return f"{self.name}({shown})"

    def json_schema(self, labels: Sequence[str]) -> dict[str, object]:
        """Return the JSON schema of the arguments, in the order of the signature."""
        return {
            "type": "object",
            "properties": {p.name: p.json_schema(labels) for p in self.parameters},
            "required": [p.name for p in self.parameters if p.required],
            "additionalProperties": False,
        }

    def callable_with(self, labels: Sequence[str]) -> bool:
        """Return whether a call is possible at all while the blocks `labels` may be written."""
        named = bool(self.others) or not any(p.agent for p in self.parameters)
        return named and (bool(labels) or not any(p.label for p in self.parameters))

    @property
    def others(self) -> tuple[str, ...]:
        """The agents that a call can name, as `among` gave them."""
        found = next((p.schema["enum"] for p in self.parameters if p.agent), [])
        assert isinstance(found, list)
        return tuple(found)

    def among(self, others: Sequence[str]) -> Function:
        """Return this function while the other agents of the home have these names."""
        if not any(p.agent for p in self.parameters):
            return self
        schema = {"enum": list(others)}
        named = (replace(p, schema=schema) if p.agent else p for p in self.parameters)
        return replace(self, parameters=tuple(named))


Decorated = typing.TypeVar("Decorated", bound=Callable[..., str])
_TOUCHES = "__localmem_touches__"


def outside(touches: str) -> Callable[[Decorated], Decorated]:
    """Declare what a function touches beyond localmem, as in `@outside("sends mail")`: a person is asked first.

    Raises DefinitionError where it does not say what.
    """
    if not isinstance(touches, str) or not touches.strip():
        raise DefinitionError('outside says what is touched, as in @outside("sends mail")')

    def decorate(python: Decorated) -> Decorated:
        setattr(python, _TOUCHES, " ".join(touches.split()))
        return python

    return decorate


def function(python: Callable[..., str], *, outside: bool = False, desk: bool = True) -> Function:
    """Return the Function that a typed Python function describes.

    The first parameter is the desk and is not shown; without `desk` there is none. Hints: str, int, bool, float,
    Label, date, Literal of strings, each possibly inside
    `Annotated[hint, "documentation", Length(...), Range(...) or Pattern(...)]`.

    Raises DefinitionError for a missing docstring, a missing or unknown hint, variable arguments, or a pattern
    that a grammar cannot hold.
    """
    where = f"function {python.__name__}"
    if not (python.__doc__ or "").strip():
        raise DefinitionError(f"{where} has no docstring: it is the documentation the model reads")
    try:
        hints = get_type_hints(python, include_extras=True)
    except NameError as error:
        raise DefinitionError(f"{where}: a type hint cannot be resolved: {error}") from error
    if hints.get("return") is not str:
        raise DefinitionError(f"{where} must be hinted to return str")
    taken = list(inspect.signature(python).parameters.values())
    if desk and not taken:
        raise DefinitionError(f"{where} takes nothing: its first parameter is the desk")
    parameters = []
    for parameter in taken[1:] if desk else taken:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(f"{where}: variable or unnamed arguments ({parameter.name}) have no schema")
        if parameter.name not in hints:
            raise DefinitionError(f"{where}: argument {parameter.name} has no type hint")
        required = parameter.default is parameter.empty
        parameters.append(_parameter(where, parameter.name, hints[parameter.name], required))
    touches = str(getattr(python, _TOUCHES, ""))
    return Function(
        python.__name__,
        inspect.cleandoc(python.__doc__ or ""),
        tuple(parameters),
        python if desk else lambda desk, **arguments: python(**arguments),
        outside=outside or bool(touches),
        desk=desk and not (outside or touches),
        touches=touches,
    )


def _parameter(where: str, name: str, hint: Any, required: bool) -> Parameter:
    extras: tuple[Any, ...] = ()
    if get_origin(hint) is typing.Annotated:
        hint, *rest = get_args(hint)
        extras = tuple(rest)
    doc = next((extra for extra in extras if isinstance(extra, str)), "")
    length = next((extra for extra in extras if isinstance(extra, Length)), Length(1, 1000))
    bounds = next((extra for extra in extras if isinstance(extra, Range)), Range(-999_999, 999_999))
    if length.least > length.most or bounds.least > bounds.most:
        raise DefinitionError(f"{where}: argument {name} has bounds that nothing can keep")
    schema: dict[str, object]
    if hint in (Label, AgentName):
        return Parameter(name, {"enum": []}, doc, required, label=hint is Label, agent=hint is AgentName)
    if hint is str:
        schema = _text(f"{where}: argument {name}", length, extras)
    elif hint is bool:
        schema = {"type": "boolean"}
    elif hint is int:
        schema = {"type": "integer", "minimum": bounds.least, "maximum": bounds.most}
    elif hint is float:
        schema = {"type": "number", "minimum": bounds.least, "maximum": bounds.most}
    elif hint is date:
        schema = {"type": "string", "pattern": DATE_PATTERN}
    elif get_origin(hint) is Literal and all(isinstance(choice, str) for choice in get_args(hint)):
        schema = {"enum": list(get_args(hint))}
    else:
        raise DefinitionError(
            f"{where}: argument {name} is hinted {hint!r}; known are str, int, bool, float, date, "
            "Label, AgentName and Literal of strings"
        )
    return Parameter(name, schema, doc, required)


def _text(where: str, length: Length, extras: Sequence[object]) -> dict[str, object]:
    """Return the schema of a string: of bounded length, or what a pattern matches. Raises DefinitionError."""
    pattern = next((extra for extra in extras if isinstance(extra, Pattern)), None)
    if pattern is None:
        return {"type": "string", "minLength": length.least, "maxLength": length.most}
    outside = re.sub(r"\\[^1-9bBAZ]", "", re.sub(r"\[\^?\]?(?:\\.|[^\]\\])*\]", "", pattern.regex))
    if found := BEYOND.search(outside):
        raise DefinitionError(f"{where} has a pattern with {found[0]!r}, which a grammar cannot hold")
    try:
        fits = re.fullmatch(pattern.regex, pattern.example)
    except re.error as error:
        raise DefinitionError(f"{where} has a pattern that is none: {error}") from error
    if not fits:
        raise DefinitionError(f"{where}: the example {pattern.example!r} does not match the pattern")
    return {"type": "string", "pattern": f"^({pattern.regex})$", "examples": [pattern.example]}
