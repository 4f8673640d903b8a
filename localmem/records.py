"""What travels between the rooms: the records of a conversation and what a turn yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import add


class EventKind(StrEnum):
    """What may wake the processor; memories that were read ahead are shown to it as an event too."""

    USER = "user"
    LOGIN = "login"
    ALERT = "alert"
    HEARTBEAT = "heartbeat"
    TIMER = "timer"
    DOCUMENT = "document"
    MEMORY = "memory"
    TIDY = "tidy"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one generation cost, in tokens, forward passes and seconds.

    `first_token_seconds` is the wait for the first token that the model chose. Of the completion's tokens
    `forced_tokens` followed from the grammar; of `drafted_tokens` that were guessed `accepted_tokens` were right.
    """

    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    forward_passes: int = 0
    seconds: float = 0.0
    first_token_seconds: float = 0.0
    forced_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened outside the model. `text` is verbatim; `note` is the kernel's envelope (time).

    `ticket` is its number among the events handed in to the agent's queue, 0 where it never stood there; `id` and
    `turn` it has once its turn was opened.
    """

    kind: EventKind
    text: str
    note: str = ""
    id: int = 0
    turn: int = 0
    created_at: datetime | None = None
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """The model's one move: a thought and a function to run.

    `ids` are the token ids as the model generated them and `model` says which one that was (`Abilities.model`);
    another model encodes the call afresh. `cut` says that the answer reserve ran out and the call was closed by
    force, `aside` that it was made in a step of the kernel's own: its effect shows in core memory, not in the
    queue.
    """

    thought: str
    function: str
    arguments: Mapping[str, object]
    heartbeat: bool = False
    ids: tuple[int, ...] = ()
    model: str = ""
    cut: bool = False
    aside: bool = False
    usage: Usage = field(default=Usage(), compare=False)
    id: int = 0
    turn: int = 0
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came to. `call` is the id of the call; `stub`, when set, is shown in place of the text."""

    ok: bool
    text: str
    call: int = 0
    stub: str = ""
    id: int = 0
    turn: int = 0
    created_at: datetime | None = None


Record = Event | Call | Result


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a message while it is being generated; `text` is not yet on disk."""

    text: str


@dataclass(frozen=True, slots=True)
class Eviction:
    """The oldest `records` records left the queue for the summary; `before` and `after` are prompt tokens."""

    records: int
    summary: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class PageRead:
    """One step of a reading: what was noted on a page ("" for nothing) and where that stands.

    `position` of `characters` characters are read; `summary` is there once the reading is over.
    """

    reading: int
    source: str
    note: str
    position: int
    characters: int
    summary: str | None = None


Item = Record | Delta | Eviction | PageRead
"""Everything a turn yields."""


@dataclass(frozen=True, slots=True)
class Block:
    """One named piece of core memory; `limit` is in characters."""

    label: str
    value: str
    limit: int
    description: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. `score` grows with relevance and compares only within its page's search."""

    id: int
    text: str
    created_at: datetime
    score: float
    source: str


@dataclass(frozen=True, slots=True)
class Page:
    """One screenful of search results: `total` counts all hits, `page` starts at 1, `pages` is at least 1."""

    hits: tuple[Hit, ...]
    total: int
    page: int
    pages: int


def spoken(record: Record) -> str:
    """Return what a person or the agent said in a record, or "" where it is an envelope or machinery."""
    match record:
        case Event(kind=EventKind.USER | EventKind.DOCUMENT | EventKind.TIMER | EventKind.PEER, text=text):
            return text
        case Call(function="send_message", arguments=arguments):
            return str(arguments.get("message", ""))
        case _:
            return ""
