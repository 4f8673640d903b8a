"""Snapshots: a new engine goes on without evaluating the old prompt, and believes nothing that does not match."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from engines import MESSAGE, flat, load, prompt, run

from localmem.processor import snapshots as module
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Completion, Segment

pytestmark = pytest.mark.model

TOLD = "I was born in Valparaiso, and my parrot is called Quicksilver. " * 6
"""Long enough to be worth a snapshot."""

OWNER = "default"


def talk(engine: LlamaProcessor, *more: str, owner: str = OWNER) -> Completion:
    """Evaluate a prompt; nothing is generated."""
    return run(engine, prompt(engine, TOLD, *more), tokens=0, owner=owner)


@pytest.fixture
def folder(tmp_path: Path, smollm2: Path) -> Path:
    """Snapshots that an engine left when it was closed."""
    engine = load(smollm2, snapshots=tmp_path / "snapshots")
    assert talk(engine).usage.reused_tokens == 0
    engine.close()
    return tmp_path / "snapshots"


def stamp_of(folder: Path) -> Path:
    return folder / OWNER / module.STAMP


def state_of(folder: Path) -> Path:
    (state,) = (folder / OWNER).glob("*.kv")
    return state


def reused(smollm2: Path, folder: Path, **how: object) -> int:
    """How many tokens of the old prompt a new engine goes on from."""
    engine = load(smollm2, snapshots=folder, **how)
    try:
        return talk(engine, "What is it called?").usage.reused_tokens
    finally:
        engine.close()


def test_a_new_engine_goes_on_from_the_old_prompt(smollm2: Path, folder: Path) -> None:
    engine = load(smollm2, snapshots=folder)
    try:
        old = sum(map(len, prompt(engine, TOLD)[:-1]))
        completion = run(engine, prompt(engine, TOLD, "What is it called?"), MESSAGE, owner=OWNER)
        assert completion.call is not None
        assert completion.usage.reused_tokens >= old
        ids = flat(prompt(engine, TOLD, "What is it called?"))
        restored = engine.logits(ids)
        engine.begin_with([])
        assert np.abs(engine.logits(ids) - restored).max() < 1.0
    finally:
        engine.close()


def test_only_its_user_can_read_it(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / OWNER).stat().st_mode) == 0o700
    files = list((folder / OWNER).iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len(files) == 2


def change(folder: Path, **stamp: object) -> None:
    held = json.loads(stamp_of(folder).read_text())
    stamp_of(folder).write_text(json.dumps({**held, **stamp}))


@pytest.mark.parametrize("key", ["model", "window", "library", "cache", "chunk", "crc"])
def test_another_stamp_is_ignored(smollm2: Path, folder: Path, key: str) -> None:
    change(folder, **{key: "another"})
    assert reused(smollm2, folder) == 0


def test_another_window_or_cache_is_ignored(smollm2: Path, folder: Path) -> None:
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    assert reused(smollm2, folder, window=1024) == 0
    assert reused(smollm2, copy, cache="q8_0") == 0


def test_a_flipped_byte_is_noticed(smollm2: Path, folder: Path) -> None:
    state = bytearray(state_of(folder).read_bytes())
    state[len(state) // 2] ^= 1
    state_of(folder).write_bytes(state)
    assert reused(smollm2, folder) == 0


def test_ids_that_the_state_does_not_hold_are_noticed(smollm2: Path, folder: Path) -> None:
    """The stamp's ids say what the prompt says, the state is that of another text."""
    engine = load(smollm2, snapshots=None)
    wanted = flat(prompt(engine, TOLD.replace("parrot", "dog"), "What is it called?"))
    engine.close()
    held = json.loads(stamp_of(folder).read_text())
    change(folder, ids=wanted[: len(held["ids"])])
    engine = load(smollm2, snapshots=folder)
    try:
        said = run(engine, [Segment(tuple(wanted))], tokens=0, owner=OWNER)
        assert said.usage.reused_tokens == 0
    finally:
        engine.close()


@pytest.mark.parametrize("length", [0, 1, 100, 100_000, -1])
def test_a_state_that_was_cut_is_ignored(smollm2: Path, folder: Path, length: int) -> None:
    """Also where the checksum is that of the cut file: llama.cpp ends the process on reading it."""
    state = state_of(folder)
    os.truncate(state, length if length >= 0 else state.stat().st_size - 1)
    change(folder, crc=module._checksum(state))
    assert reused(smollm2, folder) == 0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"model": 1}', '{"ids": "x"}', "\x00" * 50],
)
def test_a_broken_stamp_is_ignored_and_written_anew(smollm2: Path, folder: Path, text: str) -> None:
    stamp_of(folder).write_text(text)
    assert reused(smollm2, folder) == 0
    assert reused(smollm2, folder) > 0


@pytest.mark.parametrize(
    "stamp",
    [{"ids": []}, {"ids": [1.5]}, {"ids": [-1] * 200}, {"ids": [1 << 40]}, {"ids": None}, {"file": 3}],
)
def test_a_stamp_that_says_nonsense_is_ignored(smollm2: Path, folder: Path, stamp: dict[str, object]) -> None:
    change(folder, **stamp)
    assert reused(smollm2, folder) == 0


def test_a_stamp_names_no_file_elsewhere(smollm2: Path, folder: Path) -> None:
    outside = folder.with_name("outside.kv")
    state_of(folder).rename(outside)
    change(folder, file="../../outside.kv")
    assert reused(smollm2, folder) == 0


def test_a_missing_state_is_ignored(smollm2: Path, folder: Path) -> None:
    state_of(folder).unlink()
    assert reused(smollm2, folder) == 0


def test_a_state_of_another_text_serves_as_far_as_it_goes(smollm2: Path, folder: Path) -> None:
    engine = load(smollm2, snapshots=folder)
    try:
        completion = run(engine, prompt(engine, TOLD[:250], "Else?"), tokens=0, owner=OWNER)
        assert 64 <= completion.usage.reused_tokens < completion.usage.prompt_tokens
    finally:
        engine.close()


# ---- what is saved, and when


def saved(engine: LlamaProcessor, folder: Path, owner: str = OWNER) -> bool:
    """Let the engine rest, and say whether there is a snapshot then."""
    engine.rest(owner)
    engine._scheduler.ask(lambda: None)
    while engine._scheduler._idle:
        engine.held()
    engine.held()
    return (folder / owner / module.STAMP).exists()


def test_an_agent_that_yields_is_saved_and_is_not_saved_again_for_little(
    smollm2: Path, tmp_path: Path
) -> None:
    engine = load(smollm2, snapshots=tmp_path)
    try:
        talk(engine)
        assert saved(engine, tmp_path)
        first = state_of(tmp_path)
        talk(engine)
        assert saved(engine, tmp_path)
        assert state_of(tmp_path) == first
        talk(engine, TOLD)
        assert saved(engine, tmp_path)
        assert state_of(tmp_path) != first  # and only one is kept
    finally:
        engine.close()


def test_what_serves_nobody_and_what_is_made_ahead_is_not_saved(smollm2: Path, tmp_path: Path) -> None:
    engine = load(smollm2, snapshots=tmp_path / "s")
    talk(engine, owner="")
    run(engine, prompt(engine, TOLD), tokens=0, owner="one", ahead=True)
    engine.close()
    assert list(tmp_path.rglob("*.kv")) == []


def test_what_was_moved_is_not_saved(smollm2: Path, tmp_path: Path) -> None:
    engine = load(smollm2, snapshots=tmp_path, reuse="shift")
    try:
        run(engine, prompt(engine, "A word that leaves. " * 10, TOLD), tokens=0, owner=OWNER)
        moved = run(engine, prompt(engine, TOLD), tokens=0, owner=OWNER)
        assert moved.usage.reused_tokens > 100
        assert not saved(engine, tmp_path)
        run(engine, prompt(engine, "Something else altogether. " * 12), tokens=0, owner=OWNER)
        assert saved(engine, tmp_path)  # what had moved is gone
    finally:
        engine.close()


def test_an_agent_that_loses_its_slot_finds_its_state_again(smollm2: Path, tmp_path: Path) -> None:
    engine = load(smollm2, snapshots=tmp_path, agents=2)
    try:
        said = {owner: f"I am {owner}. " * 40 for owner in "abcde"}
        for owner, text in said.items():
            run(engine, prompt(engine, text), tokens=0, owner=owner)
        assert engine.held("a") == []
        again = run(engine, prompt(engine, said["a"], "Who am I?"), tokens=0, owner="a")
        assert again.usage.reused_tokens >= sum(map(len, prompt(engine, said["a"])[:-1]))
    finally:
        engine.close()


def test_an_agent_that_is_gone_leaves_nothing(smollm2: Path, tmp_path: Path) -> None:
    engine, folder = load(smollm2, snapshots=tmp_path / "snapshots", agents=2), tmp_path / "snapshots"
    for owner in (OWNER, "anna"):
        talk(engine, owner=owner)
        assert saved(engine, folder, owner)
    engine.forget("anna")
    assert not engine.held("anna")
    assert engine.held(OWNER)
    engine.close()
    assert [path.name for path in folder.iterdir()] == [OWNER]


def test_the_oldest_go_when_the_disk_is_spent(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(smollm2, snapshots=tmp_path, agents=6)
    try:
        talk(engine, owner="first")
        assert saved(engine, tmp_path, "first")
        (state,) = tmp_path.rglob("*.kv")
        monkeypatch.setattr(module, "MOST_BYTES", int(state.stat().st_size * 3.5))
        os.utime(state, (1, 1))
        for owner in ("b", "c", "d", "e"):
            talk(engine, owner=owner)
            assert saved(engine, tmp_path, owner)
        left = {state.parent.name for state in tmp_path.rglob("*.kv")}
        assert len(left) == 3
        assert "first" not in left
        assert "e" in left
        assert {path.parent.name for path in tmp_path.rglob(module.STAMP)} == left
        assert saved(engine, tmp_path, "first")  # it is held still, and may be saved again
    finally:
        engine.close()


def test_a_disk_that_is_nearly_full_is_left_alone(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Usage = namedtuple("Usage", "total used free")
    engine = load(smollm2, snapshots=tmp_path)
    try:
        talk(engine)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path: Usage(1, 1, 1 << 20))
        assert not saved(engine, tmp_path)
        monkeypatch.undo()
        assert saved(engine, tmp_path)
    finally:
        engine.close()


def test_a_write_that_fails_leaves_the_old_pair(smollm2: Path, tmp_path: Path) -> None:
    engine = load(smollm2, snapshots=tmp_path)
    talk(engine)
    assert saved(engine, tmp_path)
    before = sorted(path.name for path in (tmp_path / OWNER).iterdir())
    save = engine.llama.save
    engine.llama.save = lambda *args: 0  # type: ignore[method-assign]
    talk(engine, TOLD)
    assert saved(engine, tmp_path)
    assert sorted(path.name for path in (tmp_path / OWNER).iterdir()) == before
    engine.llama.save = save  # type: ignore[method-assign]
    engine.close()
    assert reused(smollm2, tmp_path) > 0


def test_a_state_that_a_full_disk_cut_is_not_kept(smollm2: Path, tmp_path: Path) -> None:
    engine = load(smollm2, snapshots=tmp_path)
    save = engine.llama.save

    def cut(sequence: int, path: Path, ids: list[int]) -> int:
        size = save(sequence, path, ids)
        os.truncate(path, size - 4096)
        return size

    engine.llama.save = cut  # type: ignore[method-assign, assignment]
    talk(engine)
    assert not saved(engine, tmp_path)
    engine.close()
    assert list(tmp_path.rglob("*.kv")) == []


def test_a_folder_that_cannot_be_written_costs_nothing(smollm2: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    engine = load(smollm2, snapshots=tmp_path / "file")
    assert not talk(engine).cancelled
    engine.rest(OWNER)
    assert not talk(engine, "Again?").cancelled
    engine.close()
