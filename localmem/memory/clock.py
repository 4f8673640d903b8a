"""Time: the store keeps UTC without a zone, people see their own zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return now, in the zone of this machine."""
    return datetime.now(UTC).astimezone()


def stamp(clock: Clock) -> datetime:
    """Return now as the store keeps it: UTC, no zone."""
    return clock().astimezone(UTC).replace(tzinfo=None)


def shown(stored: datetime, clock: Clock) -> datetime:
    """Return a stored time in the zone of the clock, aware.

    The system's clock stands for the system's zone, so that summer time is right for every date.
    """
    aware = stored.replace(tzinfo=UTC)
    return aware.astimezone() if clock is system_clock else aware.astimezone(clock().tzinfo)


def span(start: date, end: date, clock: Clock) -> tuple[datetime, datetime]:
    """Return the stored times from the first moment of `start` up to, and without, the day after `end`."""
    return _midnight(start, clock, datetime.min), _midnight(end, clock, datetime.max, days=1)


def kept(local: datetime, clock: Clock) -> datetime:
    """Return a time of people, which says no zone, as the store keeps it: it is meant in the zone of the clock.

    One that summer time leaves out is taken as much later; of one that comes twice, `fold` says which. Raises
    OverflowError or ValueError for the years 1 and 9999 where UTC has no such time.
    """
    zone = None if clock is system_clock else clock().tzinfo

    def stored(fold: int) -> datetime:
        return local.replace(tzinfo=zone, fold=fold).astimezone(UTC).replace(tzinfo=None)

    found = stored(local.fold)
    there = shown(found, clock).replace(tzinfo=None, fold=0) == local.replace(fold=0)
    return found if there else max(found, stored(1 - local.fold))


def _midnight(day: date, clock: Clock, edge: datetime, days: int = 0) -> datetime:
    try:
        return kept(datetime.combine(day + timedelta(days=days), time.min), clock)
    except (OverflowError, ValueError):  # the years 1 and 9999: no such time in UTC
        return edge
