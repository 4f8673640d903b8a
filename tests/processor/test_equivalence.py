"""Drafts change how fast tokens come, and not which: given the logits exactly, else within the noise of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from engines import MESSAGE, flat, load, prompt, run

from localmem.functions.schema import Function, Parameter
from localmem.processor.choosing import Choice, Chooser
from localmem.processor.drafts import Lookup, Pace
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Calls, Limits, Prose, Sampling, Shape
from localmem.processor.llama import Logits, Row
from localmem.processor.slots import Slot
from localmem.processor.work import Work

pytestmark = pytest.mark.model

FAST = Pace(0.02, 65)
"""Drafts as long and as often as anything stood before: far more than pays here."""

VERSES = [
    "The parrot Quicksilver was born in Valparaiso and sings at noon.",
    "Repeat after me: one two three four, one two three four, one two three four.",
    "abc abc abc abc abc abc abc abc",
]


@pytest.fixture(scope="module", params=["smollm2", pytest.param("qwen15", marks=pytest.mark.large)])
def engine(request: pytest.FixtureRequest) -> Iterator[LlamaProcessor]:
    made = load(request.getfixturevalue(request.param))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _long_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    from localmem.processor import engine as module

    monkeypatch.setattr(module, "PACES", dict.fromkeys(module.PACES, FAST))


# ---- given the same logits, exactly the same tokens


@dataclass
class Model:
    """Logits that depend on the last two tokens alone, the same whatever the batch: a model without noise."""

    noise: Logits

    def __call__(self, ids: Sequence[int]) -> Logits:
        return np.roll(self.noise, 7919 * ids[-1] + ids[-2])


def decode(
    engine: LlamaProcessor, model: Model, said: list[int], shape: Shape, limits: Limits, pace: Pace | None
):  # type: ignore[no-untyped-def]
    """Make a completion from a model's logits, with drafts or without; return its ids and how many passes it took."""
    matcher = engine.grammars.start(shape)
    chooser = Chooser(engine.tokenizer, engine.dialect, shape, limits, matcher)
    lookup = Lookup(said, limits.tokens, pace) if pace else None
    work = Work(said, limits, chooser, engine.tokenizer, matcher, lookup)
    work.start()
    work.seated(Slot(0), [])
    passes = 0
    while not work.complete:
        assert work.slot is not None
        work.draft(64 if passes else 0)
        known, drafts = list(work.known), list(work.drafts)
        work.evaluated(True)
        right = work.advance(lambda row, known=known, drafts=drafts: model([*known, *drafts[:row]]))  # type: ignore[misc]
        work.slot.ids = [*known, *drafts[:right]]
        passes += 1
    work.finish()
    return work.ids, passes


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5])
def test_with_drafts_the_same_tokens_from_fewer_passes(engine: LlamaProcessor, temperature: float) -> None:
    saved = 0
    for seed in range(4):
        dice = np.random.default_rng(seed)
        model = Model(dice.normal(scale=3.0, size=engine.llama._vocab_size).astype(np.float32))
        said = flat(prompt(engine, *VERSES))
        limits = Limits(80, Sampling(temperature, top_p=0.9, min_p=0.05, seed=seed))
        plain, slow = decode(engine, model, said, MESSAGE, limits, None)
        again = [*said, *plain]  # what it is about to say stands in the prompt: drafts are right
        for context in (said, again):
            one, _ = decode(engine, model, context, MESSAGE, limits, None)
            other, fast = decode(engine, model, context, MESSAGE, limits, FAST)
            assert one == other
            saved += slow - fast
    assert saved > 0


# ---- the real model: within what the shape of a batch does to logits


def logits_of(engine: LlamaProcessor, said: list[int], ids: list[int], step: int) -> list[Logits]:
    """Return the logits behind the prompt and each of the ids but the last, evaluated `step` tokens at a time."""

    def job() -> list[Logits]:
        slot = engine._slots.take(said, "", ahead=False)
        assert slot is not None
        try:
            engine._slots.keep(slot, 0)
            engine._slots.evaluate(slot, said[:-1])
            rest, found = [said[-1], *ids[:-1]], []
            for start in range(0, len(rest), step):
                part = rest[start : start + step]
                rows = [Row(token, len(slot.ids) + at, slot.sequence, True) for at, token in enumerate(part)]
                assert engine.llama.evaluate(rows)
                found += [engine.llama.logits(at).copy() for at in range(len(part))]
                slot.ids.extend(part)
            return found
        finally:
            engine._slots.release(slot)

    return engine._scheduler.ask(job)


@pytest.mark.parametrize("shape", [MESSAGE, Prose(300)], ids=["call", "prose"])
@pytest.mark.parametrize("said", VERSES[:2])
def test_every_token_is_the_best_allowed_but_for_the_noise_of_a_batch(
    engine: LlamaProcessor, said: str, shape: Shape
) -> None:
    tokens, asked = 90, prompt(engine, said)
    engine.begin_with([])
    completion = run(engine, asked, shape, tokens=tokens)
    ids = list(completion.ids)
    assert completion.usage.drafted_tokens > 0
    alone = logits_of(engine, flat(asked), ids, 1)
    noise = 0.0
    for step in (2, 5, 16, 48):
        batch = logits_of(engine, flat(asked), ids, step)
        noise = max(noise, *(float(np.abs(a - b).max()) for a, b in zip(alone, batch, strict=True)))
    assert 0 < noise < 3.0
    matcher, done, lags = engine.grammars.start(shape), 0, []
    chooser = Chooser(engine.tokenizer, engine.dialect, shape, Limits(tokens), matcher)
    while done < min(len(ids), chooser.closing_at):
        done += len(matcher.forced())
        if done >= min(len(ids), chooser.closing_at):
            break
        allowed = matcher.allowed()
        assert ids[done] in allowed
        lags.append(float(alone[done][allowed].max() - alone[done][ids[done]]))
        matcher.take(ids[done])
        done += 1
    assert len(lags) > 5
    assert max(lags) <= 2 * noise  # one token's logit down and another's up
    assert sum(lag == 0 for lag in lags) >= 0.9 * len(lags)


# ---- sampling: the distribution is that without drafts

WORDS = ["abc abd abc abd", "abc abe abc abe", "abd abc abd abc", "abe abc abe abc", "abc abc abc abc", "no"]


def test_sampling_with_drafts_keeps_the_distribution(engine: LlamaProcessor) -> None:
    """Chi-square over many seeds, at a level that a right engine misses once in ten thousand."""
    message = Parameter("message", {"enum": WORDS})
    shape = Calls((Function("send_message", "Say.", (message,), lambda desk, message: ""),))
    said = prompt(engine, ", ".join(WORDS))
    probabilities = chances(engine, flat(said), shape, temperature=2.0)
    assert sum(probabilities.values()) == pytest.approx(1, abs=0.02)
    runs, drafted, accepted = 300, 0, 0
    counted: Counter[str] = Counter()
    for seed in range(runs):
        completion = run(engine, said, shape, tokens=80, sampling=Sampling(2.0, seed=seed))
        assert completion.call is not None
        counted[str(completion.call.arguments["message"])] += 1
        drafted += completion.usage.drafted_tokens
        accepted += completion.usage.accepted_tokens
    assert drafted - accepted > runs / 10
    assert accepted > runs / 10
    expected = {word: chance * runs for word, chance in probabilities.items()}
    common = [word for word in WORDS if expected[word] >= 5]
    rest = [word for word in WORDS if expected[word] < 5]
    assert len(common) >= 3
    pairs = [(counted[word], expected[word]) for word in common]
    pairs.append((sum(counted[word] for word in rest), sum(expected[word] for word in rest) or 1e-9))
    square = sum((seen - due) ** 2 / due for seen, due in pairs if due >= 1)
    assert square < {2: 18.4, 3: 21.1, 4: 23.5, 5: 25.7, 6: 27.9}[len(common)]


def chances(engine: LlamaProcessor, said: list[int], shape: Calls, temperature: float) -> dict[str, float]:
    """Return how likely each word is when its tokens are sampled one by one: all ways to spell it together."""
    found: Counter[str] = Counter()

    def walk(ids: list[int], chance: float) -> None:
        if chance < 1e-3:
            return
        matcher = engine.grammars.start(shape)
        for token in ids:
            matcher.take(token)
        if matcher.finished or all(engine.tokenizer.ends(int(token)) for token in matcher.allowed()):
            text = engine.tokenizer.bytes(ids).decode()
            found[str(engine.dialect.read(text).arguments["message"])] += chance
            return
        forced = [token for token in matcher.forced() if not engine.tokenizer.ends(token)]
        if forced:
            walk([*ids, *forced], chance)
            return
        allowed = matcher.allowed()
        logits = engine.logits([*said, *ids])[allowed].astype(np.float64) / temperature
        shares = np.exp(logits - logits.max())
        for token, share in zip(allowed, shares / shares.sum(), strict=True):
            walk([*ids, int(token)], chance * float(share))

    walk([], 1.0)
    return dict(found)


def test_a_choice_that_is_overruled_is_taken_though_another_was_drafted(engine: LlamaProcessor) -> None:
    first = run(engine, prompt(engine, VERSES[0]))
    wanted = list(first.ids)

    def follow(choice: Choice) -> int:
        other = int(choice.allowed[np.argsort(-choice.scores)[min(1, len(choice.allowed) - 1)]])
        if choice.position >= len(wanted):
            return choice.token
        return other if choice.position == 15 else choice.token

    generation = engine.generate(prompt(engine, VERSES[0]), MESSAGE, Limits(90))
    generation.overrule = follow
    list(generation)
    assert generation.completion.call is not None
    assert list(generation.completion.ids[:15]) == wanted[:15]
    assert generation.completion.ids[15] != wanted[15]
