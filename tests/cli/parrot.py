"""Runs `localmem` on a scripted model that obeys: "remember X", "use F {...}", "count to N", "lecture" and more.

Used as a program: python parrot.py ARGUMENTS OF localmem. PARROT_DELAY gives the seconds between two words.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from localmem import runtime
from localmem.processor.interface import Calls, Generation, Limits, Segment, Shape
from localmem.records import Call
from localmem.testing import ScriptedProcessor

PARROT = Path(__file__)
Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs localmem on the parrot: `localmem("ask", "hello", input="", NAME="value of a variable")`."""

MODEL = "smollm2-135m-instruct"


LECTURE = """# On tea

Tea is **green** or *black*, made with `water` at 80 degrees, and nobody should ever let it stand for too long.

1. Boil the water
2. Pour it, and wait:
   - two minutes for green tea
   - four for black tea, or even five where the water is hard and the leaves are whole

```python
def brew(leaves):
    return leaves * 2  # **not bold**
```

| Tea | What to know of it | Minutes |
|-----|--------------------|--------:|
| Sencha | a **green** one from Japan that wants cooler water than most people think | 2 |
| Assam | strong | 4 |

> Enough."""
"""A message with everything that Markdown has."""


class Parrot(ScriptedProcessor):
    """A scripted processor whose next move depends on the last message in the prompt."""

    def __init__(self, window: int = 4096) -> None:
        super().__init__(self._move, window=window)

    def generate(self, prompt: list[Segment], shape: Shape, limits: Limits) -> Generation:  # type: ignore[override]
        generation = super().generate(prompt, shape, limits)
        delay = float(os.environ.get("PARROT_DELAY", "0"))
        pieces = type(generation).__iter__

        class Slow(type(generation)):  # type: ignore[misc]
            def __iter__(self) -> Iterator[str]:
                for piece in pieces(self):
                    time.sleep(delay)
                    yield piece

        generation.__class__ = Slow
        return generation

    def _move(self, shape: Shape) -> Call | str:
        if not isinstance(shape, Calls):
            page, _, asked = self.prompts[-1].rpartition("<document>")[2].partition("</document>")
            return f"It says: {page.strip()[:400]}" if "the page above" in asked else "What was said before."
        who = max(("user", "peer"), key=lambda kind: self.prompts[-1].rfind(f"<{kind}>"))
        text, _, done = self.prompts[-1].rpartition(f"<{who}>")[2].partition(f"</{who}>")
        text = text.rpartition("instructions)")[2].strip() if who == "peer" else text.strip()
        verb, _, rest = text.partition(" ")
        obeyed = _obeyed(verb, rest) if "<result>" not in done else None
        if obeyed is not None:
            return obeyed
        if any(function.name == "nothing_to_remember" for function in shape.functions):
            return Call("", "nothing_to_remember", {})
        if verb == "ask":
            answer = done.partition("<result>")[2].partition("</result>")[0].strip().removeprefix("ok ")
            return Call("", "send_message", {"message": answer})
        return Call("", "send_message", {"message": _spoken(verb, rest, text)})


def _spoken(verb: str, rest: str, text: str) -> str:
    """Return what is said to a message."""
    if verb == "lecture":
        return LECTURE
    if verb == "count":
        return " ".join(str(number) for number in range(1, int(rest.split()[-1]) + 1))
    return f"You said: {text}"


def _obeyed(verb: str, rest: str) -> Call | None:
    """Return the call that a message orders, None where it orders none."""
    first, _, after = rest.partition(" ")
    match verb:
        case "remember":
            return Call("", "core_memory_append", {"label": "human", "content": rest})
        case "archive":
            return Call("", "archival_memory_insert", {"content": rest})
        case "tell" | "ask":
            told = {"agent": first, "message": after, "wait": verb == "ask"}
            return Call("", "send_message_to_agent", told)
        case "find":
            return Call("", "conversation_search", {"query": rest})
        case "use":
            return Call("", first, json.loads(after or "{}"))
    return None


def load(registry: object, profile: object, options: runtime.Options, snapshots: object = None) -> Parrot:
    """Stand in for `runtime.load_processor`."""
    return Parrot(options.window or 4096)


if __name__ == "__main__":
    from localmem.cli.main import run

    os.environ.setdefault("LOCALMEM_MODEL", MODEL)
    runtime.load_processor = load  # type: ignore[assignment]
    run()
