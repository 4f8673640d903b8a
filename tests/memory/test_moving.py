"""Export, import and copy: an agent comes out as it went in, table by table, and a bad file changes nothing."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from memory_acts import Hands, run, say, within

from localmem.errors import BadInput, DiskFault, UsageError
from localmem.loading import load
from localmem.memory import moving
from localmem.memory.carried import CARRIED, LEFT_OUT
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.migrations import AGENT_TABLES
from localmem.memory.when import When
from localmem.records import Block, Call, Event, EventKind, Result
from localmem.testing import HashEmbedder

NOTHING = set(LEFT_OUT) - {"documents", "postings"}
"""Tables in which an agent that came out of a file has no row."""


def lived(home: Home, name: str = "anna") -> Memory:
    """Return an agent that has a row in every table, and an open turn."""
    memory = home.create_agent(name, model="m", system="Be kind.\n", functions="full")
    say(memory, 'Zero \0, a line\nand a "quote" \u2028 😀', "Aha.")
    slip = within(memory, lambda desk: (desk.append("human", "a slip"), desk.insert_passage("apple slip")))
    assert memory.undo().turn == slip.turn
    event = memory.open_turn(Event(EventKind.USER, "look it up"))
    call = memory.add(Call("I think", "f", {"x": 1}, ids=(1, 2, 99_999), model="abc"), event.turn)
    long = memory.perform(call, lambda desk: Result(True, "long " * 99))
    memory.start(call)
    memory.choices.add(["roll_dice"])
    memory.choices.permit("roll_dice", "hash")
    run(memory, event.turn, lambda desk: desk.page_out(long.id))
    run(memory, event.turn, lambda desk: desk.append("human", "likes tea"))
    run(memory, event.turn, lambda desk: desk.insert_passage("apple pie", tags=["food", 'a"b']))
    gone = within(memory, lambda desk: desk.insert_passage("to be retired"))
    memory.edit(lambda desk: desk.retire_passage(int(gone.text)))
    memory.edit(lambda desk: desk.pause_heartbeats(30))
    memory.put_block(Block("notes", "x", 10, "Notes.", read_only=True), "user")
    memory.settle()
    memory.evict(event.id, "They spoke of tea.")
    memory.inbox.add_timer(When(datetime(2090, 1, 1), timedelta(hours=1)), "tea")
    aside = memory.open_turn(memory.submit(Event(EventKind.USER, "ticket")))
    memory.inbox.set_aside(aside.turn)
    memory.submit(Event(EventKind.DOCUMENT, "waits"))
    book = home.path / "book.txt"
    book.write_text("On plums.\n\n" + "A plum is a fruit. " * 40)
    list(load(home.archive_of(name), [book]))
    reading = memory.readings.start("book.txt", "find plums")
    memory.readings.note(reading, memory.readings.stretch(reading, 100), "Plums.")
    within(memory, lambda desk: desk.open_document("book.txt", 1))
    return memory


def rows(home: Home, name: str, table: str) -> list[tuple[Any, ...]]:
    """Return an agent's rows in a table, without which agent it is."""

    def work(cursor: Any) -> list[tuple[Any, ...]]:
        row = cursor.execute("SELECT id FROM agents WHERE name = ?", [name]).fetchone()
        key = "id" if table == "agents" else "agent"
        rest = "id, name" if table == "agents" else "agent"
        found = cursor.execute(f"SELECT * EXCLUDE ({rest}) FROM {table} WHERE {key} = ?", [row[0]]).fetchall()
        return sorted(found, key=repr)

    return home.store.read(work)


def moved(home: Home, name: str, table: str, ids: dict[str, dict[int, int]]) -> list[tuple[Any, ...]]:
    """Return an agent's rows with every id put through the mapping of its sequence."""
    carried = {each.table: each for each in CARRIED}.get(table)
    names = home.store.read(
        lambda c: [
            row[0]
            for row in c.execute(
                "SELECT column_name FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
            ).fetchall()
        ]
    )
    names = [each for each in names if each not in ({"id", "name"} if table == "agents" else {"agent"})]
    found = []
    for row in rows(home, name, table):
        line = dict(zip(names, row, strict=True))
        for column, sequence in (carried.ids if carried else {}).items():
            value = line[column]
            to = ids[sequence]
            line[column] = [to[n] for n in value] if isinstance(value, list) else to.get(value, value)
        if not carried and "doc" in line:
            sequence = "passage_ids" if line["tier"] else "record_ids"
            line["doc"] = ids[sequence][line["doc"]]
        found.append(tuple(line.values()))
    return sorted(found, key=repr)


def mapping(source: Home, target: Home, name: str, to: str) -> dict[str, dict[int, int]]:
    """Return which id became which, in the order in which they were given."""
    ids: dict[str, dict[int, int]] = {}
    for table, sequence in (("records", "record_ids"), ("passages", "passage_ids")):
        old = sorted(row[0] for row in rows(source, name, table))
        new = sorted(row[0] for row in rows(target, to, table))
        ids[sequence] = dict(zip(old, new, strict=True))
    versions = [
        sorted(r[0] for t in ("blocks", "summaries", "undone") for r in rows(h, n, t))
        for h, n in ((source, name), (target, to))
    ]
    ids["version_ids"] = dict(zip(*versions, strict=True))
    for table, sequence in (
        ("events", "event_ids"),
        ("timers", "timer_ids"),
        ("files", "file_ids"),
        ("readings", "reading_ids"),
        ("notes", "note_ids"),
    ):
        old = sorted(row[0] for row in rows(source, name, table))
        new = sorted(row[0] for row in rows(target, to, table))
        ids[sequence] = dict(zip(old, new, strict=True))
    return ids


def ticketed(value: object, tickets: dict[int, int]) -> object:
    """Return a payload with the ticket at its end put through a mapping."""
    if not isinstance(value, str):
        return value
    return re.sub(r', "ticket": (\d+)}$', lambda found: f', "ticket": {tickets[int(found[1])]}}}', value)


def same(source: Home, target: Home, name: str = "anna", to: str = "anna") -> None:
    """Assert that an agent is in two places the same in every table, whatever its ids are."""
    ids = mapping(source, target, name, to)
    for table in ("agents", *AGENT_TABLES):
        if table in NOTHING:
            continue
        there = rows(source, name, table)
        assert there, f"{table} has no row: the test shows nothing"
        wanted, got = moved(source, name, table, ids), rows(target, to, table)
        if table == "records":  # whose payload ends in the ticket of an event
            tickets = ids["event_ids"]
            wanted = [tuple(ticketed(value, tickets) for value in row) for row in wanted]
            wanted = sorted(wanted, key=repr)
            assert "ticket" in str(wanted)
        if table == "stubs":  # whose texts name their record
            named = ids["record_ids"]
            wanted = [
                (new, text.replace(f"record {old}:", f"record {new}:"), *rest)
                for (old, *_), (new, text, *rest) in zip(there, wanted, strict=True)
                if named[old] == new
            ]
        assert got == wanted, table
    shown, was = target.agent(to), source.agent(name)
    assert shown.search_archive("apple").total == was.search_archive("apple").total == 1
    assert shown.search_recall("quote").total == was.search_recall("quote").total == 1
    assert [block.value for block in shown.blocks()] == [block.value for block in was.blocks()]
    open_turn = shown.unfinished()
    assert open_turn is not None
    assert open_turn.steps == 4


def test_every_table_of_agents_is_carried_or_left_out_for_a_reason(home: Home) -> None:
    carried = {each.table for each in CARRIED}
    assert carried & set(LEFT_OUT) == set()
    assert carried | set(LEFT_OUT) == {*AGENT_TABLES, "agents"}
    found = home.store.read(
        lambda c: c.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'main'"
        ).fetchall()
    )
    assert {table for table, column, _ in found if column == "agent"} == set(AGENT_TABLES)
    for each in CARRIED:
        columns = {column: kind for table, column, kind in found if table == each.table}
        long = {column for column, kind in columns.items() if kind.startswith("BIGINT")} - {each.agent}
        assert long == {*each.ids, *each.numbers}, f"{each.table}: is it an id or a number?"
        assert set(each.foreign) | set(each.named.values()) <= set(each.ids)
        known = (
            "BIGINT",
            "BIGINT[]",
            "VARCHAR",
            "VARCHAR[]",
            "BLOB",
            "TIMESTAMP",
            "BOOLEAN",
            "INTEGER",
            "DOUBLE",
            "UTINYINT",
        )
        assert set(columns.values()) <= set(known)


def test_an_export_loads_into_an_empty_home_to_the_same_state(
    home: Home, tmp_path: Path, clock: Hands
) -> None:
    memory = lived(home)
    file = tmp_path / "anna.agent"
    assert home.export_agent("anna", file) == file.stat().st_size
    assert file.stat().st_mode & 0o077 == 0
    with Home.open(tmp_path / "other", clock=clock, embedder=HashEmbedder()) as other:
        other.import_agent(file)
        same(home, other)
        assert other.agent("anna").records() == memory.records()
        assert other.agent("anna").block_versions() == memory.block_versions()
        assert other.agent("anna").queue() == memory.queue()
        state = other.agent("anna").index_state()
        assert state is not None
        other.agent("anna").settle()
        state = other.agent("anna").index_state()
        assert state is not None
        memory.settle()
        assert state == memory.index_state()
        assert state.agrees
        new = say(other.agent("anna"), "and on")
        assert new.id > max(record.id for record in memory.records())
    with Home.open(tmp_path / "other", clock=clock, embedder=HashEmbedder()) as other:
        assert other.agent("anna").search_archive("apple").total == 1
        newer = say(other.agent("anna"), "after a restart")
        assert newer.id > new.id


def test_ids_that_are_taken_are_moved_together(home: Home, tmp_path: Path, clock: Hands) -> None:
    lived(home)
    home.export_agent("anna", tmp_path / "anna.agent")
    with Home.open(tmp_path / "other", clock=clock, embedder=HashEmbedder()) as other:
        before = lived(other, "berta")
        kept = {table: rows(other, "berta", table) for table in AGENT_TABLES}
        other.import_agent(tmp_path / "anna.agent", "carla")
        same(home, other, to="carla")
        assert {table: rows(other, "berta", table) for table in AGENT_TABLES} == kept
        ids = [record.id for name in ("berta", "carla") for record in other.agent(name).records()]
        assert len(set(ids)) == len(ids)
        stub = next(r.stub for r in other.agent("carla").records() if getattr(r, "stub", ""))
        shown = next(r.id for r in other.agent("carla").records() if getattr(r, "stub", ""))
        assert f"record {shown}:" in stub
        say(before, "still alive")


def test_a_copy_is_the_same_and_goes_its_own_way(home: Home) -> None:
    memory = lived(home)
    copy = home.copy_agent("anna", "berta")
    same(home, home, to="berta")
    within(copy, lambda desk: desk.append("human", "mine alone"))
    assert "mine alone" not in memory.block("human").value
    with pytest.raises(UsageError, match="already"):
        home.copy_agent("anna", "berta")


def test_a_copy_searches_the_same_archives(home: Home) -> None:
    lived(home)
    home.create_archive("books")
    home.attach("books", "anna", writable=True)
    home.copy_agent("anna", "berta")
    assert [(each.agent, each.writable) for each in home.archives()[0].attached] == [
        ("anna", True),
        ("berta", True),
    ]


def test_a_shared_block_goes_out_as_it_stands(home: Home, tmp_path: Path) -> None:
    home.create_agent("owner")
    anna = lived(home)
    home.share_block("human", "owner", "anna", replace=True)
    within(anna, lambda desk: desk.append("human", "by anna"))
    within(home.agent("owner"), lambda desk: desk.append("human", "by owner"))
    home.export_agent("owner", tmp_path / "o")
    home.copy_agent("anna", "berta")
    berta = home.agent("berta")
    assert [b.label for b in berta.blocks()] == [b.label for b in anna.blocks()]
    assert berta.block("human").value == "by anna\nby owner"
    within(berta, lambda desk: desk.append("human", "alone"))
    assert anna.block("human").value == "by anna\nby owner"
    home.delete_agent("owner")
    assert anna.block("human").value == "by anna\nby owner"
    owner = home.import_agent(tmp_path / "o")
    mine = {record.id for record in owner.records()}
    for version in owner.block_versions():
        assert {version.origin.turn, version.origin.call, *version.origin.rests_on} - {0} <= mine


def test_what_another_took_back_does_not_count_again(home: Home, tmp_path: Path) -> None:
    owner, anna = home.create_agent("owner"), home.create_agent("anna")
    home.share_block("human", "owner", "anna")
    within(anna, lambda desk: desk.append("human", "stays"))
    within(anna, lambda desk: desk.append("human", "a slip"))
    assert anna.undo().blocks == ("human",)
    assert owner.block("human").value == "stays"
    home.export_agent("owner", tmp_path / "o")
    assert home.import_agent(tmp_path / "o", "again").block("human").value == "stays"
    home.copy_agent("anna", "berta")
    assert home.agent("berta").block("human").value == "stays"


def damaged(file: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Write a file anew with its parts changed."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def manifest(parts: dict[str, bytes], **changed: object) -> None:
    parts["manifest.json"] = json.dumps(json.loads(parts["manifest.json"]) | changed).encode()


def rewritten(parts: dict[str, bytes], table: str, old: str, new: str) -> None:
    """Change a table by hand, and make the manifest agree."""
    data = parts[f"{table}.jsonl"].decode()
    assert old in data
    parts[f"{table}.jsonl"] = data.replace(old, new).encode()
    facts = json.loads(parts["manifest.json"])
    facts["tables"][table]["sha256"] = hashlib.sha256(parts[f"{table}.jsonl"]).hexdigest()
    parts["manifest.json"] = json.dumps(facts).encode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda parts: manifest(parts, format=2), "newer localmem"),
        (lambda parts: manifest(parts, store=10_000), "newer localmem"),
        (lambda parts: parts.pop("blocks.jsonl"), "damaged"),
        (lambda parts: parts.update({"blocks.jsonl": b"{}\n"}), "damaged"),
        (lambda parts: parts.update({"manifest.json": b"[]"}), "damaged"),
        (
            lambda parts: rewritten(parts, "records", '"kind": "event"', '"kind": "evil"'),
            "cannot be imported",
        ),
        (lambda parts: rewritten(parts, "records", '"id": 1,', '"id": "x",'), "cannot be imported"),
        (lambda parts: rewritten(parts, "records", '"id": 1,', f'"id": {2**60},'), "cannot be imported"),
        (lambda parts: rewritten(parts, "blocks", '"limit": 2000', '"limit": 3'), "cannot be imported"),
        (lambda parts: rewritten(parts, "blocks", '"value"', '"worth"'), "cannot be imported"),
        (lambda parts: rewritten(parts, "agents", '"generation"', '"generations"'), "cannot be imported"),
    ],
)
def test_a_bad_file_is_one_line_and_changes_nothing(
    home: Home, tmp_path: Path, change: Callable[[dict[str, bytes]], object], says: str
) -> None:
    lived(home)
    file = tmp_path / "anna.agent"
    home.export_agent("anna", file)
    damaged(file, change)
    before = {table: rows(home, "anna", table) for table in AGENT_TABLES}
    with pytest.raises(BadInput, match=says) as error:
        home.import_agent(file, "berta")
    assert "\n" not in str(error.value)
    assert [row.name for row in home.agents()] == ["anna"]
    assert {table: rows(home, "anna", table) for table in AGENT_TABLES} == before
    total = home.store.read(lambda c: c.execute("SELECT count(*) FROM records").fetchone())
    assert total == (len(before["records"]),)


def test_a_cut_file_at_every_length(home: Home, tmp_path: Path) -> None:
    lived(home)
    file = tmp_path / "anna.agent"
    size = home.export_agent("anna", file)
    whole = file.read_bytes()
    for length in [0, 1, *range(37, size, 97), size - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(BadInput, match=r"cut|damaged"):
            home.import_agent(file, "berta")
    with pytest.raises(BadInput, match="cannot be read"):
        home.import_agent(tmp_path / "nowhere")
    assert [row.name for row in home.agents()] == ["anna"]


def test_names_and_files_that_are_taken(home: Home, tmp_path: Path) -> None:
    lived(home)
    file = tmp_path / "anna.agent"
    home.export_agent("anna", file)
    with pytest.raises(UsageError, match="--as"):
        home.import_agent(file)
    with pytest.raises(UsageError, match="--force"):
        home.export_agent("anna", file)
    home.export_agent("anna", file, overwrite=True)
    with pytest.raises(UsageError, match="no folder"):
        home.export_agent("anna", tmp_path / "no" / "where")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anna.agent", "home"]


def test_a_failed_export_leaves_the_old_file(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(home)
    file = tmp_path / "anna.agent"
    home.export_agent("anna", file)
    whole = file.read_bytes()

    def fails(*_: object) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(moving, "unload", fails)
    with pytest.raises(DiskFault, match="No space left"):
        home.export_agent("anna", file, overwrite=True)
    assert file.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anna.agent", "home"]
