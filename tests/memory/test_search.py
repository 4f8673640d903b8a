"""Search finds by words and by meaning, says the true total, and shows the stored time."""

from __future__ import annotations

import importlib
import uuid
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_acts import Hands, run, say, within

from localmem.errors import FunctionError
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.terms import number
from localmem.records import Call, Event, EventKind, Page
from localmem.testing import HashEmbedder


def texts(page: Page) -> list[str]:
    return [hit.text for hit in page.hits]


def test_the_first_hits_are_on_the_first_page_and_the_total_is_true(memory: Memory) -> None:
    for n in range(12):
        say(memory, f"apple {'pie ' * n}")
        memory.edit(lambda desk, n=n: desk.insert_passage(f"apple {'pie ' * n}"))
    for search in (memory.search_recall, memory.search_archive):
        pages = [search("apple", page, 5) for page in (1, 2, 3, 4)]
        assert [(page.total, page.page, page.pages) for page in pages] == [(12, n, 3) for n in (1, 2, 3, 4)]
        assert [len(page.hits) for page in pages] == [5, 5, 2, 0]
        scores = [hit.score for page in pages for hit in page.hits]
        assert scores == sorted(scores, reverse=True)
        assert len({hit.id for page in pages for hit in page.hits}) == 12
        assert pages[0].hits[0].text == "apple "


def test_no_hit_is_an_empty_page(memory: Memory) -> None:
    assert memory.search_recall("zebra") == Page((), 0, 1, 1)
    say(memory, "hello")
    memory.edit(lambda desk: desk.insert_passage("hello"))
    for query in ("zebra", "", "?!", "the zebra"):
        assert memory.search_recall(query) == Page((), 0, 1, 1)
        assert memory.search_archive(query) == Page((), 0, 1, 1)
    with pytest.raises(FunctionError):
        memory.search_recall("hello", 0)


def test_recall_holds_what_was_said_and_no_envelope(memory: Memory) -> None:
    say(memory, "I am forty", "noted, friend")
    memory.open_turn(Event(EventKind.LOGIN, "pelican", note="pelican"))
    event = memory.open_turn(Event(EventKind.USER, "go", note="pelican 10:00"))
    memory.add(Call("pelican thought", "archival_memory_search", {"query": "pelican"}), event.turn)
    run(memory, event.turn, lambda desk: "pelican result")
    for word in ("pelican", "message", "kind", "text", "function", "send_message", "age"):
        assert memory.search_recall(word).total == 0, word
    hit = memory.search_recall("friend").hits[0]
    assert (hit.text, hit.source) == ("noted, friend", "agent")
    assert memory.search_recall("forty").hits[0].source == "user"


def test_a_question_finds_the_statement(memory: Memory) -> None:
    for text in (
        "What is the weather like?",
        "My aunt called, and my uncle called too",
        "My dog is called Rex",
        "What is my name? What is it?",
        "My cat is called Tom",
    ):
        say(memory, text, "What is it to you?")
        memory.edit(lambda desk, text=text: desk.insert_passage(text))
    memory.settle()
    assert texts(memory.search_recall("What is my dog called?"))[0] == "My dog is called Rex"
    assert texts(memory.search_archive("What is my dog called?"))[0] == "My dog is called Rex"
    assert memory.search_recall("what is my dog").total == 1


def test_the_question_itself_is_no_answer_to_it(memory: Memory) -> None:
    say(memory, "My dog is called Rex, he is a good old boy and he sleeps all day")
    event = memory.open_turn(Event(EventKind.USER, "dog called?"))
    found: list[str] = []
    run(memory, event.turn, lambda desk: found.extend(texts(desk.search_recall("dog called?"))))
    assert found == ["My dog is called Rex, he is a good old boy and he sleeps all day"]


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("She loves walking her dogs", "dog walk love"),
        ("They studied in three cities", "studies city"),
        ("Das schöne Café in Köln", "cafe koln"),
        ("Straße und GRÖSSE", "STRASSE größe"),
        ("私の犬の名前はレックスです", "犬の名前"),
        ("私の犬の名前はレックスです", "犬"),
        ("我住在上海", "上海"),
        ("ﾚｯｸｽ is half width", "レックス"),
        ("서울에서 살아요", "서울"),
        ("मेरा कुत्ता", "कुत्ता"),
        ("ผมอยู่กรุงเทพ", "กรุงเทพ"),
        ("Mail ada@example.com about it", "ada@example.com"),
        ("call it parse_http_header", "parse_http_header"),
        ("call it parse_http_header", "header"),
        ("on 2026-03-14 at noon", "2026-03-14"),
        ("version 1.2.3 is out", "1.2.3"),
        ("Anna's birthday", "Anna"),
        ("Anna’s birthday", "anna's"),
    ],
)
def test_words_are_found_in_many_languages(memory: Memory, stored: str, query: str) -> None:
    say(memory, "something else entirely")
    say(memory, stored)
    assert texts(memory.search_recall(query)) == [stored]


def test_identifiers_are_found_whole_and_by_part(memory: Memory) -> None:
    keys = [str(uuid.UUID(int=n * 0x1234567890ABCDEF1234567890AB)) for n in range(1, 41)]
    for key, value in zip(keys, keys[1:] + keys[:1], strict=True):
        memory.edit(lambda desk, key=key, value=value: desk.insert_passage(f"key {key} has value {value}"))
    memory.settle()
    for key in keys:
        exact = memory.search_archive(key)
        assert exact.total == 2
        assert all(key in hit.text for hit in exact.hits)
        asked = memory.search_archive(f"What is the value of key {key.upper()}?")
        assert [key in text for text in texts(asked)] == [True, True, False, False, False]
    assert any(keys[4] in text for text in texts(memory.search_archive(keys[4].rpartition("-")[2])))


def test_hits_show_the_stored_time_in_the_zone_of_the_clock(tmp_path: Path) -> None:
    zone = timezone(timedelta(hours=9))
    clock = Hands()
    clock.now = datetime(2026, 1, 2, 3, 4, tzinfo=zone)
    with Home.open(tmp_path, clock=clock, embedder=HashEmbedder()) as home:
        memory = home.create_agent("a")
        say(memory, "apple")
        memory.edit(lambda desk: desk.insert_passage("apple"))
        then = clock.now
        clock.forward(days=30)
        for search in (memory.search_recall, memory.search_archive):
            assert search("apple").hits[0].created_at == then
            assert search("apple").hits[0].created_at.hour == 3


def test_an_insert_shows_in_the_very_next_search(memory: Memory) -> None:
    for n in range(3):
        memory.edit(lambda desk, n=n: desk.insert_passage(f"apple {n}"))
        assert memory.search_archive("apple").total == n + 1
        memory.settle()
        assert memory.search_archive("apple").total == n + 1

    def work(desk: Desk) -> int:
        desk.insert_passage("apple 3")
        return desk.search_archive("apple").total

    assert within(memory, work).text == "4"


def test_dates_are_inclusive_and_oldest_first(tmp_path: Path) -> None:
    zone = timezone(timedelta(hours=-5))
    clock = Hands()
    with Home.open(tmp_path, clock=clock) as home:
        memory = home.create_agent("a")
        for day, hour, minute in ((9, 23, 59), (10, 0, 0), (10, 12, 0), (11, 23, 59), (12, 0, 0)):
            clock.now = datetime(2026, 3, day, hour, minute, 59 if minute else 0, tzinfo=zone)
            say(memory, f"{day} {hour}")
        found = memory.search_recall_dates(date(2026, 3, 10), date(2026, 3, 11))
        assert texts(found) == ["10 0", "10 12", "11 23"]
        assert found.total == 3
        assert texts(memory.search_recall_dates(date(2026, 3, 10), date(2026, 3, 10))) == ["10 0", "10 12"]
        assert memory.search_recall_dates(date.min, date.max, 2, 2).total == 5
        assert len(memory.search_recall_dates(date.min, date.max, 3, 2).hits) == 1
        with pytest.raises(FunctionError, match="after the end"):
            memory.search_recall_dates(date(2026, 3, 11), date(2026, 3, 10))


def test_search_by_meaning_finds_what_shares_no_word(tmp_path: Path) -> None:
    class Animals:
        name = "animals"
        dimension = 2

        def encode(self, found: list[str]) -> np.ndarray:
            return np.array([[1, 0] if "dog" in t or "puppy" in t else [0, 1] for t in found], np.float32)

    with Home.open(tmp_path, embedder=Animals()) as home:
        memory = home.create_agent("a")
        memory.edit(lambda desk: [desk.insert_passage(text) for text in ("the puppy sleeps", "rain", "snow")])
        assert memory.search_archive("dog").total == 0
        memory.settle()
        assert texts(memory.search_archive("dog")) == ["the puppy sleeps"]
        assert memory.vectors


def related(memory: Memory, text: str, turn: int = 10**9, size: int = 5) -> tuple[list[str], list[str]]:
    passages, said = memory.related(text, turn, size)
    return [hit.text for hit in passages], [hit.text for hit in said]


def test_what_is_related_comes_from_both_tiers_best_first(memory: Memory) -> None:
    for n in range(4):
        say(memory, f"apple {'pie ' * n}", "noted")
        memory.edit(lambda desk, n=n: desk.insert_passage(f"apple {'tart ' * n}"))
    memory.settle()
    passages, said = related(memory, "What about an apple?", size=2)
    assert passages == texts(memory.search_archive("What about an apple?", size=2))
    assert said == texts(memory.search_recall("What about an apple?", size=2)) == ["apple ", "apple pie "]
    assert related(memory, "apple", size=10) == (
        texts(memory.search_archive("apple", size=10)),
        texts(memory.search_recall("apple", size=10)),
    )
    for nothing in ("", "?!", "the", "zebra"):
        assert related(memory, nothing) == ([], [])


def test_what_is_related_was_said_before_the_turn(memory: Memory) -> None:
    say(memory, "apple one")
    event = say(memory, "apple two", "apple three")
    say(memory, "apple four")
    assert related(memory, event.text, event.turn)[1] == ["apple one"]
    assert len(related(memory, event.text)[1]) == 4


def test_retired_passages_are_not_related(memory: Memory) -> None:
    number = memory.edit(lambda desk: desk.insert_passage("apple"))
    memory.settle()
    assert related(memory, "apple")[0] == ["apple"]
    memory.edit(lambda desk: desk.retire_passage(number))
    assert related(memory, "apple") == ([], [])


@pytest.mark.parametrize("identifier", ["k-17", "2026-03-14", "ada@example.com", "parse_header"])
def test_nothing_is_related_to_an_identifier_that_is_known(memory: Memory, identifier: str) -> None:
    memory.edit(lambda desk: desk.insert_passage("apple pie"))
    event = say(memory, f"apple {identifier}?")
    assert related(memory, event.text, event.turn) == (["apple pie"], [])
    later = say(memory, f"apple and {identifier}")
    assert related(memory, later.text, later.turn) == ([], [])
    assert related(memory, "apple", later.turn) == (["apple pie"], [f"apple {identifier}?"])


def test_nothing_is_related_to_an_identifier_in_the_archive(memory: Memory) -> None:
    say(memory, "apple pie")
    memory.edit(lambda desk: desk.insert_passage("apple k-17"))
    assert related(memory, "apple k-17") == ([], [])
    assert related(memory, "apple k-18") == (["apple k-17"], ["apple pie"])


def test_without_an_embedder_search_is_by_words(tmp_path: Path) -> None:
    with Home.open(tmp_path) as home:
        memory = home.create_agent("a")
        memory.edit(lambda desk: desk.insert_passage("the puppy sleeps"))
        memory.settle()
        assert (memory.vectors, memory.index_state()) == (False, None)
        assert memory.search_archive("puppies").total == 1


def test_twenty_thousand_records_are_searched(home: Home, memory: Memory) -> None:
    def work(cursor: Any) -> None:
        cursor.execute(
            """INSERT INTO records SELECT i + 1000, 1, i + 1000, 'event', 0, 'word' || i,
               '{"kind": "user"}', ''::BLOB, TIMESTAMP '2026-01-01' FROM range(20000) t(i)"""
        )
        cursor.execute("INSERT INTO documents SELECT 1, 0, i + 1000, 2 FROM range(20000) t(i)")
        cursor.execute(
            "INSERT INTO postings SELECT 1, 0, unnest([?, i % 500]), i + 1000, 1, 2 FROM range(20000) t(i)",
            [number("common")],
        )

    home.store.write(work)
    assert memory.search_recall("common", 4000, 5).total == 20_000
    assert len(memory.search_recall("common", 4000, 5).hits) == 5
    say(memory, "common needle")
    assert memory.search_recall("needle common").hits[0].text == "common needle"
    assert memory.counts().recall == 20_001


@pytest.mark.model
def test_the_real_embedder_finds_by_meaning(
    tmp_path: Path, minilm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    importlib.import_module("transformers")  # as the grammars' compiler does, before the embedder is loaded
    with Home.open(tmp_path, embedder_folder=minilm) as home:
        memory = home.create_agent("a")
        for text in (
            "The user works as a nurse in Leeds",
            "She is allergic to peanuts",
            "The car needs brakes",
        ):
            memory.edit(lambda desk, text=text: desk.insert_passage(text))
        memory.settle()
        assert texts(memory.search_archive("occupation"))[0].startswith("The user works")
        assert texts(memory.search_archive("vehicle repair"))[0].startswith("The car")
    assert capfd.readouterr().err == ""
