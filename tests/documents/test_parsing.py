"""Every kind of file becomes text with its pages and headings; what cannot be read says why."""

from __future__ import annotations

import json

import pytest
from papers import docx, pdf

from localmem.documents.parsing import Section, parse
from localmem.errors import UnreadableFile


def sections(data: bytes, suffix: str) -> list[tuple[str, int, str]]:
    return [(" ".join(s.text.split()), s.page, s.heading) for s in parse(data, suffix).sections]


def test_text_in_any_encoding_comes_out_right() -> None:
    text = "Ein Stück Käse für die Mäuse, sagte der Bär, und aß die Hälfte übermütig selbst."
    for encoding in ("utf-8", "utf-8-sig", "latin-1", "utf-16"):
        assert sections(text.encode(encoding), ".txt") == [(text, 0, "")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Müller wohnt in Köln, Bär in Düsseldorf.".encode()[:-1] + "ß".encode()[:1], "Düsseldorf\ufffd"),
        ("他住在北京的一条安静的小街上".encode()[:-1], "他住在北京的一条安静的小街"),
        ("Он живёт на тихой улице в Москве, у реки.".encode()[:-2] + b"\xff", "Москве"),
        (b"A log that ends in zeros, as after a crash of the machine." + b"\0" * 2, "of the machine."),
    ],
)
def test_a_broken_place_does_not_spoil_a_text(data: bytes, text: str) -> None:
    assert text in sections(data, ".txt")[0][0]


def test_chapters_of_a_plain_text_are_headings() -> None:
    text = (
        "A BOOK\n\nCHAPTER I\n\nIt began.\r\n\r\nChapter 2: The end\r\n\r\nIt ended. In chapter I it began."
    )
    assert sections(text.encode(), ".txt") == [
        ("A BOOK", 0, ""),
        ("CHAPTER I It began.", 0, "CHAPTER I"),
        ("Chapter 2: The end It ended. In chapter I it began.", 0, "Chapter 2: The end"),
    ]


def test_markdown_headings_outside_code_begin_sections() -> None:
    text = "start\n# A *big* one #\nx\n```\n# no heading\n```\n## Two\ny\n"
    assert [(page, heading) for _, page, heading in sections(text.encode(), ".md")] == [
        (0, ""),
        (0, "A big one"),
        (0, "Two"),
    ]


def test_html_is_its_text_without_scripts() -> None:
    html = "<html><head><title>t</title><style>p{}</style></head><body><script>var no</script>"
    html += "<h1>Dogs</h1><p>Bruno is a <b>dog</b> &amp; <a href='http://x'>barks</a>.</p></body></html>"
    assert sections(html.encode(), ".html") == [("# Dogs Bruno is a **dog** & barks.", 0, "Dogs")]


def test_html_need_not_close_its_head_and_keeps_its_marks() -> None:
    page = b"<html><head><title>T</title><meta name=a><body><p>my_file_name is a*b</p></body></html>"
    assert sections(page, ".html") == [("my_file_name is a*b", 0, "")]


def test_a_line_of_code_is_no_fence() -> None:
    assert [heading for _, _, heading in sections(b"```code```\n# One\nx\n", ".md")] == ["", "One"]


def test_a_pdf_is_its_pages() -> None:
    assert sections(pdf("The plum is blue.", "", "The pear is green."), ".pdf") == [
        ("The plum is blue.", 1, ""),
        ("The pear is green.", 3, ""),
    ]


def test_a_word_document_is_its_text_with_headings() -> None:
    assert sections(docx("Fruit", "The plum is blue."), ".docx") == [
        ("# Fruit The plum is blue.", 0, "Fruit")
    ]


def test_a_line_of_jsonl_is_a_section_with_what_came_with_it() -> None:
    lines = [
        {"text": "a", "embedding": [3, 4], "embedder": "e", "title": "T", "page": 2},
        {"text": "b", "page": True},
    ]
    data = "\n\n".join(json.dumps(line) for line in lines).encode()
    assert parse(data, ".jsonl").sections == (Section("a", 2, "T", (3.0, 4.0), "e"), Section("b"))


@pytest.mark.parametrize(
    ("data", "suffix", "reason"),
    [
        (b"", ".txt", "empty"),
        (b" \n\n ", ".md", "no text"),
        (bytes(range(256)) * 9, ".txt", "no text"),
        (b"%PDF-1.4 and nothing", ".pdf", "damaged"),
        (pdf(""), ".pdf", "scanned"),
        (b"PK no zip", ".docx", "damaged"),
        (b'{"text": "fine"}\nnot json', ".jsonl", "line 2 is no JSON"),
        (b'{"txt": "x"}', ".jsonl", 'no "text"'),
        (b"[1]", ".jsonl", 'no "text"'),
        (b'{"text": "x", "embedding": [1, "2"]}', ".jsonl", "list of numbers"),
        (b'{"text": "x", "embedding": [NaN]}', ".jsonl", "list of numbers"),
        (b'{"text": "x", "embedding": [0, 0]}', ".jsonl", "list of numbers"),
        (b'{"text": "x", "embedding": [1e39, 1]}', ".jsonl", "list of numbers"),
        (b'{"text": "x", "embedding": [1e-30, 0]}', ".jsonl", "list of numbers"),
    ],
)
def test_what_cannot_be_read_says_why_in_one_line(data: bytes, suffix: str, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason) as caught:
        parse(data, suffix)
    assert "\n" not in str(caught.value)


def test_half_a_character_is_no_reason_to_stop() -> None:
    assert sections(b'{"text": "a\\ud800b"}', ".jsonl") == [("a?b", 0, "")]
