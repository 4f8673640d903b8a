"""A session changes its model soundly: checked first, one in memory at a time, nothing changed by a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localmem import runtime
from localmem.errors import DiskFault, ModelBroken, UnknownModel, UsageError, WindowTooSmall
from localmem.memory.home import Home
from localmem.processor import additions
from localmem.processor.interface import Calls, Shape
from localmem.processor.profile import Profile
from localmem.processor.registry import Registry
from localmem.records import Call, Event, EventKind
from localmem.runtime import Options, registry_of, settings_of
from localmem.session import Session
from localmem.testing import ScriptedProcessor

OLD, NEW = "qwen2.5-coder-0.5b-instruct", "qwen3-8b"


def _move(shape: Shape) -> Call:
    assert isinstance(shape, Calls)
    if shape.verdict:
        return Call("", "nothing_to_remember", {})
    return Call("", "send_message", {"message": "hi"})


class Fake(ScriptedProcessor):
    """A model that takes up memory until it is closed."""

    loaded: list[str] = []  # noqa: RUF012 (shared on purpose)

    def __init__(self, profile: Profile, window: int) -> None:
        super().__init__(_move, window=window)
        self.profile = profile
        Fake.loaded.append(profile.name)

    def close(self) -> None:
        Fake.loaded.remove(self.profile.name)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """Models of both names, of which one may be loaded at a time; those in the dictionary cannot be."""
    faults: dict[str, BaseException] = {}

    def load(registry: Registry, profile: Profile, options: Options, snapshots: Path | None) -> Fake:
        assert not Fake.loaded, "two models do not fit"
        if isinstance(fault := faults.get(profile.name), WindowTooSmall):
            return Fake(profile, 64)
        if fault is not None:
            raise fault
        return Fake(profile, 8192)

    monkeypatch.setattr(runtime, "load_processor", load)
    monkeypatch.setattr(Fake, "loaded", [])
    return faults


@pytest.fixture
def session(tmp_path: Path, broken: dict[str, BaseException]) -> Iterator[Session]:
    with Home.open(tmp_path / "home") as home:
        made = Session(home, Options(model=OLD))
        yield made
        made.close()


def answers(session: Session) -> bool:
    items = list(session.agent.turn(Event(EventKind.USER, "hello")))
    return any(isinstance(item, Call) and item.function == "send_message" for item in items)


def test_a_switch_frees_the_old_model_first(session: Session) -> None:
    session.switch(NEW)
    assert (session.profile.name, session.memory.model, Fake.loaded) == (NEW, NEW, [NEW])
    assert session.agent.settings.functions == "full"
    session.close()
    session.close()
    assert Fake.loaded == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [("all-minilm-l6-v2", UsageError), ("nonsense", UnknownModel), ("/no/such.gguf", UnknownModel)],
)
def test_what_cannot_talk_is_refused_before_anything_is_freed(
    session: Session, name: str, fault: type[Exception]
) -> None:
    agent = session.agent
    with pytest.raises(fault):
        session.switch(name)
    assert session.agent is agent
    assert (session.profile.name, session.memory.model, Fake.loaded) == (OLD, None, [OLD])


@pytest.mark.parametrize("fault", [ModelBroken("damaged"), KeyboardInterrupt(), WindowTooSmall("64")])
def test_a_model_that_cannot_be_loaded_changes_nothing(
    session: Session, broken: dict[str, BaseException], fault: BaseException
) -> None:
    broken[NEW] = fault
    with pytest.raises(type(fault)):
        session.switch(NEW)
    assert answers(session)
    assert (session.profile.name, session.memory.model, Fake.loaded) == (OLD, None, [OLD])


def test_a_full_disk_changes_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> None:
        raise DiskFault("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(session.memory, "set_model", full)
        with pytest.raises(DiskFault):
            session.switch(NEW)
    assert answers(session)
    assert (session.profile.name, session.memory.model, Fake.loaded) == (OLD, None, [OLD])


@pytest.mark.model
def test_a_model_just_fetched_runs_by_what_its_file_says(
    tmp_path: Path, broken: dict[str, BaseException], smollm2: Path
) -> None:
    folder = tmp_path / "home"
    models, file = folder / "models", folder / "models.toml"

    @contextmanager
    def fetching(registry: Registry, profile: Profile) -> Iterator[None]:
        models.mkdir(exist_ok=True)
        (models / profile.file).symlink_to(smollm2)
        additions.learn(file, profile, models / profile.file)
        yield

    with Home.open(folder) as home:
        additions.add(Registry.load(models, file), file, "mine", "hub:me/repo/mine.gguf")
        assert not Registry.load(models, file)["mine"].memory_step
        session = Session(home, Options(model="mine"), fetching)
        assert session.profile.parameters == "135M"
        assert session.agent.settings.memory_step
        session.close()


def test_a_profile_sets_the_limits_of_the_kernel(tmp_path: Path) -> None:
    name = "smollm2-135m-instruct"
    mine = tmp_path / "models.toml"
    mine.write_text(f'[models."{name}"]\nlimits = {{evict_to = 0.4, max_errors = 2}}\n')
    settings = settings_of(registry_of(tmp_path)[name], Options())
    assert (settings.evict_to, settings.max_errors, settings.warn_at) == (0.4, 2, 0.7)
    mine.write_text(f'[models."{name}"]\nlimits = {{evict_two = 0.4}}\n')
    with pytest.raises(UsageError, match=r"evict_two.*there are warn_at"):
        settings_of(registry_of(tmp_path)[name], Options())
    mine.write_text(f'[models."{name}"]\nlimits = {{evict_to = 1.4}}\n')
    with pytest.raises(UsageError, match=r"evict_to < evict_at"):
        settings_of(registry_of(tmp_path)[name], Options())
