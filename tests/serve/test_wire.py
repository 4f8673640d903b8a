"""What goes over the wire comes back as it was."""

from __future__ import annotations

import json
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmem.errors import BadInput, LocalmemError, ServerGone, SystemFault, UnknownAgent
from localmem.kernel.context import Report
from localmem.records import Call, Delta, Event, EventKind, Eviction, Result, Usage
from localmem.serve.talk import State
from localmem.serve.wire import Begin, End, Frame, failed, pack, plain, raised, read, unpack

TEXTS = st.text(st.characters(exclude_categories=()), max_size=30)
NUMBERS = st.integers(0, 2**60)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
TIMES = st.none() | st.datetimes(timezones=ZONES)
USAGES = st.builds(Usage, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.floats(0, 1e6))
VALUES = st.none() | st.booleans() | NUMBERS | TEXTS | st.lists(TEXTS, max_size=3)
FRAMES = st.one_of(
    st.builds(Event, st.sampled_from(EventKind), TEXTS, TEXTS, NUMBERS, NUMBERS, TIMES),
    st.builds(
        Call,
        TEXTS,
        TEXTS,
        st.dictionaries(TEXTS, VALUES, max_size=3),
        st.booleans(),
        st.lists(NUMBERS, max_size=5).map(tuple),
        TEXTS,
        st.booleans(),
        st.booleans(),
        USAGES,
        NUMBERS,
        NUMBERS,
        TIMES,
    ),
    st.builds(Result, st.booleans(), TEXTS, NUMBERS, TEXTS, NUMBERS, NUMBERS, TIMES),
    st.builds(Delta, TEXTS),
    st.builds(Eviction, NUMBERS, TEXTS, NUMBERS, NUMBERS),
    st.builds(Begin, NUMBERS, TEXTS),
    st.builds(End, NUMBERS, USAGES, TEXTS, TEXTS),
)


@given(FRAMES)
def test_every_frame_comes_back(frame: Frame) -> None:
    line = pack(frame)
    back = unpack(line)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert (type(back), back) == (type(frame), frame)
    if isinstance(frame, Call) and isinstance(back, Call):
        assert back.usage == frame.usage, "which equality of calls leaves out"


def test_a_state_comes_back() -> None:
    state = State("anna", "m", Report(4096, 12, {"system": 7, "queue": 5}), 0.25, True)
    assert read(State, json.loads(plain(state))) == state


@pytest.mark.parametrize(
    "line", [b"", b"no json\n", b"[]\n", b'{"type":"other"}\n', b'{"type":"delta","x":1}\n']
)
def test_what_another_version_wrote_is_one_clear_error(line: bytes) -> None:
    with pytest.raises(ServerGone, match="another version"):
        unpack(line)


@pytest.mark.parametrize("error", [UnknownAgent("there is no agent 'x'"), BadInput("empty")])
def test_an_error_is_raised_as_what_it_was(error: LocalmemError) -> None:
    again = raised(*failed(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_bug_there_is_a_fault_here() -> None:
    again = raised(*failed(KeyError("x")))
    assert type(again) is SystemFault
    assert "KeyError" in str(again)
