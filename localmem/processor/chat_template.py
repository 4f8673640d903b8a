"""What a model's chat template writes around a message of each role, found by rendering probes.

A template that cannot be taken apart message by message (it moves the system text, refuses consecutive
messages of a role) is Unfactorable: the dialect's plain layout takes its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from localmem.processor import template_sandbox
from localmem.processor.dialect import Dialect
from localmem.processor.template_sandbox import Message, Refused

if TYPE_CHECKING:
    from localmem.processor.llama import Llama
    from localmem.processor.tokens import Tokenizer


class Unfactorable(Exception):
    """The template does not write a conversation as one piece for each message; says why."""


_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands before and behind the content of each role.

    `native` says that the model's own template writes it so; otherwise `reason` says why not. `results` is
    the role that carries a function's result; with `quoted` the template writes results as JSON strings. With
    `indented`, every line of content is indented by one space, because the delimiters are ordinary text.
    """

    around: Mapping[str, tuple[str, str]]
    results: str
    native: bool = True
    reason: str = ""
    indented: bool = False
    quoted: bool = False

    def write(self, messages: Sequence[Message]) -> str:
        """Return a whole conversation as text, ending with the opening of the assistant's message."""
        written = "".join(
            self.around[role][0] + self.content(role, text) + self.around[role][1] for role, text in messages
        )
        return written + self.around["assistant"][0]

    def content(self, role: str, text: str) -> str:
        """Return content as it stands between the delimiters of `role`."""
        if self.quoted and role == "tool":
            return json.dumps(text, ensure_ascii=False)[1:-1]
        return _LINE_BREAK.sub(r"\g<0> ", text) if self.indented else text


def layout_for(template: str, dialect: Dialect, *, bos: str = "", eos: str = "") -> Layout:
    """Return the layout of a chat template, or the dialect's plain one when it does not factor."""
    if not template:
        return plain_layout(dialect, "the model file has no chat template")
    try:
        return factor(template, bos=bos, eos=eos)
    except Unfactorable as error:
        return plain_layout(dialect, str(error))


def plain_layout(dialect: Dialect, reason: str) -> Layout:
    """Return the layout that a dialect brings along, for a model without a usable template.

    What the model writes itself is one line of JSON and stands at the margin; everything else is indented
    from its first line on, so that no content ever begins a heading.
    """
    around = {
        role: (before if role == "assistant" else f"{before} ", after)
        for role, (before, after) in dialect.plain.items()
    }
    return Layout(around, results="tool", native=False, reason=reason, indented=True)


def model_layout(llama: Llama, tokenizer: Tokenizer, dialect: Dialect) -> Layout:
    """Return how a loaded model's template writes messages, or the dialect's plain layout.

    Delimiters without a special token can be imitated by content, so that only the plain layout is safe then.
    """
    bos, eos = (
        tokenizer.piece(token).decode("utf-8", "replace") if token >= 0 else ""
        for token in (tokenizer.bos, tokenizer.eos)
    )
    scan = Thread(target=lambda: tokenizer.added)  # meanwhile the template is rendered by another process
    scan.start()
    layout = layout_for(llama.metadata.get("tokenizer.chat_template", ""), dialect, bos=bos, eos=eos)
    scan.join()
    for role in ("user", layout.results, "assistant") if layout.native else ():
        if tokenizer.added.isdisjoint(tokenizer.markup("".join(layout.around[role]))):
            return plain_layout(
                dialect, f"it marks {_a(role)} message by ordinary text, which anyone can write"
            )
    return layout


def describe(path: Path) -> dict[str, object]:
    """Return how a model file's conversations are written, for people; no weights are loaded.

    `template` is "native" or "plain", `reason` says why it is plain, `roles` what stands around each role,
    `results` the role that carries function results. Raises ModelBroken.
    """
    from localmem.processor import dialect
    from localmem.processor.llama import Llama
    from localmem.processor.tokens import Tokenizer

    llama = Llama(path, cells=64, vocab_only=True)
    try:
        layout = model_layout(llama, Tokenizer(llama.vocab), dialect.load("json"))
    finally:
        llama.close()
    return {
        "template": "native" if layout.native else "plain",
        "reason": layout.reason,
        "results": layout.results,
        "roles": {role: list(around) for role, around in layout.around.items()},
    }


def factor(template: str, *, bos: str = "", eos: str = "") -> Layout:
    """Take a template apart into what it writes around each role. Raises Unfactorable.

    Two neighbours are rare: an assistant's message behind the system's (the queue was evicted up to it) or
    behind another one. Many templates refuse them; their pieces are put together all the same, since nothing
    better is known. A template that does write them must write them as the same pieces.
    """
    kinds = (True, False)
    probes = [_probe(with_tool=kind) for kind in kinds]
    talks = [_talk(with_tool=kind) for kind in kinds]
    try:
        rendered = template_sandbox.render(template, [*probes, *talks, *_RARE], bos=bos, eos=eos)
    except Refused as refused:
        raise Unfactorable(str(refused)) from None
    rare = zip(_RARE, rendered[-len(_RARE) :], strict=True)
    written = [(talk, text) for talk, text in rare if not isinstance(text, Refused)]
    reasons: list[Unfactorable] = []
    for index, probe in enumerate(probes):
        try:
            layout = _factor(probe, _closed(rendered[index], eos))
            layout = _checked(layout, talks[index], _closed(rendered[index + len(kinds)], eos))
            for talk, text in written:
                _checked(layout, talk, _closed(text, eos))
            return layout
        except Unfactorable as reason:
            reasons.append(reason)
    raise reasons[-1]


_RARE: Sequence[Sequence[Message]] = (
    [("system", "You remember."), ("assistant", "Hello."), ("user", "Yes?")],
    [
        ("system", "You remember."),
        ("user", "Hi"),
        ("assistant", "One."),
        ("assistant", "Two."),
        ("user", "?"),
    ],
)


def _probe(*, with_tool: bool) -> list[Message]:
    """Every pair of roles that often follow one another, each content a mark that stands nowhere else."""
    roles = ["system", "user", "assistant", "user", "user", "assistant"]
    roles += ["tool", "assistant", "tool", "user", "assistant", "user"] if with_tool else ["user"]
    return [(role, f"Xq{index}{role}Zq") for index, role in enumerate(roles)]


def _talk(*, with_tool: bool) -> list[Message]:
    """A whole conversation, with content that a template might write otherwise than it stands."""
    talk: list[Message] = [("system", "You remember.\n\n<human>\nName: Ada\n</human>")]
    for number in range(1, 6):
        talk += [
            ("user", f"[2026-01-0{number}] Question {number}?\nA second line."),
            ("user", "[alert] 70 % full"),
            ("assistant", f'{{"function": "conversation_search", "arguments": {{"page": {number}}}}}'),
            ("tool" if with_tool else "user", f'Page {number} of 5:\n- "Zażółć" said \\o/'),
            ("assistant", f"Answer {number}."),
        ]
    return [*talk, ("user", "And now?")]


def _closed(rendered: tuple[str, str] | Refused, eos: str) -> str:
    """Return a conversation without generation prompt, and without the end mark some write in its place."""
    if isinstance(rendered, Refused):
        raise Unfactorable(str(rendered))
    text, opened = rendered
    for closed in (text, text.removesuffix(eos)):
        if opened.startswith(closed):
            return closed
    raise Unfactorable("its generation prompt changes what stands before")


def _factor(probe: Sequence[Message], text: str) -> Layout:
    with_tool = any(role == "tool" for role, _ in probe)
    head, gaps, tail = _split(text, [role for role, _ in probe], [mark for _, mark in probe])
    close = {"user": tail}
    open_ = {
        "assistant": _behind(gaps["user", "assistant"], tail),
        "user": _behind(gaps["user", "user"], tail),
    }
    if not open_["assistant"]:
        raise Unfactorable("nothing opens the assistant's message")
    close["assistant"] = _before(gaps["assistant", "user"], open_["user"])
    close["system"] = _before(gaps["system", "user"], open_["user"])
    open_["system"] = head
    if with_tool:
        open_["tool"] = _behind(gaps["assistant", "tool"], close["assistant"])
        close["tool"] = _before(gaps["tool", "assistant"], open_["assistant"])
    for (first, second), gap in gaps.items():
        if gap != close[first] + open_[second]:
            raise Unfactorable(
                f"what it writes between {_a(first)} and {_a(second)} message depends on their place"
            )
    around = {role: (open_[role], close[role]) for role in open_}
    if with_tool and around["tool"] == around["user"]:
        raise Unfactorable("it writes results as if the person had said them")
    return Layout(around, "tool" if with_tool else "user")


def _checked(layout: Layout, talk: Sequence[Message], text: str) -> Layout:
    """Return the layout if it writes a whole conversation as the template itself does."""
    for candidate in (layout, replace(layout, quoted=True)):
        if candidate.write(talk) == text + layout.around["assistant"][0]:
            return candidate
    raise Unfactorable("a whole conversation comes out unlike its messages")


def _a(role: str) -> str:
    return f"an {role}" if role == "assistant" else f"a {role}"


def _split(
    text: str, roles: Sequence[str], marks: Sequence[str]
) -> tuple[str, dict[tuple[str, str], str], str]:
    at = 0
    pieces = []
    for role, mark in zip(roles, marks, strict=True):
        if text.count(mark) != 1:
            raise Unfactorable(f"it drops or repeats {_a(role)} message")
        found = text.find(mark, at)
        if found < 0:
            raise Unfactorable(f"it moves {_a(role)} message to another place")
        pieces.append(text[at:found])
        at = found + len(mark)
    gaps: dict[tuple[str, str], str] = {}
    for index, gap in enumerate(pieces[1:]):
        pair = (roles[index], roles[index + 1])
        if gaps.setdefault(pair, gap) != gap:
            raise Unfactorable(f"what it writes between {_a(pair[0])} and {_a(pair[1])} message changes")
    return pieces[0], gaps, text[at:]


def _behind(text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise Unfactorable("the end of a message depends on what follows it")
    return text[len(prefix) :]


def _before(text: str, suffix: str) -> str:
    if not text.endswith(suffix):
        raise Unfactorable("the start of a message depends on what stands before it")
    return text[: len(text) - len(suffix)]
