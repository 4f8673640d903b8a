"""Forgetting for good: after it no byte of a text is left in any file of the home."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from memory_acts import Hands, run, say

from localmem.errors import UsageError
from localmem.kernel.summary import digest
from localmem.memory.forget import OTHERS
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Block, Call, Event, EventKind, Result
from localmem.testing import HashEmbedder

SECRET = "Zwiebelturm-4711"


def holding(home: Path, text: str) -> list[str]:
    """Return the files under a home that hold a text, packed ones unpacked."""
    wanted = text.casefold().encode()
    found = []
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        body = file.read_bytes()
        body = gzip.decompress(body) if file.suffix == ".gz" else body
        if wanted in body.lower():
            found.append(file.name)
    return found


def tell(memory: Memory) -> int:
    """Run a turn after which the secret stands wherever a turn can put it."""
    event = memory.open_turn(Event(EventKind.USER, f"my code is {SECRET}, I say"))
    call = Call(
        "the code", "core_memory_append", {"content": f"Your code is {SECRET}"}, ids=(1, 2, 3), model="m"
    )
    call = memory.add(call, event.turn)
    memory.perform(call, lambda desk: Result(True, str(desk.append("human", f"Your code is {SECRET}"))))
    run(memory, event.turn, lambda desk: desk.append("human", "You live in Porto"))
    run(memory, event.turn, lambda desk: desk.insert_passage(f"the code:\n{SECRET}", tags=["x"]))
    found = run(memory, event.turn, lambda desk: f"{SECRET} was found " * 9)
    run(memory, event.turn, lambda desk: desk.page_out(found.id))
    run(memory, event.turn, lambda desk: "", "send_message", message=f"I shall keep {SECRET}")
    memory.close_turn(event.turn)
    return event.id


def test_no_byte_of_it_is_left(tmp_path: Path, clock: Hands) -> None:
    with Home.open(tmp_path / "home", clock=clock, embedder=HashEmbedder()) as home:
        memory = home.create_agent("default")
        say(memory, "hello there", "hello")
        tell(memory)
        memory.evict(memory.records()[-1].id + 1, f"They have a code, {SECRET}.")
        tell_again = say(memory, f"again {SECRET.upper()}", "yes").turn
        run(memory, tell_again, lambda desk: desk.replace("human", SECRET, "0000"))
        memory.undo()
        memory.settle()
        traces = home.traces("default")
        traces.mkdir(parents=True)
        (traces / "1.json.gz").write_bytes(gzip.compress(json.dumps({"text": SECRET}).encode()))
        (home.path / "snapshots" / "default").mkdir(parents=True)
        (home.path / "snapshots" / "default" / "state").write_text(SECRET)
        (home.path / "history").write_text(f"\n# 2026\n+my code is {SECRET}\n\n# 2026\n+hello there\n")
    assert {"localmem.duckdb", "history", "1.json.gz", "state"} <= set(holding(tmp_path, SECRET))
    with Home.open(tmp_path / "home", clock=clock, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        plan = memory.forgetting(SECRET.lower())
        assert not plan.empty
        home.forget("default", plan, digest)
        assert memory.forgetting(SECRET).empty
        assert holding(tmp_path, SECRET) == []
        assert memory.block("human").value == "You live in Porto"
        assert [each.text for each in memory.passages()] == []
        assert memory.search_recall("zwiebelturm").total == 0
        assert memory.search_recall("hello").total == 2
        assert SECRET not in memory.summary()
        assert "hello there" in memory.summary()
        assert "hello there" in (home.path / "history").read_text()
        say(memory, "what was it", "I do not know")
        memory.settle()
        state = memory.index_state()
        assert state is not None
        assert (state.stored, state.indexed, state.agrees) == (0, 0, True)
    assert holding(tmp_path, SECRET) == []
    with Home.open(tmp_path / "home", clock=clock, embedder=HashEmbedder()) as home:
        assert home.agent("default").forgetting(SECRET).empty
        assert home.agent("default").search_recall("what was it").total == 1


def test_a_call_that_held_it_is_encoded_afresh(home: Home, memory: Memory) -> None:
    tell(memory)
    home.forget("default", memory.forgetting(SECRET), digest)
    calls = [record for record in memory.records() if isinstance(record, Call)]
    assert calls[0].ids == ()
    assert (calls[0].model, calls[0].thought) == ("", "")
    assert calls[0].arguments == {"content": "[forgotten]"}
    assert memory.unfinished() is None


def test_a_passage_goes_with_the_message_that_it_rests_on(home: Home, memory: Memory) -> None:
    turn = say(memory, "my aunt Gertrud lives in Bonn").turn
    call = memory.add(Call("", "archival_memory_insert", {"content": "My aunt Gertrud lives in Bonn"}), turn)
    memory.perform(
        call, lambda desk: Result(True, str(desk.insert_passage("Your aunt Gertrud lives in Bonn")))
    )
    say(memory, "and the weather is fine")
    plan = memory.forgetting("passage:1")
    assert {(each.what, each.id) for each in plan.going} == {
        ("passage", 1),
        ("record", turn),
        ("record", call.id),
    }
    home.forget("default", plan, digest)
    assert holding(home.path, "gertrud") == []
    assert memory.search_recall("weather").total == 1


def test_a_record_goes_with_the_memories_that_rest_on_it(home: Home, memory: Memory) -> None:
    event = say(memory, "my aunt Gertrud lives in Bonn")
    call = memory.add(
        Call("", "core_memory_append", {"content": "Your aunt Gertrud lives in Bonn"}), event.turn
    )
    memory.perform(
        call, lambda desk: Result(True, str(desk.append("human", "Your aunt Gertrud lives in Bonn")))
    )
    memory.edit(lambda desk: desk.append("human", "You like rye"))
    home.forget("default", memory.forgetting(f"record:{event.id}"), digest)
    assert holding(home.path, "gertrud") == []
    assert memory.block("human").value == "You like rye"


def test_other_agents_keep_it_and_are_named(home: Home, memory: Memory) -> None:
    other = home.create_agent("other")
    say(memory, f"it is {SECRET}")
    say(other, f"it is {SECRET}")
    plan = memory.forgetting(SECRET)
    assert plan.elsewhere == ("agent other",)
    home.forget("default", plan, digest)
    assert other.search_recall(SECRET).total == 1
    assert memory.search_recall(SECRET).total == 0


def test_the_prompts_of_those_who_see_its_blocks_go_too(home: Home, memory: Memory) -> None:
    home.create_agent("other")
    home.share_block("human", "default", "other")
    kept = [home.traces("other") / "1.json.gz", home.path / "snapshots" / "other" / "state.kv"]
    for file in kept:
        file.parent.mkdir(parents=True)
        file.write_text(SECRET)
    memory.edit(lambda desk: desk.append("human", f"it is {SECRET}"))
    home.forget("default", memory.forgetting(SECRET), digest)
    assert holding(home.path, SECRET) == []
    assert not any(file.exists() for file in kept)


SEEN_TO = {"records", "passages", "summaries", "stubs"}
"""Tables that have their own way of forgetting."""

NAMES = {
    *(("agents", name) for name in ("name", "model", "functions")),
    *(("blocks", name) for name in ("label", "value", "author")),  # value: seen to
    *(("permits", name) for name in ("name", "digest")),
    *(("readings", "state"), ("letters", "state"), ("events", "kind"), ("files", "hash")),
    *(("archives", "name"), ("chosen", "name"), ("shares", "label"), ("vectors", "embedder")),
    *(("retired", "author"), ("migrations", "name")),
}
"""Columns by which things are found and told apart: nobody says anything in them."""


def test_every_text_of_the_store_is_one_that_is_forgotten_or_a_name(home: Home) -> None:
    sql = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
    found = home.store.read(lambda cursor: cursor.execute(sql).fetchall())
    texts = {(table, column) for table, column, kind in found if kind in ("VARCHAR", "JSON")}
    assert {each for each in texts if each[0] not in SEEN_TO} == set(OTHERS) | NAMES


def test_what_the_store_finds_things_by_is_not_forgotten(home: Home, memory: Memory) -> None:
    other = home.create_agent("timer")
    home.create_archive("timer-papers")
    home.attach("timer-papers", "default")
    other.put_block(Block("timer", "", 2000), "user")
    home.share_block("timer", "timer", "default")
    memory.submit(Event(EventKind.TIMER, "the timer rings"))
    say(memory, "hello there", "a message")
    for text in ("timer", "message", "send_message", "user", "event"):
        home.forget("default", memory.forgetting(text), digest)
    assert [event.text for event in memory.inbox.pending()] == ["the [forgotten] rings"]
    assert "timer" in [block.label for block in memory.blocks()]
    assert [row.name for row in home.archives()] == ["timer-papers"]
    said = [record for record in memory.records() if isinstance(record, Event | Call)]
    assert [getattr(record, "text", "") for record in said] == ["hello there", ""]
    assert isinstance(said[1], Call)
    assert said[1].arguments == {"message": "[forgotten]"}


def test_what_there_is_not_cannot_be_forgotten(home: Home, memory: Memory) -> None:
    assert memory.forgetting("nobody said this").empty
    for wrong in ("x", "", "record:99", "passage:99"):
        with pytest.raises(UsageError):
            memory.forgetting(wrong)


def test_reads_go_on_while_the_store_is_rewritten(home: Home, memory: Memory) -> None:
    from concurrent.futures import ThreadPoolExecutor

    say(memory, "apple", "pear")
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(memory.search_recall, "apple") for _ in range(40)]
        for _ in range(3):
            home.store.compact()
        assert {read.result().total for read in reads} == {1}
    say(memory, "apple again", "pear")
    assert memory.search_recall("apple").total == 2
