"""Public fakes: one of each seam, without models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from localmem.processor.interface import (
    Abilities,
    Calls,
    Completion,
    CoreMemory,
    Documentation,
    Encodable,
    Instructions,
    Limits,
    Opening,
    Segment,
    Shape,
    Summary,
)
from localmem.records import Call, Event, Result, Usage

if TYPE_CHECKING:
    import numpy as np

LEAST_ANSWER = 256
"""Tokens that the kernel must leave for any call."""

Move = Call | str
"""What a scripted model says: a call, or text where the shape is prose."""


class ScriptedProcessor:
    """A processor that says what a script tells it to, and counts one token a word or, if asked, a character.

    `script` is a sequence of moves, or a function from the shape to a move. `prompts` keeps every prompt as
    text, `shapes` every shape. A move that the shape does not allow is an AssertionError, and so are a prompt
    and an answer that exceed the window, an answer of less than `LEAST_ANSWER`, and a script that ends too soon.
    """

    def __init__(
        self,
        script: Iterable[Move] | Callable[[Shape], Move],
        *,
        window: int = 4096,
        characters: bool = False,
    ) -> None:
        moves = iter(()) if callable(script) else iter(script)
        self._next = script if callable(script) else lambda shape: next(moves)
        self._window = window
        self._split: Callable[[str], Iterable[str]] = list if characters else str.split
        self._joint = "" if characters else " "
        self._words: dict[str, int] = {}
        self.prompts: list[str] = []
        self.shapes: list[Shape] = []

    @property
    def window(self) -> int:
        return self._window

    @property
    def abilities(self) -> Abilities:
        return Abilities(model="scripted", howto="FUNCTION ( ARGUMENTS )")

    def encode(self, record: Encodable) -> Segment:
        match record:
            case Instructions(text):
                return self._segment(f"<system> {text}")
            case Documentation(text) | CoreMemory(text):
                return self._segment(text)
            case Summary(text):
                return self._segment(f"{text} </system>")
            case Event():
                return self._segment(
                    f"<{record.kind.value}> {record.note} {record.text} </{record.kind.value}>"
                )
            case Call():
                return self._segment(f"<call> {record.function} {dict(record.arguments)} </call>")
            case Result():
                shown = record.stub or record.text
                return self._segment(f"<result> {'ok' if record.ok else 'error'} {shown} </result>")
            case Opening():
                return self._segment("<call>")

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> ScriptedGeneration:
        ids = [token for segment in prompt for token in segment.ids]
        assert len(ids) + limits.tokens <= self._window, "the window is overrun"
        assert limits.tokens >= (LEAST_ANSWER if isinstance(shape, Calls) else 0), "no room for an answer"
        words = {number: word for word, number in self._words.items()}
        self.prompts.append(self._joint.join(words[token] for token in ids))
        self.shapes.append(shape)
        if not limits.tokens:
            return ScriptedGeneration("", len(ids))
        try:
            move = self._next(shape)
        except StopIteration:
            raise AssertionError(f"the script has no move left for {shape}") from None
        if isinstance(shape, Calls):
            assert isinstance(move, Call), f"a call is due, not {move!r}"
            offered = [function.name for function in shape.functions]
            assert move.function in offered, f"{move.function} is not among {offered}"
        else:
            assert isinstance(move, str), f"prose is due, not {move!r}"
        return ScriptedGeneration(move, len(ids))

    def _segment(self, text: str) -> Segment:
        return Segment(tuple(self._words.setdefault(word, len(self._words)) for word in self._split(text)))


class ScriptedGeneration:
    """The generation of one scripted move: the words of a message one by one."""

    def __init__(self, move: Move, prompt_tokens: int) -> None:
        self._move = move
        self._prompt_tokens = prompt_tokens
        self._stopped = False
        self._done = False

    def start(self, then: Callable[[], None] | None = None) -> None:
        for _ in self:
            pass
        if then is not None and self._done:
            then()

    @property
    def over(self) -> bool:
        return self._done or self._stopped

    def cancel(self) -> None:
        self._stopped = not self._done

    def __iter__(self) -> Iterator[str]:
        if isinstance(self._move, Call) and self._move.function == "send_message":
            for piece in re.findall(r"\s*\S+|\s+$", str(self._move.arguments["message"])):
                if self._stopped:
                    return
                yield piece
        self._done = not self._stopped

    @property
    def completion(self) -> Completion:
        call = self._move if isinstance(self._move, Call) and self._done else None
        text = self._move if isinstance(self._move, str) else ""
        usage = Usage(self._prompt_tokens, 0, 1, 1, 0.0)
        return Completion(call, text, (0,), usage, cancelled=not self._done)


class HashEmbedder:
    """An embedder without a model, a bag of hashed words: texts with words in common are near."""

    def __init__(self, dimension: int = 256, name: str = "hash") -> None:
        self.name = name
        self.dimension = dimension

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 rows of length 1, of shape (len(texts), dimension)."""
        import numpy as np

        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.casefold()) or [""]:
                digest = hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest()
                row[int.from_bytes(digest, "big") % self.dimension] += 1.0
            row /= np.linalg.norm(row)
        return rows
