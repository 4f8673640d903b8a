"""`localmem ask`: one turn."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from localmem.cli.common import as_json, message, note, open_session, to_json, turn_options


@click.command()
@click.argument("text")
@turn_options
@as_json
def command(text: str, json_: bool, **asked: Any) -> None:
    """One turn: print the reply and leave. TEXT is read from standard input where it is "-"."""
    from localmem.cli.idle import Idle
    from localmem.cli.turns import Printer, play
    from localmem.records import Event, EventKind, Usage

    event = Event(EventKind.USER, message(text))
    with open_session(asked) as session:
        agent = session.agent
        for line in session.notices:
            note(line)
        if agent.memory.unfinished() is not None:
            note("The last message was not answered (localmem stopped in the middle); answering it first")
            late, stopped = play(agent, session.resume(), Printer(reply=False))
            note(late.reply)
            if stopped:
                raise KeyboardInterrupt
        agent.usage = Usage()
        answer, stopped = play(agent, session.turn(event), Printer(reply=not json_))
        if json_:
            named = {"reply": answer.reply, "agent": agent.memory.name, "model": session.profile.name}
            spent = {"steps": answer.steps_as_data(), "usage": asdict(agent.usage)}
            shown = named | spent | {"context": asdict(agent.report())}
            click.echo(to_json(shown))
        if stopped:
            raise KeyboardInterrupt
        idle = Idle(agent.memory)
        idle.begin()
        idle.finish()
