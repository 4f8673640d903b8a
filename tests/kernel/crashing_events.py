"""Events without end, for a test to kill: handed in, fired by timers, interrupted and gone on with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings
from localmem.memory.clock import stamp, system_clock
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.when import When
from localmem.processor.interface import Calls, Shape
from localmem.records import Call, Event, EventKind, Result
from localmem.testing import HashEmbedder, Move, ScriptedProcessor


def number_of(event: Event) -> int:
    found = re.search(r"number (\d+)", event.text)
    assert found, event
    return int(found[1])


def next_move(memory: Memory, shape: Shape) -> Move:
    """Decide from what is on disk alone: first take up what was interrupted, then keep a line and a note, answer."""
    if not isinstance(shape, Calls):
        return "They counted."
    turn = memory.unfinished()
    assert turn is not None
    made = [record.function for record in turn.records if isinstance(record, Call)]
    if not made and any(function.name == "go_on" for function in shape.functions):
        return Call("", "go_on", {})
    number = number_of(turn.event)
    moves = [
        Call("", "core_memory_append", {"label": "human", "content": f"line {number}"}),
        Call("", "archival_memory_insert", {"content": f"note {number}"}),
        Call("", "send_message", {"message": f"done {number}"}),
    ]
    return moves[sum(function != "go_on" for function in made)]


def wake(memory: Memory) -> Agent:
    processor = ScriptedProcessor(lambda shape: next_move(memory, shape), window=4000)
    return Agent(memory, processor, Settings(functions="full"))


def hand_in(agent: Agent, number: int) -> None:
    """Hand in an event, every fourth by a timer that is due, and say that it is acknowledged."""
    if number % 4 == 3:
        agent.memory.inbox.add_timer(When(stamp(system_clock)), f"number {number}")
    else:
        agent.submit(Event(EventKind.USER, f"number {number}"))
    print(f"acknowledged {number}", flush=True)


def run(agent: Agent, following: int | None = None) -> None:
    """Run all that waits; hand in number `following` in the midst of the first turn."""
    while (event := agent.next_event()) is not None:
        for item in agent.turn(event):
            if following is not None and isinstance(item, Result):
                hand_in(agent, following)
                following = None


def main(path: Path, first: int, last: int) -> None:
    with Home.open(path, embedder=HashEmbedder()) as home:
        agent = wake(home.agent("default"))
        list(agent.resume())
        run(agent)
        for number in range(first, last, 2):
            hand_in(agent, number)
            run(agent, number + 1)
        print("end", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
