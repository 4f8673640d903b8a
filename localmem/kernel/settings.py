"""The settings of an agent's kernel: limits, thresholds and policies, all of them numbers you may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from localmem.errors import UsageError
from localmem.processor.interface import Sampling

LIMITS = (
    "warn_at",
    "evict_at",
    "evict_to",
    "prepare_at",
    "core_share",
    "summary_share",
    "record_share",
    "result_tokens",
    "read_ahead",
    "max_errors",
    "quiet_minutes",
    "clock_minutes",
)
"""The figures that a profile may set."""

LEAST_ROOM = 512
"""Tokens a window must leave for core memory, summary and queue."""

NO_BIAS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an agent runs. Shares are of the room: window - answer reserve - static part.

    `heartbeat` "asked" leaves chaining to the model (request_heartbeat), "derived" goes on after searches and
    edits. `memory_step` asks for core memory edits in a step of their own before the reply. `bias` calibrates
    the choice between functions (see `interface.Calls`). `read_ahead` is how many tokens of related memories are
    put in front of what a person says, before the model asks for any; 0 for none. From a pressure of `prepare_at`
    on, the next eviction is prepared while nobody waits; 1 for never.
    """

    functions: str = "small"
    heartbeat: Literal["asked", "derived"] = "derived"
    thought: int = 0
    memory_step: bool = False
    bias: Mapping[str, float] = field(default_factory=lambda: NO_BIAS)
    sampling: Sampling = Sampling()
    max_steps: int = 8
    max_errors: int = 3
    warn_at: float = 0.7
    evict_at: float = 1.0
    evict_to: float = 0.5
    prepare_at: float = 0.7
    core_share: float = 0.45
    summary_share: float = 0.15
    record_share: float = 0.3
    result_tokens: int = 600
    read_ahead: int = 500
    quiet_minutes: int = 60
    clock_minutes: int = 10

    def __post_init__(self) -> None:
        """Refuse figures that contradict each other. Raises UsageError."""
        if not 0 < self.evict_to < self.evict_at <= 1 or not 0 < self.warn_at <= 1:
            raise UsageError("0 < evict_to < evict_at <= 1 and 0 < warn_at <= 1 must hold")
        shares = (self.core_share, self.summary_share, self.record_share)
        if min(shares) <= 0 or sum(shares) > 1:
            raise UsageError("core_share, summary_share and record_share are above 0 and together at most 1")
        if min(self.max_steps, self.max_errors, self.result_tokens) < 1:
            raise UsageError("max_steps, max_errors and result_tokens are at least 1")
        if self.read_ahead < 0:
            raise UsageError("read_ahead is 0 (none) or more")

    def answer_tokens(self, window: int) -> int:
        """Return the tokens reserved for the model's answer in a window of that size."""
        return max(256, min(1024, window // 8))
