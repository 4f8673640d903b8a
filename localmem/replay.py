"""Decodes a recording again, along its own tokens: whether they come out the same, and what else there was to say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from localmem import runtime
from localmem.errors import UnknownModel, UsageError
from localmem.processor.engine import identity
from localmem.processor.interface import Prose, Segment, Shape

if TYPE_CHECKING:
    from localmem.processor.choosing import Choice
    from localmem.processor.decoding import LlamaGeneration
    from localmem.processor.engine import LlamaProcessor
    from localmem.processor.profile import Profile
    from localmem.processor.registry import Registry
    from localmem.processor.tokens import Tokenizer
    from localmem.recording import Recording, Setup
    from localmem.trace import Recorded

BEST = 8
"""Alternatives shown of the allowed tokens, and of all tokens."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have stood somewhere.

    `probability` is among the allowed tokens, with the bias; `unmasked` among all, without. Both are those at
    temperature 1. `echo` says that the grammar allows it, and the rule against echoes does not.
    """

    token: int
    text: str
    probability: float
    unmasked: float
    allowed: bool
    echo: bool
    taken: bool


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a completion, the last one perhaps its end, which `Completion.ids` leaves out.

    `alternatives` are what there was to choose from, likeliest first; none where the grammar forced the token.
    `allowed` counts the tokens there were; `closing` says that the reserve for closing decided.
    """

    token: int
    text: str
    alternatives: tuple[Alternative, ...] = ()
    allowed: int = 1
    closing: bool = False

    @property
    def forced(self) -> bool:
        return not self.alternatives

    @property
    def probability(self) -> float:
        """How likely it was among the allowed tokens; 1 where it was forced."""
        return next((other.probability for other in self.alternatives if other.taken), 1.0)

    @property
    def open(self) -> bool:
        """Whether the model decided: more than one token was allowed."""
        return self.allowed > 1 and not self.closing


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One generation decoded again. `differs` is the first token (from 1) that is another now, None: the same.

    There `recorded_token` was recorded and `token_now` is chosen now; "" is the end of the completion. The
    recorded token is taken all the same, as long as the grammar allows it. `text` and `tokens` are what came out.
    """

    number: int
    recorded: Recorded
    text: str
    tokens: tuple[Token, ...]
    reused: int
    differs: int | None
    recorded_token: str = ""
    token_now: str = ""


def load(
    registry: Registry, setup: Setup, model: str | None = None, gpu_layers: int | None = None
) -> LlamaProcessor:
    """Load the model that a recording was made on, or the same file by another name.

    Raises UsageError where the file is another one, and ModelMissing.
    """
    try:
        profile = registry.resolve(model or setup.model)
    except UnknownModel as error:
        raise UnknownModel(f"{error} (--model says under which name or path it is here)") from error
    if not _is_recorded(registry, profile, setup.sha256):
        raise UsageError(
            f"this was recorded on {setup.model} with the hash {setup.sha256[:12]}..., which {profile.name} here "
            "does not have: give the recorded file with --model"
        )
    profile = replace(profile, dialect=setup.dialect or profile.dialect)
    window = None if setup.window == profile.window else setup.window
    layers = setup.gpu_layers if gpu_layers is None else gpu_layers
    options = runtime.Options(model=profile.name, window=window, grammar=setup.grammar, gpu_layers=layers)
    return runtime.load_processor(registry, profile, options)


def _is_recorded(registry: Registry, profile: Profile, recorded: str) -> bool:
    """Return whether a model's file has the recorded hash; reads all of the file only where nothing else tells."""
    if recorded in ("", profile.sha256):
        return True
    path = registry.locate(profile) or registry.require(profile)
    if identity(path) == recorded:
        return True
    if profile.sha256:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == recorded


def replay(processor: LlamaProcessor, recording: Recording) -> Iterator[Replayed]:
    """Yield every generation of a recording, decoded again from the cache that the first one found.

    The recorded tokens are taken whatever the model chooses now, so that a token that differs does not carry
    over to those behind it.
    """
    processor.begin_with(recording.static)
    for number, recorded in enumerate(recording.generations, 1):
        yield _again(processor, number, recorded)


def doubts(processor: LlamaProcessor, recording: Recording) -> Iterator[str]:
    """Yield why tokens may come out otherwise than they were recorded."""
    if not recording.exact:
        yield (
            f"the {len(recording.static):,} tokens that were cached when the turn began are evaluated afresh: "
            "in which batches they were evaluated then is not recorded"
        )
    then, now = recording.setup.chunk, processor.chunk
    if then not in (0, now):
        yield f"it was recorded in chunks of {then} tokens, here they have {now} (a GPU's are larger)"
    if not recording.setup.sha256:
        yield "the recording does not say which file its model was"


def described(shape: Shape) -> str:
    """Return in a few words what a completion was allowed to be."""
    if isinstance(shape, Prose):
        return f"prose, at most {shape.characters:,} characters"
    parts = [", ".join(function.name for function in shape.functions)]
    if shape.verdict:
        parts.append(f"verdict {shape.verdict.question}")
    elif shape.thought:
        parts.append(f"thought of {shape.thought}")
    if shape.heartbeat:
        parts.append("heartbeat asked")
    offered = {function.name for function in shape.functions}
    parts += [f"bias {name} {bias:+g}" for name, bias in shape.bias.items() if name in offered]
    if shape.unlike.strip():
        parts.append(f'not begun with "{shape.unlike.split(maxsplit=1)[0]}"')
    return " · ".join(parts)


def _again(processor: LlamaProcessor, number: int, recorded: Recorded) -> Replayed:
    tokenizer = processor.tokenizer
    generation = processor.generate([Segment(recorded.prompt)], recorded.shape, recorded.limits)
    follower = generation.overrule = Follower(generation, recorded, tokenizer)
    for _ in generation:
        pass
    done = generation.completion
    ids = done.ids[: len(recorded.ids)] if recorded.cancelled else done.ids
    tokens = [follower.tokens.get(at) or Token(id_, spelled(tokenizer, id_)) for at, id_ in enumerate(ids)]
    end = follower.tokens.get(len(ids))
    if end is not None and not recorded.cancelled:
        tokens.append(end)
    differs, then, now = follower.first or _first_other(recorded.ids, ids) or (None, None, None)
    return Replayed(
        number=number,
        recorded=recorded,
        text=recorded.text if recorded.cancelled else done.text,
        tokens=tuple(tokens),
        reused=done.usage.reused_tokens,
        differs=None if differs is None else differs + 1,
        recorded_token="" if then is None else spelled(tokenizer, then),
        token_now="" if now is None else spelled(tokenizer, now),
    )


Other = tuple[int, int | None, int | None]
"""Where tokens differ, from 0: the place, the recorded id and the one now; None is the end."""


def _first_other(then: Sequence[int], now: Sequence[int]) -> Other | None:
    for at in range(max(len(then), len(now))):
        one, other = (ids[at] if at < len(ids) else None for ids in (then, now))
        if one != other:
            return at, one, other
    return None


class Follower:
    """Keeps a generation on the recorded tokens, and notes what there was to choose from at each."""

    def __init__(self, generation: LlamaGeneration, recorded: Recorded, tokenizer: Tokenizer) -> None:
        self._generation, self._recorded, self._tokenizer = generation, recorded, tokenizer
        self._on_path = True
        self.tokens: dict[int, Token] = {}
        self.first: Other | None = None

    def __call__(self, choice: Choice) -> int:
        taken = self._follow(choice) if self._on_path else choice.token
        self.tokens[choice.position] = weighed(choice, taken, self._tokenizer)
        return taken

    def _follow(self, choice: Choice) -> int:
        """Return the recorded token, or the one chosen now where the path is lost."""
        at, then = choice.position, self._recorded.ids
        if at >= len(then) and self._recorded.cancelled:
            self._generation.cancel()
            return choice.token
        if self.first is None:
            self.first = _first_other(then[:at], self._generation.completion.ids[:at])
        ends = self._tokenizer.ends(choice.token)
        wanted = then[at] if at < len(then) else choice.token if ends else self._tokenizer.eos
        if self.first is None and choice.token != wanted:
            self.first = (at, then[at] if at < len(then) else None, None if ends else choice.token)
        self._on_path = self._generation.completion.ids == then[:at] and wanted in choice.allowed
        return wanted if self._on_path else choice.token


def weighed(choice: Choice, taken: int, tokenizer: Tokenizer) -> Token:
    """Return a token that was taken, with the best that there were of the allowed and of all tokens."""
    unmasked, allowed = _softmax(choice.logits), np.zeros(len(choice.logits), dtype=bool)
    allowed[choice.allowed] = True
    probability = np.zeros(len(choice.logits))
    probability[choice.allowed] = _softmax(choice.scores)
    best = choice.allowed[np.argsort(-choice.scores, kind="stable")[:BEST]]
    likely = np.argpartition(-choice.logits, BEST)[:BEST]
    shown = {taken, *map(int, best), *map(int, likely)}
    alternatives = [
        Alternative(
            token,
            spelled(tokenizer, token),
            float(probability[token]),
            float(unmasked[token]),
            bool(allowed[token]),
            token in choice.echoes,
            token == taken,
        )
        for token in sorted(shown, key=lambda token: (-probability[token], -unmasked[token], token))
    ]
    return Token(
        taken, spelled(tokenizer, taken), tuple(alternatives), len(choice.allowed), closing=choice.closing
    )


def spelled(tokenizer: Tokenizer, token: int) -> str:
    """Return what a token stands for; bytes that are no whole character as \\xNN."""
    return tokenizer.piece(token).decode("utf-8", "backslashreplace")


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    raised = np.exp(scores.astype(np.float64) - float(scores.max()))
    return np.asarray(raised / raised.sum())
