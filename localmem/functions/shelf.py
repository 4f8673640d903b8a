"""Every function there is for an agent: standard, shipped, of the home's files and of installed packages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from localmem.errors import DefinitionError, UsageError
from localmem.functions.own import Library, Refusal, from_file, from_packages, joined, shipped, standard
from localmem.functions.schema import Function

FOLDER = "functions"
"""Where the files lie in the home."""


def library(home: Path, *, installed: bool = True) -> Library:
    """Return the standard and the shipped functions, those of the home's files and of installed packages.

    The files are run to read them. What is wrong with one refuses that one alone, and so does a name that is taken.
    """
    loaded = [Library(standard()), Library(shipped())]
    loaded += [from_file(file) for file in files(home)]
    if installed:
        loaded.append(from_packages())
    return joined(loaded)


def files(home: Path) -> list[Path]:
    """Return the files of the home that hold functions, in the order of their names."""
    try:
        return sorted(file for file in (home / FOLDER).glob("[!_.]*.py") if file.is_file())
    except OSError:
        return []


def offered(
    home: Path, names: Sequence[str], there: Iterable[Function]
) -> tuple[tuple[Function, ...], list[str]]:
    """Return the functions of these names that an agent lacks, and a line for each that cannot be had.

    `there` are those that it has already. Nothing is loaded where nothing is asked for.
    """
    known = {function.name for function in there}
    wanted = [name for name in names if name not in known]
    if not wanted:
        return (), []
    found = library(home)
    missing = [name for name in wanted if found.find(name) is None]
    lines = list(_explained(missing, found.refused))
    return tuple(made for name in wanted if (made := found.find(name)) is not None), lines


def _explained(missing: Sequence[str], refused: Sequence[Refusal]) -> Iterator[str]:
    if not missing:
        return
    yield f"not offered: {', '.join(missing)} (`localmem functions list` shows what there is)"
    yield from map(str, refused)


def judged(home: Path, chosen: Sequence[Path] = ()) -> Library:
    """Return what some files hold, or, without any, all functions of the user's own; nothing is copied."""
    if not chosen:
        found = library(home)
        own = tuple(f for f in found.functions if f.origin not in ("standard", "shipped"))
        return Library(own, found.refused)
    mine = {file.name for file in chosen}
    rest = [from_file(file) for file in files(home) if file.name not in mine]
    others = joined([Library(standard()), Library(shipped()), *rest])
    new = [from_file(file) for file in chosen]
    found = joined([Library(others.functions), *new])
    return Library(found.functions[len(others.functions) :], found.refused)


def add(home: Path, what: str) -> tuple[str, ...]:
    """Return the names that `what` stands for: a function, or those of a Python file, which is copied into the home.

    A file of that name that lies there is replaced. Raises UsageError for a name that there is not, and
    DefinitionError, naming file, line and reason, where a file has something wrong in it: it is not copied.
    """
    if not what.endswith(".py"):
        return (_known(home, what).name,)
    file = Path(what).expanduser()
    if not file.is_file() and (home / FOLDER / file.name).is_file():
        file = home / FOLDER / file.name
    if not file.is_file():
        raise UsageError(f"there is no file {what}")
    if file.name.startswith(("_", ".")):
        raise UsageError(f"{file.name}: the name of a file of functions begins with a letter")
    found = judged(home, [file])
    if found.refused:
        more = (
            f" (and {len(found.refused) - 1} more: `localmem functions check {what}`)"
            if found.refused[1:]
            else ""
        )
        raise DefinitionError(f"nothing was added: {found.refused[0]}{more}")
    _copy(file, home / FOLDER / file.name)
    return tuple(made.name for made in found.functions)


def named(home: Path, what: str) -> tuple[str, ...]:
    """Return the names that `what` stands for: a function, or those of a file of the home."""
    if not what.endswith(".py"):
        return (what,)
    return tuple(made.name for made in from_file(_file(home, what)).functions)


def delete(home: Path, what: Sequence[str]) -> None:
    """Delete those that are files of the home. Raises UsageError for a file that is not there."""
    for file in [_file(home, one) for one in what if one.endswith(".py")]:
        file.unlink()


def to_permit(home: Path, name: str) -> Function:
    """Return a function that asks before it runs. Raises UsageError where it is not there, or never asks."""
    made = _known(home, name)
    if not made.touches:
        raise UsageError(f"{name} touches nothing outside localmem: it needs no permission")
    return made


def _known(home: Path, name: str) -> Function:
    found = library(home)
    made = found.find(name)
    if made is None:
        why = next((f"; {each}" for each in found.refused if f"function {name}" in each.reason), "")
        there = ", ".join(f.name for f in found.functions if f.origin != "standard")
        raise UsageError(f"there is no function {name!r}; there are {there}, and the standard ones{why}")
    return made


def _file(home: Path, name: str) -> Path:
    file = home / FOLDER / Path(name).name
    if not file.is_file():
        there = ", ".join(each.name for each in files(home)) or "none"
        raise UsageError(f"there is no file {name} in {home / FOLDER}; there are: {there}")
    return file


def _copy(source: Path, target: Path) -> None:
    """Put a copy in place at once, readable by its user alone."""
    if target.exists() and source.samefile(target):
        return
    target.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(source.read_bytes())
    os.replace(fresh, target)
