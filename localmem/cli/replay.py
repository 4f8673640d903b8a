"""`localmem replay`: a recorded turn or benchmark case, decoded again, and what else could have been said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localmem.cli.common import agent_option, as_json, home_folder, note, one_line, open_home, safe, to_json
from localmem.errors import UsageError
from localmem.runtime import registry_of

if TYPE_CHECKING:
    from localmem.processor.engine import LlamaProcessor
    from localmem.recording import Recording
    from localmem.replay import Alternative, Replayed, Token

DOUBTFUL = 5
"""Tokens listed of a generation: those of which the model was least certain."""
RUN_FILE = ".jsonl:"


@click.command()
@click.argument("target", required=False, metavar="[TURN | CASE | RUNFILE.jsonl:CASE]")
@agent_option
@click.option(
    "--runs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="TARGET is a case of a run in this folder.",
)
@click.option("--model", metavar="NAME|FILE.gguf", help="The recorded model, where it has another name here.")
@click.option(
    "--gpu-layers", type=click.IntRange(0), metavar="N", help="Layers on the GPU (else as recorded)."
)
@click.option("--step", type=click.IntRange(1), metavar="N", help="Only generation N, every token of it.")
@click.option("--token", type=click.IntRange(1), metavar="K", help="What else token K of it could have been.")
@click.option("--prompt", is_flag=True, help="Show the prompt as the model saw it.")
@as_json
def command(
    target: str | None,
    agent: str,
    runs: Path | None,
    model: str | None,
    gpu_layers: int | None,
    step: int | None,
    token: int | None,
    prompt: bool,
    json_: bool,
) -> None:
    """Decode a recorded turn or benchmark case again, with the best alternatives to its tokens.

    Without a TARGET, lists the turns of an agent that are kept: its newest. Probabilities are those at
    temperature 1: first among the tokens that were allowed, with the bias of the profile; then among all, as
    the model would have it without a grammar.
    """
    from localmem.replay import doubts, load, replay

    if target is None:
        _list(agent, json_)
        return
    if token is not None and step is None:
        raise UsageError("--token counts within a generation: say which with --step N")
    recording = _find(target, agent, runs, model)
    count = len(recording.generations)
    if step is not None and step > count:
        raise UsageError(f"{recording.name} has {count} generations: --step 1 to {count}")
    with closing(load(registry_of(home_folder()), recording.setup, model, gpu_layers)) as processor:
        reasons = list(doubts(processor, recording))
        seen = _shown(replay(processor, recording), step)
        if json_:
            click.echo(to_json(_data(processor, recording, list(seen), reasons, prompt)))
            return
        setup = recording.setup
        click.echo(
            f"{recording.name}: {setup.model}, window {setup.window:,}, "
            f"grammar {'on' if setup.grammar else 'off'}"
        )
        differs = False
        for each in seen:
            differs = differs or each.differs is not None
            click.echo("\n".join(["", *_lines(processor, each, count, step, token, prompt)]))
        for reason in reasons if differs else ():
            note(f"why it may differ: {reason}")


def _list(agent: str, json_: bool) -> None:
    from localmem import recording
    from localmem.cli.views import table, when

    with open_home() as home:
        turns = list(recording.kept(home.traces(agent)))
    if json_:
        click.echo(to_json([asdict(turn) for turn in turns]))
    elif not turns:
        click.echo(f"no turn of {agent} is kept yet: talk with it first", err=True)
    else:
        rows = [
            (str(t.turn), when(t.kept_at), t.model, str(t.generations), one_line(t.text, 60)) for t in turns
        ]
        click.echo("\n".join(table(("TURN", "TIME", "MODEL", "GENERATIONS", "SAID"), rows)))


def _find(target: str, agent: str, runs: Path | None, model: str | None) -> Recording:
    """Return the recording that the command line names. Raises UsageError."""
    from localmem import recording
    from localmem.functions.shelf import offered

    if runs is not None:
        return recording.of_case(recording.find_run(runs, target, model), target)
    if RUN_FILE in target:
        file, _, case = target.partition(RUN_FILE)
        return recording.of_case(Path(f"{file}.jsonl"), case)
    if not target.isdecimal():
        raise UsageError(
            f"{target!r} is no number of a turn; a benchmark case needs --runs DIR, or RUNFILE.jsonl:CASE"
        )
    with open_home() as home:
        folder, given = home.traces(agent), home.agent(agent).choices.names()
        own, _ = offered(home.path, given, ())
    return recording.of_turn(folder, agent, int(target), own)


def _shown(replayed: Iterator[Replayed], step: int | None) -> Iterator[Replayed]:
    """Yield the generations that are to be shown; those before them are decoded all the same."""
    for each in replayed:
        if step in (None, each.number):
            yield each
        if each.number == step:
            return


def _lines(
    processor: LlamaProcessor,
    each: Replayed,
    count: int,
    step: int | None,
    token: int | None,
    prompt: bool,
) -> Iterator[str]:
    from localmem.cli.views import indented
    from localmem.replay import described

    recorded = each.recorded
    yield f"generation {each.number} of {count}: {_verdict(each)}"
    yield f"  {safe(described(recorded.shape))}"
    yield (
        f"  prompt {len(recorded.prompt):,} tokens, {recorded.reused:,} reused; "
        f"{len(recorded.ids):,} written, {sum(token.forced for token in each.tokens):,} of them forced"
    )
    if prompt:
        yield "  prompt:"
        yield from indented(_prompt(processor, each), "    ")
    yield "  completion (faint: forced):"
    yield from (f"    {line}" for line in _marked(processor, each.tokens).splitlines())
    if each.text != recorded.text:
        yield "  recorded was:"
        yield from indented(recorded.text, "    ")
    if token is not None:
        yield from _alternatives(each, token)
    elif step is not None:
        yield from _tokens(enumerate(each.tokens, 1))
    else:
        open_ = [(at, each_) for at, each_ in enumerate(each.tokens, 1) if each_.open]
        least = sorted(open_, key=lambda pair: pair[1].probability)[:DOUBTFUL]
        yield f"  least certain of {len(open_):,} tokens that the model chose:"
        yield from _tokens(iter(sorted(least)))


def _verdict(each: Replayed) -> str:
    if each.differs is None:
        again = "the same, until it was interrupted" if each.recorded.cancelled else "the same"
        other = each.reused != each.recorded.reused
        return again + (f" ({each.reused:,} prompt tokens reused this time)" if other else "")
    then, now = (_quoted(text) if text else "the end" for text in (each.recorded_token, each.token_now))
    return f"differs at token {each.differs}: {then} was recorded, {now} is chosen now"


def _marked(processor: LlamaProcessor, tokens: Sequence[Token]) -> str:
    """Return a completion's text with what was forced in faint letters."""
    tokenizer, text = processor.tokenizer, ""
    written = (token for token in tokens if not tokenizer.ends(token.token))
    for forced, run in groupby(written, key=lambda token: token.forced):
        said = safe(tokenizer.bytes([token.token for token in run]).decode("utf-8", "replace"))
        text += click.style(said, dim=True) if forced else said
    return text


def _tokens(numbered: Iterator[tuple[int, Token]]) -> Iterator[str]:
    from localmem.cli.views import table

    rows = [(str(at), _quoted(token.text), *_standing(token)) for at, token in numbered]
    if rows:
        yield from (f"    {line}" for line in table(("TOKEN", "TEXT", "CHANCE", "ELSE"), rows))


def _standing(token: Token) -> tuple[str, str]:
    """Return how likely a token was, and the likeliest allowed one in its place."""
    if token.forced:
        return "forced", ""
    other = next((a for a in token.alternatives if a.allowed and not a.taken), None)
    chance = "closing" if token.closing else _chance(token.probability)
    return chance, f"{_quoted(other.text)} {_chance(other.probability)}" if other else "no other allowed"


def _alternatives(each: Replayed, token: int) -> Iterator[str]:
    from localmem.cli.views import table

    if token > len(each.tokens):
        raise UsageError(
            f"generation {each.number} has {len(each.tokens)} tokens: --token 1 to {len(each.tokens)}"
        )
    chosen = each.tokens[token - 1]
    if chosen.forced:
        yield f"  token {token}, {_quoted(chosen.text)}, was forced: the grammar allowed nothing else"
        return
    why = ", decided by the reserve for closing" if chosen.closing else ""
    yield f"  token {token}, {chosen.allowed:,} allowed{why}:"
    rows = [
        (
            "->" if other.taken else "",
            _quoted(other.text),
            _chance(other.probability),
            _chance(other.unmasked),
            _allowed(other),
        )
        for other in chosen.alternatives
    ]
    yield from (f"    {line}" for line in table(("", "TEXT", "CHANCE", "UNMASKED", "ALLOWED"), rows))


def _allowed(other: Alternative) -> str:
    return "yes" if other.allowed else "no: an echo" if other.echo else "no"


def _quoted(text: str) -> str:
    return safe(json.dumps(text, ensure_ascii=False))


def _chance(probability: float) -> str:
    return "<.0001" if 0 < probability < 0.0001 else f"{probability:.4f}"


def _prompt(processor: LlamaProcessor, each: Replayed) -> str:
    return processor.tokenizer.bytes(each.recorded.prompt).decode("utf-8", "replace")


def _data(
    processor: LlamaProcessor,
    recording: Recording,
    seen: Sequence[Replayed],
    reasons: Sequence[str],
    prompt: bool,
) -> dict[str, Any]:
    """Return what --json prints."""
    from localmem.replay import described

    generations = [
        {
            "number": each.number,
            "shape": described(each.recorded.shape),
            "prompt_tokens": len(each.recorded.prompt),
            "reused_tokens": each.recorded.reused,
            "reused_tokens_now": each.reused,
            "same": each.differs is None,
            "differs_at": each.differs,
            "cancelled": each.recorded.cancelled,
            "recorded": each.recorded.text,
            "text": each.text,
            "tokens": [asdict(token) | {"forced": token.forced} for token in each.tokens],
        }
        | ({"prompt": _prompt(processor, each)} if prompt else {})
        for each in seen
    ]
    return {
        "name": recording.name,
        **asdict(recording.setup),
        "static_tokens": len(recording.static),
        "same": all(each.differs is None for each in seen),
        "may_differ": list(reasons),
        "generations": generations,
    }
