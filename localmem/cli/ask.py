"""`localmem ask`: one turn."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from localmem.cli.common import as_json, message, note, open_talk, to_json, turn_options


@click.command()
@click.argument("text")
@turn_options
@as_json
def command(text: str, json_: bool, **asked: Any) -> None:
    """One turn: print the reply and leave. TEXT is read from standard input where it is "-"."""
    from localmem.cli.idle import Idle
    from localmem.cli.reply import Stream
    from localmem.cli.turns import Printer, play
    from localmem.records import Event, EventKind

    event = Event(EventKind.USER, message(text))
    with open_talk(asked) as talk:
        state = talk.state()
        for line in state.notices:
            note(line)
        if state.unfinished:
            note("The last message was not answered (localmem stopped in the middle); answering it first")
            late, stopped = play(talk, talk.resume(), Printer(Stream(reply=False)))
            note(late.reply)
            if stopped:
                raise KeyboardInterrupt
        answer, stopped = play(talk, talk.turn(event), Printer(Stream(reply=not json_)))
        if json_:
            state = talk.state()
            named = {"reply": answer.reply, "agent": state.agent, "model": state.model}
            spent = {"steps": answer.steps_as_data(), "usage": asdict(talk.usage)}
            shown = named | spent | {"context": asdict(state.report)}
            click.echo(to_json(shown))
        if stopped:
            raise KeyboardInterrupt
        idle = Idle(talk.settle)
        idle.begin()
        idle.finish()
