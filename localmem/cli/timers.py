"""`localmem timers`: what wakes an agent at its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localmem.cli.common import agent_option, as_json, open_home, safe, to_json
from localmem.errors import UsageError

if TYPE_CHECKING:
    from localmem.memory.timers import Timer


@click.group()
def command() -> None:
    """Add, list or remove what wakes an agent at its time.

    A timer fires while localmem runs the agent; one that was missed fires once, late, and says so.
    """


@command.command()
@click.argument("note")
@click.option("--in", "span", metavar="SPAN", help="After so long: 90s, 10m, 2h, 1h30m, 1d.")
@click.option("--at", "time", metavar="TIME", help="At a time: 09:00 (the next one) or 2026-11-22T09:00.")
@click.option("--every", metavar="SPAN", help="Again and again, from then on or first after one SPAN.")
@agent_option
@as_json
def add(note: str, span: str | None, time: str | None, every: str | None, agent: str, json_: bool) -> None:
    """Wake an agent with NOTE: what it is to do then."""
    from localmem.memory.clock import system_clock
    from localmem.memory.when import asked
    from localmem.runtime import memory_of

    at = asked(span, time, every, system_clock)
    with open_home() as home:
        timer = memory_of(home, agent).inbox.add_timer(at, note)
    if json_:
        click.echo(to_json(_data(agent, timer)))
    else:
        click.echo(f"timer {timer.id} wakes {agent} {_when(timer)}", err=True)


@command.command("list")
@click.option("--agent", help="Of this agent alone.")
@as_json
def list_(agent: str | None, json_: bool) -> None:
    """List the timers that will fire, the next one first."""
    from localmem.cli.views import table, when

    with open_home() as home:
        names = [row.name for row in home.agents()] if agent is None else [agent]
        found = [(name, timer) for name in names for timer in home.agent(name).inbox.timers()]
    found.sort(key=lambda held: (held[1].due, held[1].id))
    if json_:
        click.echo(to_json([_data(name, timer) for name, timer in found]))
    elif not found:
        click.echo("there is no timer: `localmem timers add` sets one", err=True)
    else:
        shown = [
            (str(timer.id), name, when(timer.due), _every(timer) or "once", safe(timer.note))
            for name, timer in found
        ]
        click.echo("\n".join(table(("ID", "AGENT", "NEXT", "EVERY", "NOTE"), shown)))


@command.command()
@click.argument("number", metavar="ID", type=int)
@click.option("--agent", help="Of this agent alone.")
@as_json
def remove(number: int, agent: str | None, json_: bool) -> None:
    """Let a timer fire no more."""
    with open_home() as home:
        names = [row.name for row in home.agents()] if agent is None else [agent]
        for name in names:
            inbox = home.agent(name).inbox
            for timer in inbox.timers():
                if timer.id == number:
                    inbox.remove_timer(number)
                    if json_:
                        click.echo(to_json(_data(name, timer)))
                    else:
                        click.echo(f"timer {number} of {name} is removed: {safe(timer.note)}", err=True)
                    return
    raise UsageError(f"there is no timer {number}: `localmem timers list` shows those there are")


def _data(agent: str, timer: Timer) -> dict[str, object]:
    every = int(timer.every.total_seconds()) if timer.every else None
    return {
        "id": timer.id,
        "agent": agent,
        "note": timer.note,
        "due": timer.due,
        "every": every,
        "set_by": "agent" if timer.call else "user",
        "created_at": timer.created_at,
    }


def _every(timer: Timer) -> str:
    from localmem.memory.when import short

    return short(timer.every) if timer.every else ""


def _when(timer: Timer) -> str:
    first = f"{timer.due:%Y-%m-%d %H:%M:%S}"
    return f"first at {first}, then every {_every(timer)}" if timer.every else f"at {first}"
