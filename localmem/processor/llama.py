"""A loaded GGUF model and its KV cache of several sequences: evaluate token ids at positions, read logits."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from localmem.errors import ModelBroken
from localmem.processor.build import uses_gpu
from localmem.processor.machine import physical_cores

Logits = NDArray[np.float32]

CHUNK_CPU = 64
CHUNK_GPU = 512
"""Tokens in one decode at most. On a CPU a stop takes effect inside it, on a GPU behind it."""

ABORTED = 2
FULL = 1
"""What llama_decode returns when its abort callback said so, and when the cache has no cell left."""


WIDE = ("AVX512", "MATMUL_INT8")
"""Features of a CPU whose kernels multiply several rows for little more than one."""


class Row(NamedTuple):
    """One token to evaluate: where, in which sequence, and whether its logits will be read."""

    token: int
    position: int
    sequence: int
    read: bool


class CacheFull(Exception):
    """No cell of the KV cache is left for a decode; nothing of it was evaluated."""


class Stop:
    """A flag that stops an evaluation in flight. Set from any thread; llama.cpp reads the byte itself."""

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._byte)

    def set(self) -> None:
        self._byte[0] = b"x"

    def clear(self) -> None:
        self._byte[0] = b"\0"


class Llama:
    """One model and, once it is `open`, one context of `sequences` sequences that share `cells` cells of the cache.

    Raises ModelBroken when the file cannot be loaded. `gpu_layers` None puts all layers on the GPU if the
    installed llama.cpp supports one, `threads` None uses every physical core (fewer are faster where others
    work too). `cache` is one of `profile.CACHE_BITS`. Only one thread may use it; `stop` is set from any.
    """

    def __init__(
        self,
        path: Path,
        *,
        cells: int,
        sequences: int = 1,
        cache: str = "f16",
        gpu_layers: int | None = None,
        threads: int | None = None,
        vocab_only: bool = False,
    ) -> None:
        import llama_cpp

        _silence(llama_cpp)
        self._lib = llama_cpp
        on_gpu = uses_gpu(gpu_layers)
        self.on_gpu = on_gpu
        self.chunk = CHUNK_GPU if on_gpu else CHUNK_CPU
        self.path, self.cells, self.sequences, self.cache = path, cells, sequences, cache
        threads = threads or physical_cores()
        try:
            self.handle = llama_cpp.Llama(
                str(path),
                n_ctx=LEAST_CELLS,  # its own context is not used: it knows one sequence
                n_batch=1,
                n_ubatch=1,
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
        self.stop = Stop()

    def open(self) -> None:
        """Make the context, in place of the one that llama-cpp-python made; nothing is evaluated before.

        Raises ModelBroken when its cache does not fit.
        """
        lib, params = self._lib, self.handle.context_params
        params.n_ctx, params.n_batch, params.n_ubatch = self.cells, self.chunk, self.chunk
        params.n_seq_max, params.kv_unified = self.sequences, True
        if self.cache != "f16":
            params.type_k = params.type_v = getattr(lib, f"GGML_TYPE_{self.cache.upper()}")
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED  # quantised values need it
        self.handle._ctx.close()
        self._context = lib.llama_init_from_model(self.handle._model.model, params)
        if not self._context:
            self.handle.close()
            raise ModelBroken(
                f"{self.path}: a KV cache of {self.cells:,} tokens does not fit; "
                "use a smaller --window, or --cache q8_0"
            )
        self._memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_init(self.chunk, 0, 1)
        self._vocab_size: int = lib.llama_vocab_n_tokens(self.vocab)
        self._turning = False
        self._aborts = (
            _reads_a_byte(lib) if self.can_cut else None
        )  # what stops in its midst has to be cut off
        self._heed(self.stop)

    @property
    def library(self) -> str:
        """The version of llama-cpp-python."""
        return str(self._lib.__version__)

    @property
    def kind(self) -> str:
        """The back end by what several rows in one decode cost: "gpu", "fast" (a CPU with wide kernels), "cpu"."""
        if self.on_gpu:
            return "gpu"
        features = self._lib.llama_print_system_info().decode()
        return "fast" if any(f"{name} = 1" in features for name in WIDE) else "cpu"

    @property
    def can_shift(self) -> bool:
        """Return whether cached positions may be moved (not in recurrent or sliding-window models)."""
        return bool(self._lib.llama_memory_can_shift(self._memory))

    @property
    def can_cut(self) -> bool:
        """Return whether the end of a sequence may be forgotten: a recurrent state has no end to cut."""
        model = self.handle._model.model
        return not (self._lib.llama_model_is_recurrent(model) or self._lib.llama_model_is_hybrid(model))

    def evaluate(self, rows: Sequence[Row]) -> bool:
        """Evaluate at most `chunk` rows in one decode; False when stopped, and then nothing of them is cached.

        Raises CacheFull, and ModelBroken where llama.cpp fails.
        """
        batch = self._batch
        batch.n_tokens = len(rows)
        for index, row in enumerate(rows):
            batch.token[index] = row.token
            batch.pos[index] = row.position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = row.sequence
            batch.logits[index] = row.read
        status = self._decode()
        if status == 0:
            return True
        for row in rows:
            self.remove(row.sequence, row.position, row.position + 1)
        if status == ABORTED:
            return False
        if status == FULL:
            raise CacheFull
        raise ModelBroken(f"llama.cpp could not evaluate {len(rows)} tokens (status {status})")

    def _decode(self) -> int:
        """Run the decode. One that has keys to turn first is not stopped: it would turn some of them twice."""
        if not self._turning:
            return int(self._lib.llama_decode(self._context, self._batch))
        self._heed(Stop())
        try:
            return int(self._lib.llama_decode(self._context, self._batch))
        finally:
            self._turning = False
            self._heed(self.stop)

    def _heed(self, stop: Stop) -> None:
        """Let a flag stop evaluations from now on."""
        if self._aborts is not None:
            self._heeded = stop
            self._lib.llama_set_abort_callback(self._context, self._aborts, stop.address)

    def logits(self, row: int) -> Logits:
        """Return the logits behind a row of the last decode, shape (vocabulary,); overwritten by the next."""
        pointer = self._lib.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, (self._vocab_size,))

    def remove(self, sequence: int, start: int, end: int = -1) -> bool:
        """Forget positions [start, end) of a sequence, -1: all from start on; False where that cannot be."""
        return bool(self._lib.llama_memory_seq_rm(self._memory, sequence, start, end))

    def copy(self, source: int, target: int, end: int) -> None:
        """Let a sequence share the cells of the first `end` positions of another."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def shift(self, sequence: int, start: int, end: int, by: int) -> None:
        """Move positions [start, end) of a sequence; the next decode turns their keys."""
        self._lib.llama_memory_seq_add(self._memory, sequence, start, end, by)
        self._turning = True

    def clear(self) -> None:
        """Forget everything."""
        self._lib.llama_memory_clear(self._memory, True)

    def save(self, sequence: int, path: Path, ids: Sequence[int]) -> int:
        """Write the keys and values of a sequence to a file; return its bytes, 0 when it could not be written."""
        held = (self._lib.llama_token * len(ids))(*ids)
        return int(
            self._lib.llama_state_seq_save_file(self._context, os.fsencode(path), sequence, held, len(ids))
        )

    def load(self, sequence: int, path: Path, most: int) -> list[int] | None:
        """Read a sequence of at most so many tokens back from a file; return its ids, None where it does not fit."""
        held, count = (self._lib.llama_token * most)(), ctypes.c_size_t(0)
        done = self._lib.llama_state_seq_load_file(
            self._context, os.fsencode(path), sequence, held, most, ctypes.byref(count)
        )
        return list(held[: count.value]) if done else None

    def close(self) -> None:
        """Free the model and its cache; a second time does nothing."""
        if hasattr(self, "_batch"):
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self._context)
            del self._batch, self._context
        self.handle.close()


LEAST_CELLS = 32
"""Tokens of the context that llama-cpp-python makes for itself."""


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
