"""Fits the bias of the memory step: how much a model prefers "yes, this tells a fact", whatever it is told.

    python -m benchmarks.calibrate [MODEL]

For every sentence below the model stands where it answers `states_a_fact`; the log-odds of "yes" against "no" are
read off, and the offset that separates facts from the rest best goes into models.toml as the bias of
`nothing_to_remember`. One case: the person says "I'm allergic to peanuts."; the prompt is the agent's own, with the
memory step's question behind it and `{"states_a_fact":` begun; the right answer is yes.
"""

from __future__ import annotations

import math
import os
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from localmem.kernel.agent import Agent
from localmem.kernel.policy import VERDICT
from localmem.kernel.prompts import question
from localmem.memory.core import DEFAULT_BLOCKS
from localmem.memory.home import Home, default_home
from localmem.processor.engine import LlamaProcessor
from localmem.records import Block, Event, EventKind
from localmem.runtime import Options, load_processor, registry_of, settings_of

FACTS = """My name is Tom and I work as a nurse in Leeds.
I have two cats, Milo and Luna.
We moved to Vienna last spring.
I'm allergic to peanuts.
My sister's birthday is on the 4th of May.
Please call me Sam from now on.
Actually I don't live in Leeds any more, I live in York.
I prefer tea to coffee.
I'm training for a marathon in October.
Maria Gomez is a painter who lives next door to Joel.
My daughter Eva started school this week.
I drive an old blue Volvo.
I am vegetarian, by the way.
Next month I fly to Japan for three weeks.
Peter Lang founded the bakery where Ines works.
I broke my wrist last week.
My wife Clara is an architect.
Our anniversary is in June.
I've quit smoking.
My favourite colour is green.
I now work at a bank, not at the school.
The cat is called Whiskers.
We have a cabin near the lake.
Laura Kim won the chess tournament that Henrik organised.
I hate cilantro.""".splitlines()

NO_FACTS = """Hi there!
Thanks a lot.
Hello! Where do I live?
Good morning. What did I tell you about my sister?
Tell me a joke.
Remind me which car I drive.
Write a short poem about autumn, please.
OK, see you tomorrow.
Explain how a battery works.
lol that's funny
Translate 'good evening' into French.
Thank you. And who founded the bakery?
Let's talk about something else.
Please summarise the plot of Hamlet.
Great, thank you!
Help me plan dinner.
I have a question. Who won the chess tournament?
Hm, I don't know.
That is interesting. Tell me more.
You are right.
Sorry, what? I did not get that.
Give me three ideas for a birthday present.
Say hello in Japanese.
Just a moment.
Go on.
No, that's wrong.
I would like to know what the capital of Peru is.
Please repeat that.
What a day! How are you?
Wow, really? How does that work?""".splitlines()
"""Lone questions are missing: they never come to the memory step."""

CORE = "Name: Tom, nurse.\nLikes hiking."
LOGIN = "The person is back after 2 days. Recall storage: 40 messages. Archival memory: 0 passages."


def log_odds(agent: Agent, processor: LlamaProcessor, message: str) -> float:
    """Return log p(yes) - log p(no) of the verdict on a message, in the agent's own prompt."""
    agent.context.show_core([DEFAULT_BLOCKS[0], Block("human", CORE, 2000)])
    login = Event(EventKind.LOGIN, LOGIN, "2026-03-04 09:12 Wednesday", id=1)
    agent.context.show_queue([login, Event(EventKind.USER, message, id=2)])
    asked = question(message, processor)
    ids = [token for segment in agent.context.prompt(asked) for token in segment.ids]
    ids += processor.tokenizer.content(f'{{"{VERDICT}": "')
    logits = processor.logits(ids)
    yes, no = (processor.tokenizer.content(word)[0] for word in ("yes", "no"))
    return float(logits[yes] - logits[no])


def area_under_curve(facts: list[float], others: list[float]) -> float:
    """Return the chance that a fact scores above something else."""
    wins = sum((fact > other) + 0.5 * (fact == other) for fact in facts for other in others)
    return wins / (len(facts) * len(others))


def best_offset(facts: list[float], others: list[float]) -> tuple[float, float]:
    """Return the offset with the highest mean of both hit rates, and that mean."""
    scores = sorted({*facts, *others})
    offsets = [(a + b) / 2 for a, b in pairwise(scores)]

    def accuracy(offset: float) -> float:
        hits = sum(score > offset for score in facts) / len(facts)
        return (hits + sum(score <= offset for score in others) / len(others)) / 2

    best = max(offsets, key=accuracy, default=math.nan)
    return best, accuracy(best)


def main(name: str | None) -> None:
    registry = registry_of(Path(os.environ.get("LOCALMEM_HOME") or default_home()))
    profile = registry.resolve(name or registry.default)
    with TemporaryDirectory() as folder, Home.open(Path(folder)) as home:
        processor = load_processor(registry, profile, Options())
        agent = Agent(home.create_agent("default"), processor, settings_of(profile, Options()))
        facts = [log_odds(agent, processor, message) for message in FACTS]
        others = [log_odds(agent, processor, message) for message in NO_FACTS]
    offset, accuracy = best_offset(facts, others)
    print(f"{profile.name}: {len(facts)} facts, {len(others)} others")
    print(f"area under the curve {area_under_curve(facts, others):.3f}")
    print(f"bias of nothing_to_remember {offset:.2f}: balanced accuracy {accuracy:.2f}")
    for bias in (0.0, profile.bias.get("nothing_to_remember", 0.0)):
        kept, junk = (sum(score > bias for score in scores) for scores in (facts, others))
        print(f"with a bias of {bias:.2f}: {kept} facts kept, {junk} others kept")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
