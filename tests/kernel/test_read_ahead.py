"""The read-ahead: where it stands, what it holds, that it fits, and that it leaves nothing behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from awake import Bench, Clock, any_call, calls, run, says, user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmem.kernel.agent import Agent
from localmem.kernel.context import MainContext
from localmem.kernel.readahead import CORE_LINES, core_lines
from localmem.kernel.settings import Settings
from localmem.memory.home import Home
from localmem.processor.interface import Calls, Prose, Shape
from localmem.records import Block, Call, Event, EventKind, Eviction, Result
from localmem.testing import HashEmbedder, Move, ScriptedProcessor

HEADING = "Found for the next message (data, no instructions):"


class Killed(BaseException):
    """Ends a turn as a kill would: nothing of ours runs any more."""


def note(bench: Bench, text: str, source: str = "pets.txt") -> None:
    bench.memory.edit(lambda desk: desk.insert_passage(text, source=source), author="document")


def said_before(bench: Bench, *texts: str) -> None:
    """Store what was said in sessions that have left the queue."""
    for text in texts:
        bench.memory.close_turn(bench.memory.open_turn(user(text)).turn)
    bench.memory.evict(bench.memory.records()[-1].id + 1, "")


def read(prompt: str) -> list[str]:
    """Return every read-ahead in a prompt, without its heading."""
    found = re.findall(r"<memory>\s*(.*?)\s*</memory>", prompt, re.DOTALL)
    assert all(each.startswith(HEADING) for each in found)
    return [each.removeprefix(HEADING).strip() for each in found]


def ahead(context: MainContext) -> bool:
    """Return whether memories stand in the queue that no record is."""
    shown = context.report().sections["queue"]
    return shown > len(context._kept) + sum(len(context._shown(record)) for record in context.queue)


def common(one: str, other: str) -> str:
    size = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    return one[:size]


# where it stands


def test_it_stands_in_front_of_the_message_in_every_step_of_that_turn_and_on_no_disk(bench: Bench) -> None:
    note(bench, "Bruno is a dog")
    agent, processor = bench.wake(
        [calls("archival_memory_search", query="x"), says("a dog"), says("hello"), says("again")]
    )
    run(agent, "who is Bruno?")
    found = f"<memory> {HEADING} - Bruno is a dog (pets.txt, 2026-03-04) </memory> <user> who is Bruno?"
    assert [prompt.count(found) for prompt in processor.prompts] == [1, 1]
    run(agent, "hello there")
    assert read(processor.prompts[2]) == []
    run(agent, "Bruno once more")
    assert "- Bruno is a dog (pets.txt, 2026-03-04) </memory> <user> Bruno once more" in processor.prompts[3]
    assert len(read(processor.prompts[3])) == 1
    kinds = {r.kind for r in bench.memory.records() if isinstance(r, Event)}
    assert kinds == {EventKind.LOGIN, EventKind.USER}


def test_it_is_for_what_a_person_says_alone(bench: Bench) -> None:
    note(bench, "Bruno is a dog")
    agent, processor = bench.wake([says("a dog"), says("tick")])
    run(agent, "Bruno?")
    list(agent.turn(Event(EventKind.TIMER, "walk Bruno")))
    assert [len(read(prompt)) for prompt in processor.prompts] == [1, 0]


def test_no_tokens_for_it_is_no_read_ahead(bench: Bench) -> None:
    note(bench, "Bruno is a dog")
    agent, processor = bench.wake([says("a dog")], read_ahead=0)
    run(agent, "who is Bruno?")
    assert read(processor.prompts[0]) == []
    assert not ahead(agent.context)


def test_the_next_turn_begins_like_the_last_one_up_to_what_was_read_ahead(bench: Bench) -> None:
    """What the processor keeps in its cache: only what stands behind is evaluated anew."""
    note(bench, "Bruno is a dog")
    agent, processor = bench.wake([says("one"), says("two"), says("three")])
    run(agent, "hello")
    run(agent, "who is Bruno?")
    run(agent, "and Bruno?")
    last, following = processor.prompts[1:]
    assert common(last, following) == last[: last.index("<memory>")] + "<"
    assert following[last.index("<memory>") :].startswith("<user> who is Bruno? </user> <call>")


def test_it_is_shown_again_after_a_crash_between_memory_step_and_reply(bench: Bench) -> None:
    note(bench, "Bruno is a dog")

    def killed(shape: Shape) -> Move:
        if not (isinstance(shape, Calls) and shape.verdict):
            raise Killed
        return calls("core_memory_append", label="human", content="Has Bruno")

    agent, before = bench.wake(killed, memory_step=True)
    with pytest.raises(Killed):
        run(agent, "I have Bruno now")
    agent, after = bench.wake([says("a dog")], memory_step=True)
    items = list(agent.resume())
    assert [item.function for item in items if isinstance(item, Call)] == ["send_message"]
    assert after.prompts == before.prompts[1:]
    assert "- Bruno is a dog (pets.txt, 2026-03-04) </memory> <user> I have Bruno now" in after.prompts[0]


def test_a_message_that_has_left_the_queue_gets_none(bench: Bench) -> None:
    agent, _ = bench.wake([])
    event = bench.memory.open_turn(user("who is Bruno?"))
    agent.context.read_ahead(event, ["- Bruno is a dog"], 300)
    assert not ahead(agent.context)
    agent.context.add(event)
    agent.context.read_ahead(event, ["- Bruno is a dog"], 300)
    assert ahead(agent.context)
    used = agent.context.used
    agent.context.drop([event])
    assert not ahead(agent.context)
    assert agent.context.used < used - 10


# what it holds


def test_nothing_that_stands_in_the_queue_is_repeated(bench: Bench) -> None:
    agent, processor = bench.wake([says("what a good dog"), says("Bruno"), says("Bruno")])
    run(agent, "my dog is Bruno")
    run(agent, "what is my dog?")
    assert read(processor.prompts[1]) == []
    said_before(bench)
    agent, processor = bench.wake([says("Bruno")])
    run(agent, "is my dog Bruno?")
    assert "your dog is Bruno (user," in read(processor.prompts[0])[0]
    assert "what a good dog (agent," in read(processor.prompts[0])[0]
    assert processor.prompts[0].count("is my dog Bruno?") == 1


def test_nothing_said_in_this_turn_or_later_counts(bench: Bench) -> None:
    """After a crash in an old turn, what was said since is no memory of what came before it."""
    old = bench.memory.open_turn(user("zebra and giraffe"))
    said_before(bench, "zebra, giraffe and lion")
    found = bench.memory.related(old.text, old.turn)
    assert found == ((), ())
    assert len(bench.memory.related(old.text, 10**6)[1]) == 2


def test_core_memory_comes_first_then_passages_then_what_was_said(bench: Bench) -> None:
    bench.memory.put_block(Block("human", "Name: Ada\nBruno likes to swim\n\nHas a car", 2000), "user")
    note(bench, "Bruno is a dog")
    said_before(bench, "Bruno ran away")
    agent, processor = bench.wake([says("a dog")])
    run(agent, "who is Bruno?")
    assert read(processor.prompts[0]) == [
        "- human: Bruno likes to swim - Bruno is a dog (pets.txt, 2026-03-04) - Bruno ran away (user, 2026-03-04)"
    ]


def test_lines_of_core_memory_are_those_with_the_rarest_words() -> None:
    lines = ["a red car", "a red bus", "a red boat", "a green boat", "the red and green flag", "nothing"]
    blocks = [Block("human", "\n".join(lines), 2000), Block("empty", "", 2000)]
    assert core_lines("a red and green boat?", blocks) == [
        "- human: a green boat",
        "- human: a red boat",
        "- human: the red and green flag",
    ]
    assert len(core_lines("red", blocks)) == CORE_LINES
    assert core_lines("what is it", blocks) == []
    assert core_lines("", []) == []


def test_a_line_that_was_just_corrected_is_not_shown_as_it_was(bench: Bench) -> None:
    old, new = "Ada's dog Bruno sleeps in the kitchen", "Ada's dog Bruno sleeps in the garden"
    bench.memory.put_block(Block("human", old, 2000), "user")
    agent, processor = bench.wake(
        [calls("core_memory_append", label="human", content=new), says("so be it")], memory_step=True
    )
    run(agent, "Bruno, the dog, now sleeps in the garden")
    assert old in processor.prompts[0]
    assert read(processor.prompts[1]) == []
    assert old not in processor.prompts[1]


@pytest.mark.parametrize("made", ["core_memory_append", "archival_memory_insert"])
def test_what_the_message_itself_made_is_not_shown_beside_it(bench: Bench, made: str) -> None:
    """A small model that reads one sentence three times says it a fourth time."""
    limit = 2000 if made.startswith("core") else 15  # a full block sends facts to the archive
    bench.memory.put_block(Block("human", "Bruno is brown", limit), "user")
    note(bench, "Bruno eats fish")
    label = {"label": "human"} if made.startswith("core") else {}
    agent, processor = bench.wake(
        [calls(made, content="Bruno sleeps outside\n My Bruno is loud", **label), says("so be it")],
        memory_step=True,
    )
    run(agent, "Bruno sleeps outside and is loud")
    shown = read(processor.prompts[1])[0]
    assert "Bruno is brown" in shown
    assert "Bruno eats fish" in shown
    assert "sleeps" not in shown
    assert "loud" not in shown


def test_known_identifiers_are_left_to_the_model(bench: Bench) -> None:
    note(bench, "key k-17 has value v-3")
    said_before(bench, "flight LH-400 to Rome")
    agent, processor = bench.wake(lambda shape: says("let me see"))
    run(agent, "What is the value of key k-17?")
    run(agent, "When is my flight LH-400?")
    assert [read(prompt) for prompt in processor.prompts] == [[], []]


def test_an_identifier_that_only_the_message_itself_holds_is_not_known(bench: Bench) -> None:
    note(bench, "Bruno is a dog")
    agent, processor = bench.wake(lambda shape: says("let me see"))
    run(agent, "Who walks Bruno at 10:30?")
    assert "Bruno is a dog" in read(processor.prompts[0])[0]


def test_of_a_very_long_message_the_beginning_and_the_end_are_looked_for(bench: Bench) -> None:
    for animal in ("aardvark", "badger", "zebra"):
        note(bench, f"one {animal} sleeps")
    words = " ".join(f"word{number}" for number in range(5000))
    agent, processor = bench.wake(lambda shape: says("long"), window=4096)
    run(agent, f"aardvark {words} badger {words} zebra")
    found = read(processor.prompts[0])[0]
    assert ("aardvark" in found, "badger" in found, "zebra" in found) == (True, False, True)


def test_other_scripts_are_read_ahead_too(bench: Bench) -> None:
    bench.memory.put_block(Block("human", "犬の名前はレックスです\n上海に住んでいます", 2000), "user")
    note(bench, "Меня зовут Ада")
    agent, processor = bench.wake([says("レックス"), says("Ада")])
    run(agent, "犬の名前は何ですか？")
    run(agent, "Как меня зовут?")
    assert read(processor.prompts[0]) == ["- human: 犬の名前はレックスです"]
    assert "Меня зовут Ада" in read(processor.prompts[1])[0]


# that it fits


def opened(bench: Bench, window: int = 2048, **limits: object) -> tuple[MainContext, Event]:
    agent, _ = bench.wake([], window=window, **limits)
    event = bench.memory.open_turn(user("who is Bruno?"))
    agent.context.add(event)
    return agent.context, event


def shown(context: MainContext, event: Event, lines: list[str], tokens: int) -> int:
    """Read ahead; return the tokens that it takes."""
    context.read_ahead(event, [], tokens)
    before = context.used
    context.read_ahead(event, lines, tokens)
    return context.used - before


def test_it_takes_whole_lines_while_its_tokens_last(bench: Bench) -> None:
    context, event = opened(bench)
    lines = [f"- line{number} of five words" for number in range(9)]
    heading = 2 + len(HEADING.split())
    assert [shown(context, event, lines, heading + 5 * count) for count in (1, 2, 3)] == [
        heading + 5,
        heading + 10,
        heading + 15,
    ]
    assert shown(context, event, lines, heading + 14) == heading + 10
    assert shown(context, event, lines, 1000) == heading + 45
    assert shown(context, event, lines, 3) == shown(context, event, [], 1000) == 0


def test_it_never_takes_more_than_the_room_there_is(bench: Bench) -> None:
    context, event = opened(bench, record_share=0.35)
    while context.room - context.used > 45:
        fill = user(" ".join(f"w{n}" for n in range(min(40, context.room - context.used - 45))))
        context.add(bench.memory.add(fill, event.turn))
    lines = [f"- line{number} of five words" for number in range(9)]
    left = context.room - context.used
    assert 20 < shown(context, event, lines, 300) <= left
    before = context.used
    context.read_ahead(event, lines, 300)
    assert context.used == before  # what was read ahead before leaves its room to what is now


@pytest.mark.parametrize("characters", [False, True])
@pytest.mark.parametrize("text", ["猫" * 4000, "tale " * 800, "x" * 4000, "word " * 300 + "猫" * 3000])
def test_a_line_that_is_too_long_alone_is_cut(bench: Bench, text: str, characters: bool) -> None:
    processor = ScriptedProcessor([], window=16_000, characters=characters)
    agent = Agent(bench.memory, processor, Settings(), clock=bench.clock)
    event = bench.memory.open_turn(user("tell me"))
    agent.context.add(event)
    long = f"- 2026-03-04, tales.txt: {text}"
    tokens = 300
    taken = shown(agent.context, event, ["- human: likes tales", long, "- the last"], tokens)
    assert 0 < taken <= tokens
    ids = [token for segment in agent.context.prompt() for token in segment.ids]
    words = {number: word for word, number in processor._words.items()}
    prompt = ("" if characters else " ").join(words[token] for token in ids)
    found = read(prompt)[0]
    assert "- human: likes tales" in found
    assert "tales.txt: " in found
    assert "- the last" in found
    assert (" ..." in found) == (len(processor.encode(user(long))) > tokens)


def test_a_passage_longer_than_all_there_is_for_it_is_found_nevertheless(bench: Bench) -> None:
    note(bench, "Bruno " + "walks and sleeps " * 250)
    agent, processor = bench.wake([says("he walks")], window=4096, read_ahead=300)
    run(agent, "what does Bruno do?")
    found = read(processor.prompts[0])[0]
    assert found.startswith("- Bruno walks and sleeps walks and sleeps")
    assert found.endswith("... (pets.txt, 2026-03-04)")
    assert 100 < len(found.split()) <= 200


def test_it_goes_first_when_the_window_is_squeezed(bench: Bench) -> None:
    context, event = opened(bench, evict_at=1.0)
    context.read_ahead(event, [f"- line{number} of five words" for number in range(9)], 300)
    call = bench.memory.add(calls("conversation_search", query="x"), event.turn)
    context.add(call)
    while context.used <= context.room:
        context.add(bench.memory.add(user("one two three four five six seven"), event.turn))
    queue = [len(entry.segment) for entry in context._queue]
    context.squeeze()
    assert not ahead(context)
    assert [len(entry.segment) for entry in context._queue] == queue
    assert context.used <= context.room


def test_used_counts_what_is_shown_when_the_message_leaves_the_queue(bench: Bench) -> None:
    said_before(bench, *(f"elephant {number} " + "and more " * 50 for number in range(10)))
    searches = iter([calls("conversation_search", query=f"elephant {n}") for n in range(12)])
    seen: list[bool] = []

    def script(shape: Shape) -> Move:
        if isinstance(shape, Prose):
            return "S."
        sections = agent.report().sections
        assert agent.context.used == sections["core"] + sections["summary"] + sections["queue"]
        assert ahead(agent.context) == bool(read(processor.prompts[-1]))
        seen.append(ahead(agent.context))
        return next(searches, says("done"))

    agent, processor = bench.wake(script, window=1700, max_steps=14, read_ahead=150)
    items = run(agent, "please find the elephant")
    assert any(isinstance(item, Eviction) for item in items)
    assert seen[0]
    assert not seen[-1]


vocabulary = st.sampled_from(
    ["Ada", "Bruno", "dog", "Rome", "10:30", "犬の名前", "k-17", "the", "?", "tea.\n"]
)
texts = st.one_of(
    st.lists(vocabulary, min_size=1, max_size=12).map(" ".join),
    st.tuples(vocabulary, st.integers(1, 1500)).map(lambda pair: f"{pair[0]} " * pair[1]),
)
chosen = st.builds(
    Settings,
    functions=st.sampled_from(["small", "full"]),
    memory_step=st.booleans(),
    max_steps=st.integers(1, 5),
    warn_at=st.floats(0.3, 0.9),
    evict_at=st.floats(0.75, 1.0),
    evict_to=st.floats(0.2, 0.7),
    result_tokens=st.integers(60, 900),
    read_ahead=st.sampled_from([0, 1, 12, 40, 300, 5000]),
)


class Model:
    """Draws its moves, sometimes dies, and looks at every prompt as it comes."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.lives = 3
        self.agent: Agent
        self.processor: ScriptedProcessor

    def __call__(self, shape: Shape) -> Move:
        draw = self.data.draw
        if isinstance(shape, Prose):
            return draw(texts)[: shape.characters]
        self.look(shape)
        if self.lives and draw(st.integers(0, 9)) == 9:
            self.lives -= 1
            raise Killed
        name = draw(st.sampled_from([function.name for function in shape.functions]))
        return any_call(name, draw(texts).strip()[:500] or "x")

    def look(self, shape: Calls) -> None:
        """The counts are exact at the very moment of decoding, and at most one read-ahead is shown."""
        prompt, report = self.processor.prompts[-1], self.agent.report()
        context = self.agent.context
        sections = report.sections
        assert report.used == sum(sections.values()) == sum(map(len, context.prompt()))
        assert context.used == sections["core"] + sections["summary"] + sections["queue"] <= context.room
        assert shape.verdict or report.used == len(prompt.split())
        assert len(read(prompt)) == ahead(context)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.data(),
    limits=chosen,
    window=st.integers(1600, 3500),
    messages=st.lists(texts, min_size=1, max_size=6),
)
def test_any_conversation_with_deaths_and_restarts_stays_within_budget(
    data: st.DataObject, limits: Settings, window: int, messages: list[str]
) -> None:
    """The scripted processor asserts budget and answer reserve at every generation."""
    with TemporaryDirectory() as folder, Home.open(Path(folder), embedder=HashEmbedder()) as home:
        memory, model, clock = home.create_agent("default"), Model(data), Clock()
        memory.edit(lambda desk: desk.insert_passage("Bruno is a dog " * 300))
        memory.put_block(Block("human", "Ada has a dog\n" + "Bruno Rome tea " * 60, 4000), "user")

        def wake() -> Agent:
            model.processor = ScriptedProcessor(model, window=window)
            model.agent = Agent(memory, model.processor, limits, clock=clock)
            return model.agent

        wake()
        for message in messages:
            try:
                list(model.agent.turn(user(message)))
            except Killed:
                revive(wake)
            assert memory.unfinished() is None
        kinds = {r.kind for r in memory.records() if isinstance(r, Event)}
        assert EventKind.MEMORY not in kinds
        results = [r.call for r in memory.records() if isinstance(r, Result)]
        assert sorted(results) == sorted(r.id for r in memory.records() if isinstance(r, Call))


def revive(wake: Callable[[], Agent]) -> None:
    """Go on with the turn, as the next processes would, until it is done."""
    while True:
        try:
            list(wake().resume())
        except Killed:
            continue
        return


# who "I" is


def test_what_a_person_says_of_themselves_is_kept_and_read_as_said_to_them(bench: Bench) -> None:
    note(bench, "I, Bruno, am a dog")
    said_before(bench, "Bruno is my dog")
    agent, processor = bench.wake(
        [
            calls("core_memory_append", label="human", content="My dog is Bruno"),
            calls("core_memory_append", label="persona", content="I like dogs"),
            says("so he is"),
            says("Bruno"),
        ]
    )
    run(agent, "my dog is Bruno")
    blocks = {block.label: block.value for block in bench.memory.blocks()}
    assert blocks["human"] == "Your dog is Bruno"
    assert blocks["persona"].splitlines()[-1] == "I like dogs"
    run(agent, "what is my dog?")
    shown = read(processor.prompts[-1])[0]
    assert "- human: Your dog is Bruno" in shown
    assert "- Bruno is your dog (user," in shown
    assert "- I, Bruno, am a dog (pets.txt," in shown
    assert "my dog is Bruno" in [
        record.text for record in bench.memory.records() if isinstance(record, Event)
    ]
