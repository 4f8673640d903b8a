"""Reads functions off Python files and installed packages, and judges each for itself."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import inspect
import re
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localmem.errors import DefinitionError, FunctionError
from localmem.functions.schema import Function, function
from localmem.functions.shipped import SHIPPED
from localmem.functions.standard import SETS

GROUP = "localmem.functions"
"""The entry points of an installed package: each names a function, or a module of functions."""
LONGEST_RESULT = 100_000
"""Characters of a result that are kept; the window shows far fewer."""
LONGEST_DOC = 600
"""Characters of a docstring: it stands in every prompt."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_STANDARD = {python.__name__: python for every in SETS.values() for python in every}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file, package or function that is not offered: where it stands and why. `line` 0: the whole of it."""

    where: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.where}{f', line {self.line}' if self.line else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Library:
    """All functions there are, standard ones first, and what was refused."""

    functions: tuple[Function, ...]
    refused: tuple[Refusal, ...] = ()

    def find(self, name: str) -> Function | None:
        """Return the function of that name, None where there is none."""
        return next((function for function in self.functions if function.name == name), None)


def standard() -> tuple[Function, ...]:
    """Return every function of the standard sets."""
    return tuple(replace(function(python), origin="standard") for python in _STANDARD.values())


def shipped() -> tuple[Function, ...]:
    """Return the functions that come with localmem and that no set holds."""
    code = hashlib.sha256(Path(inspect.getfile(SHIPPED[0])).read_bytes()).hexdigest()
    made = (replace(function(python, desk=False), digest=code, origin="shipped") for python in SHIPPED)
    return tuple(made)


def from_file(path: Path) -> Library:
    """Return the public functions that a Python file defines, and what is wrong with the others."""
    try:
        source = path.read_bytes()
        tree = ast.parse(source, str(path))
        module = _run(source, path)
    except SyntaxError as error:
        return Library((), (Refusal(str(path), error.lineno or 0, f"no Python: {error.msg}"),))
    except (OSError, ValueError) as error:
        return Library((), (Refusal(str(path), 0, f"cannot be read: {error}"),))
    except _Broken as error:
        return Library((), (Refusal(str(path), error.line, str(error)),))
    digest = hashlib.sha256(source).hexdigest()
    defined = [f for f in _public(vars(module)) if f.__module__ == module.__name__]
    if not defined:
        return Library((), (Refusal(str(path), 0, "holds no function whose name begins with a letter"),))
    return _judged(defined, lambda f: (str(path), digest, f"{path.name}, line {_line(tree, f)}"), tree)


def from_packages() -> Library:
    """Return the functions that installed packages offer as entry points of the group `localmem.functions`."""
    found: list[Library] = []
    for point in importlib.metadata.entry_points(group=GROUP):
        where = f"{point.dist.name if point.dist else 'a package'} ({point.value})"
        version = point.dist.version if point.dist else ""
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:
            found.append(Library((), (Refusal(where, 0, f"cannot be loaded: {_said(error)}"),)))
            continue
        given = _public(vars(loaded)) if inspect.ismodule(loaded) else [loaded]
        mine = [f for f in given if not inspect.ismodule(loaded) or f.__module__ == loaded.__name__]
        origin = f"{point.dist.name} {version}" if point.dist else point.value
        found.append(_judged(mine, lambda f, at=where, of=origin: (at, _digest(f), of)))  # type: ignore[misc]
    return joined(found)


class _Broken(Exception):
    """A file failed while it was run."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def _run(source: bytes, path: Path) -> types.ModuleType:
    """Run a file as a module. It is compiled from what was read: nothing is cached beside it."""
    module = types.ModuleType(f"localmem_functions_{path.stem}")
    module.__file__ = str(path)
    vars(module)["print"] = _print_aside
    sys.modules[module.__name__] = module  # dataclasses look for their module there
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        raise _Broken(f"fails when it is loaded: {_said(error)}", _line_in(error, path)) from error
    return module


def _print_aside(*values: object, **options: Any) -> None:
    """Print to standard error: what a function prints is no part of a reply or of JSON."""
    print(*values, **{"file": sys.stderr, **options})


def _public(names: dict[str, Any]) -> list[Callable[..., str]]:
    wanted = names.get("__all__")
    return [
        value
        for name, value in names.items()
        if inspect.isfunction(value) and (name in wanted if wanted is not None else not name.startswith("_"))
    ]


def _judged(
    defined: Iterable[Any],
    about: Callable[[Any], tuple[str, str, str]],
    tree: ast.Module | None = None,
) -> Library:
    """Return the functions that hold, with where they come from, and a refusal for each other one."""
    good: list[Function] = []
    refused: list[Refusal] = []
    for python in defined:
        where, digest, origin = about(python)
        try:
            good.append(replace(_made(python), origin=origin, digest=digest))
        except DefinitionError as error:
            refused.append(Refusal(where, _line(tree, python, str(error)), str(error)))
    return Library(tuple(good), tuple(refused))


def _made(python: Any) -> Function:
    """Return a function of one's own, which gets the desk only where its first hint asks for it."""
    from localmem.memory.desk import Desk

    if not inspect.isfunction(python):
        raise DefinitionError(f"{python!r} is no function")
    where = f"function {python.__name__}"
    if not _NAME.fullmatch(python.__name__):
        raise DefinitionError(f"{where}: a name is of small letters, digits and _, at most 64")
    if inspect.iscoroutinefunction(python):
        raise DefinitionError(f"{where} is async: write a plain function")
    try:
        hints = list(typing.get_type_hints(python).items())
    except Exception as error:
        raise DefinitionError(f"{where}: a type hint cannot be resolved: {_said(error)}") from error
    desk = bool(hints) and hints[0][1] is Desk
    made = function(python, desk=desk)
    if desk and made.outside:
        raise DefinitionError(f"{where} touches the outside and takes the desk: it can have one of them")
    if len(made.doc) > LONGEST_DOC:
        raise DefinitionError(f"{where}: its docstring has {len(made.doc)} characters of {LONGEST_DOC}")
    return replace(made, run=_guarded(made, python))


def _guarded(made: Function, python: Callable[..., str]) -> Callable[..., str]:
    """Return what runs the function: whatever goes wrong inside becomes a failed result that says where."""

    def run(desk: object, **arguments: object) -> str:
        try:
            text = made.run(desk, **arguments)
        except FunctionError:
            raise
        except (Exception, SystemExit) as error:
            if type(error).__module__.partition(".")[0] in ("duckdb", "_duckdb"):
                raise  # the store failed, not the function
            file = Path(inspect.getfile(python))
            at = f"{file.name}, line {_line_in(error, file)}"
            raise FunctionError(f"{made.name} failed: {_said(error)} ({at})") from error
        if not isinstance(text, str):
            raise FunctionError(f"{made.name} failed: it returned {type(text).__name__}, not text")
        return text[:LONGEST_RESULT].encode(errors="replace").decode().replace("\0", "?")

    return run


def joined(loaded: Sequence[Library]) -> Library:
    """Return them as one; of two functions with one name the first stays."""
    there: dict[str, Function] = {}
    refused = [refusal for each in loaded for refusal in each.refused]
    for made in (one for each in loaded for one in each.functions):
        if made.name in there:
            reason = f"there is a function {made.name} already ({there[made.name].origin}): rename it"
            where, _, line = made.origin.partition(", line ")
            refused.append(Refusal(where, int(line or 0), reason))
        else:
            there[made.name] = made
    return Library(tuple(there.values()), tuple(refused))


def _line(tree: ast.Module | None, python: Any, reason: str = "") -> int:
    """Return the line of a function, or that of the argument of which the reason speaks."""
    if tree is None:
        code = getattr(python, "__code__", None)
        return code.co_firstlineno if code else 0
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    node = next((n for n in reversed(found) if n.name == python.__name__), None)
    if node is None:
        return 0
    told = re.search(r"argument (\w+)", reason)
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return next((a.lineno for a in arguments if told and a.arg == told[1]), node.lineno)


def _line_in(error: BaseException, path: Path) -> int:
    """Return the line of a file at which something went wrong, 0 where it was not in that file."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == str(path)), 0)


def _digest(python: Any) -> str:
    try:
        return hashlib.sha256(Path(inspect.getfile(python)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
