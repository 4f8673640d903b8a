"""A service on a real socket in this process, its model scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import parrot
import pytest

from localmem import runtime
from localmem.memory.home import Home
from localmem.runtime import Options
from localmem.serve.client import Client
from localmem.serve.server import Server
from localmem.serve.service import Service
from localmem.testing import HashEmbedder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a stand-in for the model's file, which the parrot plays."""
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    (models / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"")
    monkeypatch.setenv("LOCALMEM_MODEL", parrot.MODEL)
    monkeypatch.setattr(runtime, "load_processor", parrot.load)
    return tmp_path / "home"


Start = Callable[[], Service]


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    """A service that is being served; it ends with the test."""
    with Home.open(folder, embedder=HashEmbedder()) as home:
        service = Service(home, Options())
        server = Server(service, lambda words, given, show: 0, lambda session, name, rest: iter([name, rest]))
        server.start()
        service.start()
        try:
            yield service
        finally:
            server.stop()
            service.close()


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service.home.path)
