"""The making of one completion, step by step, on the decoding thread: what to evaluate next, what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from localmem.processor.choosing import Chooser
from localmem.processor.drafts import Lookup
from localmem.processor.grammar import Matcher
from localmem.processor.interface import Limits
from localmem.processor.llama import Logits
from localmem.processor.reuse import Move, common
from localmem.processor.slots import Slot
from localmem.processor.tokens import Tokenizer
from localmem.records import Usage


class Work:
    """One completion in the making. `known` are the prompt and what was generated; the slot holds their beginning.

    `prepares` says that nobody waits for it: it goes on only while nothing else does.
    `progress` gets True for every step and None at the end.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        limits: Limits,
        chooser: Chooser,
        tokenizer: Tokenizer,
        matcher: Matcher | None,
        lookup: Lookup | None,
    ) -> None:
        self.limits, self.chooser = limits, chooser
        self._tokenizer, self._matcher, self._lookup = tokenizer, matcher, lookup
        self.prompt_tokens = len(prompt)
        self.known = list(prompt)
        self.drafts: list[int] = []
        self.moves: list[Move] = []
        self.slot: Slot | None = None
        self.text = b""
        self.prepares = limits.ahead
        self.cancelled = self.over = self.begun = self._done = False
        self.error: BaseException | None = None
        self.then: Callable[[], None] | None = None
        self.progress: SimpleQueue[bool | None] = SimpleQueue()
        self._asked, self._underway = time.perf_counter(), False
        self._first = self._seconds = 0.0
        self._passes = self._reused = self._forced = self._drafted = self._accepted = 0

    @property
    def ids(self) -> list[int]:
        """What was generated so far."""
        return self.known[self.prompt_tokens :]

    @property
    def complete(self) -> bool:
        """Whether it came to its end, rather than being stopped before."""
        return self._done

    @property
    def missing(self) -> int:
        """How many tokens have to be evaluated before the next can be chosen."""
        return len(self.known) - (len(self.slot.ids) if self.slot else 0)

    def start(self) -> None:
        """Take what the grammar forces at the beginning; a second time does nothing."""
        if not self._underway:
            self._underway = True
            self._force()
            self._done = self._finished
            self.progress.put(True)

    def urge(self) -> None:
        """Somebody waits for it, from now on."""
        if self.prepares:
            self.prepares, self._asked = False, time.perf_counter()

    def seated(self, slot: Slot, moves: Sequence[Move]) -> None:
        """Begin, or go on, in a slot; `moves` are stretches of the prompt that were set aside for it."""
        self.slot, self.moves, self.begun = slot, list(moves), False
        held = len(slot.ids) + sum(move.length for move in moves)
        self._reused = min(held, self.prompt_tokens)

    def unseated(self) -> None:
        """Give the slot up; what is known is evaluated again in the next one."""
        self.slot, self.moves, self.drafts = None, [], []

    def evaluated(self, chosen: bool) -> None:
        """Take in that a decode had rows of this work, the last known one among them if `chosen`."""
        self._passes += 1
        self.begun = self.begun or chosen

    def advance(self, logits: Callable[[int], Logits]) -> int:
        """Choose what the logits decide; return how many of the drafted tokens were right.

        Row 0 is behind the last known token, row n behind the n-th drafted one.
        """
        if not self._first:
            self._first = time.perf_counter() - self._asked
        if not self.limits.tokens:
            self._done = True
            return 0
        right, drafts = 0, self.drafts
        while not self._done:
            token = self.chooser.choose(logits(right), self.text, len(self.known) - self.prompt_tokens)
            if self._matcher is not None:
                self._matcher.take(token)
            if self._tokenizer.ends(token):
                self._done = True
                break
            before = len(self.known)
            self._append([token])
            self._force()
            fresh = self.known[before:]
            same = common(fresh, drafts[right:])
            right += same
            self._done = self._finished or len(self.known) - self.prompt_tokens >= self.limits.tokens
            if same < len(fresh):
                break
        if self._lookup is not None:
            self._lookup.learn(len(drafts), right)
        self._drafted += len(drafts)
        self._accepted += right
        self.drafts = []
        self.progress.put(True)
        return right

    def draft(self, most: int) -> None:
        """Guess what comes behind what is known, at most so many tokens."""
        self.drafts = []
        left = min(self.limits.tokens, self.chooser.closing_at) - (len(self.known) - self.prompt_tokens) - 1
        if self._lookup is not None and self.begun:
            drafts = self._lookup.draft(min(most, left), self.missing)
            self.drafts = drafts if self._matcher is None else drafts[: self._matcher.valid(drafts)]

    def usage(self) -> Usage:
        """Return what it cost so far."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            reused_tokens=self._reused,
            completion_tokens=len(self.known) - self.prompt_tokens,
            forward_passes=self._passes,
            seconds=self._seconds if self.over else time.perf_counter() - self._asked,
            first_token_seconds=self._first,
            forced_tokens=self._forced,
            drafted_tokens=self._drafted,
            accepted_tokens=self._accepted,
        )

    def finish(self, error: BaseException | None = None) -> None:
        """Let go of it: it is done, was cancelled, or failed."""
        if not self.over:
            self._seconds = 0.0 if self.prepares else time.perf_counter() - self._asked
            self.error, self.over = error, True
            self.progress.put(None)

    @property
    def _finished(self) -> bool:
        return self._matcher is not None and self._matcher.finished

    def _force(self) -> None:
        forced = self._matcher.forced() if self._matcher is not None and self.limits.tokens else []
        forced = [token for token in forced if not self._tokenizer.ends(token)]
        self._forced += len(forced)
        self._append(forced)

    def _append(self, ids: Sequence[int]) -> None:
        self.known.extend(ids)
        self.text += self._tokenizer.bytes(ids)
        if self._lookup is not None:
            self._lookup.extend(ids)
