"""A novel, a reader that notes what it says on three far-apart facts, and a program to be killed in its midst."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.loading import load
from localmem.memory.home import Home
from localmem.processor.interface import Prose, Shape
from localmem.records import PageRead
from localmem.testing import HashEmbedder, Move, ScriptedProcessor

TASK = "Note what is hidden where."
FACTS = ("key under stone", "ring in well", "map behind clock")
CHAPTERS = 60


def novel() -> str:
    """Return a text in chapters with the three facts at its beginning, in its midst and at its end."""
    hidden = dict(zip((1, CHAPTERS // 2, CHAPTERS - 1), FACTS, strict=True))
    chapters = []
    for number in range(CHAPTERS):
        said = [f"In chapter {number} nothing happens for the {n}. time." for n in range(30)]
        if number in hidden:
            said.insert(15, f"They hid a {hidden[number]}.")
        chapters.append(
            f"CHAPTER {number + 1}\n\n" + "\n\n".join(" ".join(said[n : n + 6]) for n in range(0, 31, 6))
        )
    return "\n\n".join(chapters)


def pages(processor: ScriptedProcessor) -> list[str]:
    """Return the pages that a processor was shown."""
    shown = [
        re.search(r"<document> novel.*?, at \d+% (.*?) </document>", prompt) for prompt in processor.prompts
    ]
    return [found[1] for found in shown if found]


def move(prompt: str, shape: Shape) -> Move:
    """Note the facts that stand on the page; a summary of notes names the facts that stand in them."""
    shown = prompt.rpartition("<document>")[2]
    there = [fact for fact in FACTS if fact in shown]
    assert isinstance(shape, Prose)
    if "Those were your notes" in shown:
        return "Hidden: " + ", ".join(there)
    about = shown.partition(" at ")[2].partition(" ")[0]
    return f"At {about}: {', '.join(there) or 'nothing is hidden'}"


def main(path: Path) -> None:
    with Home.open(path, embedder=HashEmbedder()) as home:
        memory = home.agent("default") if home.agents() else home.create_agent("default")
        (path / "novel.txt").write_text(novel())
        list(load(home.archive_of("default"), [path / "novel.txt"]))
        reading = memory.readings.start("novel.txt", TASK)
        processor = ScriptedProcessor(lambda shape: move(processor.prompts[-1], shape), window=1500)
        for item in Agent(memory, processor, Settings()).read_on(reading.id):
            assert isinstance(item, PageRead)
            print(item.position, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
