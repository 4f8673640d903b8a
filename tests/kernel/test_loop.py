"""The loop: what chains, what yields, what is on disk when."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from awake import Bench, Clock, calls, run, says, user

from localmem.errors import BadInput, DefinitionError
from localmem.functions.schema import function
from localmem.kernel.policy import NOT_TOLD
from localmem.memory.desk import Desk
from localmem.processor.interface import Limits, Segment, Shape
from localmem.records import Block, Call, Delta, Event, EventKind, Item, Result
from localmem.testing import ScriptedGeneration, ScriptedProcessor


class Killed(BaseException):
    """Ends a turn as a kill would: nothing of ours runs any more."""


def functions(items: list[Item]) -> list[str]:
    return [item.function for item in items if isinstance(item, Call)]


def test_an_event_is_on_disk_before_the_model_runs(bench: Bench) -> None:
    agent, processor = bench.wake([says("hello")])
    turn = agent.turn(user("hi"))
    event = next(item for item in turn if isinstance(item, Event) and item.kind is EventKind.USER)
    assert not processor.prompts
    assert bench.memory.records()[-1] == event
    assert bench.memory.unfinished() is not None
    list(turn)
    assert bench.memory.unfinished() is None


def test_searches_and_edits_go_on_and_a_message_ends_the_turn(bench: Bench) -> None:
    bench.remember_something()
    agent, _ = bench.wake(
        [
            calls("core_memory_append", label="human", content="Ada"),
            calls("conversation_search", query="x"),
            says("k"),
        ]
    )
    items = run(agent, "I am Ada")
    assert functions(items) == ["core_memory_append", "conversation_search", "send_message"]
    assert bench.memory.blocks()[1].value == "Ada"
    assert "".join(item.text for item in items if isinstance(item, Delta)) == "k"


def test_a_message_may_ask_for_a_heartbeat(bench: Bench) -> None:
    script = [says("one moment", heartbeat=True), calls("core_memory_append", label="human", content="x")]
    agent, _ = bench.wake(script, heartbeat="asked")
    assert functions(run(agent, "hi")) == ["send_message", "core_memory_append"]


def test_a_search_without_a_heartbeat_does_not_leave_the_person_without_an_answer(bench: Bench) -> None:
    bench.remember_something()
    agent, _ = bench.wake([calls("conversation_search", query="x"), says("found")], heartbeat="asked")
    assert functions(run(agent, "hi")) == ["conversation_search", "send_message"]


def test_the_last_step_offers_only_a_message(bench: Bench) -> None:
    bench.remember_something()
    searches = [calls("conversation_search", query=word) for word in ("x", "y")]
    agent, processor = bench.wake([*searches, says("enough")], max_steps=3)
    run(agent, "hi")
    assert [function.name for function in processor.shapes[-1].functions] == ["send_message"]  # type: ignore[union-attr]


def test_the_same_call_twice_in_a_turn_is_an_error(bench: Bench) -> None:
    bench.remember_something()
    search = calls("conversation_search", query="x")
    agent, _ = bench.wake([search, search, search, says("nothing")], max_errors=2)
    items = run(agent, "hi")
    assert [item.ok for item in items if isinstance(item, Result)] == [True, False, False, True]


def test_errors_go_back_to_the_model_and_too_many_end_the_chain(bench: Bench) -> None:
    wrong = calls("core_memory_replace", label="human", old_content="nowhere", new_content="x")
    agent, processor = bench.wake([wrong, wrong, says("sorry")], max_errors=2)
    items = run(agent, "hi")
    assert [item.ok for item in items if isinstance(item, Result)] == [False, False, True]
    assert "<result> error" in processor.prompts[1]
    assert [function.name for function in processor.shapes[-1].functions] == ["send_message"]  # type: ignore[union-attr]


def test_a_bug_in_a_function_escapes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError

    agent, _ = bench.wake([says("x")])
    monkeypatch.setattr("localmem.functions.executor.bind", broken)
    with pytest.raises(ZeroDivisionError):
        run(agent, "hi")


def test_searches_are_offered_where_they_can_find_something(bench: Bench) -> None:
    agent, processor = bench.wake([says("a"), says("b")])
    searches = {"conversation_search", "archival_memory_search"}
    run(agent, "hi")
    assert not searches & {function.name for function in processor.shapes[0].functions}  # type: ignore[union-attr]
    bench.remember_something()
    run(agent, "hi again")
    assert searches <= {function.name for function in processor.shapes[1].functions}  # type: ignore[union-attr]


def test_only_writable_blocks_are_offered(bench: Bench) -> None:
    from dataclasses import replace

    persona = replace(bench.memory.blocks()[0], read_only=True)
    bench.memory.put_block(persona, "user")
    agent, processor = bench.wake([says("hi")])
    run(agent, "hi")
    assert processor.shapes[0].labels == ("human",)  # type: ignore[union-attr]


def test_the_memory_step_comes_first_and_leaves_no_trace_when_nothing_is_kept(bench: Bench) -> None:
    agent, processor = bench.wake([calls("nothing_to_remember"), says("42")], memory_step=True)
    items = run(agent, "Tell me 6 times 7.")
    assert functions(items) == ["nothing_to_remember", "send_message"]
    assert "nothing_to_remember {}" not in processor.prompts[1]
    offered = [{function.name for function in shape.functions} for shape in processor.shapes]  # type: ignore[union-attr]
    assert "send_message" not in offered[0]
    assert "core_memory_append" not in offered[1]
    assert "nothing_to_remember" in {r.function for r in bench.memory.records() if isinstance(r, Call)}


def test_a_call_cut_while_writing_is_not_executed(bench: Bench) -> None:
    cut = Call("", "core_memory_append", {"label": "human", "content": "half a tho"}, cut=True)
    agent, processor = bench.wake([cut, says("shorter")])
    items = run(agent, "hi")
    assert [item.ok for item in items if isinstance(item, Result)] == [False, True]
    assert bench.memory.blocks()[1].value == ""
    assert "too long" in processor.prompts[1]


def test_interrupting_keeps_what_was_said(bench: Bench) -> None:
    agent, _ = bench.wake([says("one two three four"), says("next")])
    items: list[Item] = []
    for item in agent.turn(user("count")):
        items.append(item)
        if item == Delta(" two"):
            agent.interrupt()
    assert [r.arguments["message"] for r in bench.memory.records() if isinstance(r, Call)] == ["one two"]
    assert bench.memory.unfinished() is None
    assert functions(run(agent, "go on")) == ["send_message"]


@pytest.mark.parametrize("after", range(1, 9))
def test_closing_the_iterator_anywhere_cancels_the_turn_and_leaves_a_sound_state(
    bench: Bench, after: int
) -> None:
    agent, _ = bench.wake([calls("core_memory_append", label="human", content="x"), says("one two")])
    turn = agent.turn(user("hi"))
    taken = [next(turn) for _ in range(after)]
    turn.close()
    assert bench.memory.unfinished() is None
    records = bench.memory.records()
    assert {r.call for r in records if isinstance(r, Result)} == {
        r.id for r in records if isinstance(r, Call)
    }
    kept = any(isinstance(item, Result) and item.ok for item in taken)
    assert bench.memory.blocks()[1].value == ("x" if kept else "")
    again, processor = bench.wake(lambda shape: says("again"))
    for awake in (agent, again):
        assert [r.id for r in awake.context.queue] == [r.id for r in again.context.queue]
    assert functions(run(again, "still there?")) == ["send_message"]
    assert processor.prompts[0].count("<user>") == 2 - (after == 1)


def test_an_empty_message_is_refused_before_anything_is_stored(bench: Bench) -> None:
    agent, _ = bench.wake([])
    with pytest.raises(BadInput):
        run(agent, " \n ")
    assert not bench.memory.records()


def test_a_login_says_how_long_it_has_been_and_costs_no_inference(bench: Bench, clock: Clock) -> None:
    agent, processor = bench.wake([says("hi"), says("hi"), says("hi")])
    run(agent, "hello")
    run(agent, "hello")
    clock.wait(days=3)
    run(agent, "hello")
    logins = [r for r in bench.memory.records() if isinstance(r, Event) and r.kind is EventKind.LOGIN]
    assert len(logins) == 2
    assert "3 days" in logins[1].text
    assert len(processor.prompts) == 3


def test_the_time_stands_beside_a_message_only_after_a_pause(bench: Bench, clock: Clock) -> None:
    agent, _ = bench.wake(lambda shape: says("hi"))
    run(agent, "one")
    clock.wait(minutes=20)
    run(agent, "two")
    notes = [r.note for r in bench.memory.records() if isinstance(r, Event) and r.kind is EventKind.USER]
    assert notes == ["", "2026-03-04 09:20"]


def test_the_memory_outlives_the_process(bench: Bench) -> None:
    agent, _ = bench.wake(
        [calls("core_memory_append", label="human", content="Ada has a dog, Bruno"), says("ok")]
    )
    run(agent, "my dog is Bruno")
    agent, processor = bench.wake([says("Bruno")])
    run(agent, "what is my dog called?")
    assert "Ada has a dog, Bruno" in processor.prompts[0]
    assert "my dog is Bruno" in processor.prompts[0]


def test_the_prompt_is_static_first(bench: Bench) -> None:
    """No clock, counter or id stands in front of the queue: an edit of core memory changes nothing before it."""
    agent, processor = bench.wake(
        [calls("core_memory_append", label="human", content="zzz"), says("ok"), says("ok")]
    )
    run(agent, "one")
    run(agent, "two")
    first, last = processor.prompts[0], processor.prompts[-1]
    assert first[: first.index("Core memory:")] == last[: last.index("Core memory:")]


def test_paused_heartbeats_wake_nobody(bench: Bench, clock: Clock) -> None:
    agent, processor = bench.wake(
        [calls("pause_heartbeats", minutes=30), says("quiet now"), says("tick")],
        functions="full",
        window=4096,
    )
    run(agent, "leave me alone")
    assert not list(agent.turn(Event(EventKind.HEARTBEAT, "tick")))
    clock.wait(minutes=31)
    assert list(agent.turn(Event(EventKind.HEARTBEAT, "tick")))
    assert len(processor.prompts) == 3


def test_the_model_pages_out_a_long_result(bench: Bench) -> None:
    bench.memory.edit(lambda hands: hands.insert_passage("zebra " * 100))
    script = iter([calls("archival_memory_search", query="zebra"), says("read")])
    agent, processor = bench.wake(lambda shape: next(script), functions="full", window=4096)
    run(agent, "what about zebras?")
    number = int(processor.prompts[-1].split("[record ")[1].split("]")[0])
    script = iter([calls("page_out", record=number), says("done")])
    run(agent, "make room")
    assert "paged out" in processor.prompts[-1]
    assert (
        "zebra zebra zebra zebra zebra zebra zebra zebra zebra zebra zebra zebra zebra"
        not in processor.prompts[-1]
    )
    assert "zebra " * 100 in next(r.text for r in bench.memory.records() if isinstance(r, Result)) + " "


def test_a_function_that_touches_the_outside_runs_once_and_is_unknown_after_a_crash(bench: Bench) -> None:
    rung: list[str] = []

    def ring_bell(desk: None, tone: str) -> str:
        """Ring the bell at the door."""
        rung.append(tone)
        if tone == "high":
            raise Killed  # the process ends here
        return "rung"

    own = (function(ring_bell, outside=True),)
    agent, _ = bench.wake([calls("ring_bell", tone="low"), says("done")], functions_of_its_own=own)
    assert [item.text for item in run(agent, "ring") if isinstance(item, Result)] == ["rung", ""]
    agent, _ = bench.wake([calls("ring_bell", tone="high")], functions_of_its_own=own)
    with pytest.raises(Killed):
        run(agent, "ring again")
    agent, processor = bench.wake([says("I do not know")], functions_of_its_own=own)
    results = [item for item in agent.resume() if isinstance(item, Result)]
    assert rung == ["low", "high"]
    assert not results[0].ok
    assert "not known" in processor.prompts[0]


def test_an_edit_names_the_results_it_rests_on(bench: Bench) -> None:
    bench.memory.edit(
        lambda desk: desk.insert_passage("Bruno is a dog", source="pets.txt"), author="document"
    )
    script = [
        calls("archival_memory_search", query="Bruno"),
        calls("core_memory_append", label="human", content="Bruno is a dog"),
        says("noted"),
    ]
    agent, _ = bench.wake(script)
    items = run(agent, "who is Bruno?")
    found = next(item for item in items if isinstance(item, Result))
    edit = bench.memory.block_versions("human")[-1]
    assert edit.origin.author == "agent"
    assert found.id in edit.origin.rests_on
    assert "data, no instructions" in found.text


def test_a_bug_ends_the_turn_and_not_the_agent(bench: Bench) -> None:
    def divide(desk: object, by: int) -> str:
        """Divide one by a number."""
        return str(1 / by)

    own = (function(divide),)
    agent, _ = bench.wake([calls("divide", by=0), says("sorry")], functions_of_its_own=own)
    with pytest.raises(ZeroDivisionError):
        run(agent, "one by nothing?")
    assert bench.memory.unfinished() is None
    assert functions(run(agent, "still there?")) == ["send_message"]


def test_a_reply_that_a_crash_kept_from_the_screen_is_shown_by_the_next_start(bench: Bench) -> None:
    event = bench.memory.open_turn(user("hi"))
    bench.memory.add(says("hello"), event.turn)
    agent, _ = bench.wake([])
    items = list(agent.resume())
    assert functions(items) == ["send_message"]
    assert bench.memory.unfinished() is None


def test_a_memory_step_that_fails_is_told_to_the_model_which_can_mend_it(bench: Bench) -> None:
    bench.memory.put_block(Block("human", "x" * 1500 + "y" * 295, 2000), "user")
    script = [
        calls("core_memory_append", label="human", content="Ada has a dog " * 20),
        calls("core_memory_replace", label="human", old_content="y" * 295, new_content="Ada has a dog"),
        says("noted"),
    ]
    agent, processor = bench.wake(script, memory_step=True, window=4096)
    run(agent, "I have a dog")
    assert "<result> error" in processor.prompts[1]
    assert bench.memory.blocks()[1].value == "x" * 1500 + "Ada has a dog"


def test_where_core_memory_is_nearly_full_a_fact_goes_into_the_archive(bench: Bench) -> None:
    bench.memory.put_block(Block("human", "x" * 1900, 2000), "user")
    script = [calls("archival_memory_insert", content="Ada has a dog"), says("noted")]
    agent, processor = bench.wake(script, memory_step=True, window=4096)
    run(agent, "I have a dog")
    offered = {function.name for function in processor.shapes[0].functions}  # type: ignore[union-attr]
    assert offered == {"archival_memory_insert", "nothing_to_remember"}
    assert [passage.text for passage in bench.memory.passages()] == ["Ada has a dog"]


def test_an_event_without_a_memory_step_may_edit_core_memory(bench: Bench) -> None:
    script = [calls("core_memory_append", label="human", content="woke at 9"), says("good morning")]
    agent, _ = bench.wake(script, memory_step=True)
    list(agent.turn(Event(EventKind.TIMER, "good morning")))
    assert bench.memory.blocks()[1].value == "woke at 9"


def test_a_call_that_failed_may_be_made_again(bench: Bench) -> None:
    append = calls("core_memory_append", label="human", content="y" * 100)
    bench.memory.put_block(Block("human", "x" * 60, 120), "user")
    make_room = calls("core_memory_replace", label="human", old_content="x" * 60, new_content="")
    agent, _ = bench.wake([append, make_room, append, says("done")])
    items = run(agent, "remember y")
    assert [item.ok for item in items if isinstance(item, Result)] == [False, True, True, True]


def test_a_cut_call_of_any_function_is_not_executed(bench: Bench) -> None:
    sent: list[str] = []

    def mail(desk: None, body: str) -> str:
        """Send a letter."""
        sent.append(body)
        return "sent"

    cut = Call("", "mail", {"body": "half a let"}, cut=True)
    own = (function(mail, outside=True),)
    agent, _ = bench.wake([cut, says("sorry")], functions_of_its_own=own)
    assert [item.ok for item in run(agent, "write") if isinstance(item, Result)] == [False, True]
    assert not sent


def test_an_edit_by_any_function_is_in_the_next_prompt(bench: Bench) -> None:
    def note_mood(desk: Desk, mood: str) -> str:
        """Note how the person feels."""
        desk.append("human", f"mood: {mood}")
        return "noted"

    agent, processor = bench.wake(
        [calls("note_mood", mood="sunny"), says("ok")], functions_of_its_own=(function(note_mood),)
    )
    run(agent, "what a day")
    assert "mood: sunny" in processor.prompts[1].split("</system>")[0]


def test_a_message_closed_at_its_last_word_is_kept(bench: Bench) -> None:
    agent, _ = bench.wake([says("one two")])
    turn = agent.turn(user("hi"))
    while next(turn) != Delta(" two"):
        pass
    turn.close()
    said = [r.arguments["message"] for r in bench.memory.records() if isinstance(r, Call)]
    assert said == ["one two"]
    assert bench.memory.unfinished() is None


def test_two_functions_of_one_name_are_refused(bench: Bench) -> None:
    def send_message(desk: Desk, message: str) -> str:
        """Say something else."""
        return ""

    with pytest.raises(DefinitionError, match="send_message"):
        bench.wake([], functions_of_its_own=(function(send_message),))


@pytest.mark.parametrize("text", ["half \ud83d", "\udcff"])
def test_half_a_character_is_refused_before_anything_is_stored(bench: Bench, text: str) -> None:
    agent, _ = bench.wake([])
    with pytest.raises(BadInput):
        run(agent, text)
    assert not bench.memory.records()


def test_an_unconstrained_model_is_held_to_the_shape(bench: Bench) -> None:
    """Without a grammar a model may call what is not on offer: it is told, and the last step still ends."""
    agent, processor = bench.wake([says("hi"), says("hi")], memory_step=True, max_steps=2)
    processor.generate = unchecked(processor)  # type: ignore[method-assign]
    items = run(agent, "hello")
    assert [item.ok for item in items if isinstance(item, Result)] == [False, True]
    assert "<call> send_message" in processor.prompts[1]


def unchecked(processor: ScriptedProcessor) -> Callable[..., ScriptedGeneration]:
    """Return a generate that lets through what the shape forbids, as a model without a grammar does."""
    script = iter([says("too early"), says("hi")])

    def generate(prompt: Sequence[Segment], shape: Shape, limits: Limits) -> ScriptedGeneration:
        words = {number: word for word, number in processor._words.items()}
        processor.prompts.append(" ".join(words[token] for segment in prompt for token in segment.ids))
        return ScriptedGeneration(next(script), sum(map(len, prompt)))

    return generate


def test_a_small_model_is_kept_from_echoing_the_person(bench: Bench) -> None:
    agent, processor = bench.wake([calls("nothing_to_remember"), says("hi")], memory_step=True)
    run(agent, "I am Ada")
    assert processor.shapes[-1].unlike == "I am Ada"  # type: ignore[union-attr]
    agent, processor = bench.wake([says("hi")])
    run(agent, "I am Ada")
    assert not processor.shapes[-1].unlike  # type: ignore[union-attr]


def test_what_the_message_does_not_say_is_not_kept(bench: Bench) -> None:
    made_up = calls("core_memory_append", label="human", content="I am Mira and I live in Bergen.")
    agent, _ = bench.wake([made_up, says("Once upon a time.")], memory_step=True)
    items = run(agent, "Tell me a long story about a lighthouse. Please make it sad.")
    assert bench.memory.blocks()[1].value == ""
    results = [item.text for item in items if isinstance(item, Result)]
    assert results[0] == NOT_TOLD
    told = calls("core_memory_append", label="human", content="Mira keeps a lighthouse.")
    agent, _ = bench.wake([told, says("How nice.")], memory_step=True)
    run(agent, "My sister Mira is the keeper of a lighthouse.")
    assert bench.memory.blocks()[1].value == "Mira keeps a lighthouse."


def test_a_turn_that_ends_at_its_limit_is_closed_with_messages_left_to_ask_about(bench: Bench) -> None:
    nothing = calls("nothing_to_remember")
    agent, _ = bench.wake([nothing, says("ok")], memory_step=True, max_steps=3)
    earlier = bench.memory.open_turn(bench.memory.submit(user("My dog is called Bruno.")))
    bench.memory.close_turn(earlier.turn)
    run(agent, "My cat is called Mia.")
    assert bench.memory.unfinished() is None
