"""`localmem paths`: where everything lies."""

from __future__ import annotations

import click

from localmem.cli.common import as_json, home_folder, to_json


@click.command()
@as_json
def command(json_: bool) -> None:
    """Say where everything lies."""
    from localmem import resources
    from localmem.cli.terminal import HISTORY
    from localmem.memory.home import STORE, TRACES

    home = home_folder()
    places = {
        "home": home,
        "store": home / STORE,
        "models": home / "models",
        "index": home / "index",
        "traces": home / TRACES,
        "history": home / HISTORY,
        "user_models": home / "models.toml",
        "shipped_models": resources.models_file(),
        "grammars": resources.grammars(),
    }
    if json_:
        click.echo(to_json({name: str(path) for name, path in places.items()}))
        return
    for name, path in places.items():
        click.echo(f"{name:<15} {path}{'' if path.exists() else '  (not there yet)'}")
