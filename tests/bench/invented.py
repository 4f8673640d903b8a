"""Invented runs and rows of results; no model of these names exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from localmem.bench.bootstrap import interval
from localmem.bench.results import Row

HEADER = {
    "task": "core_read",
    "system": "ours",
    "model": "invented-1b",
    "sha256": "ab" * 32,
    "window": 4096,
    "seed": 0,
    "stamp": "00aa11bb",
    "settings": "Settings()",
    "commit": "0123456789",
    "version": "0.1.0",
    "machine": "Invented, 2 cores, Linux",
    "date": "2026-11-20T10:00:00+00:00",
}


def line(case: str, score: float, **other: Any) -> dict[str, Any]:
    """Return a line of a run file."""
    usage = {
        "prompt_tokens": 100,
        "reused_tokens": 10,
        "completion_tokens": 20,
        "forward_passes": 8,
        "seconds": 1.0,
    }
    step = {"function": "send_message", "arguments": {}, "ok": True, "result": "", "thought": ""}
    return {
        "case": case, "level": None, "score": score, "fits": True, "seconds": 2.0, "error": "", "reply": "",
        "steps": [step, step], "completions": 2, "legal": 2, "usage": usage, "blocks": {}, "passages": [],
        "found": [],
        **other,
    }  # fmt: skip


def row(scores: Sequence[float], **other: Any) -> Row:
    """Return a row with these scores of cases c0, c1, ..."""
    fields: dict[str, Any] = {
        **{key: value for key, value in HEADER.items() if key != "settings"},
        "level": None, "n": len(scores), "score": sum(scores) / len(scores), "interval": interval(scores),
        "legal": 1.0, "calls": 2.0, "prompt_tokens": 100.0, "completion_tokens": 20.0, "forward_passes": 8.0,
        "seconds": 2.0, "fits": 1.0, "failed": 0, "cases": tuple(f"c{at}" for at in range(len(scores))),
        "scores": tuple(scores),
    }  # fmt: skip
    return Row(**(fields | other))
