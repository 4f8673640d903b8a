"""Choosing the next token of a completion: what the grammar allows, the bias, the reserve for closing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localmem.processor.dialect import Dialect
from localmem.processor.grammar import Matcher
from localmem.processor.interface import Calls, Limits, Prose, Shape
from localmem.processor.llama import Logits
from localmem.processor.sampling import Sampler
from localmem.processor.tokens import Tokenizer
from localmem.records import Call

CHOICES = 64
"""At most so many tokens are allowed where a function's name is chosen; elsewhere no bias is looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A token being chosen, to stand at `position` (from 0) of the completion; `token` is the one chosen.

    `logits` are those of the whole vocabulary, `scores` those of the `allowed` ids with the bias. `echoes` are
    ids that the grammar allows and `Calls.unlike` does not. `closing` says that the reserve for closing was
    reached: then the token is not the one that scores best.
    """

    position: int
    logits: Logits
    allowed: NDArray[np.int64]
    scores: Logits
    echoes: Sequence[int]
    closing: bool
    token: int


class Chooser:
    """Chooses the tokens of one completion; `cut` says that it was closed by force.

    `overrule`, where it is set, sees every choice and says which token is taken instead; it must be allowed.
    Raises ValueError where the limit leaves no room for closing.
    """

    overrule: Callable[[Choice], int] | None = None

    def __init__(
        self, tokenizer: Tokenizer, dialect: Dialect, shape: Shape, limits: Limits, matcher: Matcher | None
    ) -> None:
        self._tokenizer, self._dialect, self._shape, self._matcher = tokenizer, dialect, shape, matcher
        self._sampler = Sampler(limits.sampling)
        self._greedy = limits.sampling.temperature <= 0
        self._bias = isinstance(shape, Calls) and bool(shape.bias)
        self.cut = False
        self.closing_at = limits.tokens - closing_reserve(tokenizer, dialect, shape)
        if self.closing_at <= 0 and limits.tokens:
            raise ValueError(
                f"{limits.tokens} tokens are too few for any call; allow at least twice the reserve"
            )
        self._closers = [tokenizer.content(mark)[0] for mark in '"},']

    def choose(self, logits: Logits, text: bytes, position: int) -> int:
        """Return the next token behind `text`, the completion's first `position` tokens."""
        closing = self._matcher is not None and position >= self.closing_at
        if self._greedy and not closing and self.overrule is None:
            best = self._best(logits, text)
            if best is not None:
                return best
        allowed, scores, echoes = self._weighed(logits, text)
        token = self._close(logits, allowed) if closing else self._sampler.choose(scores, allowed)
        if self.overrule is None:
            return token
        choice = Choice(position, logits.copy(), allowed, scores, echoes, closing, token)
        return self.overrule(choice)

    def _best(self, logits: Logits, text: bytes) -> int | None:
        """Return the best token of all where it is allowed and nothing else weighs, without looking at the others."""
        token = int(np.argmax(logits))
        if self._matcher is None:
            return token
        if not self._matcher.allows(token) or self._spoken(text) is not None:
            return None
        if self._bias and self._choice(self._shape, text)[1]:  # type: ignore[arg-type]
            return None
        return token

    def _weighed(self, logits: Logits, text: bytes) -> tuple[NDArray[np.int64], Logits, Sequence[int]]:
        """Return the ids that may come next, their logits with the bias, and the echoes that were left out."""
        if self._matcher is None:
            return np.arange(len(logits)), logits, ()
        allowed = self._matcher.allowed()
        if not isinstance(self._shape, Calls):
            return allowed, logits[allowed], ()
        if echoes := self._echoes(self._shape.unlike, text):
            allowed = np.setdiff1d(allowed, echoes)
        scores = logits[allowed]
        if self._shape.bias and len(allowed) <= CHOICES:
            scores = scores + self._biases(self._shape, allowed, text)
        return allowed, scores, echoes

    def _close(self, logits: NDArray[np.float32], allowed: NDArray[np.int64]) -> int:
        """Choose what ends the completion soonest: the end, a closing quote, a closing brace, a comma.

        Where none may stand, a string is too short yet or a value has begun: then what the model likes best,
        in a string nothing that stands for less than a character.
        """
        self.cut = True
        quote, *structure = self._closers
        in_string = len(allowed) > CHOICES  # there a brace is content
        for token in (self._tokenizer.eos, quote, *(() if in_string else structure)):
            if token in allowed:
                return int(token)
        ranked = allowed[np.argsort(-logits[allowed], kind="stable")[:CHOICES]]
        plain = (token for token in ranked if in_string and _whole(self._tokenizer.piece(int(token))))
        return int(next(plain, ranked[0]))

    def _spoken(self, text: bytes) -> bytes | None:
        """Return what is written of a message that is about to begin; None elsewhere, or where all may be said."""
        if not isinstance(self._shape, Calls) or not self._shape.unlike.strip():
            return None
        _, found, begun = text.rpartition(b'"message":')
        return begun if found and begun in (b"", b" ", b' "') else None

    def _echoes(self, said: str, text: bytes) -> list[int]:
        """Return the tokens with which a message, about to begin, would begin as what was said did."""
        begun = self._spoken(text)
        if begun is None:
            return []
        word = said.split(maxsplit=1)[0]
        starts = {
            f' "{form[:size]}'[len(begun) :]
            for form in (word, word.lower(), word.capitalize())
            for size in range(1, min(len(word), 20) + 1)
        }
        spelled = [self._tokenizer.content(start) for start in starts]
        return [ids[0] for ids in spelled if len(ids) == 1]

    def _biases(self, shape: Calls, allowed: NDArray[np.int64], text: bytes) -> NDArray[np.float32]:
        """Return what to add to each allowed token's logit while a verdict or a function is being chosen."""
        added = np.zeros(len(allowed), dtype=np.float32)
        begun, choices = self._choice(shape, text)
        for index, token in enumerate(allowed if choices else ()):
            written = begun + self._tokenizer.piece(int(token))
            fits = [
                bias for name, bias in choices.items() if name.startswith(written) or written.startswith(name)
            ]
            added[index] = max(fits, default=0.0)
        return added

    def _choice(self, shape: Calls, text: bytes) -> tuple[bytes, dict[bytes, float]]:
        """Return the value being chosen, as far as it is written, and the bias of each it may become.

        The bias of a verdict is the largest of the functions that it leads to.
        """
        functions = {function.name: shape.bias.get(function.name, 0.0) for function in shape.functions}
        fields = {self._dialect.function: functions}
        if shape.verdict:
            verdicts: dict[str, float] = {}
            for name, bias in functions.items():
                answer = shape.verdict.answers[name]
                verdicts[answer] = max(bias, verdicts.get(answer, bias))
            fields = {shape.verdict.question: verdicts, **fields}
        for field, values in fields.items():
            _, found, begun = text.partition(f'"{field}":'.encode())
            if found and begun.count(b'"') < 2:
                return begun, {f' "{value}"'.encode(): bias for value, bias in values.items()}
        return b"", {}


def _whole(piece: bytes) -> bool:
    """Return whether a token inside a JSON string stands for whole characters, none of them escaped."""
    try:
        return "\\" not in piece.decode()
    except UnicodeDecodeError:
        return False


LONGEST_ESCAPE = 12
"""Tokens of the longest way to write one character: two halves, each a backslash, a letter, four digits."""


def closing_reserve(tokenizer: Tokenizer, dialect: Dialect, shape: Shape) -> int:
    """Return the tokens that closing a call from any point may take: the longest call that says least."""
    if isinstance(shape, Prose):
        return 0
    longest = 0
    for function in shape.functions:
        empty = {parameter.name: "" for parameter in function.parameters}
        call = Call("x" if shape.thought else "", function.name, empty)
        written = len(tokenizer.content(dialect.write(call, heartbeat=shape.heartbeat)))
        values = (_least(tokenizer, parameter.json_schema(shape.labels)) for parameter in function.parameters)
        longest = max(longest, written + sum(values))
    if shape.verdict:
        longest += len(tokenizer.content(shape.verdict.question)) + 8
    return longest + longest // 4 + LONGEST_ESCAPE


def _least(tokenizer: Tokenizer, schema: Mapping[str, object]) -> int:
    """Return the tokens that a value of this schema takes at least once it has begun, a token a character."""
    match schema:
        case {"enum": list(choices)}:
            return max(len(tokenizer.content(json.dumps(choice, ensure_ascii=False))) for choice in choices)
        case {"pattern": _}:
            return len("2026-01-31")
        case {"minLength": int(least)}:
            return least
        case {"minimum": int(least), "maximum": int(most)}:
            fraction = len(".0e0") if schema["type"] == "number" else 0
            return max(len(str(least)), len(str(most))) + fraction
        case _:
            return len("false")
