"""The shape of the store: numbered steps from an empty file, each applied once in its own transaction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number (1, 2, ...), what it is for, and its SQL statements."""

    number: int
    name: str
    statements: tuple[str, ...]


# No row of records, blocks, passages, vectors, summaries or stubs is ever changed: a newer row supersedes an
# older one, so history is kept and no index is rewritten; a turn that is taken back gets a row in `undone`, and its
# rows count no longer (see standing.py). Only one thread writes, so tables whose rows change
# (agents, turns, events, interruptions, timers, chosen, permits, shares, letters) carry no unique index: the writer
# checks.
MIGRATIONS = (
    Migration(
        1,
        "agents, the log of records, core blocks, passages, and the term index over them",
        (
            "CREATE SEQUENCE agent_ids",
            "CREATE SEQUENCE record_ids",
            "CREATE SEQUENCE version_ids",
            "CREATE SEQUENCE passage_ids",
            """CREATE TABLE agents (
                id BIGINT NOT NULL, name VARCHAR NOT NULL, model VARCHAR, system VARCHAR,
                generation BIGINT NOT NULL, created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE records (
                id BIGINT PRIMARY KEY, agent BIGINT NOT NULL, turn BIGINT NOT NULL, kind VARCHAR NOT NULL,
                call BIGINT NOT NULL, text VARCHAR, payload VARCHAR NOT NULL, ids BLOB NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE turns (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, open BOOLEAN NOT NULL, steps INTEGER NOT NULL)""",
            """CREATE TABLE summaries (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, head BIGINT NOT NULL, newest BIGINT NOT NULL,
                text VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE stubs (
                record BIGINT NOT NULL, agent BIGINT NOT NULL, text VARCHAR NOT NULL, call BIGINT NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE blocks (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, label VARCHAR NOT NULL, value VARCHAR NOT NULL,
                "limit" BIGINT NOT NULL, description VARCHAR NOT NULL, read_only BOOLEAN NOT NULL,
                author VARCHAR NOT NULL, turn BIGINT NOT NULL, call BIGINT NOT NULL,
                rests_on BIGINT[] NOT NULL, created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE passages (
                id BIGINT PRIMARY KEY, agent BIGINT NOT NULL, text VARCHAR NOT NULL, hash BIGINT NOT NULL,
                source VARCHAR NOT NULL, tags VARCHAR[] NOT NULL, author VARCHAR NOT NULL,
                turn BIGINT NOT NULL,
                call BIGINT NOT NULL, rests_on BIGINT[] NOT NULL, created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE retired (
                passage BIGINT NOT NULL, agent BIGINT NOT NULL, author VARCHAR NOT NULL, turn BIGINT NOT NULL,
                call BIGINT NOT NULL, created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE pauses (
                agent BIGINT NOT NULL, until TIMESTAMP NOT NULL, call BIGINT NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE vectors (
                passage BIGINT NOT NULL, agent BIGINT NOT NULL, embedder VARCHAR NOT NULL,
                vector BLOB NOT NULL)""",
            """CREATE TABLE documents (
                agent BIGINT NOT NULL, tier UTINYINT NOT NULL, doc BIGINT NOT NULL,
                length INTEGER NOT NULL)""",
            """CREATE TABLE postings (
                agent BIGINT NOT NULL, tier UTINYINT NOT NULL, term BIGINT NOT NULL, doc BIGINT NOT NULL,
                tf INTEGER NOT NULL, length INTEGER NOT NULL)""",
        ),
    ),
    Migration(
        2,
        "the queue of events, turns that were set aside for another event, timers",
        (
            "CREATE SEQUENCE event_ids",
            "CREATE SEQUENCE timer_ids",
            # turn: 0 while it waits; the log holds its text from then on. resumes: the turn it goes on with.
            """CREATE TABLE events (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, kind VARCHAR NOT NULL, text VARCHAR NOT NULL,
                note VARCHAR NOT NULL, turn BIGINT NOT NULL, resumes BIGINT NOT NULL, timer BIGINT NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE interruptions (
                turn BIGINT NOT NULL, agent BIGINT NOT NULL, newest BIGINT NOT NULL, waiting BOOLEAN NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            # due: first + n * every (in seconds, 0: once); call: who set it, 0 for a person
            """CREATE TABLE timers (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, note VARCHAR NOT NULL, first TIMESTAMP NOT NULL,
                every BIGINT NOT NULL, n BIGINT NOT NULL, active BOOLEAN NOT NULL, call BIGINT NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
        ),
    ),
    # An archive has an id of the same sequence as agents and takes their place in the column `agent` of what it
    # holds. What documents brought is deleted for good when its file is taken out or no longer says it.
    Migration(
        3,
        "named archives, attached to agents; files that were loaded, and where their passages stand",
        (
            "CREATE SEQUENCE file_ids",
            """CREATE TABLE archives (
                id BIGINT NOT NULL, name VARCHAR NOT NULL, generation BIGINT NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE attachments (
                agent BIGINT NOT NULL, archive BIGINT NOT NULL, writable BOOLEAN NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE files (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, path VARCHAR NOT NULL, name VARCHAR NOT NULL,
                hash VARCHAR NOT NULL, bytes BIGINT NOT NULL, characters BIGINT NOT NULL,
                whole BOOLEAN NOT NULL, told BOOLEAN NOT NULL, loaded_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE places (
                agent BIGINT NOT NULL, file BIGINT NOT NULL, passage BIGINT NOT NULL, ordinal BIGINT NOT NULL,
                page INTEGER NOT NULL, heading VARCHAR NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL)""",
        ),
    ),
    Migration(
        4,
        "functions of an agent's choice, what it was permitted, and which calls to the outside were begun",
        (
            "CREATE TABLE chosen (agent BIGINT NOT NULL, name VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL)",
            """CREATE TABLE permits (
                agent BIGINT NOT NULL, name VARCHAR NOT NULL, digest VARCHAR NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            "CREATE TABLE started (agent BIGINT NOT NULL, call BIGINT NOT NULL, created_at TIMESTAMP NOT NULL)",
            # no mark was made before: a call without a result may have run
            """INSERT INTO started
               SELECT c.agent, c.id, c.created_at FROM records c
               JOIN turns t ON t.agent = c.agent AND t.id = c.turn AND t.open
               WHERE c.kind = 'call' AND c.id NOT IN (SELECT call FROM records WHERE kind = 'result')""",
        ),
    ),
    Migration(
        5,
        "turns that were taken back, and the turn of every row that a turn may write",
        (
            """CREATE TABLE undone (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, turn BIGINT NOT NULL, created_at TIMESTAMP NOT NULL)""",
            "ALTER TABLE summaries ADD COLUMN turn BIGINT DEFAULT 0",
            "ALTER TABLE stubs ADD COLUMN turn BIGINT DEFAULT 0",
            "ALTER TABLE pauses ADD COLUMN turn BIGINT DEFAULT 0",
            "UPDATE summaries SET turn = coalesce((SELECT r.turn FROM records r WHERE r.id = newest), 0)",
            "UPDATE stubs SET turn = coalesce((SELECT r.turn FROM records r WHERE r.id = stubs.call), 0)",
            "UPDATE pauses SET turn = coalesce((SELECT r.turn FROM records r WHERE r.id = pauses.call), 0)",
            # the turn that removed a timer, 0: a person did, or it fired for the last time
            "ALTER TABLE timers ADD COLUMN ended BIGINT DEFAULT 0",
        ),
    ),
    Migration(
        6,
        "documents that are open at a page; readings of whole documents, and their notes",
        (
            "CREATE SEQUENCE reading_ids",
            "CREATE SEQUENCE note_ids",
            """CREATE TABLE openings (
                agent BIGINT NOT NULL, file BIGINT NOT NULL, page BIGINT NOT NULL, call BIGINT NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE readings (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, file BIGINT NOT NULL, task VARCHAR NOT NULL,
                position BIGINT NOT NULL, steps BIGINT NOT NULL, budget BIGINT NOT NULL, ticket BIGINT NOT NULL,
                state VARCHAR NOT NULL, summary VARCHAR NOT NULL, call BIGINT NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
            """CREATE TABLE notes (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, reading BIGINT NOT NULL, level INTEGER NOT NULL,
                first BIGINT NOT NULL, last BIGINT NOT NULL, text VARCHAR NOT NULL, condensed BOOLEAN NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
        ),
    ),
    Migration(
        7,
        "a set of functions of an agent's own, and blocks that one agent shares with others",
        (
            "ALTER TABLE agents ADD COLUMN functions VARCHAR",
            # `agent` sees the block `label` of `owner` in place of its own of that label
            """CREATE TABLE shares (
                id BIGINT NOT NULL, agent BIGINT NOT NULL, label VARCHAR NOT NULL, owner BIGINT NOT NULL,
                read_only BOOLEAN NOT NULL, created_at TIMESTAMP NOT NULL)""",
        ),
    ),
    Migration(
        8,
        "what agents say to each other",
        (
            # of the event `ticket` of `agent`; call: the sender's, 0 for an answer that came late
            """CREATE TABLE letters (
                ticket BIGINT NOT NULL, agent BIGINT NOT NULL, sender BIGINT NOT NULL, call BIGINT NOT NULL,
                hops BIGINT NOT NULL, state VARCHAR NOT NULL, answer VARCHAR NOT NULL,
                created_at TIMESTAMP NOT NULL)""",
        ),
    ),
    # 0: nobody's, or a letter's or a timer's, which say so themselves
    Migration(
        9,
        "the call that put an event into the queue",
        ("ALTER TABLE events ADD COLUMN call BIGINT DEFAULT 0",),
    ),
)

OWNER_TABLES = ("passages", "retired", "vectors", "documents", "postings", "files", "places")
"""Every table whose rows belong to an archive or an agent (column `agent`)."""

AGENT_TABLES = (
    "records",
    "turns",
    "summaries",
    "stubs",
    "blocks",
    "passages",
    "retired",
    "pauses",
    "vectors",
    "documents",
    "postings",
    "events",
    "interruptions",
    "timers",
    "files",
    "places",
    "attachments",
    "chosen",
    "permits",
    "started",
    "undone",
    "openings",
    "readings",
    "notes",
    "shares",
    "letters",
)
"""Every table whose rows belong to an agent (column `agent`); carried.py says what of them an export holds."""
