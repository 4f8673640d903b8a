"""The models of a service: one is loaded once, for all the agents that run on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from localmem import runtime
from localmem.processor.interface import Abilities, Encodable, Generation, Limits, Processor, Segment, Shape
from localmem.processor.profile import Profile
from localmem.processor.registry import Registry
from localmem.runtime import Options


class Models:
    """Loads models and counts who uses them; the last to let go frees one."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._held: dict[str, _Held] = {}

    def load(
        self, registry: Registry, profile: Profile, options: Options, snapshots: Path | None = None
    ) -> Shared:
        """Return a processor on a model, loaded unless it is. Raises as `runtime.load_processor` does."""
        with self._gate:
            held = self._held.get(profile.name)
            if held is None:
                held = _Held(runtime.load_processor(registry, profile, options, snapshots))
                self._held[profile.name] = held
            held.users += 1
            return Shared(held.processor, lambda: self._let_go(profile.name))

    def names(self) -> list[str]:
        """Return the models that are loaded."""
        return list(self._held)

    def _let_go(self, name: str) -> None:
        with self._gate:
            held = self._held[name]
            held.users -= 1
            if not held.users:
                del self._held[name]
                getattr(held.processor, "close", lambda: None)()


class _Held:
    def __init__(self, processor: Processor) -> None:
        self.processor, self.users = processor, 0


class Shared:
    """A processor that several agents use at once; closing it frees the model only for the last of them."""

    def __init__(self, processor: Processor, let_go: Callable[[], None]) -> None:
        self.processor = processor
        self._let_go, self._open = let_go, True

    @property
    def window(self) -> int:
        return self.processor.window

    @property
    def abilities(self) -> Abilities:
        return self.processor.abilities

    def encode(self, record: Encodable) -> Segment:
        return self.processor.encode(record)

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> Generation:
        return self.processor.generate(prompt, shape, limits)

    def close(self) -> None:
        """Let go of the model. Closing twice is fine."""
        if self._open:
            self._open = False
            self._let_go()

    def __getattr__(self, name: str) -> Any:
        """Return what a processor has beyond the seam (`rest`, `forget`, `chunk`), where it has it."""
        return getattr(self.processor, name)
