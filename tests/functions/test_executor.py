"""Binding a call's arguments: the grammar forbids most of this; the executor does not rely on it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, cast

import pytest

from localmem.errors import FunctionError
from localmem.functions import executor
from localmem.functions.schema import Function, Label, Length, Range, function
from localmem.memory.desk import Desk
from localmem.records import Call

NO_DESK = cast(Desk, None)


def note(
    desk: Desk,
    label: Label,
    text: Annotated[str, Length(1, 5)],
    count: Annotated[int, Range(1, 9)] = 1,
    share: Annotated[float, Range(0, 1)] = 0.5,
    sure: bool = True,
    day: date = date(2026, 1, 1),
    mood: Literal["calm", "cross"] = "calm",
) -> str:
    """Note it."""
    return f"{label} {text} {count} {day:%d.%m.}"


@pytest.fixture
def made() -> Function:
    return function(note)


def bind(made: Function, **arguments: object) -> dict[str, object]:
    return executor.bind(made, {"label": "human", "text": "x"} | arguments, ["human"])


def test_arguments_become_python_values(made: Function) -> None:
    bound = bind(made, count=3, share=1, sure=False, day="2024-02-29", mood="cross")
    assert bound == {
        "label": "human",
        "text": "x",
        "count": 3,
        "share": 1,
        "sure": False,
        "day": date(2024, 2, 29),
        "mood": "cross",
    }


def test_what_is_left_out_has_its_default(made: Function) -> None:
    call = Call("", "note", {"label": "human", "text": "x"})
    assert executor.run(call, [made], ["human"], NO_DESK) == "human x 1 01.01."


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"label": "persona"}, "argument label is one of human"),
        ({"label": None}, "argument label is one of human"),
        ({"label": ["human"]}, "argument label is one of human"),
        ({"text": 1}, "argument text is of type string"),
        ({"text": None}, "argument text is of type string"),
        ({"text": {"a": "b"}}, "argument text is of type string"),
        ({"text": ""}, "argument text has 0 characters; it may have 1 to 5"),
        ({"text": "123456"}, "argument text has 6 characters; it may have 1 to 5"),
        ({"text": "a\ud83d"}, "half a character"),
        ({"count": "1"}, "argument count is of type integer"),
        ({"count": 1.0}, "argument count is of type integer"),
        ({"count": True}, "argument count is of type integer"),
        ({"count": 0}, "argument count is between 1 and 9"),
        ({"count": 10**30}, "argument count is between 1 and 9"),
        ({"share": True}, "argument share is of type number"),
        ({"share": float("nan")}, "argument share is between 0 and 1"),
        ({"share": float("inf")}, "argument share is between 0 and 1"),
        ({"share": -0.1}, "argument share is between 0 and 1"),
        ({"sure": 1}, "argument sure is of type boolean"),
        ({"sure": "true"}, "argument sure is of type boolean"),
        ({"day": "2025-02-29"}, "argument day is a date such as"),
        ({"day": "2026-13-01"}, "argument day is a date such as"),
        ({"day": "0000-00-00"}, "argument day is a date such as"),
        ({"day": "2026-1-1"}, "argument day is a date such as"),
        ({"day": "2026-01-01\n"}, "argument day is a date such as"),
        ({"day": "２０２６-01-01"}, "argument day is a date such as"),
        ({"day": "20260101"}, "argument day is a date such as"),
        ({"day": 20260101}, "argument day is of type string"),
        ({"mood": "sad"}, "argument mood is one of calm, cross"),
        ({"other": 1}, "note has no argument 'other'; it has label, text"),
    ],
)
def test_a_wrong_argument_is_named(made: Function, wrong: dict[str, object], why: str) -> None:
    with pytest.raises(FunctionError) as raised:
        bind(made, **wrong)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_argument_is_named(made: Function) -> None:
    with pytest.raises(FunctionError, match="note needs the argument 'text'"):
        executor.bind(made, {"label": "human"}, ["human"])


def test_a_function_that_is_not_on_offer_is_named_with_those_that_are(made: Function) -> None:
    with pytest.raises(FunctionError, match="no function 'forget' now; there are note"):
        executor.run(Call("", "forget", {}), [made], ["human"], NO_DESK)


def test_a_bug_inside_a_function_is_no_error_of_the_model() -> None:
    def broken(desk: Desk) -> str:
        """Break."""
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        executor.run(Call("", "broken", {}), [function(broken)], [], NO_DESK)


def test_error_messages_do_not_repeat_a_flood(made: Function) -> None:
    with pytest.raises(FunctionError) as raised:
        bind(made, mood="x" * 100_000)
    assert len(str(raised.value)) < 1000
