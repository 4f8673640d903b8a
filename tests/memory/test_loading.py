"""Documents come into an archive, change and go; nothing is embedded twice, and agents share what they share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from memory_acts import within

from localmem.errors import UnknownArchive, UsageError
from localmem.loading import Advance, FileLoaded, load
from localmem.memory.archive import Archive
from localmem.memory.clock import system_clock
from localmem.memory.home import Home
from localmem.memory.migrations import MIGRATIONS
from localmem.memory.store import Store
from localmem.records import EventKind
from localmem.testing import HashEmbedder


class Counting(HashEmbedder):
    """Counts the texts that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts.extend(texts)
        return super().encode(texts)


def put(archive: Archive, *paths: Path) -> dict[str, FileLoaded]:
    """Load, and return what came of each file by its name."""
    return {Path(item.path).name: item for item in load(archive, paths) if isinstance(item, FileLoaded)}


def book(folder: Path, name: str = "book.txt", paragraphs: int = 120) -> Path:
    """Write a book in which every paragraph says a number of its own."""
    said = [f"Paragraph {n} says that number {n} " + "is a number " * (n % 17) for n in range(paragraphs)]
    (folder / name).write_text("\n\n".join(said))
    return folder / name


def test_a_folder_is_loaded_with_all_it_holds(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "garden.md").write_text(
        "# Garden\n\nLettuce is sown in March.\n\n# Pests\n\nSnails eat lettuce."
    )
    (folder / "sub" / "plum.txt").write_text("The plum is blue.")
    (folder / ".hidden.txt").write_text("secret")
    (folder / ".git" / "config.txt").write_text("secret")
    (folder / "empty.txt").touch()
    (folder / "program.bin").write_bytes(b"\0\1")
    memory = home.create_agent("a")
    came = put(home.archive_of("a"), folder)
    assert {name: item.state for name, item in came.items()} == {
        "empty.txt": "skipped",
        "garden.md": "loaded",
        "program.bin": "skipped",
        "plum.txt": "loaded",
    }
    assert "empty" in came["empty.txt"].reason
    assert ".bin" in came["program.bin"].reason
    hit = memory.search_archive("snails").hits[0]
    assert (hit.source, hit.text) == ("garden.md, Pests", "# Pests\n\nSnails eat lettuce.")
    assert memory.search_archive("secret").total == 0
    assert memory.search_archive("lettuce").total == 2


@pytest.mark.skipif(sys.platform == "darwin", reason="there no file can have such a name")
def test_an_odd_name_or_heading_stops_no_load(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/b\xfc.txt"))
    odd.write_text("It lies in Latin-1.")
    line = {"text": "The plum is blue.", "heading": "half \ud800"}
    (folder / "c.jsonl").write_text(json.dumps(line))
    memory = home.create_agent("a")
    came = put(home.archive_of("a"), folder)
    assert {name: item.state for name, item in came.items()} == {
        "b\ufffd.txt": "skipped",
        "c.jsonl": "loaded",
    }
    assert "rename it" in came["b\ufffd.txt"].reason
    assert memory.search_archive("plum").hits[0].source == "c.jsonl, half ?"


def test_a_folder_that_is_closed_is_said_and_stops_no_load(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    (folder / "closed").mkdir(parents=True)
    (folder / "closed" / "a.txt").write_text("secret")
    (folder / "open.txt").write_text("The plum is blue.")
    scandir = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "closed":  # as its rights would have it, for everybody but the superuser
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    archive = home.archive_of(home.create_agent("a").name)
    monkeypatch.setattr(os, "scandir", closed)
    came = put(archive, folder)
    assert came.pop("open.txt").state == "loaded"
    assert [item.state for item in came.values()] == ["skipped"]


def test_a_path_that_is_not_there_stops_the_load_before_it_begins(home: Home, tmp_path: Path) -> None:
    home.create_agent("a")
    with pytest.raises(UsageError, match="no file or folder"):
        put(home.archive_of("a"), book(tmp_path), tmp_path / "nothing")
    assert home.archive_of("a").files() == ()


def test_the_second_time_nothing_is_embedded(tmp_path: Path) -> None:
    embedder = Counting()
    with Home.open(tmp_path / "home", embedder=embedder) as home:
        archive = home.create_archive("books")
        first = put(archive, book(tmp_path))["book.txt"]
        assert first.new == len(embedder.texts) > 10
        assert put(archive, tmp_path / "book.txt")["book.txt"].state == "unchanged"
        copy = book(tmp_path, "copy.txt")
        assert put(archive, copy)["copy.txt"].new == 0
        assert len(embedder.texts) == first.new
        home.create_agent("a")
        home.attach("books", "a")
        assert home.agent("a").search_archive("Paragraph 77").hits[0].source == "book.txt"


def test_of_a_changed_file_only_the_changed_passages_are_embedded(tmp_path: Path) -> None:
    embedder = Counting()
    with Home.open(tmp_path / "home", embedder=embedder) as home:
        memory, archive = home.create_agent("a"), home.archive_of("a")
        file = book(tmp_path)
        whole = put(archive, file)["book.txt"].passages
        del embedder.texts[:]
        file.write_text("A new beginning.\n\n" + file.read_text().replace("number 60 ", "a quince "))
        came = put(archive, file)["book.txt"]
        assert came.state == "changed"
        assert came.new == len(embedder.texts) < whole / 2
        assert (memory.search_archive("quince").total, memory.search_archive("beginning").total) == (1, 1)
        assert sum("number 60 " in passage.text for passage in memory.passages()) == 0
        assert len(memory.passages()) == came.passages == memory.counts().archival
        state = memory.index_state()
        assert state is not None
        assert (state.stored, state.indexed, state.agrees) == (came.passages, came.passages, True)


def test_a_load_that_was_stopped_goes_on(tmp_path: Path) -> None:
    embedder = Counting()
    with Home.open(tmp_path / "home", embedder=embedder) as home:
        memory, archive = home.create_agent("a"), home.archive_of("a")
        file = book(tmp_path, paragraphs=2000)
        items = load(archive, [file])
        steps = [item for _, item in zip(range(4), items, strict=False)]
        assert all(isinstance(step, Advance) for step in steps)
        items.close()  # type: ignore[attr-defined]
        done = len(embedder.texts)
        assert 0 < done == memory.counts().archival
        assert [(f.name, f.whole) for f in archive.files()] == [("book.txt", False)]
        came = put(archive, file)["book.txt"]
        assert len(embedder.texts) == len(set(embedder.texts)) == came.passages
        assert came.new == came.passages - done
    with Home.open(tmp_path / "home", embedder=embedder) as home:
        state = home.agent("a").index_state()
        assert state is not None
        assert state.agrees


def test_a_file_that_changed_after_a_stopped_load_leaves_nothing_behind(home: Home, tmp_path: Path) -> None:
    memory, archive = home.create_agent("a"), home.archive_of("a")
    file = book(tmp_path, paragraphs=2000)
    items = load(archive, [file])
    for _ in range(4):
        next(items)
    items.close()  # type: ignore[attr-defined]
    file.write_text("All new.")
    put(archive, file)
    assert [passage.text for passage in memory.passages()] == ["All new."]


def test_a_file_is_taken_out_with_what_no_other_holds(home: Home, tmp_path: Path) -> None:
    memory, archive = home.create_agent("a"), home.archive_of("a")
    (tmp_path / "in").mkdir()
    for name, text in (("one.txt", "The plum is blue."), ("two.txt", "The plum is blue.")):
        (tmp_path / "in" / name).write_text(text)
    memory.edit(lambda desk: desk.insert_passage("My own plum."))
    put(archive, tmp_path / "in")
    assert memory.search_archive("plum").total == 2
    assert archive.remove(str(tmp_path / "in" / "one.txt"))
    assert [hit.source for hit in memory.search_archive("plum blue").hits if "blue" in hit.text] == [
        "two.txt"
    ]
    assert archive.remove(str(tmp_path / "in"))
    assert not archive.remove(str(tmp_path / "in"))
    assert [passage.text for passage in memory.passages()] == ["My own plum."]
    assert memory.search_archive("plum blue").total == 1
    assert archive.files() == ()


def test_two_agents_share_an_archive_and_keep_their_own(home: Home, tmp_path: Path) -> None:
    ada, bob, eve = (home.create_agent(name) for name in ("ada", "bob", "eve"))
    (tmp_path / "plum.txt").write_text("The plum is blue.")
    archive = home.create_archive("fruit")
    put(archive, tmp_path / "plum.txt")
    home.attach("fruit", "ada", writable=True)
    home.attach("fruit", "bob")
    ada.edit(lambda desk: desk.insert_passage("Ada's plum."))
    assert [memory.search_archive("plum").total for memory in (ada, bob, eve)] == [2, 1, 0]
    assert [memory.counts().archival for memory in (ada, bob, eve)] == [2, 1, 0]
    for memory, may in ((ada, True), (bob, False), (eve, False)):
        done = within(memory, lambda desk: desk.insert_shared_passage("fruit", "Plums are sour.", source="x"))
        assert done.ok == may
    assert "no archive that you may write to" in done.text
    assert bob.search_archive("sour").total == 1
    bob.settle()
    assert bob.search_archive("plums").total == 2
    home.detach("fruit", "bob")
    assert bob.search_archive("plum").total == 0
    with pytest.raises(UsageError, match="not attached"):
        home.detach("fruit", "bob")
    home.delete_archive("fruit")
    assert ada.search_archive("plum").total == 1
    with pytest.raises(UnknownArchive):
        home.archive("fruit")


def test_pages_over_all_archives_have_the_true_total(home: Home, tmp_path: Path) -> None:
    memory = home.create_agent("a")
    for archive in ("one", "two"):
        lines = [json.dumps({"text": f"Plum {n} of {archive}"}) for n in range(7)]
        (tmp_path / f"{archive}.jsonl").write_text("\n".join(lines))
        put(home.create_archive(archive), tmp_path / f"{archive}.jsonl")
        home.attach(archive, "a")
    memory.edit(lambda desk: desk.insert_passage("My own plum"))
    pages = [memory.search_archive("plum", page) for page in (1, 2, 3)]
    assert [(page.total, page.pages, len(page.hits)) for page in pages] == [(15, 3, 5)] * 3
    assert len({hit.id for page in pages for hit in page.hits}) == 15


def test_ready_made_vectors_are_taken_as_they_are(tmp_path: Path) -> None:
    embedder = Counting()
    with Home.open(tmp_path / "home", embedder=embedder) as home:
        memory, archive = home.create_agent("a"), home.archive_of("a")
        near = HashEmbedder().encode(["a word that is nowhere in it"])[0].tolist()
        lines = [
            {"text": "The plum is blue.", "embedding": near},
            {"text": "Pears.", "embedding": near[::-1]},
        ]
        file = tmp_path / "texts.jsonl"
        file.write_text("\n".join(map(json.dumps, lines)))
        assert put(archive, file)["texts.jsonl"].state == "loaded"
        assert embedder.texts == ["x"]
        assert memory.search_archive("a word that is nowhere in it").hits[0].text == "The plum is blue."


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"text": "x", "embedding": [1.0, 2.0]}, "have 2 numbers, those of hash have 256"),
        ({"text": "x", "embedding": [1.0] * 256, "embedder": "other"}, "made by other"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    home: Home, tmp_path: Path, line: dict[str, object], reason: str
) -> None:
    home.create_agent("a")
    (tmp_path / "texts.jsonl").write_text(json.dumps(line))
    came = put(home.archive_of("a"), tmp_path / "texts.jsonl")["texts.jsonl"]
    assert came.state == "skipped"
    assert reason in came.reason
    assert home.agent("a").counts().archival == 0


def test_without_an_embedder_a_load_is_found_by_words_and_embedded_later(tmp_path: Path) -> None:
    with Home.open(tmp_path / "home") as home:
        home.create_agent("a")
        put(home.create_archive("books"), book(tmp_path))
        home.attach("books", "a")
        assert home.agent("a").search_archive("Paragraph 77").total > 0
    embedder = Counting()
    with Home.open(tmp_path / "home", embedder=embedder) as home:
        home.agent("a").settle()
        assert len(embedder.texts) == home.archives()[0].passages


def test_the_agents_are_told_once_what_is_new(home: Home, tmp_path: Path) -> None:
    memory, other = home.create_agent("a"), home.create_agent("b")
    archive = home.create_archive("books")
    home.attach("books", "a")
    put(archive, book(tmp_path))
    put(archive, book(tmp_path))
    told = memory.inbox.pending()
    assert [event.kind for event in told] == [EventKind.DOCUMENT]
    assert told[0].text.startswith("Loaded into the archive books: book.txt (")
    assert other.inbox.pending() == ()


def test_a_store_from_before_archives_opens_with_all_it_holds(tmp_path: Path) -> None:
    old = Store(tmp_path / "localmem.duckdb", clock=system_clock, migrations=MIGRATIONS[:1])
    for table, row in (
        ("agents", "(nextval('agent_ids'), 'a', NULL, NULL, 0, now())"),
        ("passages", "(nextval('passage_ids'), 1, 'plum', 1, 'agent', [], 'agent', 0, 0, [], now())"),
    ):
        old.write(lambda c, table=table, row=row: c.execute(f"INSERT INTO {table} VALUES {row}"))
    old.close()
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        assert [passage.text for passage in home.agent("a").passages()] == ["plum"]
        put(home.archive_of("a"), book(tmp_path))
        assert home.agent("a").search_archive("Paragraph 7").total > 0
