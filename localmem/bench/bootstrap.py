"""95 % intervals of means, by the bootstrap over cases."""

from __future__ import annotations

from collections.abc import Sequence

RESAMPLES = 10_000
_AT_ONCE = 500

Interval = tuple[float, float]


def interval(*strata: Sequence[float]) -> Interval:
    """Return the 95 % percentile interval of a mean over cases; of several strata, of the mean of their means.

    Cases are drawn again within each stratum, 10,000 times, from a fixed seed. Where the cases of every stratum
    are all alike (one case is, too) there is nothing to draw from, and the interval is the mean itself: that
    says nothing about how sure it is. Raises ValueError for a stratum without cases.
    """
    import numpy as np

    if not strata or not all(strata):
        raise ValueError("an interval needs cases")
    # RandomState, because its numbers are frozen: Generator may draw others in the next numpy.
    chance = np.random.RandomState(0)
    means = np.zeros(RESAMPLES)
    for stratum in strata:
        values = np.asarray(stratum, dtype=float)
        if values.min() == values.max():
            means += values[0]
            continue
        for start in range(0, RESAMPLES, _AT_ONCE):
            drawn = chance.randint(0, len(values), (_AT_ONCE, len(values)))
            means[start : start + _AT_ONCE] += values[drawn].mean(axis=1)
    low, high = np.quantile(means / len(strata), (0.025, 0.975))
    return rounded(float(low)), rounded(float(high))


def rounded(value: float) -> float:
    """Return a figure to six places: what is published does not depend on the order of a sum."""
    return round(value, 6) + 0.0  # + 0.0 takes the sign from -0.0
