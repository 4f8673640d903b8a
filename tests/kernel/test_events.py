"""Events in their order, a person who interrupts, timers: what wakes the agent, and what gives way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest
from awake import Bench, Clock, calls, run, says, user

from localmem.errors import BadInput, UsageError
from localmem.kernel.agent import Agent
from localmem.memory.when import When
from localmem.memory.when import when as at
from localmem.processor.interface import Calls, Shape
from localmem.records import Call, Delta, Event, EventKind, Item, Result
from localmem.testing import Move, ScriptedProcessor


def told(agent: Agent) -> list[str]:
    """Return what stands in the queue of events, in the order in which it will be taken."""
    return [event.text for event in agent.memory.inbox.pending()]


def said(agent: Agent) -> list[str]:
    records = agent.memory.records()
    return [
        str(r.arguments["message"]) for r in records if isinstance(r, Call) and r.function == "send_message"
    ]


def run_all(agent: Agent) -> list[str]:
    """Run what waits until nothing does; return the texts of the events, in order."""
    ran = []
    while (event := agent.next_event()) is not None:
        ran.append(event.text)
        list(agent.turn(event))
    return ran


def test_events_are_taken_by_priority_then_in_order(bench: Bench) -> None:
    agent, _ = bench.wake(lambda shape: says("ok"))
    for kind in ("heartbeat", "timer", "document", "alert", "user"):
        for number in (1, 2):
            agent.submit(Event(EventKind(kind), f"{kind} {number}"))
    kinds = ("user", "alert", "document", "timer", "heartbeat")
    assert run_all(agent) == [f"{kind} {number}" for kind in kinds for number in (1, 2)]
    assert agent.next_event() is None


def test_an_event_is_processed_once(bench: Bench) -> None:
    agent, processor = bench.wake(lambda shape: says("ok"))
    event = agent.submit(user("hello"))
    assert (event.ticket, event.id) == (1, 0)
    records = [item for item in agent.turn(event) if isinstance(item, Event)]
    assert records[-1].ticket == event.ticket
    assert bench.memory.inbox.turn_of(event.ticket) == records[-1].turn
    with pytest.raises(UsageError, match="processed already"):
        list(agent.turn(event))
    assert len(processor.prompts) == 1
    logged = [r for r in bench.memory.records() if isinstance(r, Event) and r.kind is EventKind.USER]
    assert [record.ticket for record in logged] == [1]


def test_what_cannot_be_said_is_refused_before_it_is_kept(bench: Bench) -> None:
    agent, _ = bench.wake([])
    with pytest.raises(BadInput):
        agent.submit(user("  "))
    with pytest.raises(UsageError):
        agent.submit(Event(EventKind.MEMORY, "found"))
    assert agent.next_event() is None


def test_a_message_that_waited_tells_when_it_came(bench: Bench, clock: Clock) -> None:
    agent, processor = bench.wake(lambda shape: says("ok"))
    agent.submit(user("are you there?"))
    clock.wait(minutes=30)
    run_all(agent)
    assert "from 2026-03-04 09:00, now 09:30" in processor.prompts[0]
    agent.submit(user("and now?"))
    clock.wait(days=2)
    run_all(agent)
    assert "from 2026-03-04 09:30, now 2026-03-06 09:30" in processor.prompts[-1]


def chained(agent: list[Agent], stop_after: int) -> Iterator[Move]:
    """Edits without end; after some of them a person says something, from another thread."""
    for number in range(100):
        if number == stop_after:
            thread = threading.Thread(target=lambda: agent[0].submit(user("stop, what time is it?")))
            thread.start()
            thread.join()
        yield calls("core_memory_append", label="human", content=f"line {number}")


def test_a_message_stops_the_chain_between_two_calls(bench: Bench) -> None:
    agents: list[Agent] = []
    agent, _ = bench.wake(chained(agents, 3), max_steps=50)
    agents.append(agent)
    list(agent.turn(user("keep a hundred lines")))
    # the call that was being made when the message came is dropped: it had not been made
    assert bench.memory.block("human").value.splitlines() == ["line 0", "line 1", "line 2"]
    assert bench.memory.unfinished() is None
    results = {r.call for r in bench.memory.records() if isinstance(r, Result)}
    assert results == {r.id for r in bench.memory.records() if isinstance(r, Call)}
    assert told(agent) == ["stop, what time is it?"]
    agent, processor = bench.wake([says("nine")])
    assert run_all(agent) == ["stop, what time is it?"]
    assert "earlier work was interrupted" in processor.prompts[0]
    assert said(agent) == ["nine"]


def test_a_message_that_comes_while_a_call_is_performed_stops_the_chain(bench: Bench) -> None:
    agent, processor = bench.wake(
        [calls("core_memory_append", label="human", content="a line"), says("never said")]
    )
    for item in agent.turn(user("keep a line")):
        if isinstance(item, Call):
            agent.submit(user("wait"))
    assert bench.memory.block("human").value == "a line"
    assert len(processor.prompts) == 1
    assert [aside.event.text for aside in bench.memory.inbox.interrupted()] == ["keep a line"]


def test_a_message_stops_a_generation_and_what_was_half_said_is_dropped(bench: Bench) -> None:
    agent, _ = bench.wake([says("one two three four five"), says("yes?")])
    heard = []
    for item in agent.turn(user("count")):
        if isinstance(item, Delta):
            heard.append(item.text)
            if len(heard) == 2:
                agent.submit(user("stop"))
    assert heard == ["one", " two"]
    assert said(agent) == []
    assert run_all(agent) == ["stop"]
    assert said(agent) == ["yes?"]


def keeping(processors: Sequence[ScriptedProcessor]) -> Callable[[Shape], Move]:
    """A model that keeps every message that it is asked about, word by word, and answers."""

    def move(shape: Shape) -> Move:
        assert isinstance(shape, Calls)
        if shape.verdict is None:
            return says("noted")
        asked = processors[0].prompts[-1].rpartition('Message: "')[2].partition('"')[0]
        return calls("core_memory_append", label="human", content=asked)

    return move


def test_facts_of_messages_that_gave_way_are_kept_with_those_of_the_last_one(bench: Bench) -> None:
    processors: list[ScriptedProcessor] = []
    agent, processor = bench.wake(keeping(processors), memory_step=True, window=4096)
    processors.append(processor)
    messages = ("My name is Ada.", "I live in Lisbon.", "My dog is Bruno.")
    for text, following in zip(messages, (*messages[1:], ""), strict=True):
        for item in agent.turn(agent.next_event() or user(text)):
            if following and isinstance(item, Event) and item.kind is EventKind.USER:
                agent.submit(user(following))
    kept = bench.memory.block("human").value.splitlines()
    assert kept == ["Your dog is Bruno.", "Your name is Ada.", "You live in Lisbon."]
    made = [record.function for record in bench.memory.records() if isinstance(record, Call)]
    edit = "core_memory_append"
    assert made == [edit, "send_message", edit, edit], "the answer does not wait for what gave way"
    assert bench.memory.unfinished() is None


def test_a_message_stops_the_memory_steps_behind_an_answer_and_the_next_turn_takes_them(bench: Bench) -> None:
    processors: list[ScriptedProcessor] = []
    agent, processor = bench.wake(keeping(processors), memory_step=True, window=4096)
    processors.append(processor)
    for item in agent.turn(user("My name is Ada.")):
        if isinstance(item, Event) and item.kind is EventKind.USER:
            agent.submit(user("I live in Lisbon."))
    event = agent.next_event()
    assert event is not None
    for item in agent.turn(event):
        if isinstance(item, Call) and item.function == "send_message":
            agent.submit(user("Who am I?"))
    assert bench.memory.block("human").value == "You live in Lisbon."
    assert bench.memory.unfinished() is None
    assert [each.event.text for each in bench.memory.inbox.interrupted()] == ["My name is Ada."]
    assert run_all(agent) == ["Who am I?"]
    assert bench.memory.block("human").value.splitlines() == ["You live in Lisbon.", "Your name is Ada."]
    assert said(agent) == ["noted", "noted"]


def test_ctrl_c_keeps_what_was_said_and_leaves_nothing_to_go_on_with(bench: Bench) -> None:
    agent, _ = bench.wake([says("one two three four five")])
    for item in agent.turn(user("count")):
        if isinstance(item, Delta) and item.text == " two":
            agent.interrupt()
    assert said(agent) == ["one two"]
    assert bench.memory.inbox.interrupted() == ()


def test_only_a_person_interrupts(bench: Bench) -> None:
    agent, _ = bench.wake([says("one two three"), says("read"), says("timed")])
    for item in agent.turn(user("count")):
        if isinstance(item, Delta) and item.text == "one":
            agent.submit(Event(EventKind.DOCUMENT, "a book"))
            bench.memory.submit(Event(EventKind.TIMER, "tick"))
    assert said(agent) == ["one two three"]
    assert run_all(agent) == ["a book", "tick"]


def test_messages_that_waited_do_not_interrupt_each_other(bench: Bench) -> None:
    agent, _ = bench.wake(lambda shape: says("ok"))
    for text in ("one", "two", "three"):
        agent.submit(user(text))
    assert run_all(agent) == ["one", "two", "three"]
    assert said(agent) == ["ok", "ok", "ok"]
    assert bench.memory.inbox.interrupted() == ()


def offered(shape: Shape) -> set[str]:
    assert isinstance(shape, Calls)
    return {function.name for function in shape.functions}


def stopped(bench: Bench, script: Sequence[Move], max_steps: int = 8) -> tuple[Agent, list[Shape]]:
    """An agent that keeps line 0 of two, is interrupted by "wait", and goes on by the script."""
    first = [calls("core_memory_append", label="human", content="line 0"), says("interrupted before this")]
    agent, processor = bench.wake(
        iter([*first[:1], *script]), functions="full", window=4096, max_steps=max_steps
    )
    for item in agent.turn(user("keep two lines")):
        if isinstance(item, Result):
            agent.submit(user("wait"))
    return agent, processor.shapes


def test_interrupted_work_goes_on_if_the_model_asks(bench: Bench) -> None:
    script = [
        calls("go_on"),
        says("in a moment"),
        calls("core_memory_append", label="human", content="line 1"),
        says("both kept"),
    ]
    agent, shapes = stopped(bench, script)
    assert run_all(agent) == ["wait", 'Go on with what was interrupted: "keep two lines"']
    assert bench.memory.block("human").value.splitlines() == ["line 0", "line 1"]
    assert said(agent) == ["in a moment", "both kept"]
    assert ["go_on" in offered(shape) for shape in shapes] == [False, True, False, False, False]
    first, *_ = (r for r in bench.memory.records() if isinstance(r, Event) and r.kind is EventKind.USER)
    kept = [r for r in bench.memory.records() if isinstance(r, Call) and r.turn == first.turn]
    assert [call.function for call in kept] == ["core_memory_append", "core_memory_append", "send_message"]


def test_work_that_was_to_go_on_waits_again_when_that_turn_is_taken_back(bench: Bench) -> None:
    agent, _ = stopped(bench, [calls("go_on"), says("in a moment")])
    event = agent.next_event()
    assert event is not None
    list(agent.turn(event))
    assert told(agent) == ['Go on with what was interrupted: "keep two lines"']
    assert bench.memory.inbox.interrupted() == ()
    bench.memory.undo()
    assert told(agent) == []
    assert [aside.event.text for aside in bench.memory.inbox.interrupted()] == ["keep two lines"]


def test_work_that_goes_on_keeps_to_its_limit_of_steps(bench: Bench) -> None:
    script = [calls("go_on"), says("yes"), says("the last step")]
    agent, shapes = stopped(bench, script, max_steps=2)
    run_all(agent)
    assert offered(shapes[-1]) == {"send_message"}


def test_work_that_goes_on_may_be_interrupted_again(bench: Bench) -> None:
    agent, _ = stopped(
        bench,
        [
            calls("go_on"),
            says("yes"),
            says("one two"),
            says("what?"),
            calls("go_on"),
            says("ok"),
            says("done"),
        ],
    )
    for text in ("wait", "Go on"):
        event = agent.next_event()
        assert event is not None
        assert event.text.startswith(text)
        for item in agent.turn(event):
            if text == "Go on" and isinstance(item, Delta):
                agent.submit(user("once more"))
    assert said(agent) == ["yes"]
    event = agent.next_event()
    assert event is not None
    list(agent.turn(event))
    assert [aside.event.text for aside in bench.memory.inbox.interrupted()] == ["keep two lines"]
    run(agent, "and now?")
    run_all(agent)
    assert said(agent) == ["yes", "what?", "ok", "done"]


def test_interrupted_work_is_let_go_after_some_turns(bench: Bench) -> None:
    agent, shapes = stopped(bench, [says("ok")] * 7)
    assert run_all(agent) == ["wait"]
    for number in range(6):
        run(agent, f"message {number}")
    assert ["go_on" in offered(shape) for shape in shapes[1:]] == [True] * 5 + [False] * 2


def test_after_a_restart_what_waits_is_run(bench: Bench) -> None:
    agent, _ = bench.wake([])
    agent.submit(user("hello"))
    agent.submit(Event(EventKind.DOCUMENT, "a book came"))
    agent, _ = bench.wake([says("hi"), says("read")])
    assert list(agent.resume()) == []
    assert run_all(agent) == ["hello", "a book came"]


def test_a_turn_that_went_on_is_resumed_after_a_crash(bench: Bench) -> None:
    agent, _ = stopped(bench, [calls("go_on"), says("yes")])
    event = agent.next_event()
    assert event is not None
    list(agent.turn(event))
    event = agent.next_event()
    assert event is not None
    opened = bench.memory.open_turn(event)  # and then the process was killed
    unfinished = bench.memory.unfinished()
    assert unfinished is not None
    assert unfinished.id == opened.turn
    agent, processor = bench.wake([says("line 0 is kept")], functions="full", window=4096)
    list(agent.resume())
    assert "Go on with what was interrupted" in processor.prompts[0]
    assert bench.memory.unfinished() is None


# timers


def test_a_timer_wakes_the_agent_once(bench: Bench, clock: Clock) -> None:
    agent, processor = bench.wake([says("watered")])
    bench.memory.inbox.add_timer(at("in 10 minutes", clock), "water the plants")
    assert agent.next_event() is None
    assert bench.memory.inbox.next_due() == clock() + timedelta(minutes=10)
    clock.wait(minutes=10)
    assert run_all(agent) == ["Timer 1: water the plants"]
    assert "water the plants" in processor.prompts[0]
    assert bench.memory.inbox.timers() == ()
    assert bench.memory.inbox.next_due() is None


def test_the_model_sets_and_removes_its_timers(bench: Bench, clock: Clock) -> None:
    script = [
        calls("set_timer", when="every 2 hours", note="look at the oven"),
        says("set"),
        calls("remove_timer", number=1),
        says("gone"),
    ]
    agent, processor = bench.wake(script, functions="full", window=4096)
    run(agent, "watch the oven")
    assert [timer.every for timer in bench.memory.inbox.timers()] == [timedelta(hours=2)]
    assert "remove_timer" not in offered(processor.shapes[0])
    run(agent, "no longer")
    assert bench.memory.inbox.timers() == ()
    results = [r.text for r in bench.memory.records() if isinstance(r, Result) and r.text]
    assert results[0] == "Timer 1 wakes you first at 2026-03-04 11:00:00."


def test_a_time_that_is_past_is_refused_to_the_model(bench: Bench) -> None:
    agent, _ = bench.wake(
        [calls("set_timer", when="2026-03-04 08:00", note="late"), says("that was too late")],
        functions="full",
        window=4096,
    )
    run(agent, "wake me at eight")
    refused = next(r for r in bench.memory.records() if isinstance(r, Result))
    assert (refused.ok, "it is now 2026-03-04 09:00" in refused.text) == (False, True)


def test_a_pause_mutes_timers_and_heartbeats_and_loses_none(bench: Bench, clock: Clock) -> None:
    agent, _ = bench.wake(
        [calls("pause_heartbeats", minutes=30), says("quiet"), says("hi"), *[says("ok")] * 2],
        functions="full",
        window=4096,
    )
    bench.memory.inbox.add_timer(When(clock().replace(tzinfo=None), timedelta(minutes=10)), "stretch")
    run(agent, "leave me alone")
    agent.submit(Event(EventKind.HEARTBEAT, "tick"))
    clock.wait(minutes=15)
    assert agent.next_event() is None
    assert bench.memory.inbox.next_due() == clock() + timedelta(minutes=15)
    assert list(agent.turn(bench.memory.inbox.pending()[0])) == []
    agent.submit(user("hello"))
    assert run_all(agent) == ["hello"]
    clock.wait(minutes=15)
    assert run_all(agent) == [
        "Timer 1: stretch (due 2026-03-04 09:00:00, 30 minutes late, stands for 4 firings, 3 missed)",
        "tick",
    ]


def test_a_paused_event_that_was_not_queued_waits_in_the_queue(bench: Bench, clock: Clock) -> None:
    agent, _ = bench.wake(
        [calls("pause_heartbeats", minutes=30), says("quiet"), says("tock")], functions="full", window=4096
    )
    run(agent, "leave me alone")
    items: list[Item] = list(agent.turn(Event(EventKind.TIMER, "tick")))
    assert items == []
    clock.wait(minutes=31)
    assert run_all(agent) == ["tick"]
