"""What is drawn on a terminal line is taken away by spaces alone: no escape sequence is needed for it."""

from __future__ import annotations

import sys

import pytest

from localmem.cli.progress import Bar
from localmem.cli.screen import Status
from localmem.processor.fetch import Progress


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "60")


def test_a_shorter_text_covers_a_longer_one(capsys: pytest.CaptureFixture[str]) -> None:
    status = Status(faint=False)
    status.show("a long text")
    status.show("short")
    status.show("日本")
    status.clear()
    status.clear()
    shown = "\ra long text" + "\rshort      " + "\r日本       " + "\r           \r"
    assert capsys.readouterr().err == shown


def test_a_line_never_reaches_the_edge(capsys: pytest.CaptureFixture[str]) -> None:
    Status(faint=False).show("x" * 200)
    assert capsys.readouterr().err == "\r" + "x" * 59


def test_a_bar_is_one_line_drawn_over(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    for done in (0, 60_000_000, 100_000_000):
        bar(Progress("fetch", "somewhere", done, 100_000_000))
    bar.close()
    bar.close()
    said = capsys.readouterr().err
    assert "\x1b" not in said
    first, *drawn, end = said.split("\n")
    assert (first, len(drawn), end) == ("  from somewhere", 1, "")
    assert "100%" in drawn[0].split("\r")[-1]


def test_nothing_is_drawn_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: False)
    status = Status()
    status.show("x")
    status.clear()
    assert capsys.readouterr().err == ""
