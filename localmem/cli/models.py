"""`localmem models`: list, show, fetch, verify or add models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from localmem.cli.progress import Bar, size
from localmem.errors import ModelBroken, ModelMissing
from localmem.processor import additions, chat_template, fetch, gguf, machine
from localmem.processor.registry import Profile, Registry
from localmem.runtime import registry_of

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


def home_folder() -> Path:
    """Return the home: --home where given, else this system's place for it."""
    given = click.get_current_context().find_root().obj
    if isinstance(given, Path):
        return given
    from localmem.memory.home import default_home

    return default_home()


def fetch_model(home: Path, profile: Profile, *, missing: bool = False) -> Path:
    """Return where the model is, fetched if need be: its size is said first, progress goes to stderr.

    With `missing`, nothing is said of a model that is here.
    """
    folder, user_file = home / "models", home / "models.toml"
    registry = registry_of(home)
    path = registry.require(profile) if profile.in_place else registry.locate(profile)
    if path is not None and fetch.verify(profile, path):
        if not missing:
            verified = "verified" if profile.sha256 else "no hash is known for it"
            click.echo(f"{profile.name}: already here, {verified}: {path}", err=True)
        return path
    click.echo(
        f"{profile.name}: {size(profile.bytes) if profile.bytes else 'size not known'}, into {folder}",
        err=True,
    )
    _warn_of_memory(profile)
    bar = Bar()
    try:
        path = fetch.pull(profile, folder, progress=bar)
    except KeyboardInterrupt:
        bar.close()
        click.echo(f"  stopped; `localmem models pull {profile.name}` goes on from here", err=True)
        raise
    finally:
        bar.close()
    if not profile.sha256:
        profile = additions.learn(user_file, profile, path)
        click.echo(f"  no hash was known; it is now held to {profile.sha256}", err=True)
    click.echo(f"  ready, verified: {path}", err=True)
    return path


def _warn_of_memory(profile: Profile) -> None:
    plan = machine.plan(profile, None, window=profile.window)
    if plan.scarce:
        free = size(plan.available)
        click.echo(f"  it needs about {size(plan.need)} of memory to run, and {free} are free", err=True)


@click.group()
def command() -> None:
    """List, fetch, verify or add models."""


@command.command("list")
@as_json
def list_(json_: bool) -> None:
    """List the models: yours and those we know. The default is marked with *."""
    from localmem.cli.views import table

    registry = registry_of(home_folder())
    rows = [_row(registry, profile) for profile in registry]
    if json_:
        click.echo(json.dumps(rows, indent=2))
        return
    head = ("", "NAME", "PARAMS", "SIZE", "LICENCE", "TESTED", "HERE", "FITS")
    click.echo("\n".join(table(head, map(_cells, rows))))
    click.echo(
        "* used when none is chosen. Fits: its weights and window in the memory that is free now.", err=True
    )


def _row(registry: Registry, profile: Profile) -> dict[str, object]:
    path = registry.locate(profile)
    return {
        "name": profile.name,
        "kind": profile.kind,
        "parameters": profile.parameters,
        "bytes": profile.bytes,
        "licence": profile.licence,
        "tested": profile.tested,
        "present": path is not None,
        "fits": machine.plan(profile, path, window=profile.window).fits if profile.bytes else "unknown",
        "default": profile.name in (registry.default, registry.embedder),
    }


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    yes = [("yes" if row[key] else "-") for key in ("tested", "present")]
    count = size(row["bytes"]) if row["bytes"] else "?"
    mark = "*" if row["default"] else ""
    return (mark, row["name"], row["parameters"] or "?", count, row["licence"], *yes, row["fits"])


@command.command()
@click.argument("name")
@as_json
def show(name: str, json_: bool) -> None:
    """Show all we know of a model: its profile and, where it is here, what its file says."""
    registry = registry_of(home_folder())
    known = describe(registry, registry.resolve(name))
    if json_:
        click.echo(json.dumps(known, indent=2, default=str))
        return
    for key, value in known.items():
        if isinstance(value, Mapping) and value:
            click.echo(f"{key}:")
            for inner, item in value.items():
                click.echo(f"  {inner:<16} {_short(item)}")
        elif not isinstance(value, Mapping):
            click.echo(f"{key:<18} {_short(value)}")


def describe(registry: Registry, profile: Profile) -> dict[str, object]:
    """Return everything known of a model: the profile, `path` (None when absent), header and template."""
    path = registry.locate(profile)
    known: dict[str, object] = {"name": profile.name, "path": str(path) if path else None} | asdict(profile)
    known["sources"] = [str(source) for source in profile.sources]
    plan = machine.plan(profile, path, window=profile.window)
    known["memory_bytes"], known["fits"] = plan.need, plan.fits
    if path is not None and path.is_file():
        facts = asdict(gguf.read(path))
        facts["chat_template"] = len(facts["chat_template"])
        known["gguf"] = facts
        known["template"] = chat_template.describe(path)
    return known


def _short(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not here"}[value]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@command.command()
@click.argument("names", nargs=-1)
@click.option("--missing", is_flag=True, help="Say nothing of those that are here.")
def pull(names: tuple[str, ...], missing: bool) -> None:
    """Fetch models, going on where an earlier pull stopped. Without names: the default and the embedder."""
    home = home_folder()
    registry = registry_of(home)
    for profile in [registry.resolve(name) for name in names or (registry.default, registry.embedder)]:
        fetch_model(home, profile, missing=missing)


@command.command()
@click.argument("names", nargs=-1)
@as_json
def verify(names: tuple[str, ...], json_: bool) -> None:
    """Check the hashes of models that are here. Without names: of all of them."""
    registry = registry_of(home_folder())
    here = [profile for profile in registry if registry.locate(profile) is not None]
    rows = [_verdict(registry, profile) for profile in ([registry.resolve(name) for name in names] or here)]
    for row in rows:
        if not json_:
            click.echo(f"{row['name']}: {row['verdict']}: {row['path']}")
    if json_:
        click.echo(json.dumps(rows, indent=2))
    wrong = [str(row["name"]) for row in rows if row["verdict"] == "damaged"]
    if wrong:
        raise ModelBroken(f"wrong hash: run `localmem models pull {' '.join(wrong)}` to fetch them again")


def _verdict(registry: Registry, profile: Profile) -> dict[str, object]:
    path = registry.locate(profile)
    if path is None:
        raise ModelMissing(
            f"{profile.name} is not on this machine: run `localmem models pull {profile.name}`"
        )
    bar = Bar()
    good = fetch.verify(profile, path, again=True, progress=bar)
    bar.close()
    verdict = "damaged" if not good else "verified" if profile.sha256 else "no hash is known for it"
    return {"name": profile.name, "verdict": verdict, "path": str(path)}


@command.command()
@click.argument("name")
@click.argument("target")
@click.option("--sha256", default="", help="Hold the file to this hash.")
@as_json
def add(name: str, target: str, sha256: str, json_: bool) -> None:
    """Add a model of yours: NAME, and the path of a GGUF file or hub:owner/repo/file[@revision]."""
    home = home_folder()
    profile = additions.add(registry_of(home), home / "models.toml", name, target, sha256.lower())
    if json_:
        click.echo(json.dumps(asdict(profile), indent=2, default=str))
        return
    if target.startswith("hub:"):
        click.echo(f"{name} is in {home / 'models.toml'}")
        click.echo(f"fetch it with `localmem models pull {name}`: its file then says the rest", err=True)
        return
    click.echo(f"{name} is in {home / 'models.toml'}; change there what is wrong:")
    for key in ("parameters", "licence", "window", "dialect", "functions", "memory_step"):
        click.echo(f"  {key:<12} {_short(getattr(profile, key))}")
