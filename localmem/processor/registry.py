"""Which models there are: profiles from `models.toml`, ours and the user's, and where their files lie."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localmem import resources
from localmem.errors import ModelBroken, ModelMissing, UnknownModel, UsageError
from localmem.processor import gguf
from localmem.processor.profile import (
    USUAL_BIAS,
    USUAL_WINDOW,
    HubSource,
    PathSource,
    Profile,
    Source,
    UrlSource,
    WheelSource,
    profile,
    read,
)

__all__ = ["HubSource", "PathSource", "Profile", "Registry", "Source", "UrlSource", "WheelSource", "infer"]

FULL_SET_FROM = 6_500_000_000
"""Parameters from which a model is offered the full set of functions."""
MEMORY_STEP_BELOW = 3_900_000_000
"""Parameters below which a model gets a memory step before it replies."""
SUGGESTIONS = 3
"""Names at most that an unknown one is answered with."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The profiles by name, the two that are used when nobody chooses, and the folder of the model files."""

    default: str
    embedder: str
    profiles: Mapping[str, Profile]
    folder: Path | None = None

    @classmethod
    def load(cls, home_models: Path | None = None, user_file: Path | None = None) -> Registry:
        """Return the shipped profiles, overridden and added to by `user_file` where that exists.

        `home_models` is the folder the model files lie in. Raises UsageError, naming the file and the key,
        when an entry is wrong.
        """
        shipped = resources.models_file()
        top, tables = read(shipped)
        owners = dict.fromkeys(tables, shipped)
        if user_file is not None and user_file.exists():
            user_top, user_tables = read(user_file)
            top |= user_top
            for name, table in user_tables.items():
                tables[name] = tables.get(name, {}) | table
                owners[name] = user_file
        profiles = {name: profile(name, table, owners[name]) for name, table in tables.items()}
        for role in ("default", "embedder"):
            if top.get(role) not in profiles:
                raise UsageError(
                    f"{user_file or shipped}: {role} = {top.get(role)!r} is no model of this file"
                )
        return cls(top["default"], top["embedder"], profiles, home_models)

    def __getitem__(self, name: str) -> Profile:
        """Return the profile of that name. Raises UnknownModel, with the closest names."""
        if name in self.profiles:
            return self.profiles[name]
        close = [known for known in self.profiles if name and name.lower() in known.lower()]
        close.sort(key=lambda known: not known.lower().startswith(name.lower()))
        close = close[:SUGGESTIONS] or difflib.get_close_matches(name.lower(), self.profiles, n=SUGGESTIONS)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UnknownModel(f"no model {name!r}: {hint}`localmem models list` shows them all")

    def __iter__(self) -> Iterator[Profile]:
        return iter(self.profiles.values())

    def resolve(self, name_or_path: str) -> Profile:
        """Return the profile of that name, or one inferred from the GGUF file at that path.

        Raises UnknownModel when there is neither, ModelBroken when the file is no GGUF or damaged.
        """
        if name_or_path in self.profiles:
            return self.profiles[name_or_path]
        path = Path(os.path.expanduser(name_or_path))
        if path.is_file():
            return infer(path)
        if path.suffix == ".gguf" or len(path.parts) > 1:
            raise UnknownModel(
                f"no model file at {path}: check the path, or pick from `localmem models list`"
            )
        return self[name_or_path]

    def locate(self, profile: Profile) -> Path | None:
        """Return where the model's file or folder is on this machine, or None; its content is not read.

        A model that is used where it lies is never one of the same file name in our folder.
        """
        places = [source.path for source in profile.sources if isinstance(source, PathSource)]
        if self.folder and not profile.in_place:
            places.append(self.folder / profile.file)
        return next((place for place in places if place.exists()), None)

    def require(self, profile: Profile) -> Path:
        """Return where the model is. Raises ModelMissing with the line to run, or ModelBroken."""
        path = self.locate(profile)
        if path is None and profile.in_place:
            where = " or ".join(map(str, profile.sources))
            raise ModelMissing(f"{profile.name} is no longer at {where}: put it back, or change models.toml")
        if path is None:
            raise ModelMissing(
                f"{profile.name} is not on this machine: run `localmem models pull {profile.name}`"
            )
        size = path.stat().st_size
        if path.is_file() and profile.bytes and size != profile.bytes:
            pull = f"run `localmem models pull {profile.name}`"
            mend = "put the right file there, or change models.toml" if profile.in_place else pull
            raise ModelBroken(f"{path} has {size} bytes, not {profile.bytes}: {mend}")
        return path


def infer(path: Path) -> Profile:
    """Return a profile for the GGUF file at `path`, from its header; the file is used where it lies.

    Raises ModelBroken.
    """
    path = path.absolute()
    facts = gguf.read(path)
    return Profile(
        name=str(path),
        file=path.name,
        kind="embedding" if facts.architecture in ("bert", "nomic-bert", "jina-bert-v2") else "chat",
        bytes=path.stat().st_size,
        sources=(PathSource(path=path),),
        **_inferred(facts),
    )


def _inferred(facts: gguf.Facts) -> dict[str, Any]:
    """Return how to talk to a model of which only the header is known."""
    count = _count(facts.size_label) or facts.parameters
    memory_step = count < MEMORY_STEP_BELOW
    return {
        "licence": facts.licence or "not stated",
        "parameters": facts.size_label or _label(count),
        "window": min(facts.trained_window or USUAL_WINDOW, USUAL_WINDOW),
        "dialect": "hermes" if "<tool_call>" in facts.chat_template else "json",
        "functions": "full" if count >= FULL_SET_FROM else "small",
        "memory_step": memory_step,
        "bias": dict(USUAL_BIAS) if memory_step else {},
    }


_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def _count(label: str) -> int:
    """Return the parameters behind a label such as 135M or 1.5B; 0 where it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBT])", label.upper())
    return round(float(match[1]) * _UNITS[match[2]]) if match else 0


def _label(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"
