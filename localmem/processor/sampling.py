"""Choosing a token from the allowed ones: the best, or by temperature, top-p and min-p with a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from localmem.processor.interface import Sampling


class Sampler:
    """Chooses tokens; the same seed and the same logits give the same choices."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, logits: NDArray[np.float32], allowed: NDArray[np.int64]) -> int:
        """Return one of `allowed`, given the logits of exactly those, same order.

        Temperature scales first, then min-p keeps what is at least that share of the best token's
        probability, then top-p the smallest set that holds that much probability.
        """
        if self._sampling.temperature <= 0:
            return int(allowed[int(np.argmax(logits))])
        scaled = logits.astype(np.float64) / self._sampling.temperature
        chances = np.exp(scaled - scaled.max())
        chances[chances < self._sampling.min_p] = 0.0
        chances /= chances.sum()
        if self._sampling.top_p < 1:
            order = np.argsort(-chances, kind="stable")
            before = np.cumsum(chances[order]) - chances[order]
            chances[order[before >= self._sampling.top_p]] = 0.0
            chances /= chances.sum()
        return int(allowed[int(self._random.choice(len(allowed), p=chances))])
