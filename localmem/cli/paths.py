"""`localmem paths`: where everything lies."""

from __future__ import annotations

import os

import click

from localmem.cli.common import as_json, home_folder, to_json


@click.command()
@as_json
def command(json_: bool) -> None:
    """Say where everything lies."""
    from localmem import resources
    from localmem.cli.terminal import HISTORY
    from localmem.functions.shelf import FOLDER
    from localmem.memory.home import SNAPSHOTS, STORE, TRACES
    from localmem.serve.address import socket_of

    home = home_folder()
    places = {
        "home": home,
        "store": home / STORE,
        "models": home / "models",
        "index": home / "index",
        "snapshots": home / SNAPSHOTS,
        "functions": home / FOLDER,
        "traces": home / TRACES,
        "socket": socket_of(home),
        "history": home / HISTORY,
        "user_models": home / "models.toml",
        "shipped_models": resources.models_file(),
        "grammars": resources.grammars(),
    }
    if json_:
        click.echo(to_json({name: str(path) for name, path in places.items()}))
        return
    for name, path in places.items():
        click.echo(f"{name:<15} {path}{'' if os.path.exists(path) else '  (not there yet)'}")
