"""What llama.cpp was built for, against what this machine has: its back ends and the features of the processor."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FEATURES = {
    "AVX": "avx",
    "AVX2": "avx2",
    "FMA": "fma",
    "F16C": "f16c",
    "BMI2": "bmi2",
    "AVX_VNNI": "avx_vnni",
    "AVX512": "avx512f",
    "AVX512_VBMI": "avx512_vbmi",
    "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16",
    "AMX_INT8": "amx_int8",
    "NEON": "asimd",
    "DOTPROD": "asimddp",
    "MATMUL_INT8": "i8mm",
    "SVE": "sve",
}
"""Features of a processor as llama.cpp names them, and as Linux does in /proc/cpuinfo."""

SWITCHES = {"CUDA": "-DGGML_CUDA=on", "Metal": "-DGGML_METAL=on", "Vulkan": "-DGGML_VULKAN=on"}
"""Back ends, and what builds llama-cpp-python with one."""


@dataclass(frozen=True, slots=True)
class Build:
    """A build of llama.cpp: its version, the back ends in it, and the features of the processor that it uses."""

    version: str
    backends: tuple[str, ...]
    features: frozenset[str]


def installed() -> Build:
    """Return what the installed llama-cpp-python was built for. Raises ImportError, OSError or RuntimeError."""
    import llama_cpp

    said = llama_cpp.llama_print_system_info().decode(errors="replace")
    libraries = [file.name for file in (Path(llama_cpp.__file__).parent / "lib").glob("*ggml-*")]
    return of(str(llama_cpp.__version__), said, libraries, bool(llama_cpp.llama_supports_gpu_offload()))


def uses_gpu(layers: int | None = None) -> bool:
    """Return whether a model with so many layers on the GPU, None: all, uses one; the installed build has to."""
    import llama_cpp

    return layers != 0 and bool(llama_cpp.llama_supports_gpu_offload())


def of(version: str, said: str, libraries: Sequence[str], gpu: bool) -> Build:
    """Return a build by what llama.cpp says of itself, the names of its libraries, and whether it can use a GPU."""
    backends = [
        name
        for name in SWITCHES
        if re.search(rf"\b{name}\s*:", said) or any(f"ggml-{name.lower()}" in file for file in libraries)
    ]
    if gpu and not backends:
        backends = ["another back end"]
    return Build(version, tuple(backends), frozenset(re.findall(r"(\w+) = 1\b", said)))


def cpu_features(cpuinfo: str | None = None) -> frozenset[str]:
    """Return the features that this processor has, as llama.cpp names them; none where the system does not say."""
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text()
        except OSError:
            return frozenset({"NEON"} if platform.machine() == "arm64" else ())
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return frozenset(name for name, flag in FEATURES.items() if flag in flags)


def gpus() -> tuple[str, ...]:
    """Return the back ends for which this machine has a GPU, the best first; those of its drivers alone."""
    if sys.platform == "darwin":
        return ("Metal",) if platform.machine() == "arm64" else ()
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        return ("CUDA",)
    return ("Vulkan",) if list(Path("/dev/dri").glob("renderD*")) else ()


def reinstall(version: str = "", *switches: str) -> str:
    """Return the line that builds llama-cpp-python anew on this machine, in that version."""
    given = f'CMAKE_ARGS="{" ".join(switches)}" ' if switches else ""
    pinned = f"llama-cpp-python=={version}" if version else "llama-cpp-python"
    return (
        f"{given}{sys.executable} -m pip install --force-reinstall --no-cache-dir --no-deps "
        f"--no-binary llama-cpp-python {pinned}"
    )
