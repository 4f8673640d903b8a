"""One turn that rings a bell outside of localmem, for a test to kill; the bell is a line in a file."""

from __future__ import annotations

import sys
from pathlib import Path

from localmem.functions import outside
from localmem.functions.schema import function
from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.processor.interface import Shape
from localmem.records import Call, Event, EventKind
from localmem.testing import HashEmbedder, ScriptedProcessor


def rung(folder: Path) -> list[str]:
    bell = folder / "bell"
    return bell.read_text().splitlines() if bell.exists() else []


def wake(memory: Memory, folder: Path) -> Agent:
    @outside("rings the bell")
    def ring() -> str:
        """Ring the bell."""
        with (folder / "bell").open("a") as bell:
            bell.write("ding\n")
        return "rung"

    def move(shape: Shape) -> Call:
        turn = memory.unfinished()
        made = [record for record in turn.records if isinstance(record, Call)] if turn else []
        return Call("", "send_message", {"message": "done"}) if made else Call("", "ring", {})

    processor = ScriptedProcessor(move, window=2048)
    functions = (function(ring, desk=False),)
    return Agent(memory, processor, Settings(), functions=functions, permit=lambda call, function: "")


if __name__ == "__main__":
    with Home.open(Path(sys.argv[1]) / "home", embedder=HashEmbedder()) as home:
        agent = wake(home.agent("default"), Path(sys.argv[1]))
        list(agent.turn(Event(EventKind.USER, "ring")))
