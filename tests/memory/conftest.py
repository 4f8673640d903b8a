"""A home in a temporary folder, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_acts import Hands

from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.testing import HashEmbedder


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def home(tmp_path: Path, clock: Hands) -> Iterator[Home]:
    with Home.open(tmp_path / "home", clock=clock, embedder=HashEmbedder()) as opened:
        yield opened


@pytest.fixture
def memory(home: Home) -> Memory:
    return home.create_agent("default")
