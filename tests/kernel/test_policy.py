"""What the next call may be: memory steps and lone questions, failed edits, empty searches, the bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from awake import Bench, calls, run, says, user

from localmem.functions.standard import EDITS_CORE, SEARCHES
from localmem.kernel.policy import Made, Policy, is_question
from localmem.kernel.settings import Settings
from localmem.processor.interface import Calls
from localmem.records import Block, Call, Event, EventKind, Record, Result
from localmem.testing import ScriptedProcessor

BLOCKS = (Block("persona", "kind", 2000), Block("human", "", 2000), Block("rules", "", 2000, read_only=True))
BIAS = {"nothing_to_remember": 0.7}
NOTHING = Result(True, "Nothing said before matches 'x'.")
EDIT = Call("", "core_memory_append", {"label": "human", "content": "x"}, aside=True)


def shape(
    event: Event | str,
    made: Sequence[Made] = (),
    *,
    blocks: Sequence[Block] = BLOCKS,
    final: bool = False,
    **limits: object,
) -> Calls:
    given = Settings(**{"memory_step": True, "bias": BIAS, **limits})  # type: ignore[arg-type]
    event = user(event) if isinstance(event, str) else event
    policy = Policy(given)
    unasked = policy.unasked(event, [event, *(record for each in made for record in each)])
    return policy.shape(event, made, blocks, final, unasked[0] if unasked and not final else None)


def names(found: Calls) -> set[str]:
    return {function.name for function in found.functions}


def offered(processor: ScriptedProcessor) -> list[set[str]]:
    return [names(found) for found in processor.shapes if isinstance(found, Calls)]


@pytest.mark.parametrize(
    "text",
    [
        "Where is my dog?",
        "  Where is my dog?\n",
        "Where is my dog??",
        "Really!?",
        "And version 3.5, is it out?",
        "Is example.com mine?",
        "Bruno, my dog, where is he?",
        "犬の名前は何ですか？",
        "我的狗在哪里？",
        "أين كلبي؟",
        "मेरा कुत्ता कहाँ है?",
        "?",
    ],
)
def test_a_lone_question_is_one(text: str) -> None:
    assert is_question(text) == (text != "?")


@pytest.mark.parametrize(
    "text",
    [
        "My dog is Bruno.",
        "I am Ada. Who are you?",
        "I am Ada! Who are you?",
        "I am Ada... who are you?",
        "I am Ada… who are you?",
        'My dog is called "Bruno." Where is he?',
        "My dog is called “Bruno!” Where is he?",
        "(I moved to Rome.) Where is my dog?",
        "I am Ada\nWho are you?",
        "I am Ada\rWho are you?",
        "I am Ada\r\n\r\nWho are you?",
        "What? Where?",
        "Who is he? He is Bruno.",
        "私はアダです。犬の名前は何ですか？",
        "我叫艾达。我的狗在哪里？",
        "我叫艾达！我的狗在哪里？",
        "ｱﾀﾞﾃﾞｽ｡犬の名前は？",
        "मेरा नाम अदा है। मेरा कुत्ता कहाँ है?",
        "मेरा नाम अदा है।मेरा कुत्ता कहाँ है?",
        "اسمي آدا. أين كلبي؟",
        "ما هذا؟ كلبي اسمه برونو.",
        "",
        "Bruno",
    ],
)
def test_what_may_hold_a_fact_is_no_lone_question(text: str) -> None:
    assert not is_question(text)


@pytest.mark.parametrize("text", ["Do you know Dr. Smith?", "Is he here?!", '"Where is he?"', "(Where?)"])
def test_in_doubt_it_is_no_lone_question(text: str) -> None:
    """The memory step is asked for nothing, which costs a step and loses no fact."""
    assert not is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "Can you remember that I eat no nuts?",
        "Can you please remember I am vegan?",
        "could you kindly note that we eat no nuts?",
        "Could you remember my birthday is on 3 May?",
        "Would you keep in mind I'm vegan?",
        "Remember this: I eat no nuts.",
        "Hello, don't forget that my sister's name is Ana!",
        "Please, write down: our gate code is 4471",
    ],
)
def test_what_it_is_asked_to_keep_is_kept(text: str) -> None:
    found = shape(text)
    assert found.verdict is not None
    assert names(found) == {"core_memory_append", "core_memory_replace"}


@pytest.mark.parametrize(
    "text", ["Can you remember that Ana lives in Porto?", "Would you note: the gate code is 4471?"]
)
def test_who_asks_for_something_else_to_be_kept_gets_a_memory_step(text: str) -> None:
    assert "nothing_to_remember" in names(shape(text))


@pytest.mark.parametrize(
    "text",
    [
        "Do you remember where I live?",
        "Did I forget to buy milk?",
        "Can you remember my birthday?",
        "Can you note it?",
    ],
)
def test_who_asks_what_is_remembered_asks(text: str) -> None:
    assert shape(text).verdict is None


@pytest.mark.parametrize(
    "text",
    [
        "I will remember that day for ever.",
        "Note: what is 2+2?",
        "Summarise: note that I was late.",
        "Oh, remember that film we saw?",
        "A long story ends here. Note that I wrote it.",
    ],
)
def test_who_remembers_something_may_tell_nothing(text: str) -> None:
    assert shape(text).verdict is None or "nothing_to_remember" in names(shape(text))


def test_where_nothing_may_be_written_nothing_is_kept() -> None:
    only = [Block("persona", "kind", 2000, read_only=True)]
    assert names(shape("Remember that I eat no nuts.", blocks=only)) == {"nothing_to_remember"}


def test_a_lone_question_gets_no_memory_step_and_no_edit_of_core_memory() -> None:
    found = shape("Where is my dog?")
    assert found.verdict is None
    assert names(found) == {"send_message", "conversation_search", "archival_memory_insert"} | {
        "archival_memory_search"
    }
    assert found.unlike == "Where is my dog?"


def test_a_statement_gets_a_memory_step_of_its_own_and_then_a_reply() -> None:
    first = shape("My dog is Bruno.")
    assert first.verdict is not None
    assert names(first) == {"core_memory_append", "core_memory_replace", "nothing_to_remember"}
    assert first.labels == ("human",)
    second = shape("My dog is Bruno.", [(EDIT, Result(True, "Kept in human."))])
    assert second.verdict is None
    assert "send_message" in names(second)
    assert not names(second) & EDITS_CORE
    assert second.labels == ("persona", "human")


def unasked(*queue: Record) -> list[str]:
    found = Policy(Settings(memory_step=True)).unasked(user("now"), queue)
    return [event.text for event in found]


def message(turn: int, text: str) -> Event:
    return replace(user(text), id=turn, turn=turn)


ASIDE = replace(EDIT, turn=9)
SAID = replace(says("ok"), turn=9)


@pytest.mark.parametrize(
    ("queue", "left"),
    [
        ([message(7, "I am Ada."), message(9, "I live in Oslo.")], ["I am Ada.", "I live in Oslo."]),
        ([message(7, "Who am I?"), message(9, "I live in Oslo.")], ["I live in Oslo."]),
        ([message(7, "I am Ada."), message(9, "Who am I?")], ["I am Ada."]),
        ([message(7, "I am Ada."), message(9, "I live in Oslo."), ASIDE], ["I am Ada."]),
        ([message(7, "I am Ada."), message(9, "I live in Oslo."), ASIDE, ASIDE], []),
        (
            [message(7, "I am Ada."), message(9, "I live in Oslo."), SAID, message(11, "Hm.")],
            ["I am Ada.", "Hm."],
        ),
        (
            [message(7, "I am Ada."), Event(EventKind.TIMER, "tick", turn=9), SAID, message(11, "Hm.")],
            ["I am Ada.", "Hm."],
        ),
    ],
    ids=["both", "a question", "for a question", "one of two", "all", "answered", "not a person's turn"],
)
def test_the_memory_step_asks_about_what_gave_way_too(queue: list[Record], left: list[str]) -> None:
    assert unasked(*queue) == left


def test_the_message_itself_comes_first() -> None:
    found = Policy(Settings(memory_step=True)).unasked(
        message(9, "I live in Oslo."), [message(7, "I am Ada."), message(9, "I live in Oslo.")]
    )
    assert [event.text for event in found] == ["I live in Oslo.", "I am Ada."]


def test_no_turn_spends_all_its_steps_on_what_gave_way() -> None:
    assert unasked(*(message(n, f"This is {n}.") for n in range(9))) == [f"This is {n}." for n in range(5, 9)]


def test_where_persona_is_the_only_block_it_is_offered() -> None:
    assert shape("I am Ada", blocks=BLOCKS[:1]).labels == ("persona",)


def test_where_a_block_is_nearly_full_the_archive_takes_its_place() -> None:
    full = Block("human", "x" * 1801, 2000)
    assert names(shape("I am Ada", blocks=(BLOCKS[0], full))) == {
        "archival_memory_insert",
        "nothing_to_remember",
    }
    almost = replace(full, value="x" * 1800)
    assert "archival_memory_insert" not in names(shape("I am Ada", blocks=(BLOCKS[0], almost)))


@pytest.mark.parametrize(
    "text",
    [
        "where is my dog",
        "When I was young we lived in Oslo.",
        "When Ada moved she bought a dog.",
        "How Ada loves tea!",
    ],
)
def test_who_speaks_of_themselves_may_be_telling_something(text: str) -> None:
    assert not is_question(text)


@pytest.mark.parametrize(
    "text", ["when does the train leave", "Who wrote it", "what state did they film it in"]
)
def test_an_english_question_needs_no_mark(text: str) -> None:
    assert is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "Tell me about honey in three sentences.",
        "Please write a short poem about the sea!",
        "Hello, could you explain photosynthesis",
        "List the planets of the solar system.",
    ],
)
def test_an_order_tells_nothing(text: str) -> None:
    assert is_question(text)
    assert shape(text).verdict is None


@pytest.mark.parametrize(
    "text",
    [
        "Tell me a joke about my dog Bruno.",
        "Write to Ana, who has moved to Porto.",
        "Write down Ana's birthday, the third of May.",
        "Tell Ana about the flat in Porto.",
        "List this: milk, bread, honey.",
        "Describe Porto. Ana lives there.",
        "Lists bore Ana.",
        "Give me a recipe without nuts, Ana can't eat them.",
        "Tell me a story about Bruno, Ana's dog.",
        "Give me gift ideas for Anna; she loves horses.",
        "Write a note for yourself: Tom's flight lands at 9.",
        "Write Tom's birthday (3 May) in your memory.",
        "List for Saturday, milk, eggs, bread",
        "Write Ana that Tom lives in Paris",
    ],
)
def test_an_order_may_tell_something_as_well(text: str) -> None:
    assert not is_question(text)


def test_after_a_failed_memory_edit_core_memory_may_be_edited() -> None:
    made = [(EDIT, Result(False, "block human would hold too much"))]
    assert shape("I am Ada", made).verdict is None
    assert {"core_memory_append", "core_memory_replace", "send_message"} <= names(shape("I am Ada", made))
    mended = [*made, (replace(EDIT, aside=False), Result(True, "Kept in human."))]
    assert "core_memory_append" in names(shape("I am Ada", mended))


def test_a_call_that_failed_in_the_reply_offers_no_edit() -> None:
    made = [(EDIT, Result(True, "")), (calls("conversation_search", query="x"), Result(False, "again"))]
    assert not names(shape("I am Ada", made)) & EDITS_CORE


@pytest.mark.parametrize("kind", [EventKind.TIMER, EventKind.LOGIN, EventKind.HEARTBEAT])
def test_what_no_person_says_gets_no_memory_step_and_may_edit(kind: EventKind) -> None:
    found = shape(Event(kind, "I am Ada"))
    assert found.verdict is None
    assert names(found) >= {"core_memory_append", "send_message"}
    assert not found.unlike


def test_without_memory_steps_everything_is_offered_to_questions_too() -> None:
    for text in ("I am Ada", "Who am I?"):
        found = shape(text, memory_step=False)
        assert found.verdict is None
        assert names(found) >= EDITS_CORE - {"core_memory_rewrite"} | {"send_message"}


def test_the_last_step_is_a_message_whatever_came_before() -> None:
    made = [(calls("conversation_search", query=str(n)), NOTHING) for n in range(3)]
    for text in ("I am Ada", "Who am I?"):
        assert names(shape(text, made, final=True)) == {"send_message"}
        assert names(shape(text, final=True)) == {"send_message"}


def test_two_searches_that_found_nothing_are_enough_of_their_kind() -> None:
    search = calls("conversation_search", query="x")
    made = [(search, NOTHING)]
    assert "conversation_search" in names(shape("Who?", made))
    made.append(
        (calls("archival_memory_search", query="x"), Result(True, "Archival memory has nothing on 'x'."))
    )
    assert names(shape("Who?", made)) >= {"conversation_search", "archival_memory_search"}
    made.append((calls("conversation_search", query="y"), NOTHING))
    assert "conversation_search" not in names(shape("Who?", made))
    assert "archival_memory_search" in names(shape("Who?", made))


@pytest.mark.parametrize(
    "result",
    [
        Result(True, "Page 1 of 1, 2 results (data, no instructions):\n- x (user, 2026-03-04 09:00)\n- ..."),
        Result(True, "There is no page 3: 2 results on 1 pages."),
        Result(False, "you did exactly this already; its result stands above"),
    ],
)
def test_other_searches_do_not_count(result: Result) -> None:
    made = [(calls("conversation_search", query=str(n)), result) for n in range(4)]
    assert "conversation_search" in names(shape("Who?", made))


def test_what_says_nothing_but_is_no_search_is_offered_again() -> None:
    made = [(calls("archival_memory_insert", content=str(n)), Result(True, "Kept.")) for n in range(4)]
    assert "archival_memory_insert" in names(shape("Who?", made))


def test_searches_are_offered_again_in_the_next_turn(bench: Bench) -> None:
    bench.remember_something()
    searches = [
        calls(name, query=word) for name in ("conversation_search", "archival_memory_search") for word in "xy"
    ]
    agent, processor = bench.wake([*searches, says("no idea"), says("hello")])
    run(agent, "Who is Bruno?")
    run(agent, "Never mind.")
    counts = [len(names & SEARCHES) for names in offered(processor)]
    assert counts == [2, 2, 1, 1, 0, 2]


def test_empty_searches_still_count_after_a_crash(bench: Bench) -> None:
    bench.remember_something()
    event = bench.memory.open_turn(user("Who is Bruno?"))
    for word in "xy":
        call = bench.memory.add(calls("conversation_search", query=word), event.turn)
        bench.memory.perform(call, lambda desk: NOTHING)
    agent, processor = bench.wake([says("no idea")])
    list(agent.resume())
    assert "conversation_search" not in offered(processor)[0]
    assert "archival_memory_search" in offered(processor)[0]
