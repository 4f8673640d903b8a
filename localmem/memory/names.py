"""The names in a home, in a small file beside the store: a shell that completes them cannot wait for a database."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localmem.memory.store import Cursor

FILE = "names.json"


@dataclass(frozen=True, slots=True)
class Names:
    """What there is in a home, by name: agents, archives, and the labels of each agent's blocks."""

    agents: Sequence[str] = ()
    archives: Sequence[str] = ()
    blocks: Mapping[str, Sequence[str]] = field(default_factory=dict)


def of_store(cursor: Cursor) -> Names:
    """Return the names that the store holds."""
    agents = [row[0] for row in cursor.execute("SELECT name FROM agents ORDER BY id").fetchall()]
    archives = [row[0] for row in cursor.execute("SELECT name FROM archives ORDER BY id").fetchall()]
    rows = cursor.execute(
        """SELECT a.name, b.label FROM blocks b JOIN agents a ON a.id = b.agent
           GROUP BY ALL ORDER BY min(b.id)"""
    ).fetchall()
    return Names(
        agents, archives, {name: [label for owner, label in rows if owner == name] for name in agents}
    )


def keep(home: Path, names: Names) -> None:
    """Write the file, in place at once, where it says something else. A disk that refuses costs nothing but it."""
    text, path = json.dumps(asdict(names)), home / FILE
    fresh = home / f".{FILE}.new"
    try:
        if path.exists() and path.read_text("utf-8") == text:
            return
        with open(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
        os.replace(fresh, path)
    except OSError:
        pass


def read(home: Path) -> Names:
    """Return the names as they were last written; none where there is no file, or a damaged one."""
    try:
        return Names(**json.loads((home / FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return Names()
