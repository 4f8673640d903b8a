"""What a turn came to: its reply and its steps, gathered from the items it yields."""

from __future__ import annotations

from dataclasses import dataclass, field

from localmem.records import Call, Delta, Item, Result


@dataclass(slots=True)
class Answer:
    """Gathers a turn while somebody watches it; feed it every item. `partial` is a message not yet a call."""

    said: list[str] = field(default_factory=list)
    partial: str = ""
    steps: list[tuple[Call, Result | None]] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Take in the next item of the turn."""
        match item:
            case Delta(text):
                self.partial += text
            case Call():
                self.partial = ""
                self.steps.append((item, None))
                if item.function == "send_message":
                    self.said.append(str(item.arguments.get("message", "")))
            case Result():
                if self.steps and self.steps[-1][0].id == item.call:
                    self.steps[-1] = (self.steps[-1][0], item)
            case _:
                pass

    @property
    def reply(self) -> str:
        """Everything said to the person, with the beginning of a message that was interrupted."""
        return "\n".join([*self.said, self.partial] if self.partial else self.said)

    def steps_as_data(self) -> list[dict[str, object]]:
        """Return the steps as `{thought, function, arguments, ok, result}`; ok is None where it never ran."""
        return [
            {
                "thought": call.thought,
                "function": call.function,
                "arguments": dict(call.arguments),
                "ok": result.ok if result else None,
                "result": result.text if result else None,
            }
            for call, result in self.steps
        ]
