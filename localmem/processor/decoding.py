"""The decoding loop: one completion, token by token, with what the grammar forces fed in one batch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import jiter
import numpy as np
from numpy.typing import NDArray

from localmem.processor.dialect import Dialect
from localmem.processor.grammar import Matcher
from localmem.processor.interface import Calls, Completion, Limits, Prose, Shape
from localmem.processor.llama import Llama, Logits, Stop
from localmem.processor.sampling import Sampler
from localmem.processor.tokens import Tokenizer
from localmem.records import Call, Usage

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


class LlamaGeneration:
    """One completion in the making; see `interface.Generation`.

    `overrule`, where it is set, sees every choice and says which token is taken instead; it must be allowed.
    """

    overrule: Callable[[Choice], int] | None = None

    def __init__(
        self,
        llama: Llama,
        tokenizer: Tokenizer,
        dialect: Dialect,
        prompt: Sequence[int],
        shape: Shape,
        limits: Limits,
        matcher: Matcher | None,
        model: str,
    ) -> None:
        self._llama, self._tokenizer, self._dialect = llama, tokenizer, dialect
        self._prompt, self._shape, self._limits = list(prompt), shape, limits
        self._matcher, self._model = matcher, model
        self._stop = Stop()
        self._ids: list[int] = []
        self._text = b""
        self._cut = False
        self._done = False
        self._passes = self._reused = 0
        self._seconds = 0.0
        self._closing_at = limits.tokens - closing_reserve(tokenizer, dialect, shape)
        if self._closing_at <= 0:
            raise ValueError(
                f"{limits.tokens} tokens are too few for any call; allow at least twice the reserve"
            )
        self._closers = [tokenizer.content(mark)[0] for mark in '"},']

    def cancel(self) -> None:
        self._stop.set()

    @property
    def completion(self) -> Completion:
        return self._finish()

    def __iter__(self) -> Iterator[str]:
        started = time.perf_counter()
        shown = ""
        try:
            for _ in self._run():
                message = self._message()
                if len(message) > len(shown) and message.startswith(shown):
                    yield message[len(shown) :]
                    shown = message
        finally:
            self._seconds = time.perf_counter() - started

    def _run(self) -> Iterator[None]:
        """Generate; pauses after what is forced at the beginning, and after every token that was chosen."""
        sampler = Sampler(self._limits.sampling)
        ids = self._prompt + self._force()
        self._reused = self._llama.keep(ids[:-1])
        pending = ids[self._reused :]
        self._done = self._finished() and not self._stop.is_set()
        yield
        while not self._done and self._evaluate(pending):
            token = self._choose(sampler)
            self._done = self._tokenizer.ends(token)
            if self._matcher is not None:
                self._matcher.take(token)
            if not self._done:
                self._append([token])
                pending = [token, *self._force()]
                self._done = self._finished() or len(self._ids) >= self._limits.tokens
            yield

    def _finished(self) -> bool:
        return self._matcher is not None and self._matcher.finished

    def _evaluate(self, ids: Sequence[int]) -> bool:
        """Evaluate ids; return False when cancelled."""
        self._passes += self._llama.feed(ids, self._stop)
        return not self._stop.is_set()

    def _force(self) -> list[int]:
        forced = self._matcher.forced() if self._matcher is not None else []
        self._append([token for token in forced if not self._tokenizer.ends(token)])
        return forced

    def _append(self, ids: Sequence[int]) -> None:
        self._ids.extend(ids)
        self._text += self._tokenizer.bytes(ids)

    def _choose(self, sampler: Sampler) -> int:
        logits = self._llama.logits()
        allowed, scores, echoes = self._weighed(logits)
        closing = self._matcher is not None and len(self._ids) >= self._closing_at
        token = self._close(logits, allowed) if closing else sampler.choose(scores, allowed)
        if self.overrule is None:
            return token
        return self.overrule(Choice(len(self._ids), logits, allowed, scores, echoes, closing, token))

    def _weighed(self, logits: Logits) -> tuple[NDArray[np.int64], Logits, Sequence[int]]:
        """Return the ids that may come next, their logits with the bias, and the echoes that were left out."""
        if self._matcher is None:
            return np.arange(len(logits)), logits, ()
        allowed = self._matcher.allowed()
        if not isinstance(self._shape, Calls):
            return allowed, logits[allowed], ()
        if echoes := self._echoes(self._shape.unlike):
            allowed = np.setdiff1d(allowed, echoes)
        scores = logits[allowed]
        if self._shape.bias and len(allowed) <= CHOICES:
            scores = scores + self._biases(self._shape, allowed)
        return allowed, scores, echoes

    def _close(self, logits: NDArray[np.float32], allowed: NDArray[np.int64]) -> int:
        """Choose what ends the completion soonest: the end, a closing quote, a closing brace, a comma.

        Where none may stand, a string is too short yet or a value has begun: then what the model likes best,
        in a string nothing that stands for less than a character.
        """
        self._cut = True
        quote, *structure = self._closers
        in_string = len(allowed) > CHOICES  # there a brace is content
        for token in (self._tokenizer.eos, quote, *(() if in_string else structure)):
            if token in allowed:
                return int(token)
        ranked = allowed[np.argsort(-logits[allowed], kind="stable")[:CHOICES]]
        plain = (token for token in ranked if in_string and _whole(self._tokenizer.piece(int(token))))
        return int(next(plain, ranked[0]))

    def _echoes(self, text: str) -> list[int]:
        """Return the tokens with which a message, about to begin, would begin with the first word of a text."""
        _, found, begun = self._text.rpartition(b'"message":')
        if not text.strip() or not found or begun not in (b"", b" ", b' "'):
            return []
        word = text.split(maxsplit=1)[0]
        starts = {
            f' "{form[:size]}'[len(begun) :]
            for form in (word, word.lower(), word.capitalize())
            for size in range(1, min(len(word), 20) + 1)
        }
        spelled = [self._tokenizer.content(start) for start in starts]
        return [ids[0] for ids in spelled if len(ids) == 1]

    def _biases(self, shape: Calls, allowed: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what to add to each allowed token's logit while a verdict or a function is being chosen."""
        added = np.zeros(len(allowed), dtype=np.float32)
        begun, choices = self._choice(shape)
        for index, token in enumerate(allowed if choices else ()):
            text = begun + self._tokenizer.piece(int(token))
            fits = [bias for name, bias in choices.items() if name.startswith(text) or text.startswith(name)]
            added[index] = max(fits, default=0.0)
        return added

    def _choice(self, shape: Calls) -> tuple[bytes, dict[bytes, float]]:
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
            _, found, begun = self._text.partition(f'"{field}":'.encode())
            if found and begun.count(b'"') < 2:
                return begun, {f' "{value}"'.encode(): bias for value, bias in values.items()}
        return b"", {}

    def _message(self) -> str:
        """Return as much of the message as has been generated."""
        if isinstance(self._shape, Prose):
            return self._text.decode("utf-8", "ignore")
        start = self._text.find(b"{")
        if start < 0:
            return ""
        text = self._text[start:].decode("utf-8", "ignore").encode()
        try:
            found = jiter.from_json(text, partial_mode="trailing-strings")
        except ValueError:
            return ""
        if not isinstance(found, dict) or found.get(self._dialect.function) != "send_message":
            return ""
        arguments = found.get(self._dialect.arguments)
        message = arguments.get("message") if isinstance(arguments, dict) else None
        return message if isinstance(message, str) else ""

    def _finish(self) -> Completion:
        text = self._text.decode("utf-8", "ignore" if isinstance(self._shape, Prose) else "replace")
        usage = Usage(
            prompt_tokens=len(self._prompt),
            reused_tokens=min(self._reused, len(self._prompt)),
            completion_tokens=len(self._ids),
            forward_passes=self._passes,
            seconds=self._seconds,
        )
        call = None if not self._done or isinstance(self._shape, Prose) else self._call(text, usage)
        return Completion(call, text, tuple(self._ids), usage, cancelled=not self._done)

    def _call(self, text: str, usage: Usage) -> Call | None:
        if self._matcher is not None:
            read = self._dialect.read(text)
        else:
            try:
                read = self._dialect.read_leniently(text)
            except ValueError:
                return None
        ids = tuple(self._ids)
        return replace(read, ids=ids, model=self._model, cut=self._cut, usage=usage)


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
