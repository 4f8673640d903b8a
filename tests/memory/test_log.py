"""The log keeps every record byte for byte, and a turn's progress with it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_acts import Hands, run, say, within

from localmem.errors import FunctionError
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Block, Call, Event, EventKind, Record, Result, Usage

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ARGUMENTS = st.dictionaries(
    TEXT, TEXT | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False)
)
INT32 = st.integers(-(2**31), 2**31 - 1)
CALLS = st.builds(
    Call,
    thought=TEXT,
    function=st.sampled_from(["send_message", "f"]),
    arguments=ARGUMENTS,
    heartbeat=st.booleans(),
    ids=st.lists(INT32).map(tuple),
    model=TEXT,
    cut=st.booleans(),
    usage=st.builds(Usage, INT32, INT32, INT32, INT32, st.floats(0, 1e9)),
)
EVENTS = st.builds(Event, kind=st.sampled_from(EventKind), text=TEXT, note=TEXT)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=EVENTS, call=CALLS, text=TEXT)
def test_what_is_written_is_read_back(memory: Memory, event: Event, call: Call, text: str) -> None:
    opened = memory.open_turn(event)
    added = memory.add(call, opened.turn)
    assert isinstance(added, Call)
    result = memory.perform(added, lambda desk: Result(True, text), close=True)
    assert memory.records(start=opened.id) == (opened, added, result)
    read = memory.records(start=added.id)[0]
    assert isinstance(read, Call)
    assert read.usage == call.usage
    assert (opened.text, opened.note, result.text) == (event.text, event.note, text)


def test_awkward_text_survives_in_every_tier(memory: Memory) -> None:
    text = "nul \0 end, 👩‍👩‍👧 family, \r\n, \x7f, \u2028, 日本語 zebra"
    say(memory, text)
    memory.edit(lambda desk: desk.insert_passage(text))
    memory.put_block(Block("odd", text, 200, text), "user")
    assert memory.search_recall("zebra").hits[0].text == text
    assert memory.search_archive("zebra").hits[0].text == text
    assert memory.blocks()[-1].value == text


def test_records_carry_their_turn_and_the_local_time(memory: Memory, clock: Hands) -> None:
    event = memory.open_turn(Event(EventKind.USER, "hello"))
    assert event.id == event.turn > 0
    assert event.created_at == clock.now
    assert event.created_at.tzinfo is not None
    clock.forward(hours=1)
    call = memory.add(Call("", "f", {}), event.turn)
    assert call.created_at - event.created_at == timedelta(hours=1)
    assert memory.counts().last_active == clock.now


def test_records_start_and_limit(memory: Memory) -> None:
    events = [say(memory, f"number {n}") for n in range(5)]
    assert [record.id for record in memory.records(start=events[1].id, limit=2)] == [
        events[1].id,
        events[2].id,
    ]
    assert len(memory.records()) == 5


def test_only_what_was_said_counts_as_recall(memory: Memory) -> None:
    say(memory, "hello", "hi")
    memory.open_turn(Event(EventKind.LOGIN, "login"))
    within(memory, lambda desk: "a result is not said")
    assert memory.counts().recall == 3


def test_an_event_stays_unfinished_until_its_turn_is_closed(home: Home, memory: Memory) -> None:
    assert memory.unfinished() is None
    first = memory.open_turn(Event(EventKind.USER, "one"))
    second = memory.open_turn(Event(EventKind.USER, "two"))
    run(memory, first.turn, lambda desk: "done")
    turn = memory.unfinished()
    assert turn is not None
    assert (turn.id, turn.steps, turn.event, len(turn.records)) == (first.turn, 1, first, 3)
    memory.close_turn(first.turn)
    later = memory.unfinished()
    assert later is not None
    assert later.id == second.turn
    assert home.create_agent("other").unfinished() is None


def test_one_open_turn_is_found_while_older_ones_are_open(home: Home, memory: Memory) -> None:
    memory.open_turn(Event(EventKind.USER, "one"))
    second = memory.open_turn(Event(EventKind.USER, "two"))
    turn = memory.unfinished(second.turn)
    assert turn is not None
    assert (turn.id, turn.event) == (second.turn, second)
    assert home.create_agent("other").unfinished(second.turn) is None
    memory.close_turn(second.turn)
    assert memory.unfinished(second.turn) is None


def test_a_turn_closes_with_its_result(memory: Memory) -> None:
    for close in (True, lambda result: result.ok):
        event = memory.open_turn(Event(EventKind.USER, "go"))
        call = memory.add(Call("", "f", {}), event.turn)
        assert isinstance(call, Call)
        memory.perform(call, lambda desk: Result(True, "ok"), close=close)
        assert memory.unfinished() is None


def test_a_refusal_undoes_the_effects_and_becomes_the_result(memory: Memory) -> None:
    def work(desk: Desk) -> str:
        desk.append("human", "half a fact")
        desk.insert_passage("half a passage")
        raise FunctionError("no")

    result = within(memory, work)
    assert (result.ok, result.text) == (False, "no")
    assert memory.blocks()[1].value == ""
    assert memory.counts().archival == 0
    turn = memory.unfinished()
    assert turn is not None
    assert turn.steps == 1
    assert turn.records[-1] == result


def test_a_bug_undoes_the_effects_and_escapes(memory: Memory) -> None:
    def work(desk: Desk) -> str:
        desk.append("human", "half a fact")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        within(memory, work)
    assert memory.blocks()[1].value == ""
    turn = memory.unfinished()
    assert turn is not None
    assert isinstance(turn.records[-1], Call)
    assert turn.steps == 0


def test_a_call_is_never_performed_twice(memory: Memory) -> None:
    event = memory.open_turn(Event(EventKind.USER, "go"))
    call = memory.add(Call("", "f", {}), event.turn)
    assert isinstance(call, Call)

    def work(desk: Desk) -> Result:
        desk.append("human", f"line {len(desk.blocks()[1].value)}")
        return Result(True, "done")

    assert memory.perform(call, work) == memory.perform(call, work)
    assert memory.blocks()[1].value == "line 0"


def test_eviction_moves_the_head_and_keeps_the_log(memory: Memory) -> None:
    events = [say(memory, f"number {n}") for n in range(4)]
    assert len(memory.queue()) == 4
    memory.evict(events[2].id, "numbers 0 and 1")
    assert [record.id for record in memory.queue()] == [events[2].id, events[3].id]
    assert memory.summary() == "numbers 0 and 1"
    memory.evict(events[3].id, "numbers 0 to 2")
    assert memory.summary() == "numbers 0 to 2"
    assert len(memory.records()) == 4


def test_the_time_of_the_last_eviction_is_known_after_a_restart(tmp_path: Path) -> None:
    with Home.open(tmp_path) as home:
        memory, other = home.create_agent("a"), home.create_agent("b")
        assert memory.evicted_at() == 0
        events = [say(memory, f"number {n}") for n in range(3)]
        say(other, "not of this agent")
        memory.evict(events[1].id, "number 0")
        assert memory.evicted_at() == events[2].id
        last = say(memory, "number 3")
        memory.evict(events[2].id, "numbers 0 and 1")
        say(memory, "number 4")
    with Home.open(tmp_path) as home:
        assert home.agent("a").evicted_at() == last.id
        assert home.agent("b").evicted_at() == 0


def test_a_result_paged_out_shows_its_stub_and_stays_in_the_log(
    home: Home, memory: Memory, tmp_path: Path
) -> None:
    long = within(memory, lambda desk: "word " * 1000)
    stub = within(memory, lambda desk: desk.page_out(long.id)).text
    assert str(long.id) in stub
    assert len(stub) < 200
    assert "\n" not in stub
    queued = next(record for record in memory.queue() if record.id == long.id)
    assert isinstance(queued, Result)
    assert (queued.stub, queued.text) == (stub, long.text)
    for record in (long.id, long.turn, 10**9):
        assert not within(memory, lambda desk, record=record: desk.page_out(record)).ok


def test_agents_share_nothing(home: Home, memory: Memory) -> None:
    other = home.create_agent("other")
    say(memory, "my secret is blue")
    memory.edit(lambda desk: desk.insert_passage("blue"))
    memory.edit(lambda desk: desk.append("human", "blue"))
    assert other.records() == ()
    assert other.search_recall("blue").total == other.search_archive("blue").total == 0
    assert other.blocks()[1].value == ""
    records: tuple[Record, ...] = memory.records()
    assert len(records) == 1
