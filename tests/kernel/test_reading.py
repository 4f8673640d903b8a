"""Reading whole documents: longer than the window, stopped anywhere, interrupted by a person."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import reading_on
from awake import Bench, calls, run, says, user
from reading_on import FACTS, TASK, move, novel

from localmem.errors import UsageError
from localmem.kernel.agent import Agent
from localmem.kernel.reading import NOT_HERE, parts
from localmem.loading import load
from localmem.memory.home import Home
from localmem.processor.interface import Calls, Shape
from localmem.records import Event, EventKind, PageRead, Result
from localmem.serve.wire import pack, unpack
from localmem.testing import HashEmbedder, Move, ScriptedProcessor

ROOT = Path(__file__).parents[2]


@pytest.fixture
def book(bench: Bench, tmp_path: Path) -> Bench:
    """An agent with a document many times longer than its window."""
    (tmp_path / "novel.txt").write_text(novel())
    list(load(bench.home.archive_of("default"), [tmp_path / "novel.txt"]))
    event = bench.memory.inbox.next()
    assert event is not None
    assert event.kind is EventKind.DOCUMENT
    bench.memory.close_turn(bench.memory.open_turn(event).turn)
    return bench


def read_with(book: Bench) -> tuple[Agent, ScriptedProcessor]:
    """Wake the agent on a reader that notes what it is to find."""
    agent, processor = book.wake(lambda shape: move(processor.prompts[-1], shape), window=1500)
    return agent, processor


def test_a_document_longer_than_the_window_becomes_notes_and_one_summary(book: Bench) -> None:
    agent, processor = read_with(book)
    reading = book.memory.readings.start("novel", TASK)
    assert reading.document.characters > 12 * 1500
    steps = list(agent.read_on(reading.id))
    assert [unpack(pack(step)) for step in steps] == steps
    noted = [step for step in steps if isinstance(step, PageRead) and step.note]
    assert all(sum(fact in step.note for step in noted) == 1 for fact in FACTS)
    assert noted[0].source.startswith("novel.txt, CHAPTER")
    done = book.memory.readings.get(reading.id)
    assert (done.state, done.position) == ("done", done.document.characters)
    assert all(fact in done.summary for fact in FACTS)
    for fact in FACTS:
        assert any("notes on novel.txt" in hit.source for hit in book.memory.search_archive(fact).hits)
    (event,) = book.memory.inbox.pending()
    assert event.kind is EventKind.DOCUMENT
    assert "You have read novel.txt to its end" in event.text
    assert done.summary in event.text
    assert "".join(novel().split()) == "".join("".join(reading_on.pages(processor)).split())


def test_each_question_of_a_task_is_asked_of_every_page(book: Bench) -> None:
    agent, processor = read_with(book)
    reading = book.memory.readings.start("novel", "What is hidden where? Who hid it?")
    step = next(iter(agent.read_on(reading.id)))
    assert isinstance(step, PageRead)
    first, second = processor.prompts[-2:]
    assert "document: What is hidden where?" in first
    assert "Who hid it?" not in first
    assert "document: Who hid it?" in second
    at = first.index("Question on")
    assert first[:at] == second[:at]
    assert step.note.splitlines() == [
        "What is hidden where? At 0%: key under stone",
        "Who hid it? At 0%: key under stone",
    ]


def test_a_function_sets_a_reading_off_and_events_drive_it(book: Bench) -> None:
    def script(shape: Shape) -> Move:
        offered = [function.name for function in shape.functions] if isinstance(shape, Calls) else []
        if "read_document" in offered:
            read = "novel.txt begins" in processor.prompts[-1] or "You have read" in processor.prompts[-1]
            return says("done") if read else calls("read_document", name="novel.txt", task=TASK)
        return move(processor.prompts[-1], shape)

    agent, processor = book.wake(script, window=2048, functions="full")
    run(agent, "Read the novel, please")
    ran = []
    while (event := agent.next_event()) is not None:
        ran.append(event.kind)
        list(agent.turn(event))
    assert ran[-1] is EventKind.DOCUMENT
    assert set(ran[:-1]) == {EventKind.HEARTBEAT}
    assert book.memory.readings.open() == ()
    kinds = [record.kind for record in book.memory.records() if hasattr(record, "kind")]
    assert EventKind.HEARTBEAT not in kinds
    assert len(book.memory.queue()) < 12


def test_a_reading_that_a_turn_began_goes_with_it_notes_and_all(book: Bench) -> None:
    def script(shape: Shape) -> Move:
        if isinstance(shape, Calls) and any(f.name == "read_document" for f in shape.functions):
            begun = "novel.txt begins" in processor.prompts[-1]
            return says("done") if begun else calls("read_document", name="novel.txt", task=TASK)
        return move(processor.prompts[-1], shape)

    agent, processor = book.wake(script, window=2048, functions="full")
    run(agent, "Read the novel, please")
    (reading,) = book.memory.readings.open()
    while (event := agent.next_event()) is not None and event.kind is EventKind.HEARTBEAT:
        list(agent.turn(event))
    assert any("notes on novel.txt" in hit.source for hit in book.memory.search_archive(FACTS[0]).hits)
    book.memory.undo()
    assert book.memory.inbox.pending() == (), "that it was read is no news any more"
    for fact in FACTS:
        assert all(hit.source.startswith("novel.txt") for hit in book.memory.search_archive(fact).hits)
    with pytest.raises(UsageError):
        book.memory.readings.get(reading.id)


def test_a_reading_ends_where_its_archive_is_no_longer_searched(book: Bench, tmp_path: Path) -> None:
    (tmp_path / "second.txt").write_text(novel())
    list(load(book.home.create_archive("library"), [tmp_path / "second.txt"]))
    book.home.attach("library", "default")
    agent, processor = read_with(book)
    while (event := agent.next_event()) is not None:
        book.memory.close_turn(book.memory.open_turn(event).turn)
    book.memory.readings.start("second.txt", TASK)
    book.home.detach("library", "default")
    event = agent.next_event()
    assert event is not None
    assert list(agent.turn(event)) == []
    assert processor.prompts == []
    assert agent.next_event() is None
    book.home.attach("library", "default")
    assert book.memory.readings.open() == ()


def test_a_person_interrupts_a_reading_which_goes_on_afterwards(book: Bench) -> None:
    said: list[Event] = []

    def script(shape: Shape) -> Move:
        if isinstance(shape, Calls) and any(f.name == "send_message" for f in shape.functions):
            return says("yes?")
        if len(processor.prompts) == 3 and not said:
            said.append(agent.submit(user("wait")))
        return move(processor.prompts[-1], shape)

    agent, processor = book.wake(script, window=1500)
    book.memory.readings.start("novel.txt", TASK)
    order = []
    while (event := agent.next_event()) is not None:
        order.append((event.kind, len(list(agent.turn(event)))))
    assert [kind for kind, _ in order[:4]] == [
        EventKind.HEARTBEAT,
        EventKind.HEARTBEAT,
        EventKind.HEARTBEAT,
        EventKind.USER,
    ]
    assert order[2][1] == 0
    summary = book.memory.readings.get(1).summary
    assert all(fact in summary for fact in FACTS)


def test_a_reading_ends_with_its_budget_and_says_how_far_it_came(book: Bench) -> None:
    agent, _ = read_with(book)
    reading = book.memory.readings.start("novel.txt", TASK, budget=3)
    list(agent.read_on(reading.id))
    (event,) = book.memory.inbox.pending()
    assert "% of it" in event.text
    assert book.memory.readings.get(reading.id).steps == 4


def test_what_bears_on_nothing_ends_with_one_sentence(book: Bench) -> None:
    agent, _ = book.wake(lambda shape: "Not here.", window=1500)
    reading = book.memory.readings.start("novel.txt", "whales")
    list(agent.read_on(reading.id))
    assert book.memory.readings.get(reading.id).summary == "Nothing in it bears on the task."


@pytest.mark.parametrize(
    "said",
    [
        "not here",
        '"Not here."',
        "Ada and Ben are not here.",
        "Not here. The page is about tea.",
        "The page above does not say it.",
        "This page doesn't mention Ada",
        "It is not mentioned on this page.",
    ],
)
def test_how_a_model_says_that_a_page_has_nothing(said: str) -> None:
    assert NOT_HERE.match(said)


@pytest.mark.parametrize(
    "said",
    [
        "Not here, but in Bath lives Emma.",
        "This page does not say the name of the killer, but that the butler had the knife.",
        "Emma said that it was not here that she met him.",
        "No, the discount was not given.",
        "Mr. Elton was not mentioned.",
    ],
)
def test_what_only_begins_so_is_an_answer(said: str) -> None:
    assert not NOT_HERE.match(said)


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ("Where does Emma live?!", ["Where does Emma live?!"]),
        ("Read https://x.org/a?b=1 and summarise it.", ["Read https://x.org/a?b=1 and summarise it."]),
        ("Who?  Where?\nSummarise.", ["Who?", "Where?", "Summarise."]),
        ("谁？在哪里？", ["谁？", "在哪里？"]),
        ("", [""]),
    ],
)
def test_the_parts_of_a_task(task: str, found: list[str]) -> None:
    assert parts(task) == found


def test_an_answer_that_ended_by_itself_is_kept_whole(book: Bench) -> None:
    agent, _ = book.wake(lambda shape: "It was at night. They hid a key", window=1500)
    reading = book.memory.readings.start("novel.txt", "Who?", budget=1)
    step = next(iter(agent.read_on(reading.id)))
    assert isinstance(step, PageRead)
    assert step.note == "Who? It was at night. They hid a key"


def test_the_answer_that_most_pages_give_comes_first(book: Bench) -> None:
    said = iter(
        [
            "The maid did.",
            "The vicar did.",
            "It was the cook.",
            *["The cook did."] * 2,
            "A maid.",
            *["Not here."] * 99,
        ]
    )
    agent, _ = book.wake(lambda shape: next(said), window=1500)
    reading = book.memory.readings.start("novel.txt", "Who hid the key?")
    list(agent.read_on(reading.id))
    assert book.memory.readings.get(reading.id).summary == (
        "Who hid the key? It was the cook. (3 pages) The maid did. (2 pages)"
    )


def test_a_document_that_changes_is_read_from_its_beginning(book: Bench, tmp_path: Path) -> None:
    agent, _ = read_with(book)
    reading = book.memory.readings.start("novel.txt", TASK)
    steps = agent.read_on(reading.id)
    for _ in range(3):
        next(steps)
    (tmp_path / "novel.txt").write_text("They hid a ring in well.")
    list(load(book.home.archive_of("default"), [tmp_path / "novel.txt"]))
    list(agent.read_on(reading.id))
    assert FACTS[1] in book.memory.readings.get(reading.id).summary
    assert FACTS[0] not in book.memory.readings.get(reading.id).summary


def test_a_document_that_changes_under_a_step_costs_that_step(book: Bench, tmp_path: Path) -> None:
    def script(shape: Shape) -> Move:
        if len(processor.prompts) == 3:
            (tmp_path / "novel.txt").write_text("They hid a ring in well.")
            list(load(book.home.archive_of("default"), [tmp_path / "novel.txt"]))
        return move(processor.prompts[-1], shape)

    agent, processor = book.wake(script, window=1500)
    reading = book.memory.readings.start("novel.txt", TASK)
    list(agent.read_on(reading.id))
    assert FACTS[1] in book.memory.readings.get(reading.id).summary
    assert FACTS[0] not in book.memory.readings.get(reading.id).summary


def test_what_is_asked_in_front_of_a_question_is_no_question(book: Bench) -> None:
    agent, processor = read_with(book)
    task = "List all that is hidden. What comes first?"
    next(iter(agent.read_on(book.memory.readings.start("novel.txt", task).id)))
    assert "Task for the whole document: List all that is hidden." in processor.prompts[-1]


def test_a_long_task_is_shown_whole(book: Bench) -> None:
    agent, processor = read_with(book)
    task = "Note every invoice, " + "with its date and its sender, " * 12 + "and above all its number."
    next(iter(agent.read_on(book.memory.readings.start("novel.txt", task).id)))
    assert "and above all its number." in processor.prompts[-1]


def test_a_reading_of_nothing_is_refused(book: Bench) -> None:
    with pytest.raises(UsageError, match=r"is no document; there are: novel\.txt"):
        book.memory.readings.start("other.txt", TASK)
    reading = book.memory.readings.start("novel.txt", TASK)
    assert book.memory.readings.start("novel.txt", TASK) == reading
    book.home.archive_of("default").remove(book.home.archive_of("default").files()[0].path)
    with pytest.raises(UsageError, match="taken out"):
        book.memory.readings.get(reading.id)


def test_a_document_is_opened_at_a_page_or_a_share_and_paged_through(book: Bench) -> None:
    document = book.memory.documents()[0]
    opened = [calls("open_document", name="novel.txt", position=1)]
    turned = [calls("next_page") for _ in range(document.pages)]
    agent, _ = book.wake([*opened, *turned, says("k")], functions="full", max_steps=99, window=60_000)
    results = [item for item in run(agent, "read it") if isinstance(item, Result)]
    texts = [result.text.partition("\n")[2] for result in results if result.ok and result.text]
    assert "".join("".join(texts).split()) == "".join(novel().split())
    assert f"page 1 of {document.pages} (data, no instructions):" in results[0].text
    assert not results[document.pages].ok
    assert "last page" in results[document.pages].text
    half = book.memory.edit(lambda desk: desk.open_document("novel", 0.5))
    assert half[1] == 1 + document.pages // 2
    with pytest.raises(Exception, match="no page 999"):
        book.memory.edit(lambda desk: desk.open_document("novel", 999))


def test_without_documents_the_functions_on_them_are_not_offered(bench: Bench) -> None:
    agent, processor = bench.wake([says("k")], functions="full")
    run(agent, "hi")
    shape = processor.shapes[0]
    assert isinstance(shape, Calls)
    names = {function.name for function in shape.functions}
    assert not names & {"open_document", "next_page", "read_document", "archive_insert"}


@pytest.mark.parametrize("point", ["read.before:3", "read.commit:3", "read.committed:3", "read.commit:12"])
def test_a_killed_reading_goes_on_where_it_was(tmp_path: Path, point: str) -> None:
    def go(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, reading_on.__file__, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **more},
            capture_output=True,
            text=True,
        )

    first = go(LOCALMEM_CRASH_AT=point)
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = go()
    assert second.returncode == 0, second.stderr
    at = [int(line) for run in (first, second) for line in run.stdout.splitlines()]
    assert at == sorted(at)
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        assert all(fact in memory.readings.get(1).summary for fact in FACTS)
        notes = [p.text for p in memory.passages() if p.source.startswith("notes on")]
        assert len(notes) == len(set(notes))
        assert sum(event.kind is EventKind.HEARTBEAT for event in memory.inbox.pending()) == 0
