"""Which sequence of the KV cache serves which agent, and what each holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from localmem.processor.llama import Llama, Logits, Row
from localmem.processor.reuse import Move, common, in_order, moves

WORTH_COPYING = 8
"""Tokens of a common beginning from which it is shared with a sequence that already holds it."""


@dataclass(slots=True, eq=False)
class Slot:
    """One sequence: the ids whose keys and values it holds, from position 0 on without a gap.

    `owner` is the agent that it serves. `ahead` says that it was filled ahead of need. `shares` says how many
    positions from 0 on are the same cells as those of which other sequences: they never move. From position
    `inexact` on, if it is one, what it holds is not exactly what evaluating it anew would give.
    """

    sequence: int
    ids: list[int] = field(default_factory=list)
    owner: str | None = None
    ahead: bool = False
    busy: bool = False
    shares: dict[int, int] = field(default_factory=dict)
    inexact: int | None = None
    used: int = 0

    @property
    def shared(self) -> int:
        """How many positions from 0 on it shares with any other sequence."""
        return max(self.shares.values(), default=0)

    @property
    def shifted(self) -> bool:
        """Whether something of what it holds was moved."""
        return self.inexact is not None


class Slots:
    """The sequences of one context, numbered from 0, and one more to put moving stretches aside.

    `leaves`, where it is set, is told of a slot that is about to be taken from an agent.
    """

    leaves: Callable[[Slot], object] | None = None

    def __init__(self, llama: Llama, count: int) -> None:
        self._llama = llama
        self._slots = [Slot(sequence) for sequence in range(count)]
        self._aside = count
        self._clock = 0

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def of(self, owner: str) -> list[Slot]:
        """Return the idle slots that serve an agent."""
        return [slot for slot in self._slots if slot.owner == owner and not slot.busy]

    def begin_with(self, ids: Sequence[int]) -> None:
        """Let the first slot hold these ids, evaluated from an empty cache in whole chunks, and no other anything."""
        first, *others = self._slots
        if any(slot.busy for slot in self._slots):
            raise ValueError("the cache is in use: wait for what is being generated, or cancel it")
        for slot in others:
            self.forget(slot)
        if first.owner is None and first.ids == list(ids):
            return
        self._llama.clear()
        self.forget(first)
        self.evaluate(first, ids)

    def evaluate(self, slot: Slot, ids: Sequence[int]) -> Logits:
        """Let a slot hold these ids, in chunks behind what it holds of them; return the last one's logits."""
        held = self.keep(slot, min(common(slot.ids, ids), max(0, len(ids) - 1)))
        part: Sequence[int] = ()
        for start in range(held, len(ids), self._llama.chunk):
            part = ids[start : start + self._llama.chunk]
            rows = [Row(token, at, slot.sequence, at == len(ids) - 1) for at, token in enumerate(part, start)]
            while not self._llama.evaluate(rows):
                self._llama.stop.clear()  # it was meant for a decode that is over
            slot.ids.extend(part)
        return self._llama.logits(len(part) - 1).copy() if part else np.empty(0, np.float32)

    def take(self, ids: Sequence[int], owner: str, *, ahead: bool, shift: bool = False) -> Slot | None:
        """Return a slot for a prompt, now busy, that holds as much of its beginning as any; None: all are busy.

        An agent's own slot is gone on with, what was filled ahead of need if that serves better; work ahead of
        need leaves it alone and takes another. With `shift` what only has to be moved serves too.
        """
        own = [slot for slot in self.of(owner) if slot.ahead or not ahead]
        worth = self._moving if shift else common_of
        slot = max(own, key=lambda slot: (worth(slot, ids), not slot.ahead, slot.used), default=None)
        slot = slot or self._spare(owner)
        if slot is None:
            return None
        if slot.ahead and not ahead:  # what was prepared takes the place of what it was prepared for
            for other in own:
                if not other.ahead:
                    self.forget(other)
        if slot.owner != owner:
            self.leave(slot)
        slot.owner, slot.ahead, slot.busy = owner, ahead, True
        self._clock += 1
        slot.used = self._clock
        self._share(slot, ids)
        return slot

    def _spare(self, owner: str) -> Slot | None:
        """Return an idle slot: an empty one, else what was filled ahead of need, else the one unused for longest.

        Never the agent's own, nor the newest where it has several.
        """
        own = max(
            (slot for slot in self.of(owner) if not slot.ahead), key=lambda slot: slot.used, default=None
        )
        idle = [slot for slot in self._slots if not slot.busy and slot is not own]
        return min(idle, key=lambda slot: (bool(slot.ids), not slot.ahead, slot.used), default=None)

    def _share(self, slot: Slot, ids: Sequence[int]) -> None:
        """Let a slot share the beginning of a prompt with the slot that holds most of it."""
        best = max(self._slots, key=lambda other: common(other.ids, ids))
        held = common(best.ids, ids)
        if best is slot or held < common(slot.ids, ids) + WORTH_COPYING:
            return
        if held < len(best.ids) and not self._llama.can_cut:
            return
        self.empty(slot)
        self._llama.copy(best.sequence, slot.sequence, held)
        slot.ids = best.ids[:held]
        slot.inexact = best.inexact if best.inexact is not None and best.inexact < held else None
        for other in self._slots:
            also = held if other is best else min(held, best.shares.get(other.sequence, 0))
            if also and other is not slot:
                slot.shares[other.sequence] = other.shares[slot.sequence] = also

    def keep(self, slot: Slot, length: int) -> int:
        """Forget what a slot holds behind `length` tokens; return how many it holds then."""
        if length < len(slot.ids):
            if self._llama.remove(slot.sequence, length):
                self._cut(slot, length)
            else:
                self.empty(slot)  # a recurrent state cannot be cut in the middle
        return len(slot.ids)

    def _cut(self, slot: Slot, length: int) -> None:
        """Take note that a slot holds only so many tokens now."""
        del slot.ids[length:]
        if slot.inexact is not None and slot.inexact >= length:
            slot.inexact = None
        for other in self._slots:
            if slot.shares.get(other.sequence, 0) > length:
                slot.shares[other.sequence] = other.shares[slot.sequence] = length
            if not slot.shares.get(other.sequence, 1):
                del slot.shares[other.sequence], other.shares[slot.sequence]

    def _stays(self, slot: Slot, ids: Sequence[int]) -> tuple[int, list[Move]]:
        """Return what a prompt can use of a slot: its beginning, and stretches that only have to be moved.

        The last id of the prompt is always evaluated: its logits are wanted.
        """
        same = min(common(slot.ids, ids), len(ids) - 1)
        if same == len(slot.ids):
            return same, []
        return same, moves(slot.ids, ids, same, len(ids) - 1, slot.shared)

    def _moving(self, slot: Slot, ids: Sequence[int]) -> int:
        same, found = self._stays(slot, ids)
        return same + sum(move.length for move in found)

    def set_aside(self, slot: Slot, ids: Sequence[int]) -> list[Move]:
        """Put the stretches of a slot that a prompt wants elsewhere aside, at their new positions.

        The slot keeps the common beginning.
        """
        same, found = self._stays(slot, ids)
        behind = same
        for move in found:
            self._llama.remove(slot.sequence, behind, move.start)
            behind = move.start + move.length
        self._llama.remove(slot.sequence, behind)
        for move in in_order(found):
            self._llama.shift(slot.sequence, move.start, move.start + move.length, move.to - move.start)
        if found:
            self._llama.copy(slot.sequence, self._aside, -1)
            self._llama.remove(slot.sequence, same)
            self._llama.remove(self._aside, 0, same)
        self._cut(slot, same)
        return found

    def bring_back(self, slot: Slot, move: Move, ids: Sequence[int]) -> None:
        """Let a slot hold a stretch that was set aside; it goes on exactly where the slot ends."""
        self._llama.copy(self._aside, slot.sequence, move.end)
        self._llama.remove(self._aside, 0, move.end)
        slot.ids.extend(ids[move.to : move.end])
        slot.inexact = move.to if slot.inexact is None else slot.inexact

    def drop_aside(self) -> None:
        """Forget what was set aside."""
        self._llama.remove(self._aside, 0)

    def release(self, slot: Slot) -> None:
        """Let others have a slot; what it holds stays until they do."""
        slot.busy = False

    def leave(self, slot: Slot) -> None:
        """Take a slot from its agent."""
        if self.leaves is not None and slot.ids and slot.owner is not None and not slot.ahead:
            self.leaves(slot)
        self.forget(slot)

    def free(self) -> bool:
        """Take the slot that is missed least from its agent, to win cells; return False where none can be."""
        idle = [slot for slot in self._slots if not slot.busy and slot.ids]
        slot = min(idle, key=lambda slot: (not slot.ahead, slot.used), default=None)
        if slot is not None:
            self.leave(slot)
        return slot is not None

    def forget(self, slot: Slot) -> None:
        """Empty a slot, which then serves nobody."""
        self.empty(slot)
        slot.owner, slot.ahead = None, False

    def empty(self, slot: Slot) -> None:
        """Let a slot hold nothing; it serves whom it served."""
        self._llama.remove(slot.sequence, 0)
        self._cut(slot, 0)

    def reset(self) -> None:
        """Let every slot be free and hold nothing."""
        self._llama.clear()
        for slot in self._slots:
            self._cut(slot, 0)
            slot.owner, slot.ahead, slot.busy = None, False, False


def common_of(slot: Slot, ids: Sequence[int]) -> int:
    """Return how much of the beginning of a prompt a slot holds."""
    return common(slot.ids, ids)
