"""Timers on a clock that the test sets: once, late, repeating without drift; and times as people write them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from memory_acts import Hands

from localmem.errors import UsageError
from localmem.memory.clock import kept, system_clock
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.when import When, asked, moment, short, span, spelt, when


def fired(memory: Memory) -> list[str]:
    """Take every event that waits, by turns that end at once; return what they say."""
    said = []
    while (event := memory.inbox.next()) is not None:
        memory.close_turn(memory.open_turn(event).turn)
        said.append(event.text)
    return said


def test_a_timer_fires_once_and_is_gone(memory: Memory, clock: Hands) -> None:
    memory.inbox.add_timer(when("in 10 minutes", clock), "tea")
    clock.forward(minutes=9, seconds=59)
    assert not memory.inbox.ready()
    assert fired(memory) == []
    clock.forward(seconds=1)
    assert memory.inbox.ready()
    assert fired(memory) == ["Timer 1: tea"]
    clock.forward(days=1)
    assert fired(memory) == []


def test_a_timer_of_whole_days_keeps_the_time_of_day(memory: Memory, clock: Hands) -> None:
    clock.now = datetime(2026, 3, 26, 9, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    memory.inbox.add_timer(when("every 1 day", clock), "pills")
    memory.inbox.add_timer(When(datetime(2026, 3, 27, 8, 0), timedelta(hours=12)), "watch")
    clock.now = datetime(2026, 3, 27, 9, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert len(fired(memory)) == 2
    clock.now = datetime(2026, 3, 29, 9, 0, tzinfo=ZoneInfo("Europe/Berlin"))  # in summer
    assert [timer.due.strftime("%d %H:%M") for timer in memory.inbox.timers()] == ["27 21:00", "28 09:00"]
    (pills,) = [said for said in fired(memory) if "pills" in said]
    assert "stands for 2 firings, 1 missed" in pills
    assert [t.due.strftime("%d %H:%M") for t in memory.inbox.timers()] == ["29 10:00", "30 09:00"]
    clock.now = datetime(2026, 10, 24, 10, 0, tzinfo=ZoneInfo("Europe/Berlin"))  # the last day of summer
    assert asked("1d", None, "1d", clock).first == datetime(2026, 10, 25, 9, 0)


def test_a_missed_timer_fires_late_and_says_so(memory: Memory, clock: Hands) -> None:
    memory.inbox.add_timer(when("in 10 minutes", clock), "tea")
    clock.forward(hours=3)
    assert fired(memory) == ["Timer 1: tea (due 2026-03-14 09:36:00, 2 hours late)"]


def test_a_repeating_timer_does_not_drift(memory: Memory, clock: Hands) -> None:
    memory.inbox.add_timer(when("every 10 minutes", clock), "stretch")
    for delay in (0, 1, 7, 3):
        clock.now = datetime(2026, 3, 14, 9, 36, delay, tzinfo=UTC)
        clock.forward(minutes=10 * [0, 1, 7, 3].index(delay))
        assert fired(memory) == ["Timer 1: stretch"]
    assert memory.inbox.timers()[0].due == datetime(2026, 3, 14, 10, 16, tzinfo=UTC)


def test_missed_beats_fire_once_and_are_counted(memory: Memory, clock: Hands) -> None:
    memory.inbox.add_timer(when("every 10 minutes", clock), "stretch")
    clock.forward(minutes=35)
    assert fired(memory) == [
        "Timer 1: stretch (due 2026-03-14 09:36:00, 25 minutes late, stands for 3 firings, 2 missed)"
    ]
    assert memory.inbox.timers()[0].due == datetime(2026, 3, 14, 10, 6, tzinfo=UTC)


def test_a_firing_that_still_waits_is_not_joined_by_another(memory: Memory, clock: Hands) -> None:
    memory.inbox.add_timer(when("every 10 minutes", clock), "stretch")
    clock.forward(minutes=10)
    assert len(memory.inbox.fire()) == 1
    clock.forward(minutes=20)
    assert memory.inbox.fire() == ()
    assert memory.inbox.next_due() == clock()
    assert fired(memory) == [
        "Timer 1: stretch",
        "Timer 1: stretch (due 2026-03-14 09:46:00, 10 minutes late, stands for 2 firings, 1 missed)",
    ]


def test_timers_survive_a_restart_and_belong_to_one_agent(home: Home, clock: Hands) -> None:
    anna, bert = home.create_agent("anna"), home.create_agent("bert")
    anna.inbox.add_timer(when("in 1 hour", clock), "hers")
    bert.inbox.add_timer(when("in 1 minute", clock), "his")
    path = home.path
    home.close()
    clock.forward(hours=2)
    with Home.open(path, clock=clock) as again:
        assert [timer.note for timer in again.agent("anna").inbox.timers()] == ["hers"]
        assert fired(again.agent("anna")) == ["Timer 1: hers (due 2026-03-14 10:26:00, 1 hour late)"]
        again.delete_agent("bert")
        assert fired(again.agent("anna")) == []


def test_due_timers_come_in_the_order_of_their_times(memory: Memory, clock: Hands) -> None:
    memory.inbox.add_timer(when("in 3 minutes", clock), "third")
    memory.inbox.add_timer(when("in 1 minute", clock), "first")
    memory.inbox.add_timer(when("in 2 minutes", clock), "second")
    assert [timer.note for timer in memory.inbox.timers()] == ["first", "second", "third"]
    clock.forward(minutes=3)
    assert [text.split()[2] for text in fired(memory)] == ["first", "second", "third"]


def test_bad_timers_are_refused(memory: Memory, clock: Hands) -> None:
    for note in ("", "  \n ", "x" * 501):
        with pytest.raises(UsageError):
            memory.inbox.add_timer(when("in 1 minute", clock), note)
    with pytest.raises(UsageError, match="there are: none"):
        memory.inbox.remove_timer(1)
    for number in range(100):
        memory.inbox.add_timer(when("in 1 minute", clock), f"timer {number}")
    with pytest.raises(UsageError, match="100 timers already"):
        memory.inbox.add_timer(when("in 1 minute", clock), "one more")
    assert memory.inbox.remove_timer(7) == "timer 6"
    assert len(memory.inbox.timers()) == 99


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2 hours", 7200),
        ("1d", 86400),
        ("1 week", 604800),
        ("5 MIN", 300),
    ],
)
def test_spans(text: str, seconds: int) -> None:
    assert span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "m", "-5m", "0s", "1 month", "10m later", "99999d", "999999999w", "1.5h"]
)
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(UsageError, match="no span of time"):
        span(text)


def test_times_are_meant_in_the_zone_of_the_clock() -> None:
    def clock() -> datetime:
        return datetime(2026, 3, 14, 9, 26, tzinfo=timezone(timedelta(hours=2)))

    assert moment("10:00", clock) == datetime(2026, 3, 14, 8, 0)
    assert moment("09:26", clock) == datetime(2026, 3, 15, 7, 26)
    assert moment("2026-11-22T09:00", clock) == datetime(2026, 11, 22, 7, 0)
    assert when("at 9:30", clock).first == datetime(2026, 3, 14, 7, 30)


def test_an_hour_that_summer_time_leaves_out_comes_later_and_one_that_comes_twice_is_the_next() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = datetime(2026, 3, 29, 1, 50, tzinfo=berlin)
    assert moment("02:30", lambda: spring) == datetime(2026, 3, 29, 1, 30)
    assert moment("2026-03-29 02:30", lambda: spring) == datetime(2026, 3, 29, 1, 30)
    autumn = datetime(2026, 10, 25, 2, 40, fold=1, tzinfo=berlin)
    assert moment("02:50", lambda: autumn) == datetime(2026, 10, 25, 1, 50)
    assert moment("02:50", lambda: autumn.replace(fold=0)) == datetime(2026, 10, 25, 0, 50)


def test_the_clock_of_the_system_knows_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert kept(datetime(2026, 3, 29, 2, 30), system_clock) == datetime(2026, 3, 29, 1, 30)
        assert kept(datetime(2026, 10, 25, 2, 50), system_clock) == datetime(2026, 10, 25, 0, 50)
        assert kept(datetime(2026, 10, 25, 2, 50, fold=1), system_clock) == datetime(2026, 10, 25, 1, 50)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    ["25:00", "2026-02-30T09:00", "tomorrow", "", "2026-11-22", "0001-01-01T00:00", "9999-12-31T23:59"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError):
        moment(text, system_clock)


def test_a_past_time_is_refused_with_the_time_it_is(clock: Hands) -> None:
    with pytest.raises(UsageError, match="past: it is now 2026-03-14 09:26"):
        moment("2026-03-14 09:26", clock)


def test_spans_in_words() -> None:
    assert [spelt(timedelta(seconds=s)) for s in (0, 1, 59, 60, 7200, 90000)] == [
        "0 seconds",
        "1 second",
        "59 seconds",
        "1 minute",
        "2 hours",
        "1 day",
    ]


@pytest.mark.parametrize("text", ["90s", "10m", "2h", "1d"])
def test_spans_are_shown_as_they_are_written(text: str) -> None:
    assert span(short(span(text))) == span(text)


def test_what_a_person_asks_for(clock: Hands) -> None:
    now = clock.now.replace(tzinfo=None)
    hour = timedelta(hours=1)
    assert asked("10m", None, None, clock).first == now + timedelta(minutes=10)
    assert asked(None, None, "1h", clock) == When(now + hour, hour)
    assert asked("10m", None, "1h", clock) == When(now + timedelta(minutes=10), hour)
    assert asked(None, "10:00", "1h", clock) == When(datetime(2026, 3, 14, 10, 0), hour)
    with pytest.raises(UsageError, match="not both"):
        asked("10m", "10:00", None, clock)
    with pytest.raises(UsageError, match="say when"):
        asked(None, None, None, clock)


def test_waiting_ends_when_something_is_handed_in(memory: Memory) -> None:
    assert not memory.inbox.wait(0.01)
    memory.inbox.add_timer(when("in 1 minute", system_clock), "tea")
    assert memory.inbox.wait(0)
    assert not memory.inbox.wait(0)
