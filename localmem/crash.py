"""Where the process may be killed on purpose: named points in every commit path, to test what survives."""

from __future__ import annotations

import os
import signal

WRITES = (
    "migrate",
    "create_agent",
    "delete_agent",
    "rename_agent",
    "copy_agent",
    "import_agent",
    "share",
    "post",
    "unshare",
    "set_model",
    "put_block",
    "edit",
    "open_turn",
    "add",
    "perform",
    "refuse",
    "close_turn",
    "evict",
    "settle",
    "submit",
    "set_aside",
    "add_timer",
    "remove_timer",
    "fire",
    "archive",
    "load",
    "load_file",
    "announce",
    "start",
    "choose",
    "undo",
    "forget",
    "read",
)
"""Each write of the store passes `.before` (it begins), `.commit` (all effects done) and `.committed`."""

POINTS = (
    *(f"{write}.{moment}" for write in WRITES for moment in ("before", "commit", "committed")),
    "perform.effects",
    "passage.inserted",
    "index.replace",
    "index.replaced",
    "delete_agent.index",
    "forgetting.files",
    "forgetting.index",
    "compact.replace",
    "compact.replaced",
    "export.replace",
    "export.replaced",
)

_passed: dict[str, int] = {}


def reach(point: str) -> None:
    """Kill this process if LOCALMEM_CRASH_AT names this point: `point`, or `point:n` for its n-th passing."""
    wanted = os.environ.get("LOCALMEM_CRASH_AT")
    if not wanted:
        return
    name, _, nth = wanted.partition(":")
    if name == point:
        _passed[point] = _passed.get(point, 0) + 1
        if _passed[point] == int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)
