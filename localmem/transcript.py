"""A conversation as a Markdown file: what was said, by whom and when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from localmem.errors import UserError
from localmem.memory.memory import Memory
from localmem.records import Call, Event, EventKind, Record, spoken


def save(memory: Memory, file: Path | None = None) -> tuple[Path, int]:
    """Write an agent's conversation to a new file, and return that with the number of messages in it.

    Without a `file` it is AGENT-YYYY-MM-DD.md in the current folder, after the last message. A folder gets a file
    of that name. Raises UserError for a file that is there already and for one that cannot be written.
    """
    said = [record for record in memory.records() if spoken(record)]
    if file is None or file.is_dir():
        last = said[-1].created_at if said else None
        day = f"-{last:%Y-%m-%d}" if last else ""
        file = (file or Path()) / f"{memory.name}{day}.md"
    try:
        with os.fdopen(
            os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as out:
            out.writelines(_lines(memory.name, said))
    except FileExistsError as error:
        raise UserError(f"{file} is there already: give another name") from error
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}): give another name") from error
    return file, len(said)


def _lines(agent: str, said: list[Record]) -> Iterator[str]:
    yield f"# Conversation with {agent}\n"
    for record in said:
        time = f", {record.created_at:%Y-%m-%d %H:%M}" if record.created_at else ""
        yield f"\n**{_who(record, agent)}**{time}\n\n{spoken(record).strip()}\n"


def _who(record: Record, agent: str) -> str:
    match record:
        case Event(kind=EventKind.USER):
            return "You"
        case Event(kind=kind):
            return kind.value.capitalize()
        case Call():
            return agent
        case _:
            return ""
