"""What of an agent goes into an export: every table that belongs to agents is carried, or left out for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

RECORD = "record_ids"
VERSION = "version_ids"
PASSAGE = "passage_ids"
EVENT = "event_ids"
TIMER = "timer_ids"
FILE = "file_ids"
READING = "reading_ids"
NOTE = "note_ids"
"""The sequences that ids are drawn from; an id of 0 or below stands for none."""


NO_NAMES: Mapping[str, str] = MappingProxyType({})
NO_ENDING: Mapping[str, tuple[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Carried:
    """A table of which an export holds the rows of one agent.

    `ids` names the sequence of every column (BIGINT or BIGINT[]) that holds ids: all are moved by the same amount
    where the new home uses those numbers already. `numbers` are the other BIGINT columns: what they hold stays
    as it is. Columns of other types need no word. `foreign` are those of `ids` that may name a row of another
    agent or of an archive, and its table: for what stays behind they become 0. A row whose turn another
    agent took back stays behind as well. `named` are texts with the words
    "record N" in them, and the column of `ids` that N is from. `ending` are texts of JSON that may end in an id:
    the key that it has there, and its sequence.

    A column that a later migration adds needs a default, so that older exports load.
    """

    table: str
    ids: Mapping[str, str] = field(default_factory=lambda: NO_NAMES)
    numbers: tuple[str, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=lambda: NO_NAMES)
    named: Mapping[str, str] = field(default_factory=lambda: NO_NAMES)
    ending: Mapping[str, tuple[str, str]] = field(default_factory=lambda: NO_ENDING)
    agent: str = "agent"


CARRIED = (
    Carried("agents", numbers=("generation",), agent="id"),
    Carried("records", {"id": RECORD, "turn": RECORD, "call": RECORD}, ending={"payload": ("ticket", EVENT)}),
    Carried("turns", {"id": RECORD}),
    Carried("summaries", {"id": VERSION, "head": RECORD, "newest": RECORD, "turn": RECORD}),
    Carried("stubs", {"record": RECORD, "call": RECORD, "turn": RECORD}, named={"text": "record"}),
    Carried(
        "blocks",
        {"id": VERSION, "turn": RECORD, "call": RECORD, "rests_on": RECORD},
        numbers=("limit",),
        foreign={"turn": "records", "call": "records", "rests_on": "records"},
    ),
    Carried(
        "passages", {"id": PASSAGE, "turn": RECORD, "call": RECORD, "rests_on": RECORD}, numbers=("hash",)
    ),
    Carried("retired", {"passage": PASSAGE, "turn": RECORD, "call": RECORD}),
    Carried("pauses", {"call": RECORD, "turn": RECORD}),
    Carried("vectors", {"passage": PASSAGE}),
    Carried("events", {"id": EVENT, "turn": RECORD, "resumes": RECORD, "timer": TIMER, "call": RECORD}),
    Carried("interruptions", {"turn": RECORD, "newest": RECORD}),
    Carried("timers", {"id": TIMER, "call": RECORD, "ended": RECORD}, numbers=("every", "n")),
    Carried("undone", {"id": VERSION, "turn": RECORD}),
    Carried("chosen"),
    Carried("started", {"call": RECORD}),
    Carried("files", {"id": FILE}, numbers=("bytes", "characters")),
    Carried("places", {"file": FILE, "passage": PASSAGE}, numbers=("ordinal", "first", "last")),
    Carried("openings", {"file": FILE, "call": RECORD}, numbers=("page",), foreign={"file": "files"}),
    Carried(
        "readings",
        {"id": READING, "file": FILE, "ticket": EVENT, "call": RECORD},
        numbers=("position", "steps", "budget"),
        foreign={"file": "files"},
    ),
    Carried("notes", {"id": NOTE, "reading": READING}, numbers=("first", "last")),
)
"""In the order in which they are written."""

LEFT_OUT = {
    "documents": "made anew from the texts of records and passages",
    "postings": "made anew from the texts of records and passages",
    "permits": "what may touch the outside is permitted on each machine, for each agent, anew",
    "attachments": "the archives stay behind; a copy in the same home is attached to them too",
    "letters": "the other agents stay behind; what they said stands in records and events",
    "shares": "the other agent stays behind: a shared block becomes the agent's own, as it stands",
}
"""Tables of agents that an export does not hold, and why."""
