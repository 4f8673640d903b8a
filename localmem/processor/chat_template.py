"""What a model's chat template writes around a message of each role, found by rendering probes.

A template is a program that came with the model file, so it runs in a sandbox and against the clock. One that
cannot be taken apart message by message (it moves the system text, refuses consecutive messages of a role) is
Unfactorable: the dialect's plain layout takes its place.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from localmem.processor.dialect import Dialect

Message = tuple[str, str]
"""A role (system, user, assistant, tool) and its content."""

TIME_LIMIT = 2.0
"""Seconds that one rendering may take."""

LARGEST_PRODUCT = 1_000_000
"""The longest sequence or number a template may make by multiplication."""


class Unfactorable(Exception):
    """The template does not write a conversation as one piece for each message; says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands before and behind the content of each role.

    `native` says that the model's own template writes it so; otherwise `reason` says why not. `results` is the
    role that carries a function's result. With `indented`, continuation lines of content are indented by one
    space, because the delimiters are ordinary text.
    """

    around: Mapping[str, tuple[str, str]]
    results: str
    native: bool = True
    reason: str = ""
    indented: bool = False

    def write(self, messages: Sequence[Message]) -> str:
        """Return a whole conversation as text, ending with the opening of the assistant's message."""
        written = "".join(
            self.around[role][0] + self.content(text) + self.around[role][1] for role, text in messages
        )
        return written + self.around["assistant"][0]

    def content(self, text: str) -> str:
        """Return content as it stands between its delimiters."""
        return text.replace("\n", "\n ") if self.indented else text


def layout_for(template: str, dialect: Dialect, *, bos: str = "", eos: str = "") -> Layout:
    """Return the layout of a chat template, or the dialect's plain one when it does not factor."""
    if not template:
        return plain_layout(dialect, "the model file has no chat template")
    try:
        return factor(template, bos=bos, eos=eos)
    except Unfactorable as error:
        return plain_layout(dialect, str(error))


def plain_layout(dialect: Dialect, reason: str) -> Layout:
    """Return the layout that a dialect brings along, for a model without a usable template."""
    return Layout(dialect.plain, results="tool", native=False, reason=reason, indented=True)


def factor(template: str, *, bos: str = "", eos: str = "") -> Layout:
    """Take a template apart into what it writes around each role. Raises Unfactorable."""
    render = compile_template(template, bos=bos, eos=eos)
    try:
        return _factor(render, with_tool=True)
    except Unfactorable as error:
        try:
            return _factor(render, with_tool=False)
        except Unfactorable:
            raise error from None


def _factor(render: Callable[[Sequence[Message], bool], str], *, with_tool: bool) -> Layout:
    roles = ["system", "user", "assistant", "user", "user", "assistant"]
    roles += ["tool", "assistant", "tool", "user", "assistant", "user"] if with_tool else ["user"]
    marks = [f"Xq{index}{role}Zq" for index, role in enumerate(roles)]
    probe = list(zip(roles, marks, strict=True))
    text, opened = render(probe, False), render(probe, True)
    if not opened.startswith(text):
        raise Unfactorable("its generation prompt changes what stands before")
    head, gaps, tail = _split(text, roles, marks)

    opening = opened[len(text) :]
    if not opening or not gaps["user", "assistant"].endswith(opening):
        opening = _common_suffix([gap for (_, second), gap in gaps.items() if second == "assistant"])
    close = {"user": gaps["user", "assistant"].removesuffix(opening)}
    open_ = {"assistant": opening, "user": _behind(gaps["user", "user"], close["user"])}
    close["assistant"] = _before(gaps["assistant", "user"], open_["user"])
    close["system"] = _before(gaps["system", "user"], open_["user"])
    open_["system"] = head
    if with_tool:
        open_["tool"] = _behind(gaps["assistant", "tool"], close["assistant"])
        close["tool"] = _before(gaps["tool", "assistant"], open_["assistant"])
    for (first, second), gap in gaps.items():
        if gap != close[first] + open_[second]:
            raise Unfactorable(
                f"what it writes between a {first} and a {second} message depends on their place"
            )
    if tail != close["user"]:
        raise Unfactorable("it writes the last message unlike the others")
    layout = Layout({role: (open_[role], close[role]) for role in open_}, "tool" if with_tool else "user")
    _check(layout, render, with_tool)
    return layout


def _check(layout: Layout, render: Callable[[Sequence[Message], bool], str], with_tool: bool) -> None:
    """Compare the layout with the template's own rendering of a whole conversation."""
    talk: list[Message] = [("system", "You remember.\n\n<human>\nName: Ada\n</human>")]
    for number in range(1, 6):
        talk += [
            ("user", f"[2026-01-0{number}] Question {number}?\nA second line."),
            ("user", "[alert] 70 % full"),
        ]
        talk += [("assistant", f'{{"function": "conversation_search", "arguments": {{"page": {number}}}}}')]
        talk += [("tool" if with_tool else "user", f"Page {number} of 5"), ("assistant", f"Answer {number}.")]
    talk.append(("user", "And now?"))
    if layout.write(talk) != render(talk, False) + layout.around["assistant"][0]:
        raise Unfactorable("a whole conversation comes out unlike its messages")


def _split(
    text: str, roles: Sequence[str], marks: Sequence[str]
) -> tuple[str, dict[tuple[str, str], str], str]:
    at = 0
    pieces = []
    for role, mark in zip(roles, marks, strict=True):
        if text.count(mark) != 1:
            raise Unfactorable(f"it drops or repeats a {role} message")
        found = text.find(mark, at)
        if found < 0:
            raise Unfactorable(f"it moves a {role} message to another place")
        pieces.append(text[at:found])
        at = found + len(mark)
    gaps: dict[tuple[str, str], str] = {}
    for index, gap in enumerate(pieces[1:]):
        pair = (roles[index], roles[index + 1])
        if gaps.setdefault(pair, gap) != gap:
            raise Unfactorable(f"what it writes between a {pair[0]} and a {pair[1]} message changes")
    return pieces[0], gaps, text[at:]


def _behind(text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise Unfactorable("the end of a message depends on what follows it")
    return text[len(prefix) :]


def _before(text: str, suffix: str) -> str:
    if not text.endswith(suffix):
        raise Unfactorable("the start of a message depends on what stands before it")
    return text[: len(text) - len(suffix)]


def _common_suffix(texts: Sequence[str]) -> str:
    shortest = min(texts, key=len)
    for start in range(len(shortest)):
        if all(text.endswith(shortest[start:]) for text in texts):
            return shortest[start:]
    return ""


def compile_template(template: str, *, bos: str, eos: str) -> Callable[[Sequence[Message], bool], str]:
    """Return a function that renders messages, with or without the generation prompt, in a sandbox.

    The rendering raises Unfactorable for anything the template does wrong, refuses, or takes too long for.
    """
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or (
                isinstance(left, str | list | tuple) or isinstance(right, str | list | tuple)
            ):
                size = max((value for value in (left, right) if isinstance(value, int)), default=0)
                if size > LARGEST_PRODUCT or operator == "**":
                    raise jinja2.exceptions.SecurityError("the template multiplies too much")
            return super().call_binop(context, operator, left, right)

    def refuse(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = _to_json
    try:
        compiled = environment.from_string(template)
    except jinja2.exceptions.TemplateError as error:
        raise Unfactorable(f"it is no valid template: {error}") from error

    def render(messages: Sequence[Message], opening: bool) -> str:
        context = [{"role": role, "content": content} for role, content in messages]
        try:
            return _within(
                TIME_LIMIT,
                lambda: compiled.render(
                    messages=context, add_generation_prompt=opening, bos_token=bos, eos_token=eos
                ),
            )
        except TimeoutError:
            raise Unfactorable(f"it took more than {TIME_LIMIT:.0f} s") from None
        except Exception as error:  # a template may fail in any way; none is a bug of ours
            raise Unfactorable(f"it refuses: {error}") from error

    return render


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


def _within(seconds: float, work: Callable[[], str]) -> str:
    """Run Python code of a template, and stop it when its time is over (checked on every line it runs)."""
    end = time.monotonic() + seconds

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if time.monotonic() > end:
            raise TimeoutError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work()
    finally:
        sys.settrace(before)
