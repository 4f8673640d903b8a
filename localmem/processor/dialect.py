"""A dialect: how a model family writes a function call, read from its file in grammars/."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any

from localmem.errors import DefinitionError
from localmem.functions.schema import Function
from localmem.processor.interface import Calls
from localmem.records import Call
from localmem.resources import grammars

JSON_STYLE = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""With these separators a forced call keeps the tokens that the tokenizer itself would choose."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The shape of a call in one model family. `plain` maps a role to what stands around its content."""

    name: str
    grammar: str
    function: str
    arguments: str
    before: str
    after: str
    result: str
    plain: dict[str, tuple[str, str]]

    def write(self, call: Call, *, heartbeat: bool) -> str:
        """Return a call as the model would write it; `heartbeat` says whether its field is part of it."""
        fields: dict[str, object] = {"thought": call.thought} if call.thought else {}
        fields |= {self.function: call.function, self.arguments: dict(call.arguments)}
        if heartbeat:
            fields["request_heartbeat"] = call.heartbeat
        return self.before + json.dumps(fields, ensure_ascii=False) + self.after

    def lark(self, shape: Calls) -> str:
        """Return the Lark grammar of exactly the calls that `shape` allows."""
        return self.grammar.replace("@CALL@", json.dumps(self.schema(shape) | {"x-guidance": JSON_STYLE}))

    def schema(self, shape: Calls) -> dict[str, object]:
        """Return the JSON schema of exactly the calls that `shape` allows."""
        return {"anyOf": [self._call_schema(shape, function) for function in shape.functions]}

    def _call_schema(self, shape: Calls, function: Function) -> dict[str, object]:
        fields: dict[str, object] = {}
        if shape.verdict:
            fields[shape.verdict.question] = {"const": shape.verdict.answers[function.name]}
        elif shape.thought:
            fields["thought"] = {"type": "string", "minLength": 1, "maxLength": shape.thought}
        fields[self.function] = {"const": function.name}
        fields[self.arguments] = function.json_schema(shape.labels)
        if shape.heartbeat:
            fields["request_heartbeat"] = {"type": "boolean"}
        return {
            "type": "object",
            "properties": fields,
            "required": list(fields),
            "additionalProperties": False,
        }

    def read(self, text: str) -> Call:
        """Return the call that a completion says. Raises ValueError when it is not one in this dialect."""
        body = text.removeprefix(self.before).removesuffix(self.after)
        return self._call(json.loads(body))

    def read_leniently(self, text: str) -> Call:
        """Return the first call found anywhere in free text, whatever fences or prose stand around it.

        Raises ValueError when there is none.
        """
        decoder = json.JSONDecoder()
        at = text.find("{")
        while at >= 0:
            try:
                found, _ = decoder.raw_decode(text, at)
                return self._call(found)
            except ValueError:
                at = text.find("{", at + 1)
        raise ValueError("no function call in the text")

    def _call(self, found: Any) -> Call:
        if not isinstance(found, dict):
            raise ValueError("a call is a JSON object")
        function = found.get(self.function)
        arguments = found.get(self.arguments)
        if not isinstance(function, str) or not isinstance(arguments, dict):
            raise ValueError(f'a call has "{self.function}" and "{self.arguments}"')
        json.dumps(found, ensure_ascii=False).encode()  # half a character cannot be stored: a ValueError
        return Call(
            thought=str(found.get("thought", "")),
            function=function,
            arguments=arguments,
            heartbeat=found.get("request_heartbeat") is True,
        )


@cache
def load(name: str) -> Dialect:
    """Return the dialect of that name. Raises DefinitionError naming those there are."""
    file = grammars() / f"{name}.lark"
    if not file.is_file() or name == "summary":
        known = sorted(f.name.removesuffix(".lark") for f in grammars().iterdir() if f.name.endswith(".lark"))
        known.remove("summary")
        raise DefinitionError(f"no dialect {name!r}; there are {', '.join(known)}")
    text = file.read_text("utf-8")
    header = "\n".join(line[3:] for line in text.splitlines() if line.startswith("//@"))
    grammar = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
    settings = tomllib.loads(header)
    plain = {role: (around[0], around[1]) for role, around in settings.pop("plain").items()}
    return Dialect(name=name, grammar=grammar.strip(), plain=plain, **settings)


def summary_grammar(characters: int) -> str:
    """Return the Lark grammar of a summary of at most `characters` characters."""
    text = (grammars() / "summary.lark").read_text("utf-8")
    return text.replace("@CHARACTERS@", str(max(1, characters - 1)))
