"""Turns without end, for a test to kill: each keeps a line and a note, then answers; says what is acknowledged."""

from __future__ import annotations

import sys
from pathlib import Path

from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.processor.interface import Prose, Shape
from localmem.records import Call, Event, EventKind, Item
from localmem.testing import HashEmbedder, Move, ScriptedProcessor


def next_move(memory: Memory, shape: Shape) -> Move:
    """Decide from what is on disk alone, as a model would from its prompt: so a resumed turn goes on rightly."""
    if isinstance(shape, Prose):
        return "They counted."
    turn = memory.unfinished()
    assert turn is not None
    number = turn.event.text.split()[1]
    made = [record.function for record in turn.records if isinstance(record, Call)]
    moves = [
        Call("", "core_memory_append", {"label": "human", "content": f"line {number}"}),
        Call("", "archival_memory_insert", {"content": f"note {number}"}),
        Call("", "send_message", {"message": f"done {number}"}),
    ]
    return moves[len(made)]


def wake(memory: Memory) -> Agent:
    processor = ScriptedProcessor(lambda shape: next_move(memory, shape), window=1500)
    return Agent(memory, processor, Settings())


def tell(items: list[Item]) -> None:
    for item in items:
        if isinstance(item, Event) and item.kind is EventKind.USER:
            print(f"acknowledged {item.text.split()[1]}", flush=True)


def main(path: Path, first: int, last: int) -> None:
    with Home.open(path, embedder=HashEmbedder()) as home:
        memory = home.agent("default")
        agent = wake(memory)
        list(agent.resume())
        for number in range(first, last):
            for item in agent.turn(Event(EventKind.USER, f"number {number} " + "and so on " * 20)):
                tell([item])
            if number % 3 == 0:
                memory.settle()
        print("end", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
