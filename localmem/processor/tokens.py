"""Text to token ids with a model's own tokenizer: content apart from delimiters, never acting as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any


class Tokenizer:
    """The vocabulary of a loaded GGUF model (`llama_vocab`)."""

    def __init__(self, vocab: Any) -> None:
        import llama_cpp

        self._lib = llama_cpp
        self._vocab = vocab
        self.size: int = llama_cpp.llama_vocab_n_tokens(vocab)
        self.eos: int = llama_cpp.llama_vocab_eos(vocab)
        self.bos: int = llama_cpp.llama_vocab_bos(vocab)
        self.adds_bos: bool = llama_cpp.llama_vocab_get_add_bos(vocab)
        self._spellings: dict[int, tuple[int, ...]] = {}
        self._ordinary: dict[bytes, int] = {}
        newline = self._tokenize("\n", special=False)
        self._lead = newline if self.bytes(newline) == b" \n" else ()

    @cached_property
    def added(self) -> frozenset[int]:
        """The special and added tokens, which no content may hold; the vocabulary is gone through once for them."""
        lib = self._lib
        markup = (
            lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED | lib.LLAMA_TOKEN_ATTR_UNKNOWN
        )
        return frozenset(
            token
            for token in range(self.size)
            if lib.llama_vocab_get_attr(self._vocab, token) & markup and self.piece(token).strip()
        )

    def content(self, text: str) -> tuple[int, ...]:
        """Return the ids of text that somebody said: no id is ever one of a special or added token.

        Switching special tokens off is not enough: a vocabulary may hold markup such as <tool_call> as an
        ordinary added token. Those are spelled in smaller pieces.
        """
        ids = self._tokenize(f"\n{text}" if self._lead else text, special=False)
        if self._lead:
            ids = self._without_lead(ids, text)
        if self.added.isdisjoint(ids):
            return ids
        return tuple(
            part for token in ids for part in (self._spell(token) if token in self.added else (token,))
        )

    def markup(self, text: str) -> tuple[int, ...]:
        """Return the ids of a delimiter, special tokens included."""
        return self._tokenize(text, special=True) if text else ()

    def piece(self, token: int) -> bytes:
        """Return the bytes that a token stands for, special tokens as they are written."""
        buffer = self._lib.ctypes.create_string_buffer(256)
        length = self._lib.llama_token_to_piece(self._vocab, token, buffer, 256, 0, True)
        if length < 0:
            buffer = self._lib.ctypes.create_string_buffer(-length)
            length = self._lib.llama_token_to_piece(self._vocab, token, buffer, -length, 0, True)
        return bytes(buffer.raw[:length])

    def bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes that a sequence of tokens stands for."""
        return b"".join(self.piece(token) for token in ids)

    def ends(self, token: int) -> bool:
        """Return whether a token ends the model's message."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def _without_lead(self, ids: tuple[int, ...], text: str) -> tuple[int, ...]:
        """Drop the line break we put in front: SentencePiece vocabularies begin every text with a space."""
        count = len(self._lead)
        return ids[count:] if ids[:count] == self._lead else self._tokenize(text, special=False)

    def _tokenize(self, text: str, *, special: bool) -> tuple[int, ...]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        ids = (self._lib.llama_token * room)()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, special)
        if count < 0:
            ids = (self._lib.llama_token * -count)()
            count = self._lib.llama_tokenize(self._vocab, raw, len(raw), ids, -count, False, special)
        return tuple(ids[:count])

    def _spell(self, token: int) -> tuple[int, ...]:
        """Return the text of an added token in ordinary ones, each the longest that fits."""
        if token not in self._spellings:
            if not self._ordinary:
                self._ordinary = {self.piece(t): t for t in range(self.size) if t not in self.added}
            left, ids = self.piece(token), []
            while left:
                size = next((n for n in range(len(left), 0, -1) if left[:n] in self._ordinary), 0)
                if size:
                    ids.append(self._ordinary[left[:size]])
                left = left[size or 1 :]  # a vocabulary without that byte cannot say it
            self._spellings[token] = tuple(ids)
        return self._spellings[token]
