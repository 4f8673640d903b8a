"""A script that does every kind of write and says on standard output what was acknowledged."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from localmem import loading
from localmem.errors import FunctionError
from localmem.kernel.summary import digest
from localmem.memory.desk import Desk
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.readings import Readings
from localmem.memory.when import When
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


def ask(desk: Desk) -> Result:
    """Take the answer of another agent."""
    return Result(True, desk.write_to("b", "well?", True))


def answer(desk: Desk) -> Result:
    """Say something, which is the answer to who asked."""
    desk.say("well")
    return Result(True, "")


def ring(desk: Desk) -> Result:
    """What a call to the outside came to."""
    return Result(True, "rang")


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


def outside(memory: Memory) -> None:
    """Give the agent a function, permit it, and begin a call that touches the outside."""
    memory.choices.add(["ring"])
    done("given", "ring")
    memory.choices.permit("ring", "as it is")
    done("permitted", "ring")
    event = memory.open_turn(Event(EventKind.USER, "ring"))
    call = memory.add(Call("", "ring", {}), event.turn)
    memory.start(call)
    done("started", call.id)
    memory.close_turn(event.turn)


def waiting(memory: Memory) -> None:
    """Hand in an event and take it, fire a timer, let a turn give way, remove a timer."""
    done("submitted", memory.submit(Event(EventKind.USER, "first")).ticket)
    memory.inbox.add_timer(When(datetime(2020, 1, 1)), "due")
    done("timer", "due")
    memory.inbox.add_timer(When(datetime(2090, 1, 1)), "later")
    done("timer", "later")
    for _ in range(2):
        event = memory.inbox.next()
        assert event is not None
        opened = memory.open_turn(event)
        done("taken", opened.ticket)
        done("event", opened.id)
        memory.inbox.set_aside(opened.turn)
        done("closed", opened.turn)
        done("aside", opened.turn)
    memory.inbox.remove_timer(2)
    done("removed", "later")


def load(home: Home, path: Path) -> None:
    """Load a file into an archive, then again when it has changed."""
    archive = home.create_archive("books")
    done("archive", "books")
    home.attach("books", "b")
    file = path / "book.txt"
    for text in ("one plum\n\n" * 3, "two pears\n\n" * 3):
        file.write_text(text)
        list(loading.load(archive, [file]))
        done("loaded", text.split()[1])
    read(home.agent("b").readings)


def read(readings: Readings) -> None:
    """Read the book: two notes, which become one, and the end."""
    reading = readings.start("book.txt", "pears")
    done("reading", reading.id)
    for characters in (9, 99):
        reading = readings.get(reading.id)
        readings.note(reading, readings.stretch(reading, characters), "two pears")
    reading = readings.get(reading.id)
    readings.condense(reading, readings.notes(reading), "four pears")
    readings.finish(readings.get(reading.id), "four pears")
    done("read", reading.id)


def talk(home: Home) -> None:
    """Ask another agent something, which answers."""
    asks, answers = home.agent("a"), home.agent("b")
    event = asks.open_turn(Event(EventKind.USER, "ask"))
    done("event", event.id)
    call = asks.add(Call("", "ask", {}), event.turn)
    asks.post(call, "b", "well?")
    done("posted", call.id)
    waiting = answers.inbox.next()
    assert waiting is not None
    opened = answers.open_turn(waiting)
    answers.perform(answers.add(Call("", "answer", {}), opened.turn), answer, close=True)
    done("answered", call.id)
    asks.perform(call, ask, close=True)
    done("closed", event.turn)


def several(home: Home, file: Path) -> None:
    """Copy the agent, write it into a file and read it back, share a block and end that."""
    home.copy_agent("a", "copy")
    done("agent", "copy")
    home.export_agent("a", file)
    done("file", file)
    home.import_agent(file, "import")
    done("agent", "import")
    home.share_block("notes", "a", "b")
    done("shared", "notes")
    home.unshare_block("notes", "a", "b")
    done("unshared", "notes")


def main(path: Path) -> None:
    with Home.open(path, embedder=HashEmbedder()) as home:
        memory = home.create_agent("a")
        done("agent", "a")
        home.create_agent("b").edit(lambda desk: desk.insert_passage("theirs"))
        home.agent("b").settle()
        memory.set_model("m")
        waiting(memory)
        for n in range(3):
            turn(memory, n)
            memory.settle()
            done("settled", n + 1)
        memory.put_block(Block("notes", "x", 10), "user")
        done("block", "notes")
        memory.evict(memory.records()[2].id, "summary")
        done("evicted", memory.records()[2].id)
        outside(memory)
        load(home, path)
        undone = memory.open_turn(Event(EventKind.USER, "a slip"))
        memory.perform(memory.add(Call("", "effects", {}), undone.turn), effects, close=True)
        memory.settle()
        done("undone", memory.undo().turn)
        memory.close_turn(memory.open_turn(Event(EventKind.USER, "the secretword")).turn)
        home.forget("a", memory.forgetting("secretword"), digest)
        done("forgotten", "secretword")
        talk(home)
        several(home, path / "a.agent")
        home.rename_agent("b", "c")
        home.delete_agent("c")
        done("deleted", "c")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
