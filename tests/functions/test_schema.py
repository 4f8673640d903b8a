"""A typed Python function is the schema; what cannot be one is refused when it is defined."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Annotated, Literal

import pytest

from localmem.errors import DefinitionError
from localmem.functions.schema import Label, Length, Pattern, Range, function
from localmem.functions.standard import EDITS_CORE, READS, SETS, function_set
from localmem.memory.desk import Desk


def every_hint(
    desk: Desk,
    label: Label,
    text: Annotated[str, "words", Length(2, 9)],
    count: Annotated[int, Range(1, 5)],
    share: float,
    sure: bool,
    day: date,
    mood: Literal["calm", "cross"],
    more: str = "",
) -> str:
    """Take everything
    there is."""
    return ""


def test_hints_and_docstring_are_the_schema() -> None:
    made = function(every_hint)
    assert made.signature() == "every_hint(label, text, count, share, sure, day, mood, more?)"
    assert made.doc == "Take everything\nthere is."
    schema = made.json_schema(["human"])
    assert schema["required"] == ["label", "text", "count", "share", "sure", "day", "mood"]
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == [*schema["required"], "more"]
    assert properties["label"] == {"enum": ["human"]}
    assert properties["text"] == {"type": "string", "minLength": 2, "maxLength": 9}
    assert properties["count"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert properties["mood"] == {"enum": ["calm", "cross"]}
    assert made.parameters[1].doc == "words"
    json.dumps(schema)


def test_every_text_and_number_is_bounded() -> None:
    for name in SETS:
        for made in function_set(name):
            for parameter in made.parameters:
                kind = parameter.schema.get("type")
                assert kind != "string" or {"maxLength", "pattern"} & set(parameter.schema)
                assert kind not in ("integer", "number") or {"minimum", "maximum"} <= set(parameter.schema)


def no_docstring(desk: Desk) -> str:
    return ""


def unknown_hint(desk: Desk, what: bytes) -> str:
    """Do."""
    return ""


def choice_of_numbers(desk: Desk, what: Literal[1, 2]) -> str:
    """Do."""
    return ""


def list_hint(desk: Desk, what: list[str]) -> str:
    """Do."""
    return ""


def no_hint(desk: Desk, what) -> str:  # type: ignore[no-untyped-def]
    """Do."""
    return ""


def many(desk: Desk, *what: str) -> str:
    """Do."""
    return ""


def named(desk: Desk, **what: str) -> str:
    """Do."""
    return ""


def unnamed(desk: Desk, what: str, /) -> str:
    """Do."""
    return ""


def returns_nothing(desk: Desk) -> None:
    """Do."""


def unresolved(desk: Desk, what: "Nowhere") -> str:  # type: ignore[name-defined]  # noqa: F821, UP037
    """Do."""
    return ""


def no_desk() -> str:
    """Do."""
    return ""


@pytest.mark.parametrize(
    ("python", "why"),
    [
        (no_docstring, "no docstring"),
        (unknown_hint, "argument what is hinted"),
        (choice_of_numbers, "argument what is hinted"),
        (list_hint, "argument what is hinted"),
        (no_hint, "argument what has no type hint"),
        (many, "variable or unnamed arguments"),
        (named, "variable or unnamed arguments"),
        (unnamed, "variable or unnamed arguments"),
        (returns_nothing, "return str"),
        (unresolved, "cannot be resolved"),
        (no_desk, "first parameter"),
    ],
)
def test_what_cannot_be_a_function_is_refused_by_name(python: Callable[..., str], why: str) -> None:
    with pytest.raises(DefinitionError, match=why) as raised:
        function(python)
    assert python.__name__ in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bounds_nobody_can_keep_are_refused() -> None:
    def upside_down(desk: Desk, what: Annotated[str, Length(5, 1)]) -> str:
        """Do."""
        return ""

    def nowhere(desk: Desk, what: Annotated[int, Range(5, 1)]) -> str:
        """Do."""
        return ""

    for python in (upside_down, nowhere):
        with pytest.raises(DefinitionError, match="bounds"):
            function(python)


def test_an_unknown_set_names_those_there_are() -> None:
    with pytest.raises(DefinitionError, match="full, memory, small"):
        function_set("large")


def test_the_named_groups_are_functions_that_exist() -> None:
    known = {made.name for name in SETS for made in function_set(name)}
    assert known >= EDITS_CORE | READS


def test_a_function_with_a_label_needs_a_block() -> None:
    append = next(made for made in function_set("small") if made.name == "core_memory_append")
    assert append.callable_with(["human"])
    assert not append.callable_with([])


def matching(pattern: Pattern) -> Callable[..., str]:
    def when(desk: Desk, time: Annotated[str, pattern]) -> str:
        """Set a time."""
        return time

    when.__annotations__["time"] = Annotated[str, pattern]
    when.__annotations__["desk"] = Desk
    when.__annotations__["return"] = str
    return when


def test_a_pattern_is_held_by_the_schema() -> None:
    schema = function(matching(Pattern(r"in [1-9][0-9]? (days?|weeks?)", "in 2 days"))).json_schema([])
    assert schema["properties"] == {
        "time": {"type": "string", "pattern": "^(in [1-9][0-9]? (days?|weeks?))$", "examples": ["in 2 days"]}
    }


@pytest.mark.parametrize(
    ("regex", "example"),
    [
        ("a*", "a"),
        ("a+", "a"),
        ("a{2,}", "aa"),
        ("a??", "a"),
        ("(?=a)a", "a"),
        (r"(a)\1", "aa"),
        ("^a$", "a"),
        (r"\ba", "a"),
        ("(a", "a"),
        ("a", "b"),
    ],
)
def test_a_pattern_that_no_grammar_holds_is_refused(regex: str, example: str) -> None:
    with pytest.raises(DefinitionError, match="argument time"):
        function(matching(Pattern(regex, example)))


def test_signs_inside_a_class_or_escaped_are_taken() -> None:
    for regex, example in (
        ("[*+^$]", "*"),
        (r"\*\+\$", "*+$"),
        ("[]a]", "]"),
        (r"[\]+]", "+"),
        ("a{1,3}", "aa"),
    ):
        function(matching(Pattern(regex, example)))
