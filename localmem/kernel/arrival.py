"""What comes in: whether it can be stored, and what is told beside it, the time and who is back after how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from localmem.errors import BadInput
from localmem.kernel.settings import Settings
from localmem.memory.memory import Counts
from localmem.memory.when import spelt
from localmem.records import Event, EventKind

INTERRUPTED = "earlier work was interrupted for this"
"""What is told beside the event that other work gave way to."""


def refuse_unusable(event: Event) -> None:
    """Raise BadInput for an event whose text cannot be stored, or is an empty message."""
    if event.kind is EventKind.USER and not event.text.strip():
        raise BadInput("the message is empty: write something")
    try:
        event.text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"the message holds half a character (position {error.start}): paste it again, as UTF-8"
        ) from None


def stamped(
    event: Event, now: datetime, last: datetime | None, settings: Settings, interrupts: bool = False
) -> Event:
    """Return the event as of now, with the time in its note when the record before it is some minutes old.

    One that waited in the queue as long tells when it came. `interrupts` says that other work gave way to it.
    """
    note, came = event.note, event.created_at or now
    if not note and now - came >= timedelta(minutes=settings.clock_minutes):
        today = f"{now:%H:%M}" if came.date() == now.date() else f"{now:%Y-%m-%d %H:%M}"
        note = f"from {came:%Y-%m-%d %H:%M}, now {today}"
    if not note and last is not None:
        minutes = (now - last) / timedelta(minutes=1)
        if settings.clock_minutes <= minutes < settings.quiet_minutes:
            note = f"{now:%Y-%m-%d %H:%M}"
    if interrupts:
        note = f"{note}; {INTERRUPTED}" if note else INTERRUPTED
    return replace(event, note=note, created_at=now)


def login(counts: Counts, now: datetime, settings: Settings) -> Event | None:
    """Return the event that opens a session, or None in the midst of one: how long it was, what is held."""
    text = "You meet this person for the first time."
    if counts.last_active is not None:
        away = now - counts.last_active
        if away < timedelta(minutes=settings.quiet_minutes):
            return None
        text = f"The person is back after {ago(away)}."
    text += f" Recall storage: {counts.recall} messages. Archival memory: {counts.archival} passages."
    return Event(EventKind.LOGIN, text, f"{now:%Y-%m-%d %H:%M %A}", created_at=now)


def ago(away: timedelta) -> str:
    """Return a span of time in words, in its largest unit."""
    return spelt(away) if away >= timedelta(minutes=1) else "a moment"
