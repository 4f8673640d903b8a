"""Grammars at work: outlines compiles a shape's Lark text, and a matcher walks it token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localmem.errors import DefinitionError
from localmem.processor.dialect import Dialect, summary_grammar
from localmem.processor.interface import Calls, Prose, Shape


class Grammars:
    """Compiles shapes for one model's vocabulary. The vocabulary costs up to a second, a shape 1 ms."""

    def __init__(self, handle: Any, dialect: Dialect) -> None:
        from outlines.backends.llguidance import LLGuidanceBackend
        from outlines.models import LlamaCpp

        self._backend = LLGuidanceBackend(LlamaCpp(handle))
        self._dialect = dialect
        self._compiled: dict[str, Any] = {}

    def start(self, shape: Shape) -> Matcher:
        """Return a matcher at the beginning of the grammar of `shape`. Raises DefinitionError."""
        from llguidance import LLMatcher

        lark = summary_grammar(shape.characters) if isinstance(shape, Prose) else self._lark(shape)
        if lark not in self._compiled:
            compiled = self._backend.get_cfg_logits_processor(lark)
            matcher = LLMatcher(compiled.llg_tokenizer, compiled.grammar)
            if matcher.get_error():
                raise DefinitionError(f"the grammar does not compile: {matcher.get_error()}")
            self._compiled[lark] = matcher
        return Matcher(self._compiled[lark].deep_copy())

    def _lark(self, shape: Calls) -> str:
        text = self._dialect.lark(shape)
        tokenizer = self._backend.llg_tokenizer
        for mark in ("<tool_call>", "</tool_call>"):
            ids = tokenizer.tokenize_str(mark)
            if len(ids) == 1 and tokenizer.is_special_token(ids[0]):
                text = text.replace(f'"{mark}\\n"', f'{mark} "\\n"').replace(f'"\\n{mark}"', f'"\\n" {mark}')
        return text


class Matcher:
    """A place in a grammar: which tokens may come next, and which must."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def finished(self) -> bool:
        """Return whether the text is complete and nothing may follow."""
        return bool(self._matcher.is_stopped())

    def take(self, token: int) -> None:
        """Move past a token. Raises ValueError when the grammar does not allow it (a bug of the caller)."""
        if not self._matcher.consume_token(token):
            raise ValueError(f"token {token} is not allowed here: {self._matcher.get_error()}")

    def forced(self) -> list[int]:
        """Move past the tokens that must come next, and return them."""
        ids: list[int] = self._matcher.compute_ff_tokens()
        for token in ids:
            self.take(token)
        return ids

    def allows(self, token: int) -> bool:
        """Return whether a token may come next."""
        return bool(self._matcher.validate_tokens([token]) == 1)

    def valid(self, draft: Sequence[int]) -> int:
        """Return how many tokens of a draft may follow each other from here."""
        return int(self._matcher.validate_tokens(list(draft)))

    def allowed(self) -> NDArray[np.int64]:
        """Return the ids that may come next, ascending."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(bits, bitorder="little"))
