"""Reads a file as text in sections, whatever its kind: text, Markdown, HTML, PDF, DOCX or JSONL."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from localmem.errors import UnreadableFile


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of text under one heading or on one page; `vector` is one that came with it, for it as a whole."""

    text: str
    page: int = 0
    heading: str = ""
    vector: tuple[float, ...] = field(default=(), repr=False)
    embedder: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A file as text: its sections in order."""

    sections: tuple[Section, ...]
    markdown: bool = False


TINY, HUGE = 1e-15, 1e15
"""Between these lies the length of a vector that came with a text: single precision holds its square."""

ZEROS = 20
"""Characters of a text for each zero in it; with more it is taken for something else."""

Parser = Callable[[bytes], Document]


def parse(data: bytes, suffix: str) -> Document:
    """Return the text of a file by the ending of its name (".pdf"); an unknown ending is taken for plain text.

    Raises UnreadableFile with the reason: damaged, protected, no text in it.
    """
    parser = PARSERS.get(suffix.lower(), _text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document = parser(data)
    except UnreadableFile:
        raise
    except (MemoryError, RecursionError) as error:
        raise UnreadableFile("it is too large or too deeply nested to be read") from error
    except Exception as error:  # parsers raise what they like over a damaged file
        raise UnreadableFile(f"it is damaged ({' '.join(str(error).split())[:100]})") from error
    sections = tuple(_clean(section) for section in document.sections if section.text.strip())
    if not sections:
        raise UnreadableFile("there is no text in it" + (" (scanned pages?)" if suffix == ".pdf" else ""))
    return Document(sections, document.markdown)


def _clean(section: Section) -> Section:
    text = _whole(section.text.replace("\r\n", "\n").replace("\r", "\n"))
    heading = _whole(" ".join(section.heading.split())[:80])
    return Section(text, section.page, heading, section.vector, section.embedder)


def _whole(text: str) -> str:
    """Return a text without what cannot be stored: zeros and half characters."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _decoded(data: bytes) -> str:
    """Return bytes as text in the encoding that fits. Raises UnreadableFile for what is no text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = _mostly_utf8(data)
    if text and text.count("\x00") <= len(text) // ZEROS:
        return text
    from charset_normalizer import from_bytes

    best = from_bytes(data).best() if data else None
    if best is None or "\x00" in (guessed := str(best)):
        raise UnreadableFile("it is no text" if data else "it is empty")
    return guessed.removeprefix("\ufeff")


def _mostly_utf8(data: bytes) -> str:
    """Return the text of UTF-8 with a broken place here and there, such as a file that was cut; "" for others."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    broken, foreign = text.count("\ufffd"), sum(character > "\x7f" for character in text)
    return text if 4 * broken <= foreign else ""


_CHAPTER = re.compile(
    r"(?:^|\n)[ \t]*((?:chapter|book|part|volume|letter|act|scene|section|canto)[ \t]+"
    r"(?:[ivxlcdm]+|\d+|[a-z]+)\.?(?:[ \t]*[:.\u2014-][ \t]*[^\n]{1,60})?)[ \t]*(?=\n[ \t]*(?:\n|$))",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")


def _text(data: bytes) -> Document:
    text = _decoded(data).replace("\r\n", "\n").replace("\r", "\n")
    cuts = [(found.start(1), found[1]) for found in _CHAPTER.finditer(text)]
    return Document(tuple(_cut(text, cuts)))


def _cut(text: str, cuts: list[tuple[int, str]]) -> Iterator[Section]:
    """Yield a text in sections that begin where a heading stands."""
    starts = [(0, ""), *cuts]
    ends = [start for start, _ in cuts] + [len(text)]
    for (start, heading), end in zip(starts, ends, strict=True):
        yield Section(text[start:end], heading=heading)


def _markdown(data: bytes) -> Document:
    return _sections_of(_decoded(data))


def _sections_of(text: str) -> Document:
    """Return Markdown in sections, one for each heading outside code."""
    cuts, at, fenced = [], 0, ""
    for line in text.splitlines(keepends=True):
        fence = line.lstrip()[:3]
        if fence in ("```", "~~~") and fenced in ("", fence) and "`" not in line.lstrip().lstrip("`"):
            fenced = "" if fenced else fence
        elif not fenced and (found := _HEADING.match(line.rstrip("\n"))):
            cuts.append((at, re.sub(r"[*_`\\]", "", found[2])))
        at += len(line)
    return Document(tuple(_cut(text, cuts)), markdown=True)


def _html(data: bytes) -> Document:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(data, "html.parser")
    for tag in soup(["script", "style", "noscript", "template", "svg", "title"]):
        tag.decompose()
    return _sections_of(_as_markdown(str(soup)))


def _as_markdown(html: str) -> str:
    from markdownify import markdownify

    found: str = markdownify(
        html, heading_style="ATX", strip=["img", "a"], escape_asterisks=False, escape_underscores=False
    )
    return re.sub(r"\n{3,}", "\n\n", found)


def _docx(data: bytes) -> Document:
    import mammoth

    nothing = mammoth.images.img_element(lambda image: {})
    converted = mammoth.convert_to_html(io.BytesIO(data), convert_image=nothing)
    return _sections_of(_as_markdown(converted.value))


def _pdf(data: bytes) -> Document:
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableFile("it is protected by a password")
    pages = ((number, page.extract_text()) for number, page in enumerate(reader.pages, 1))
    return Document(tuple(Section(text, page=number) for number, text in pages))


def _jsonl(data: bytes) -> Document:
    return Document(
        tuple(
            _line(number, line) for number, line in enumerate(_decoded(data).split("\n"), 1) if line.strip()
        )
    )


def _line(number: int, line: str) -> Section:
    """Return one line of a JSONL file: {"text": ..., "embedding"?: [...], "embedder"?: ..., "heading"?, "page"?}."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise UnreadableFile(f"line {number} is no JSON ({error})") from error
    if isinstance(found, str):
        found = {"text": found}
    text = found.get("text") if isinstance(found, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UnreadableFile(f'line {number} has no "text": each line is an object such as {{"text": "..."}}')
    page, vector = found.get("page", 0), found.get("embedding") or []
    numbers = isinstance(vector, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in vector
    )
    if not numbers or (vector and not TINY < math.hypot(*vector) < HUGE):
        raise UnreadableFile(f'line {number}: "embedding" is a list of numbers, not all of them 0')
    return Section(
        text,
        page if isinstance(page, int) and not isinstance(page, bool) and 0 <= page < 2**31 else 0,
        str(found.get("heading") or found.get("title") or ""),
        tuple(float(value) for value in vector),
        str(found.get("embedder") or ""),
    )


PARSERS: dict[str, Parser] = {
    **dict.fromkeys((".txt", ".text", ".rst", ".org", ".tex", ".csv", ".tsv", ".log"), _text),
    **dict.fromkeys((".md", ".markdown", ".mdown"), _markdown),
    **dict.fromkeys((".html", ".htm", ".xhtml"), _html),
    ".pdf": _pdf,
    ".docx": _docx,
    ".jsonl": _jsonl,
}
"""How a file is read, by the ending of its name; folders are searched for these."""


def kind(path: Path) -> str:
    """Return the ending by which a file is read, "" where it is none of the known."""
    suffix = path.suffix.lower()
    return suffix if suffix in PARSERS else ""
