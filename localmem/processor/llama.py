"""A loaded GGUF model and its KV cache: evaluate token ids at positions, read logits, forget a tail."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localmem.errors import ModelBroken
from localmem.processor.machine import physical_cores

Logits = NDArray[np.float32]

CHUNK_CPU = 64
CHUNK_GPU = 512
"""Prompt tokens in one decode. On a CPU a stop takes effect inside it, on a GPU behind it."""


ABORTED = 2
"""What llama_decode returns when its abort callback said so."""


class Stop:
    """A flag that stops an evaluation in flight. Set from any thread; llama.cpp reads the byte itself."""

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._byte)

    def set(self) -> None:
        self._byte[0] = b"x"

    def is_set(self) -> bool:
        return self._byte[0] != b"\0"


class Llama:
    """One model, one context, one sequence. `cached` are the ids whose keys and values are in the cache.

    Raises ModelBroken when the file cannot be loaded. `gpu_layers` None puts all layers on the GPU if the
    installed llama.cpp supports one, `threads` None uses every physical core (fewer are faster where others
    work too).
    """

    def __init__(
        self,
        path: Path,
        *,
        window: int,
        gpu_layers: int | None = None,
        threads: int | None = None,
        vocab_only: bool = False,
    ) -> None:
        import llama_cpp

        _silence(llama_cpp)
        self._lib = llama_cpp
        on_gpu = bool(llama_cpp.llama_supports_gpu_offload()) and gpu_layers != 0
        self.chunk = CHUNK_GPU if on_gpu else CHUNK_CPU
        threads = threads or physical_cores()
        try:
            self.handle = llama_cpp.Llama(
                str(path),
                n_ctx=window,
                n_batch=self.chunk,
                n_ubatch=self.chunk,
                n_threads=threads,
                n_threads_batch=threads,
                n_gpu_layers=(-1 if gpu_layers is None else gpu_layers) if on_gpu else 0,
                vocab_only=vocab_only,
                verbose=False,
            )
        except (ValueError, AssertionError, OSError) as error:
            raise ModelBroken(
                f"{path} cannot be loaded ({error}); "
                "check it with 'localmem models verify', or fetch it again"
            ) from error
        self.vocab = self.handle._model.vocab
        self.metadata: dict[str, str] = self.handle.metadata
        self.cached: list[int] = []
        if not vocab_only:
            self._context = self.handle.ctx
            self._memory = llama_cpp.llama_get_memory(self._context)
            self._batch = llama_cpp.llama_batch_init(self.chunk, 0, 1)
            self._stop, self._aborts = Stop(), _reads_a_byte(llama_cpp)
            self._vocab_size: int = llama_cpp.llama_vocab_n_tokens(self.vocab)

    @property
    def can_shift(self) -> bool:
        """Return whether cached positions may be moved (not in recurrent or sliding-window models)."""
        return bool(self._lib.llama_memory_can_shift(self._memory))

    def keep(self, ids: Sequence[int]) -> int:
        """Forget what differs from the beginning of `ids`; return how many of them are still cached."""
        same = 0
        for ours, theirs in zip(self.cached, ids, strict=False):
            if ours != theirs:
                break
            same += 1
        del self.cached[same:]
        if not self._lib.llama_memory_seq_rm(self._memory, 0, same, -1):
            self.clear()  # a recurrent state cannot be cut in the middle
            return 0
        return same

    def clear(self) -> None:
        """Forget everything."""
        self._lib.llama_memory_clear(self._memory, True)
        self.cached = []

    def feed(self, ids: Sequence[int], stop: Stop | None = None) -> int:
        """Evaluate any number of ids behind those cached, a chunk at a time; return in how many passes.

        When stopped it leaves off: only what was evaluated by then is cached.
        """
        passes = 0
        for start in range(0, len(ids), self.chunk):
            if stop is not None and stop.is_set():
                break
            if not self.evaluate(ids[start : start + self.chunk], stop):
                break
            passes += 1
        return passes

    def evaluate(self, ids: Sequence[int], stop: Stop | None = None) -> bool:
        """Evaluate at most `chunk` ids behind those cached; the logits of the last one can then be read.

        Returns False when stopped: then nothing of them is cached.
        """
        self._stop = stop or Stop()  # kept here: llama.cpp reads it while it works
        if self._aborts is not None:
            self._lib.llama_set_abort_callback(self._context, self._aborts, self._stop.address)
        batch, start, count = self._batch, len(self.cached), len(ids)
        batch.n_tokens = count
        for index, token in enumerate(ids):
            batch.token[index] = token
            batch.pos[index] = start + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = index == count - 1
        status = self._lib.llama_decode(self._context, batch)
        if status != 0:
            self.keep(self.cached)
            if status == ABORTED:
                return False
            raise ModelBroken(
                f"llama.cpp could not evaluate {count} tokens at position {start} (status {status})"
            )
        self.cached.extend(ids)
        return True

    def logits(self) -> Logits:
        """Return a copy of the logits behind the last id evaluated, shape (vocabulary,)."""
        pointer = self._lib.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(pointer, (self._vocab_size,)).copy()

    def close(self) -> None:
        """Free the model and its cache; a second time does nothing."""
        if hasattr(self, "_batch"):
            self._lib.llama_batch_free(self._batch)
            del self._batch
        self.handle.close()


def _reads_a_byte(llama_cpp: Any) -> Any:
    """Return an abort callback for llama.cpp: true when the byte it is given is not NUL, which is strlen.

    One in Python would need the interpreter's lock some hundred times a token. None where there is no strlen.
    """
    try:
        strlen = ctypes.CDLL(None if os.name == "posix" else "msvcrt").strlen
        address = ctypes.cast(strlen, ctypes.c_void_p).value
        return llama_cpp.ggml_abort_callback(address) if address else None
    except (OSError, AttributeError):
        return None


def _silence(llama_cpp: Any) -> None:
    """llama.cpp writes to standard error from C; nothing of it belongs in a terminal chat."""
    if not hasattr(_silence, "callback"):
        callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
        _silence.callback = callback  # type: ignore[attr-defined]
        llama_cpp.llama_log_set(callback, None)
