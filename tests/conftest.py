"""Shared fixtures: the real models, found on this machine or fetched once by our own fetch."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import platformdirs
import pytest

from localmem.errors import HomeInUse
from localmem.processor import fetch
from localmem.processor.registry import Registry

MARKS = {"smollm2": "model", "minilm": "model", "qwen05": "large", "qwen15": "large"}
"""What a test is that asks for one of these fixtures."""
CACHE = Path("~/.cache/localmem-tests/models").expanduser()


def pytest_configure() -> None:
    """Let Ctrl-C be heard: a shell that starts the tests in the background has it ignored, by what they start too.

    Of workers that run side by side each keeps to a core of its own, and so does what it starts: llama.cpp crawls
    where its threads wait for one another on a core that others use.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, [cores[int(worker.removeprefix("gw")) % len(cores)]])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that needs a model's file, so that `-m "not model"` runs what needs none."""
    for item in items:
        for mark in {MARKS[name] for name in getattr(item, "fixturenames", ()) if name in MARKS}:
            item.add_marker(mark)


def model(name: str) -> Path:
    """Return the model's file, verified: from $LOCALMEM_MODELS, the default home or the tests' cache."""
    folders = [Path(folder) for folder in [os.environ.get("LOCALMEM_MODELS", "")] if folder]
    folders += [Path(platformdirs.user_data_dir("localmem")) / "models", CACHE]
    for folder in folders:
        registry = Registry.load(folder)
        path = registry.locate(registry[name])
        if path is not None and fetch.verify(registry[name], path):
            return path
    while True:
        try:
            return fetch.pull(Registry.load(CACHE)[name], CACHE)
        except HomeInUse:  # another worker is at it
            time.sleep(1)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return model("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def qwen05() -> Path:
    return model("qwen2.5-coder-0.5b-instruct")


@pytest.fixture(scope="session")
def qwen15() -> Path:
    return model("qwen2.5-coder-1.5b-instruct")


@pytest.fixture(scope="session")
def minilm() -> Path:
    return model("all-minilm-l6-v2")
