"""What the doctor concludes from a build of llama.cpp and a machine, for machines that are not at hand."""

from __future__ import annotations

import sys

import pytest

from localmem import doctor
from localmem.processor import build

X86 = "processor : 0\nflags\t\t: fpu sse avx avx2 fma f16c bmi2 avx512f avx512_vnni\n"
ARM = "processor : 0\nFeatures\t: fp asimd asimddp i8mm\n"


def test_features_are_read_by_llamas_names() -> None:
    assert build.cpu_features(X86) == {"AVX", "AVX2", "FMA", "F16C", "BMI2", "AVX512", "AVX512_VNNI"}
    assert build.cpu_features(ARM) == {"NEON", "DOTPROD", "MATMUL_INT8"}
    assert build.cpu_features("") == frozenset()


def test_a_build_is_read_off_what_llama_says() -> None:
    made = build.of("1", "CPU : SSE3 = 1 | AVX = 1 | AVX2 = 1 | AVX512 = 0 | ", ["libggml-cpu.so"], False)
    assert (made.backends, "AVX2" in made.features, "AVX512" in made.features) == ((), True, False)
    assert build.of("1", "CUDA : ARCHS = 900 | CPU : AVX = 1 | ", [], True).backends == ("CUDA",)
    assert build.of("1", "CPU : AVX = 1 | ", ["libggml-vulkan.so"], True).backends == ("Vulkan",)
    assert build.of("1", "Metal : EMBED_LIBRARY = 1 | CPU : NEON = 1 | ", [], True).backends == ("Metal",)
    assert build.installed().version


@pytest.mark.parametrize(
    ("has", "uses", "verdict", "said"),
    [
        ({"AVX", "AVX2"}, {"AVX", "AVX2"}, "ok", "AVX, AVX2 used"),
        ({"AVX", "AVX2", "AVX512"}, {"AVX"}, "warn", "AVX used; unused: AVX2, AVX512"),
        ({"AVX"}, {"AVX", "AVX512"}, "fail", "this processor has no AVX512"),
        (set(), {"AVX"}, "ok", "AVX used"),
        ({"NEON"}, set(), "warn", "no vector instructions used; unused: NEON"),
    ],
)
def test_features_that_are_not_used(has: set[str], uses: set[str], verdict: str, said: str) -> None:
    check = doctor._cpu(build.Build("0.3.36", (), frozenset(uses)), has)
    assert (check.verdict, said in check.text) == (verdict, True)
    assert bool(check.mend) == (verdict != "ok")
    assert verdict == "ok" or check.mend.startswith('CMAKE_ARGS="-DGGML_NATIVE=on" ')


@pytest.mark.parametrize(("gpu", "switch"), build.SWITCHES.items())
def test_the_line_that_builds_for_a_gpu(gpu: str, switch: str) -> None:
    check = doctor._gpu(build.Build("0.3.36", (), frozenset()), (gpu,))
    assert check.verdict == "warn"
    assert check.mend == (
        f'CMAKE_ARGS="{switch}" {sys.executable} -m pip install --force-reinstall --no-cache-dir --no-deps '
        "--no-binary llama-cpp-python llama-cpp-python==0.3.36"
    )
    assert doctor._gpu(build.Build("0.3.36", (gpu,), frozenset()), (gpu,)).verdict == "ok"
    assert doctor._gpu(build.Build("0.3.36", (), frozenset()), ()).verdict == "ok"
