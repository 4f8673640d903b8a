"""A conversation of any length for the measurements: made from a seed, English, none of it from a data set."""

from __future__ import annotations

import random
from collections.abc import Iterator

from localmem.functions.standard import function_set
from localmem.kernel.context import documentation
from localmem.kernel.prompts import prompt
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import CoreMemory, Documentation, Instructions, Opening, Segment, Summary
from localmem.records import Call, Event, EventKind

PEOPLE = ("Ada", "Bruno", "Clara", "Daniel", "Edith", "Felix", "Greta", "Hugo", "Irma", "Jonas")
THINGS = (
    "a red bicycle",
    "the old piano",
    "a garden shed",
    "two kittens",
    "a sailing boat",
    "an atlas",
    "a kettle",
)
PLACES = ("Lisbon", "Bergen", "Ghent", "Turin", "Porto", "Malmo", "Graz", "Bath")
WEATHER = ("rainy", "sunny", "windy", "foggy", "cold", "mild")


def lines(seed: int) -> Iterator[tuple[str, str]]:
    """Yield what a person says and what is answered, without end."""
    chance = random.Random(seed)
    while True:
        who, thing, place, sky = (chance.choice(each) for each in (PEOPLE, THINGS, PLACES, WEATHER))
        year = chance.randrange(1960, 2020)
        price = chance.randrange(5, 900)
        said = (
            f"In {year} my friend {who} bought {thing} in {place}, on a {sky} day, and paid {price} for it."
        )
        yield said, f"{who} found {thing} in {place} in {year}. Was it still {sky} when you heard of it?"


def head(
    processor: LlamaProcessor, core: str = "Name: Mira\nLives in Bergen", summary: str = ""
) -> list[Segment]:
    """Return the segments in front of the queue: instructions, functions, core memory, summary."""
    functions = documentation(function_set("small"), processor.abilities.howto)
    return [
        processor.encode(Instructions(prompt("system"))),
        processor.encode(Documentation(functions)),
        processor.encode(CoreMemory(f"\nCore memory:\n<human>\n{core}\n</human>\n")),
        processor.encode(Summary(summary)),
    ]


def queue(processor: LlamaProcessor, tokens: int, seed: int = 0) -> list[Segment]:
    """Return turns of a conversation that take about so many tokens."""
    segments: list[Segment] = []
    for said, answer in lines(seed):
        if sum(map(len, segments)) >= tokens:
            return segments
        segments.append(processor.encode(Event(EventKind.USER, said)))
        segments.append(processor.encode(Call("", "send_message", {"message": answer})))
    return segments


def opening(processor: LlamaProcessor) -> Segment:
    return processor.encode(Opening())
