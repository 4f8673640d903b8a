"""`localmem doctor`: what works here, and what mends the rest."""

from __future__ import annotations

from dataclasses import asdict

import click

from localmem.cli.common import as_json, home_folder, to_json

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@as_json
def command(json_: bool) -> None:
    """Say what works here, and what mends the rest. Exit code 1 where the chat cannot run."""
    from localmem.doctor import examine

    found = []
    for check in examine(home_folder()):
        found.append(check)
        if not json_:
            click.echo(f"{click.style(check.verdict.ljust(4), _COLOURS[check.verdict])}  ", nl=False)
            click.echo(f"{check.name:<22} {check.text}")
            if check.mend:
                click.echo(f"{'':<28} -> {check.mend}")
    if json_:
        click.echo(to_json([asdict(check) for check in found]))
    if any(check.verdict == "fail" for check in found):
        raise click.exceptions.Exit(1)
