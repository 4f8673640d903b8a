"""Chunks cover a document at natural boundaries, say where they stand, and stay put when other parts change."""

from __future__ import annotations

import json
import random

from localmem.documents import chunking
from localmem.documents.parsing import Document, Section, parse
from localmem.memory.files import Chunk


def text(paragraphs: int, seed: int = 1) -> str:
    draw = random.Random(seed)
    words = [
        "the",
        "a",
        "plum",
        "pear",
        "tree",
        "river",
        "house",
        "went",
        "saw",
        "said",
        "and",
        "of",
        "blue",
        "old",
    ]
    return "\n\n".join(
        " ".join(draw.choices(words, k=draw.randint(5, 160))).capitalize() + "." for _ in range(paragraphs)
    )


def cut(document: Document) -> list[Chunk]:
    return list(chunking.chunks(document))


def test_chunks_stand_where_they_say_and_leave_nothing_out() -> None:
    document = parse(text(60).encode(), ".txt")
    whole = "\n\n".join(section.text for section in document.sections)
    found = cut(document)
    assert chunking.characters(document) == len(whole)
    assert all(whole[chunk.first : chunk.last] == chunk.text for chunk in found)
    assert "".join("".join(chunk.text.split()) for chunk in found) == "".join(whole.split())
    assert max(len(chunk.text) for chunk in found) <= chunking.CHARACTERS[1]
    assert sum(len(chunk.text) for chunk in found) / len(found) > chunking.CHARACTERS[0] / 2


def test_a_run_without_spaces_makes_no_chunk_without_end() -> None:
    words = {"[UNK]": 0, "a": 1}
    tokenizer = json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
        }
    )
    blob = "x" * 20_800
    found = list(chunking.chunks(Document((Section(f"a {blob} a"),)), tokenizer))
    assert max(len(chunk.text) for chunk in found) <= chunking.MOST
    assert "".join("".join(chunk.text.split()) for chunk in found) == f"a{blob}a"


def test_positions_go_on_over_sections_with_their_pages_and_headings() -> None:
    found = cut(Document((Section("one", 1, "A"), Section("tw\u00f6", 2, "B"), Section("three", 3, "C"))))
    assert [(c.text, c.first, c.last, c.page, c.heading) for c in found] == [
        ("one", 0, 3, 1, "A"),
        ("tw\u00f6", 5, 8, 2, "B"),
        ("three", 10, 15, 3, "C"),
    ]


def test_a_change_at_the_beginning_leaves_most_chunks_as_they_are() -> None:
    old = text(300)
    new = "A first paragraph that was not there before.\n\n" + old.replace("plum", "quince", 1)
    before = {chunk.hash for chunk in cut(parse(old.encode(), ".txt"))}
    after = [chunk.hash for chunk in cut(parse(new.encode(), ".txt"))]
    assert sum(hash not in before for hash in after) < 0.15 * len(after)


def test_a_vector_that_came_with_a_text_is_brought_to_length_one() -> None:
    (chunk,) = cut(Document((Section("long " * 900, vector=(3.0, 4.0)),)))
    assert chunk.vector is not None
    assert chunk.vector.tolist() == [0.6000000238418579, 0.800000011920929]
    assert len(chunk.text) == 4500


def test_a_text_without_spaces_is_cut_too() -> None:
    found = cut(parse(("猫" * 5000).encode(), ".txt"))
    assert max(len(chunk.text) for chunk in found) <= chunking.CHARACTERS[1]
    assert sum(len(chunk.text) for chunk in found) == 5000
