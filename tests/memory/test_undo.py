"""Taking back turns: whatever a turn did, after it the memory shows what it showed before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from memory_acts import Hands, run, say

from localmem.errors import UsageError
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.migrations import MIGRATIONS
from localmem.memory.store import Store
from localmem.records import Block, Call, Event, EventKind, Result
from localmem.testing import HashEmbedder

WORDS = ("apple", "pear", "plum", "fig")


def shows(memory: Memory) -> dict[str, object]:
    """Return everything that somebody can see of a memory."""
    found: dict[str, object] = {
        "queue": memory.queue(),
        "records": memory.records(),
        "blocks": memory.blocks(),
        "passages": memory.passages(),
        "summary": memory.summary(),
        "evicted": memory.evicted_at(),
        "counts": memory.counts(),
        "paused": memory.paused(),
        "unfinished": memory.unfinished(),
        "timers": memory.inbox.timers(),
        "pending": memory.inbox.pending(),
        "interrupted": memory.inbox.interrupted(),
    }
    memory.settle()
    for word in WORDS:
        found[f"recall {word}"] = memory.search_recall(word, size=50)
        found[f"archive {word}"] = memory.search_archive(word, size=50)
    today = memory._clock().date()
    found["dates"] = memory.search_recall_dates(today, today, size=200)
    return found


def test_the_last_turn_goes_with_everything_it_did(memory: Memory) -> None:
    say(memory, "I like apple", "You like apple")
    memory.edit(lambda desk: desk.insert_passage("an apple a day"))
    memory.settle()
    before = shows(memory)
    turn = memory.open_turn(Event(EventKind.USER, "pear now")).turn
    run(memory, turn, lambda desk: desk.append("human", "Likes pear"))
    run(memory, turn, lambda desk: desk.insert_passage("a pear tree"))
    run(memory, turn, lambda desk: desk.retire_passage(1))
    run(memory, turn, lambda desk: desk.pause_heartbeats(30))
    memory.evict(turn, "apple was spoken of", turn)
    memory.settle()
    memory.close_turn(turn)
    assert memory.paused()
    assert memory.search_archive("apple").total == 0
    undone = memory.undo()
    assert (undone.turn, undone.event.text) == (turn, "pear now")
    assert (undone.blocks, undone.passages, undone.restored) == (("human",), 1, 1)
    assert shows(memory) == before


def test_it_stays_taken_back_when_the_home_is_opened_again(tmp_path: Path, clock: Hands) -> None:
    with Home.open(tmp_path, clock=clock, embedder=HashEmbedder()) as home:
        memory = home.create_agent("default")
        say(memory, "one apple", "an apple")
        before = shows(memory)
        turn = say(memory, "two pear").turn
        run(memory, turn, lambda desk: desk.insert_passage("a pear"))
        memory.settle()
        memory.undo()
    with Home.open(tmp_path, clock=clock, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        memory.settle()
        assert shows(memory) == before
        state = memory.index_state()
        assert state is not None
        assert (state.stored, state.indexed, state.agrees) == (0, 0, True)


def test_undoing_again_goes_back_further_until_nothing_is_left(memory: Memory) -> None:
    first = shows(memory)
    turns = [say(memory, f"{word} first", word).turn for word in WORDS]
    assert [memory.undo().turn for _ in turns] == turns[::-1]
    assert shows(memory) == first
    with pytest.raises(UsageError, match="no turn left"):
        memory.undo()
    say(memory, "plum again", "plum")
    assert memory.search_recall("plum").total == 2


def test_the_greeting_goes_with_the_turn_that_it_opened(memory: Memory) -> None:
    before = shows(memory)
    memory.add(Event(EventKind.LOGIN, "The person is back."), 0)
    say(memory, "apple", "hello")
    assert memory.undo().records == 4
    assert shows(memory) == before


def test_what_the_user_edited_since_stays(memory: Memory) -> None:
    turn = say(memory, "apple").turn
    run(memory, turn, lambda desk: desk.append("human", "Likes apple"))
    memory.edit(lambda desk: desk.append("human", "Likes pear"))
    assert memory.undo().blocks == ()
    assert memory.block("human").value == "Likes apple\nLikes pear"
    memory.put_block(Block("notes", "mine", 100), "user")
    turn = say(memory, "plum").turn
    run(memory, turn, lambda desk: desk.append("notes", "plum"))
    assert memory.undo().blocks == ("notes",)
    assert memory.block("notes").value == "mine"


def test_the_block_that_a_turn_made_is_gone(memory: Memory) -> None:
    turn = say(memory, "apple").turn
    run(memory, turn, lambda desk: desk.put_block(Block("fruit", "apple", 100)))
    memory.undo()
    assert [block.label for block in memory.blocks()] == ["persona", "human"]


def test_a_turn_that_was_left_open_is_taken_back_and_not_resumed(memory: Memory) -> None:
    event = memory.open_turn(Event(EventKind.USER, "apple"))
    memory.add(Call("", "f", {}), event.turn)
    assert memory.unfinished() is not None
    assert memory.undo().turn == event.turn
    assert memory.unfinished() is None


def test_a_stub_goes_back_to_the_whole_result(memory: Memory) -> None:
    turn = say(memory, "apple").turn
    long = run(memory, turn, lambda desk: "apple " * 100)
    stubbed = say(memory, "page it out").turn
    run(memory, stubbed, lambda desk: desk.page_out(long.id))
    assert any(isinstance(each, Result) and each.stub for each in memory.queue())
    memory.undo()
    assert not any(isinstance(each, Result) and each.stub for each in memory.queue())


def test_timers_go_back_too(memory: Memory, clock: Hands) -> None:
    turn = say(memory, "wake me").turn
    run(memory, turn, lambda desk: desk.set_timer("in 10 minutes", "tea"))
    before = shows(memory)
    turn = say(memory, "rather later").turn
    run(memory, turn, lambda desk: desk.remove_timer(1))
    run(memory, turn, lambda desk: desk.set_timer("in 1 hour", "tea"))
    clock.forward(hours=2)
    memory.inbox.fire()
    clock.forward(hours=-2)
    assert [event.text[:7] for event in memory.inbox.pending()] == ["Timer 2"]
    memory.undo()
    assert memory.inbox.pending() == ()
    assert [(timer.id, timer.note) for timer in memory.inbox.timers()] == [(1, "tea")]
    assert shows(memory) == before


def test_what_touched_the_outside_is_named(memory: Memory) -> None:
    turn = say(memory, "send it").turn
    call = memory.add(Call("", "send_mail", {}), turn)
    memory.start(call)
    memory.perform(call, lambda desk: Result(True, "sent"))
    assert memory.undo().outside == ("send_mail",)


def test_one_agents_undo_leaves_the_other_alone(home: Home, memory: Memory) -> None:
    other = home.create_agent("other")
    say(memory, "apple", "apple")
    say(other, "pear", "pear")
    before = shows(other)
    memory.undo()
    assert shows(other) == before


def test_an_edit_of_a_shared_block_goes_for_both(home: Home, memory: Memory) -> None:
    other = home.create_agent("other")
    home.share_block("human", "default", "other", replace=True)
    turn = say(other, "I like rye").turn
    run(other, turn, lambda desk: desk.append("human", "Likes rye"))
    assert "rye" in memory.block("human").value
    assert other.undo().blocks == ("human",)
    assert memory.block("human").value == other.block("human").value == ""
    assert memory.history("human")[-1].author == "undo"


def test_a_store_of_version_1_with_data_opens_and_undoes(tmp_path: Path, clock: Hands) -> None:
    store = Store(tmp_path / "localmem.duckdb", clock=clock, migrations=MIGRATIONS[:1])
    when = "TIMESTAMP '2026-03-14 09:00:00'"

    def old(cursor: object) -> None:
        execute = cursor.execute  # type: ignore[attr-defined]
        execute(f"INSERT INTO agents VALUES (nextval('agent_ids'), 'default', NULL, NULL, 0, {when})")
        for text in ("apple", "pear"):
            payload = f'{{"kind": "user", "text": "{text}", "note": ""}}'
            execute(
                "INSERT INTO records SELECT n, 1, n, 'event', 0, ?, ?, ''::BLOB, "
                f"{when} FROM (SELECT nextval('record_ids') AS n)",
                [text, payload],
            )
        execute("INSERT INTO turns SELECT id, 1, false, 0 FROM records")
        execute(f"INSERT INTO summaries VALUES (nextval('version_ids'), 1, 2, 2, 'it was apple', {when})")
        execute(f"INSERT INTO pauses VALUES (1, {when} + INTERVAL 1 DAY, 2, {when})")

    store.write(old)
    store.close()
    with Home.open(tmp_path, clock=clock, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        assert (memory.summary(), memory.paused()) == ("it was apple", True)
        assert memory.undo().event.text == "pear"
        assert (memory.summary(), memory.paused()) == ("", False)
        assert [record.text for record in memory.queue() if isinstance(record, Event)] == ["apple"]


Act = Callable[[Memory, int, str], object]


def _quietly(work: Callable[[Desk, str], object]) -> Act:
    return lambda memory, turn, word: run(memory, turn, lambda desk: work(desk, word))


def _evict(memory: Memory, turn: int, word: str) -> None:
    queue = memory.queue()
    memory.evict(queue[len(queue) // 2].id, f"{word} left", turn)


def _retire(desk: Desk, word: str) -> None:
    for hit in desk.search_archive(word).hits[:1]:
        desk.retire_passage(hit.id)


ACTS: dict[str, Act] = {
    "append": _quietly(lambda desk, word: desk.append("human", f"Likes {word}")),
    "keep": _quietly(lambda desk, word: desk.keep("human", f"Your favourite fruit since March is {word}")),
    "rewrite": _quietly(lambda desk, word: desk.rewrite("persona", f"I like {word}")),
    "block": _quietly(lambda desk, word: desk.put_block(Block(word, "new", 50))),
    "insert": _quietly(lambda desk, word: desk.insert_passage(f"{word} is a fruit")),
    "retire": _quietly(_retire),
    "pause": _quietly(lambda desk, word: desk.pause_heartbeats(5)),
    "evict": _evict,
    "settle": lambda memory, turn, word: memory.settle(),
    "say": lambda memory, turn, word: run(memory, turn, lambda d: "", "send_message", message=f"a {word}"),
}
TURN = st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from(WORDS)), max_size=4)


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(turns=st.lists(TURN, min_size=1, max_size=5), back=st.integers(1, 5))
def test_random_turns_then_undo_show_what_was_shown_before(
    home: Home, clock: Hands, turns: list[list[tuple[str, str]]], back: int
) -> None:
    if any(row.name == "random" for row in home.agents()):
        home.delete_agent("random")
    memory = home.create_agent("random")
    before = []
    for acts in turns:
        before.append(shows(memory))
        clock.forward(seconds=10)
        turn = memory.open_turn(Event(EventKind.USER, f"{acts and acts[0][1]} please")).turn
        for act, word in acts:
            ACTS[act](memory, turn, word)
        memory.close_turn(turn)
    for wanted in before[::-1][:back]:
        memory.undo()
        # a pause that ran out meanwhile is over, whoever takes back what
        assert shows(memory) | {"paused": None} == wanted | {"paused": None}
        memory.settle()
        state = memory.index_state()
        assert state is not None
        assert state.stored == state.indexed
        assert state.agrees
