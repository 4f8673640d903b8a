"""`localmem memory`: show, search, edit, share or take back what an agent remembers."""

from __future__ import annotations

import sys
from dataclasses import asdict
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import click

from localmem.cli.common import (
    agent_option,
    as_json,
    message,
    open_home,
    open_memory,
    open_talk,
    safe,
    to_json,
    turn_options,
)
from localmem.cli.served import refuse_there
from localmem.errors import FunctionError, LocalmemError, UsageError

if TYPE_CHECKING:
    from localmem.memory.memory import Memory
    from localmem.records import Block


@click.group()
def command() -> None:
    """Show, search, edit, share or take back what an agent remembers."""


@command.command()
@agent_option
@as_json
def show(agent: str, json_: bool) -> None:
    """Show core memory, the summary, and how much there is of the rest."""
    from localmem.cli.views import memory_data, memory_lines

    with open_memory(agent) as memory:
        if json_:
            click.echo(to_json(memory_data(memory)))
        else:
            click.echo("\n".join(memory_lines(memory)))


@command.command()
@click.argument("text")
@click.option("--tier", type=click.Choice(["recall", "archival"]), default="recall", show_default=True)
@click.option("--page", type=click.IntRange(1), default=1, metavar="N", help="Which page of the results.")
@agent_option
@as_json
def search(text: str, tier: str, page: int, agent: str, json_: bool) -> None:
    """Search what was said (recall) or the notes and documents (archival)."""
    from localmem.cli.views import page_data, page_lines

    with open_memory(agent) as memory:
        look = memory.search_archive if tier == "archival" else memory.search_recall
        found = look(text, page)
    if json_:
        click.echo(to_json(page_data(found)))
    else:
        click.echo("\n".join(page_lines(tier, found)))


@command.command()
@click.argument("label")
@click.option("--text", help="The new text, in place of the old.")
@click.option("--append", "line", help="A line to add.")
@agent_option
def edit(label: str, text: str | None, line: str | None, agent: str) -> None:
    """Edit a block of core memory: in $EDITOR unless --text or --append is given."""
    if text is not None and line is not None:
        raise UsageError("give --text or --append, not both")
    with open_memory(agent) as memory:
        if line is not None:
            block = memory.edit(lambda desk: desk.append(label, line))
        elif text is not None:
            block = memory.edit(lambda desk: desk.rewrite(label, text))
        else:
            block = edit_block(memory, label)
    click.echo(f"{label}: {len(block.value):,} of {block.limit:,} characters", err=True)


@command.command()
@click.option("--turns", type=click.IntRange(1), default=1, metavar="N", help="How many turns.")
@agent_option
@as_json
def undo(turns: int, agent: str, json_: bool) -> None:
    """Take back the last turn, memory edits included. Again: the turn before it."""
    from localmem.cli.views import undone_lines

    undone = []
    with open_memory(agent) as memory:
        for number in range(turns):
            try:
                undone.append(memory.undo())
            except UsageError:
                if not number:
                    raise
                break
    if json_:
        click.echo(to_json([asdict(each) for each in undone]))
    else:
        for each in undone:
            click.echo("\n".join(undone_lines(each)))


@command.command()
@click.argument("label", required=False)
@agent_option
@as_json
def history(label: str | None, agent: str, json_: bool) -> None:
    """Show how core memory, or the block LABEL, came to be what it is: each change and its author."""
    from localmem.cli.views import history_lines

    with open_memory(agent) as memory:
        changes = memory.history(label)
    if json_:
        click.echo(to_json([asdict(change) for change in changes]))
    else:
        click.echo("\n".join(history_lines(changes)))


@command.command()
@click.option("--all", "everything", is_flag=True, help="Show every memory, not only the doubtful ones.")
@agent_option
@as_json
def audit(everything: bool, agent: str, json_: bool) -> None:
    """Show what memories rest on, which say nearly the same, and which no record supports."""
    from localmem.cli.views import audit_data, audit_lines

    with open_memory(agent) as memory:
        found = memory.audit()
    if json_:
        click.echo(to_json(audit_data(found)))
    else:
        click.echo("\n".join(audit_lines(found, everything)))


@command.command()
@click.argument("what", metavar="TEXT|record:N|passage:N")
@click.option("--yes", is_flag=True, help="Do not ask.")
@agent_option
@as_json
def forget(what: str, yes: bool, agent: str, json_: bool) -> None:
    """Forget for good whatever holds TEXT, in every tier, index, trace and file. There is no way back.

    record:N and passage:N (the ids of `memory search --json`) take with them what they rest on, or what rests on
    them and says the same. With --json and without --yes it only shows what would go.
    """
    from localmem.cli.views import going_lines
    from localmem.kernel.summary import digest

    with open_home(served=False) as home:
        plan = home.agent(agent).forgetting(what)
        if json_:
            click.echo(to_json(asdict(plan) | {"forgotten": yes}))
        else:
            click.echo("\n".join(going_lines(plan)), err=not plan.empty)
        if plan.empty or (json_ and not yes):
            return
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("what is forgotten is gone for good: say --yes")
            click.confirm("Forget all this, for good?", abort=True, err=True)
        home.forget(agent, plan, digest)
    click.echo("forgotten", err=True)


@command.command()
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="At most.")
@click.option("--dry-run", is_flag=True, help="Only show what there is to do; no model is loaded.")
@click.option("--every", metavar="SPAN", help="Do it by a timer from now on, e.g. every 12h.")
@turn_options
@as_json
def tidy(steps: int, dry_run: bool, every: str | None, json_: bool, **asked: Any) -> None:
    """Merge duplicates, relieve full blocks, condense old talk. `memory undo` takes it back as one turn."""
    from localmem.cli.slash import NOTHING_TO_TIDY
    from localmem.cli.views import step_line
    from localmem.kernel.tidy import NOTE, plan
    from localmem.memory.clock import system_clock
    from localmem.memory.when import when

    if every is not None and dry_run:
        raise UsageError("say --every or --dry-run, not both")
    if every is None and not dry_run:
        with open_talk(asked) as talk:
            lines = list(talk.slash("tidy", str(steps)))
    else:
        with open_memory(asked["agent"]) as memory:
            if every is not None:
                timer = memory.inbox.add_timer(when(f"every {every}", system_clock), NOTE)
                lines = [f"timer {timer.id} tidies every {every}, first at {timer.due:%Y-%m-%d %H:%M}"]
            else:
                lines = [step_line(step) for step in plan(memory)[:steps]] or [NOTHING_TO_TIDY]
    if json_:
        changes = [line for line in lines if line != NOTHING_TO_TIDY]
        click.echo(to_json({"dry_run": dry_run, "changes": changes}))
    else:
        click.echo("\n".join(map(safe, lines)))


@command.command()
@click.argument("text")
@agent_option
def add(text: str, agent: str) -> None:
    """Put a passage into archival memory; TEXT "-" is read from standard input."""
    text = message(text).strip()
    click.get_current_context().params["text"] = text  # read here, wherever it is kept
    with open_memory(agent) as memory:
        try:
            number = memory.edit(lambda desk: desk.insert_passage(text, source="user"))
        except FunctionError as error:
            raise UsageError(str(error)) from error
        memory.settle()
    click.echo(f"kept as passage {number}", err=True)


def edit_block(memory: Memory, label: str) -> Block:
    """Let the person edit a block in $EDITOR. Raises LocalmemError, saying where what was refused is kept."""
    new = edited(memory.block(label).value)
    try:
        return memory.edit(lambda desk: desk.rewrite(label, new))
    except LocalmemError as error:
        with NamedTemporaryFile(
            "w", encoding="utf-8", prefix=f"{label}-", suffix=".txt", delete=False
        ) as file:
            file.write(new + "\n")
        raise UsageError(f"{error}; what you wrote is in {file.name}") from error


def edited(value: str) -> str:
    """Return a text as the person leaves it in $EDITOR. Raises UsageError when it was not saved."""
    refuse_there("the editor is not where you are: give --text or --append")
    try:
        new = click.edit(value, extension=".txt")
    except click.ClickException as error:
        raise UsageError(f"{error.format_message()}: the block is as it was") from error
    if new is None:
        raise UsageError("nothing was saved in the editor: the block is as it was")
    return new.rstrip("\n")


@command.command()
@click.argument("label")
@click.option("--agent", required=True, help="Whose block it is.")
@click.option("--with", "other", required=True, metavar="AGENT", help="Who is to see it too.")
@click.option("--read-only", is_flag=True, help="The other may not edit it.")
@click.option("--replace", is_flag=True, help="Set a block of its own of that label aside.")
def share(label: str, agent: str, other: str, read_only: bool, replace: bool) -> None:
    """Share a block of core memory: what one agent writes, the other has in its next prompt."""
    with open_home() as home:
        home.share_block(label, agent, other, read_only=read_only, replace=replace)
    click.echo(f"{agent} and {other} share {label}" + (", to read" if read_only else ""), err=True)


@command.command()
@click.argument("label")
@click.option("--agent", required=True, help="Whose block it is.")
@click.option("--with", "other", required=True, metavar="AGENT", help="Who is to see it no longer.")
def unshare(label: str, agent: str, other: str) -> None:
    """End the sharing of a block; one that was set aside for it is back."""
    with open_home() as home:
        home.unshare_block(label, agent, other)
    click.echo(f"{agent} and {other} no longer share {label}", err=True)


@command.command()
@as_json
def shares(json_: bool) -> None:
    """List the blocks that agents share."""
    from localmem.cli.views import table

    with open_home() as home:
        rows = home.shared_blocks()
    if json_:
        click.echo(to_json([asdict(row) for row in rows]))
    elif not rows:
        click.echo("no block is shared: `localmem memory share --help` says how", err=True)
    else:
        shown = [(row.label, row.agent, row.shared_with, "yes" if row.read_only else "no") for row in rows]
        click.echo("\n".join(table(("BLOCK", "AGENT", "SHARED WITH", "READ-ONLY"), shown)))
