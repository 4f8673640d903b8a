"""Where the shipped files lie: `grammars/` and `models.toml`, in a checkout or in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def grammars() -> Path:
    """Return the folder of the dialect files."""
    return _shipped("grammars")


def models_file() -> Path:
    """Return the file of the models we ship profiles for."""
    return _shipped("models.toml")


def _shipped(name: str) -> Path:
    """Return the wheel's copy, or the checkout's where the package was not built into a wheel."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.exists() else _PACKAGE.parent / name
