"""Blocks that agents share: one block, whoever edits it; nothing that one wrote is lost by the other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from memory_acts import run, within

from localmem.errors import UsageError
from localmem.memory.core import Origin
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.sharing import SharedBlock
from localmem.records import Block, Event, EventKind


@pytest.fixture
def anna(home: Home) -> Memory:
    return home.create_agent("anna")


@pytest.fixture
def berta(home: Home, anna: Memory) -> Memory:
    memory = home.create_agent("berta")
    home.share_block("human", "anna", "berta")
    return memory


def test_an_edit_by_either_is_seen_by_both(home: Home, anna: Memory, berta: Memory) -> None:
    within(anna, lambda desk: desk.append("human", "from anna"))
    within(berta, lambda desk: desk.append("human", "from berta"))
    berta.put_block(Block("human", berta.block("human").value + "\nby hand", 3000), "user")
    for memory in (anna, berta):
        assert memory.block("human") == Block("human", "from anna\nfrom berta\nby hand", 3000)
        assert [block.label for block in memory.blocks()] == ["persona", "human"]
        assert len(memory.block_versions("human")) == 4
    assert home.shared_blocks() == (SharedBlock("human", "anna", "berta", False),)
    writer = anna.block_versions("human")[2].origin
    assert writer.turn in {record.id for record in berta.records()}


def test_a_block_that_may_only_be_read(home: Home, anna: Memory) -> None:
    berta = home.create_agent("berta")
    home.share_block("persona", "anna", "berta", read_only=True, replace=True)
    refused = within(berta, lambda desk: desk.append("persona", "I am loud."))
    assert (refused.ok, refused.text) == (False, "block persona is read-only")
    with pytest.raises(UsageError, match="shared read-only: edit it there"):
        berta.put_block(Block("persona", "x", 10), "user")
    within(anna, lambda desk: desk.append("persona", "I am calm."))
    assert berta.block("persona").value.endswith("I am calm.")
    assert berta.block("persona").read_only
    assert not anna.block("persona").read_only
    carla = home.create_agent("carla")
    home.share_block(
        "persona", "berta", "carla", replace=True
    )  # of what may only be read, no more can be given on
    assert carla.block("persona").read_only
    home.unshare_block("persona", "anna", "berta")
    assert carla.block("persona").value.endswith("I am calm.")


def test_what_is_set_aside_comes_back(home: Home, anna: Memory) -> None:
    berta = home.create_agent("berta")
    within(berta, lambda desk: desk.append("human", "of my own"))
    with pytest.raises(UsageError, match="9 characters: --replace"):
        home.share_block("human", "anna", "berta")
    home.share_block("human", "anna", "berta", replace=True)
    assert berta.block("human").value == ""
    within(berta, lambda desk: desk.append("human", "for both"))
    home.unshare_block("human", "anna", "berta")
    assert berta.block("human").value == "of my own"
    assert anna.block("human").value == "for both"
    assert home.shared_blocks() == ()


def test_a_block_that_the_other_lacks_comes_last_and_goes_again(home: Home, anna: Memory) -> None:
    berta = home.create_agent("berta")
    anna.put_block(Block("plans", "sail", 100), "user")
    home.share_block("plans", "anna", "berta")
    assert [block.label for block in berta.blocks()] == ["persona", "human", "plans"]
    home.unshare_block("plans", "anna", "berta")
    assert [block.label for block in berta.blocks()] == ["persona", "human"]


def test_who_saw_a_block_keeps_it_when_its_agent_goes(home: Home, anna: Memory, berta: Memory) -> None:
    within(berta, lambda desk: desk.append("human", "stays"))
    home.delete_agent("anna")
    assert berta.block("human").value == "stays"
    within(berta, lambda desk: desk.append("human", "goes on"))
    assert home.shared_blocks() == ()
    home.create_agent("anna")
    home.share_block("human", "berta", "anna")
    home.delete_agent("anna")
    assert home.shared_blocks() == ()
    assert berta.block("human").value == "stays\ngoes on"


def test_who_could_only_read_a_block_may_write_it_once_it_is_its_own(home: Home, anna: Memory) -> None:
    carla = home.create_agent("carla")
    home.share_block("human", "anna", "carla", read_only=True)
    copy = home.copy_agent("carla", "copy")
    home.delete_agent("anna")
    for memory in (carla, copy):
        within(memory, lambda desk: desk.append("human", "mine now"))
        assert memory.block("human").value.endswith("mine now")


def test_what_an_agent_took_back_of_others_stays_taken_back_when_it_goes(
    home: Home, anna: Memory, berta: Memory
) -> None:
    home.create_archive("library")
    home.attach("library", "berta", writable=True)
    before = anna.block("human").value
    event = berta.open_turn(Event(EventKind.USER, "keep it"))
    run(berta, event.turn, lambda desk: str(desk.append("human", "a wrong line")))
    run(
        berta,
        event.turn,
        lambda desk: str(desk.insert_shared_passage("library", "a wrong passage", source="agent")),
    )
    berta.close_turn(event.turn)
    home.attach("library", "anna")
    assert anna.search_archive("wrong").total == 1
    berta.undo()
    home.delete_agent("berta")
    anna.settle()
    assert anna.block("human").value == before
    assert anna.search_archive("wrong").total == 0


@pytest.mark.parametrize(
    ("label", "agent", "other", "says"),
    [
        ("nothing", "anna", "carla", "there are: persona, human"),
        ("human", "anna", "anna", "with itself"),
        ("human", "berta", "anna", "with itself"),
        ("human", "anna", "berta", "already"),
        ("human", "carla", "anna", "with others"),
        ("human", "nobody", "anna", "no agent 'nobody'"),
    ],
)
def test_what_cannot_be_shared(
    home: Home, berta: Memory, label: str, agent: str, other: str, says: str
) -> None:
    home.create_agent("carla")
    with pytest.raises(UsageError, match=says):
        home.share_block(label, agent, other)
    with pytest.raises(UsageError, match="do not share"):
        home.unshare_block("persona", "anna", "berta")


def test_five_hundred_edits_by_two_agents_at_once(home: Home, anna: Memory, berta: Memory) -> None:
    anna.put_block(Block("human", "", 100_000), "user")

    def write(memory: Memory) -> None:
        for n in range(250):
            within(memory, lambda desk, n=n: desk.append("human", f"{memory.name} {n}"))

    threads = [threading.Thread(target=write, args=(memory,)) for memory in (anna, berta)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = anna.block("human").value.splitlines()
    assert berta.block("human").value.splitlines() == lines
    for name in ("anna", "berta"):
        assert [line for line in lines if line.startswith(name)] == [f"{name} {n}" for n in range(250)]
    assert len(anna.block_versions("human")) == 502


def test_a_rewrite_of_what_has_changed_is_refused_and_shows_it(anna: Memory, berta: Memory) -> None:
    before = anna.blocks()
    within(berta, lambda desk: desk.append("human", "news"))

    def rewrite(desk: Desk) -> Block:
        desk.saw(before)
        return desk.rewrite("human", "all mine")

    refused = within(anna, rewrite)
    assert not refused.ok
    assert refused.text.endswith("it now holds:\nnews")
    assert anna.block("human").value == "news"
    before = anna.blocks()
    assert within(anna, rewrite).ok


def test_a_replace_keeps_the_lines_of_others_and_shows_what_has_changed(anna: Memory, berta: Memory) -> None:
    within(anna, lambda desk: desk.append("human", "likes tea"))
    before = anna.blocks()
    within(berta, lambda desk: desk.append("human", "lives in Rome"))

    def replace(desk: Desk) -> Block:
        desk.saw(before)
        return desk.replace("human", "tea", "coffee")

    assert within(anna, replace).ok
    assert anna.block("human").value == "likes coffee\nlives in Rome"
    refused = within(anna, replace)
    assert "matches 0 times" in refused.text
    assert refused.text.endswith("it now holds:\nlikes coffee\nlives in Rome")


def test_a_fact_takes_no_place_of_a_line_that_was_not_seen(anna: Memory, berta: Memory) -> None:
    old, new = (
        "Tom works as a gardener in the old harbour of Lisbon",
        "Tom works as a baker in the old harbour of Lisbon",
    )
    before = anna.blocks()
    within(berta, lambda desk: desk.keep("human", old))

    def keep(desk: Desk) -> str:
        desk.saw(before)
        return desk.keep("human", new)

    assert within(anna, keep).ok
    assert anna.block("human").value == f"{old}\n{new}"
    before = anna.blocks()
    newest = "Tom works as a painter in the old harbour of Lisbon"
    assert within(anna, lambda desk: (desk.saw(before), desk.keep("human", newest))).ok
    assert newest in anna.block("human").value
    assert len(anna.block("human").value.splitlines()) == 2


def test_a_store_of_version_1_opens_with_what_it_holds(tmp_path: Path) -> None:
    from localmem.memory.clock import system_clock
    from localmem.memory.migrations import MIGRATIONS
    from localmem.memory.store import Store

    (tmp_path / "home").mkdir()
    store = Store(tmp_path / "home" / "localmem.duckdb", clock=system_clock, migrations=MIGRATIONS[:1])

    def fill(cursor: object) -> None:
        run = cursor.execute  # type: ignore[attr-defined]
        run("INSERT INTO agents VALUES (nextval('agent_ids'), 'old', 'm', NULL, 0, now()::TIMESTAMP)")
        run(
            """INSERT INTO blocks VALUES (nextval('version_ids'), 1, 'human', 'Ada', 100, '', false, 'user', 0, 0,
               [], now()::TIMESTAMP)"""
        )

    store.write(fill)
    store.close()
    with Home.open(tmp_path / "home") as home:
        memory = home.agent("old")
        assert (memory.model, memory.functions) == ("m", None)
        assert memory.block("human").value == "Ada"
        assert memory.block_versions()[0].origin == Origin("user")
        home.create_agent("new", functions="full")
        home.share_block("human", "old", "new")
        assert home.agent("new").block("human").value == "Ada"
        assert [row.functions for row in home.agents()] == [None, "full"]
