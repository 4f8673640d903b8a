"""The archive refuses duplicates, keeps provenance, and its FAISS index never drifts from the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_acts import within

from localmem.errors import DiskFault, FunctionError
from localmem.memory.core import Origin
from localmem.memory.home import Home
from localmem.memory.memory import IndexState, Memory
from localmem.testing import HashEmbedder


def fill(memory: Memory, *texts: str) -> None:
    memory.edit(lambda desk: [desk.insert_passage(text) for text in texts])


def test_an_exact_duplicate_is_refused(home: Home, memory: Memory) -> None:
    assert within(memory, lambda desk: desk.insert_passage("fact")).ok
    refused = within(memory, lambda desk: desk.insert_passage("fact"))
    assert not refused.ok
    assert "already" in refused.text
    assert within(memory, lambda desk: desk.insert_passage("fact ")).ok
    assert not within(memory, lambda desk: desk.insert_passage(" \n")).ok
    assert memory.counts().archival == 2
    fill(home.create_agent("other"), "fact")


def test_a_passage_says_where_it_comes_from(memory: Memory) -> None:
    result = within(memory, lambda desk: desk.insert_passage("fact", tags=["a", "b"]))
    memory.edit(lambda desk: desk.insert_passage("page 1", source="book.txt"), author="document")
    first, second = memory.passages()
    assert first.origin == Origin("agent", result.turn, result.call, (result.turn,))
    assert (first.source, first.tags) == ("agent", ("a", "b"))
    assert (second.source, second.origin) == ("book.txt", Origin("document"))
    assert memory.search_archive("page").hits[0].source == "book.txt"


def test_a_retired_passage_is_kept_but_not_found(memory: Memory) -> None:
    fill(memory, "apple pie", "apple tart")
    memory.settle()
    memory.edit(lambda desk: desk.retire_passage(1))
    page = memory.search_archive("apple pie")
    assert [hit.text for hit in page.hits] == ["apple tart"]
    assert (page.total, memory.counts().archival) == (1, 1)
    assert [passage.retired for passage in memory.passages()] == [True, False]
    for gone in (1, 99):
        with pytest.raises(FunctionError, match="no passage"):
            memory.edit(lambda desk, gone=gone: desk.retire_passage(gone))
    fill(memory, "apple pie")
    assert memory.search_archive("pie").total == 1


def test_the_index_is_as_wide_as_the_vectors_of_its_embedder(tmp_path: Path) -> None:
    for dimension in (256, 8, 384):
        with Home.open(tmp_path, embedder=HashEmbedder(dimension, f"hash-{dimension}")) as home:
            memory = home.agent("a") if home.agents() else home.create_agent("a")
            assert memory.search_archive("tart").total == (dimension != 256)
            if dimension == 256:
                fill(memory, "apple tart", "pear")
            memory.settle()
            assert memory.index_state() == IndexState(2, 2, True)
            assert memory.search_archive("tart").hits[0].text == "apple tart"


def test_settle_brings_the_index_in_step(home: Home, memory: Memory) -> None:
    fill(memory, *(f"passage {n}" for n in range(150)))
    assert memory.index_state() == IndexState(0, 0, True)
    memory.settle()
    assert memory.index_state() == IndexState(150, 150, True)
    fill(memory, "one more")
    memory.settle()
    assert memory.index_state() == IndexState(151, 151, True)
    path = home.path / "index" / "1.faiss"
    stamp = path.stat().st_mtime_ns
    memory.settle()
    assert path.stat().st_mtime_ns == stamp
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "changed", "other"])
def test_a_damaged_index_is_rebuilt(tmp_path: Path, damage: str) -> None:
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        memory = home.create_agent("a")
        fill(memory, "red apple", "green pear")
        memory.settle()
    path = tmp_path / "index" / "1.faiss"
    whole = path.read_bytes()
    changed = whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]
    parts = {"empty": b"", "cut": whole[:-5], "changed": changed, "other": b"junk\n" * 99}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(parts[damage])
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        memory = home.agent("a")
        assert memory.search_archive("apple").hits[0].text == "red apple"
        memory.settle()
        assert memory.index_state() == IndexState(2, 2, True)
    assert path.read_bytes() == whole


def test_an_index_that_cannot_be_written_loses_nothing(home: Home, memory: Memory) -> None:
    (home.path / "index").write_text("in the way")
    fill(memory, "red apple")
    with pytest.raises(DiskFault, match="cannot be written"):
        memory.settle()
    assert memory.search_archive("apple").total == 1
    (home.path / "index").unlink()
    memory.settle()
    assert memory.index_state() == IndexState(1, 1, True)
    assert (home.path / "index" / "1.faiss").is_file()


def test_an_older_index_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "index" / "1.faiss"
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        memory = home.create_agent("a")
        fill(memory, "red apple")
        memory.settle()
        older = path.read_bytes()
        fill(memory, "green pear")
        memory.settle()
    path.write_bytes(older)
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        memory = home.agent("a")
        assert memory.index_state() == IndexState(2, 1, False)
        memory.settle()
        assert memory.index_state() == IndexState(2, 2, True)


def test_another_embedder_embeds_anew(tmp_path: Path) -> None:
    for embedder in (HashEmbedder(64, "small"), HashEmbedder(128, "large"), HashEmbedder(64, "small")):
        with Home.open(tmp_path, embedder=embedder) as home:
            memory = home.agent("a") if home.agents() else home.create_agent("a")
            if not memory.passages():
                fill(memory, "red apple", "green pear")
            assert memory.search_archive("apple").total == 1
            memory.settle()
            assert memory.index_state() == IndexState(2, 2, True)
            assert memory.search_archive("apple").hits[0].text == "red apple"


def test_a_failing_embedder_keeps_the_passages(tmp_path: Path) -> None:
    class Failing(HashEmbedder):
        def encode(self, texts: object) -> object:
            raise OSError("no memory")

    with Home.open(tmp_path, embedder=Failing()) as home:
        memory = home.create_agent("a")
        fill(memory, "red apple")
        with pytest.raises(OSError, match="no memory"):
            memory.settle()
    with Home.open(tmp_path, embedder=HashEmbedder()) as home:
        home.agent("a").settle()
        assert home.agent("a").index_state() == IndexState(1, 1, True)
