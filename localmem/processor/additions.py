"""Writing the user's own models into the home's `models.toml`: appended as text, so that comments stay."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from localmem.errors import ModelBroken, UsageError
from localmem.processor import fetch, transfer
from localmem.processor.profile import HubSource, PathSource, Profile
from localmem.processor.registry import Registry, infer

_LEARNT = ("kind", "licence", "parameters", "bytes", "window", "dialect", "functions", "memory_step")
"""What a GGUF header tells about a model."""


def add(registry: Registry, user_file: Path, name: str, target: str, sha256: str = "") -> Profile:
    """Return the new profile `name` for `target`, written into `user_file` (made if it does not exist).

    `target` is the path of a GGUF file, used where it lies, or hub:owner/repository/file[@revision], of which
    everything else is learnt when it is pulled. Raises UsageError when the name is taken or wrong.
    """
    if name in registry.profiles:
        raise UsageError(f"there is a model {name!r} already: choose another name, or edit {user_file}")
    if target.startswith("hub:"):
        profile = _from_hub(name, target, sha256)
    else:
        profile = replace(registry.resolve(target), name=name, sha256=sha256)
        if profile.sources and not isinstance(profile.sources[0], PathSource):
            raise UsageError(
                f"{target!r} is a model already: give the path of a GGUF file, or hub:owner/repo/file"
            )
    old = user_file.read_text("utf-8") if user_file.exists() else ""
    _write(user_file, f"{old.rstrip()}\n\n{_table(profile)}".lstrip())
    return profile


def learn(user_file: Path, profile: Profile, path: Path) -> Profile:
    """Return the profile completed by what the fetched file at `path` says, and write that into `user_file`.

    Only for a model added without a hash: from now on its hash is the one it had here. A file that is no GGUF
    is removed. Raises ModelBroken.
    """
    try:
        facts = infer(path)
    except ModelBroken:
        path.unlink()
        raise
    values = {key: getattr(facts, key) for key in _LEARNT}
    values["sha256"] = fetch.fingerprint(profile, path)
    text = user_file.read_text("utf-8")
    header = re.compile(
        rf'^\[models\.(?:"{re.escape(profile.name)}"|{re.escape(profile.name)})\][^\n]*\n', re.M
    )
    match = header.search(text)
    if match is None:
        return replace(profile, **values)
    body = text[match.end() :].split("\n[", 1)[0]
    missing = {key: value for key, value in values.items() if not re.search(rf"^{key}\s*=", body, re.M)}
    _write(user_file, text[: match.end()] + _lines(missing) + text[match.end() :])
    return Registry.load(None, user_file)[profile.name]


def _from_hub(name: str, target: str, sha256: str) -> Profile:
    match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)/([^@\s]+)(?:@([\w.-]+))?", target)
    if match is None:
        raise UsageError(f"{target!r} is no file of the hub: write hub:owner/repository/file.gguf[@revision]")
    source = HubSource(hub=match[1], file=match[2], revision=match[3] or "main")
    return Profile(name=name, file=match[2].rsplit("/", 1)[-1], sha256=sha256, sources=(source,))


def _table(profile: Profile) -> str:
    source = profile.sources[0]
    if isinstance(source, HubSource):
        values: dict[str, object] = {"file": profile.file}
        entry = {"hub": source.hub, "revision": source.revision, "file": source.file}
    else:
        values = {"file": profile.file} | {key: getattr(profile, key) for key in _LEARNT}
        entry = {"path": str(source)}
    if profile.sha256:
        values["sha256"] = profile.sha256
    inline = ", ".join(f"{key} = {_value(value)}" for key, value in entry.items())
    return f"[models.{_value(profile.name)}]\n{_lines(values)}sources = [{{ {inline} }}]\n"


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: object) -> str:
    """Return a text, number or truth value in TOML; JSON writes these three alike."""
    return json.dumps(value, ensure_ascii=False)


def _write(user_file: Path, text: str) -> None:
    """Replace the file as a whole, once it is known to be read back; only its user can read it."""
    transfer.private_folder(user_file.parent)
    draft = user_file.with_name(f"{user_file.name}.new")
    with transfer.private_file(draft, os.O_TRUNC) as file:
        file.write(text.encode())
    try:
        Registry.load(None, draft)
    except UsageError as error:
        draft.unlink()
        raise UsageError(str(error).replace(str(draft), str(user_file))) from error
    os.replace(draft, user_file)
