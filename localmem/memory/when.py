"""Times as people and models write them: spans ("10m", "2 hours"), times of day, dates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from localmem.errors import UsageError
from localmem.memory.clock import Clock, kept, stamp

UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
MOST = timedelta(days=3660)
"""No timer lies further ahead than some ten years."""

_SPAN = re.compile(
    r"(\d{1,9})\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)(?![a-z])\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class When:
    """When a timer fires: first at `first` (as the store keeps it), then every `every` if it repeats."""

    first: datetime
    every: timedelta | None = None


def span(text: str) -> timedelta:
    """Return a span of time such as 90s, 10m, 1h30m, 2 days. Raises UsageError."""
    total, at = timedelta(), 0
    while found := _SPAN.match(text, at):
        total, at = total + _times(UNITS[found[2][0].lower()], int(found[1])), found.end()
    if not text or at != len(text) or not timedelta() < total <= MOST:
        raise UsageError(f"{text!r} is no span of time: write for example 90s, 10m, 2h, 1h30m or 1d")
    return total


def _times(unit: timedelta, count: int) -> timedelta:
    return unit * count if count <= MOST // unit else MOST * 2


def moment(text: str, clock: Clock) -> datetime:
    """Return a time such as 2026-11-22T09:00 or 09:00 (the next one) as the store keeps it.

    It is meant in the zone of the clock. Raises UsageError, also for what is past or more than ten years ahead.
    """
    now = clock().replace(tzinfo=None)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", text):
            hour, minute = map(int, text.split(":"))
            today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            local = today if today > now else today + timedelta(days=1)
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?", text):
            local = datetime.fromisoformat(text)
        else:
            raise ValueError
        found = kept(local, clock)
        if found <= stamp(clock):
            found = kept(local.replace(fold=1), clock)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no time: write for example 09:00 or 2026-11-22T09:00") from None
    if not timedelta() < found - stamp(clock) <= MOST:
        ahead = "past" if found <= stamp(clock) else "more than ten years ahead"
        raise UsageError(f"{text} is {ahead}: it is now {now:%Y-%m-%d %H:%M}")
    return found


def when(text: str, clock: Clock) -> When:
    """Return what a model asked for: "in 10 minutes", "every 2 hours", "at 09:00", "2026-11-22 09:00".

    Raises UsageError.
    """
    word, _, rest = text.strip().partition(" ")
    match word.lower():
        case "in":
            return When(_from_now(span(rest), clock))
        case "every":
            every = span(rest)
            return When(_from_now(every, clock), every)
        case "at":
            return When(moment(rest, clock))
        case _:
            return When(moment(text.strip(), clock))


def asked(after: str | None, time: str | None, every: str | None, clock: Clock) -> When:
    """Return when a timer fires, of which a person said one or two: after a span, at a time, every span.

    Raises UsageError.
    """
    if after and time:
        raise UsageError("say --in or --at, not both: one time to begin is enough")
    beat = span(every) if every else None
    if time:
        return When(moment(time, clock), beat)
    first = span(after) if after else beat
    if first is None:
        raise UsageError("say when: --in 10m, --at 09:00 or --every 1h")
    return When(_from_now(first, clock), beat)


def _from_now(after: timedelta, clock: Clock) -> datetime:
    """Return the stored time so long after now; a span of whole days ends at the same time of day."""
    if after % timedelta(days=1):
        return stamp(clock) + after
    return kept(clock().replace(tzinfo=None) + after, clock)


def short(length: timedelta) -> str:
    """Return a span as `span` reads it: 1d12h, 10m."""
    seconds, parts = int(length.total_seconds()), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def spelt(length: timedelta) -> str:
    """Return a span of time in words, in its largest unit: "2 hours", "1 second"."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if count := seconds // size:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
