"""An agent on a scripted processor, with a real store in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from awake import Bench, Clock

from localmem.memory.home import Home
from localmem.testing import HashEmbedder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(tmp_path: Path, clock: Clock) -> Iterator[Bench]:
    with Home.open(tmp_path / "home", clock=clock, embedder=HashEmbedder()) as home:
        yield Bench(home, clock)
