"""A script that does every kind of write and says on standard output what was acknowledged."""

from __future__ import annotations

import sys
from pathlib import Path

from localmem.errors import FunctionError
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Block, Call, Event, EventKind, Result
from localmem.testing import HashEmbedder


def done(what: str, value: object) -> None:
    """Acknowledge: from here on it must survive."""
    print(f"{what} {value}", flush=True)


def effects(desk: Desk) -> Result:
    """Append one line and store one passage: both, once, or neither."""
    desk.append("human", f"line {desk.turn}")
    desk.insert_passage(f"passage {desk.turn} apple")
    return Result(True, "done")


def refuse(desk: Desk) -> Result:
    """Do half of it, then refuse."""
    desk.append("human", f"half {desk.turn}")
    raise FunctionError("no")


def turn(memory: Memory, n: int) -> None:
    """Run one whole turn of two calls, the second of which is refused."""
    event = memory.open_turn(Event(EventKind.USER, f"event {n}"))
    done("event", event.id)
    for work in (effects, refuse):
        call = memory.add(Call("", work.__name__, {}), event.turn)
        assert isinstance(call, Call)
        done("call", call.id)
        result = memory.perform(call, work)
        done("result", result.id)
    memory.close_turn(event.turn)
    done("closed", event.turn)


def main(path: Path) -> None:
    with Home.open(path, embedder=HashEmbedder()) as home:
        memory = home.create_agent("a")
        done("agent", "a")
        home.create_agent("b").edit(lambda desk: desk.insert_passage("theirs"))
        home.agent("b").settle()
        memory.set_model("m")
        for n in range(3):
            turn(memory, n)
            memory.settle()
            done("settled", n + 1)
        memory.put_block(Block("notes", "x", 10), "user")
        done("block", "notes")
        memory.evict(memory.records()[2].id, "summary")
        done("evicted", memory.records()[2].id)
        home.rename_agent("b", "c")
        home.delete_agent("c")
        done("deleted", "c")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
