"""What a GGUF file says of itself, read from its header alone: no tensor is touched, nothing is loaded.

Layout (ggml's gguf.md, versions 2 and 3): magic, version, two counts, key-values, tensor infos, tensor data.
The file may come from anywhere, so every length is checked against what is left of it before it is believed.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

from localmem.errors import ModelBroken

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_MOST_KEYS = 4096
_MOST_TENSORS = 65536
_MOST_STRINGS = 4_000_000
"""Strings in one file's arrays (vocabulary and merges): the largest known has about 800,000."""
_LONGEST_TEXT = 16 << 20
_MOST_KEPT = 64
"""Arrays up to this length are kept as values (per-layer head counts); of longer ones only the length."""

Value = int | float | bool | str | list["Value"]


class _Damaged(Exception):
    """The header contradicts itself or ends too early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the header says. Counts are 0 and texts empty where it is silent; lengths are in tokens."""

    name: str
    architecture: str
    licence: str
    size_label: str
    parameters: int
    file_type: int
    trained_window: int
    tokenizer: str
    vocabulary: int
    chat_template: str
    embedding: int
    layers: int
    kv_values: int
    """Numbers that one token adds to the KV cache, over all layers."""

    def kv_bytes(self, window: int) -> int:
        """Return the bytes of a KV cache of `window` tokens in half precision."""
        return 2 * self.kv_values * window


def read(path: Path) -> Facts:
    """Return the facts of the GGUF file at `path`, in well under a second.

    Raises ModelBroken when it is no GGUF file, of a version we cannot read, cut short or damaged.
    """
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns)
    except (ValueError, OSError) as error:  # an empty file cannot be mapped
        if isinstance(error, OSError):
            raise ModelBroken(f"{path} cannot be read: {error.strerror}") from error
        raise ModelBroken(f"{path} is no GGUF file: it is empty or unreadable") from error
    except (_Damaged, struct.error) as error:
        raise ModelBroken(f"{path} is damaged ({error}): fetch it again") from error


@lru_cache(maxsize=64)
def _read(path: Path, size: int, changed: int) -> Facts:
    """Read a file once as long as it is the same: skipping a vocabulary takes a tenth of a second."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _facts(data, path)


def _facts(data: mmap.mmap, path: Path) -> Facts:
    if data[:4] != b"GGUF":
        raise ModelBroken(f"{path} is no GGUF file: pick one whose name ends in .gguf")
    cursor = _Cursor(data, 4)
    version = cursor.number("<I")
    if version not in (2, 3):
        what = "big-endian" if version in (2 << 24, 3 << 24) else f"version {version}"
        raise ModelBroken(
            f"{path} is a {what} GGUF file, and only little-endian versions 2 and 3 can be read"
        )
    tensors, keys = cursor.number("<Q"), cursor.number("<Q")
    if keys > _MOST_KEYS or tensors > _MOST_TENSORS:
        raise _Damaged(f"its header claims {keys} keys and {tensors} tensors")
    values: dict[str, Value] = {cursor.text(): cursor.value() for _ in range(keys)}
    parameters = 0
    for shape, offset in cursor.tensors(tensors):
        parameters += prod(shape)
        if cursor.at + offset >= len(data):
            raise _Damaged("it is cut short: a tensor begins behind its end")
    return _describe(values, parameters)


def _describe(values: dict[str, Value], parameters: int) -> Facts:
    def text(key: str) -> str:
        value = values.get(key, "")
        return value if isinstance(value, str) else ""

    def number(key: str) -> int:
        value = values.get(key, 0)
        return value if isinstance(value, int) else 0

    architecture = text("general.architecture")
    layers = number(f"{architecture}.block_count")
    return Facts(
        name=text("general.name") or text("general.basename"),
        architecture=architecture,
        licence=text("general.license"),
        size_label=text("general.size_label"),
        parameters=parameters,
        file_type=number("general.file_type"),
        trained_window=number(f"{architecture}.context_length"),
        tokenizer=text("tokenizer.ggml.model"),
        vocabulary=number("tokenizer.ggml.tokens"),
        chat_template=text("tokenizer.chat_template"),
        embedding=number(f"{architecture}.embedding_length"),
        layers=layers,
        kv_values=_kv_values(values, architecture, layers),
    )


def _kv_values(values: dict[str, Value], architecture: str, layers: int) -> int:
    """Return key and value numbers per token; head counts may be one number or one for each layer."""

    def of(key: str) -> Value:
        return values.get(f"{architecture}.{key}", 0)

    heads, shared = of("attention.head_count"), of("attention.head_count_kv") or of("attention.head_count")
    most = max((n for n in heads if isinstance(n, int)), default=1) if isinstance(heads, list) else heads
    width = of("embedding_length")
    size = width // most if isinstance(width, int) and isinstance(most, int) and most > 0 else 0
    key, value = of("attention.key_length") or size, of("attention.value_length") or size
    if not isinstance(key, int) or not isinstance(value, int):
        return 0
    if isinstance(shared, list):
        return sum(n for n in shared if isinstance(n, int)) * (key + value)
    return layers * shared * (key + value) if isinstance(shared, int) else 0


class _Cursor:
    """A place in the header that only moves forward and never past the end."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self.data, self.at, self.strings = data, at, 0

    def number(self, code: str) -> int:
        value: int = struct.unpack_from(code, self.data, self._take(struct.calcsize(code)))[0]
        return value

    def text(self) -> str:
        length = self.number("<Q")
        if length > _LONGEST_TEXT:
            raise _Damaged(f"a text of {length} bytes")
        start = self._take(length)
        return self.data[start : start + length].decode("utf-8", "replace")

    def value(self) -> Value:
        return self._typed(self.number("<I"))

    def tensors(self, count: int) -> Iterator[tuple[list[int], int]]:
        """Yield each tensor's shape and its offset; the cursor then stands where the data may begin."""
        offsets: list[tuple[list[int], int]] = []
        for _ in range(count):
            self.text()
            dimensions = self.number("<I")
            if dimensions > 8:
                raise _Damaged(f"a tensor of {dimensions} dimensions")
            shape = [self.number("<Q") for _ in range(dimensions)]
            self.number("<I")
            offsets.append((shape, self.number("<Q")))
        yield from offsets

    def _typed(self, kind: int) -> Value:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise _Damaged(f"a value of unknown type {kind}")
        return self.number(_SCALARS[kind])

    def _array(self) -> Value:
        """Return a short array's values, or the length of a long one, which is skipped."""
        kind, count = self.number("<I"), self.number("<Q")
        if kind == _ARRAY:
            raise _Damaged("an array of arrays")
        if count <= _MOST_KEPT:
            return [self._typed(kind) for _ in range(count)]
        if kind != _STRING:
            if kind not in _SCALARS:
                raise _Damaged(f"an array of unknown type {kind}")
            self._take(count * struct.calcsize(_SCALARS[kind]))
            return count
        self.strings += count
        if self.strings > _MOST_STRINGS:
            raise _Damaged(f"an array of {count} strings")
        self._skip_texts(count)
        return count

    def _skip_texts(self, count: int) -> None:
        """Move behind so many texts: a loop of its own, for there are hundreds of thousands."""
        data, at, end, length_at = self.data, self.at, len(self.data) - 8, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at > end:
                raise _Damaged("it ends inside its header")
            at += 8 + length_at(data, at)[0]
        self.at = at
        self._take(0)

    def _take(self, length: int) -> int:
        start = self.at
        if start > len(self.data) or length > len(self.data) - start:
            raise _Damaged("it ends inside its header")
        self.at += length
        return start
