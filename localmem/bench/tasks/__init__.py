"""The tasks, one file each."""

from __future__ import annotations

from importlib import import_module

from localmem.bench.case import Task
from localmem.errors import UsageError

NAMES = (
    "core_read",
    "core_write",
    "core_update",
    "archival_read",
    "nested_key_value",
    "document_qa",
    "bfcl_memory",
    "chat_facts",
    "chat_opener",
    "calls",
    "memory_quality",
    "key_value",
    "long_conversation",
    "hidden_sentences",
    "dmr_style",
)

LETTA = ("core_read", "core_write", "core_update", "archival_read")
"""The four tasks whose mean is the score of Letta's memory leaderboard."""


def load(name: str) -> Task:
    """Return the task of that name. Raises UsageError naming those there are."""
    if name not in NAMES:
        raise UsageError(f"no task {name!r}; there are {', '.join(NAMES)}")
    task: Task = import_module(f"localmem.bench.tasks.{name}").TASK
    return task
