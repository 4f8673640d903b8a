"""Chat templates of many families taken apart, hostile ones survived, the plain layout never imitated.

The templates beside this file restate published layouts in our own words; where one does not factor, the
reason is what `models show` tells the person.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmem.processor import dialect as dialects
from localmem.processor import template_sandbox
from localmem.processor.chat_template import Unfactorable, describe, factor, layout_for, plain_layout
from localmem.processor.template_sandbox import Message

FOLDER = Path(__file__).with_name("templates")
BOS, EOS = "<s>", "</s>"

FACTORED = {
    "alpaca": "user",
    "command_r": "tool",
    "deepseek": "user",
    "granite3": "tool",
    "lfm2": "tool",
    "llama3": "tool",
    "phi4": "user",
    "phi4_mini": "tool",
    "qwen3": "tool",
    "qwq": "tool",
    "smollm3": "user",
    "zephyr": "user",
}
"""Families whose layout is native, and the role that carries their results."""

PLAIN = {
    "gemma2": "it refuses: System role not supported",
    "gemma3": "it refuses: Conversation roles must alternate",
    "harmony": "it refuses: 'strftime_now' is undefined",
    "llama2": "it refuses: Conversation roles must alternate",
    "mistral3": "it refuses: After the optional system message, conversation roles must alternate",
}
"""Families that fall back to the plain layout, and why."""


def template(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text("utf-8")


def native(text: str, talk: list[Message]) -> str:
    """The template's own rendering, up to the end of the last message."""
    rendered = template_sandbox.render(text, [talk], bos=BOS, eos=EOS)[0]
    assert not isinstance(rendered, template_sandbox.Refused)
    closed, opened = rendered
    return closed if opened.startswith(closed) else closed.removesuffix(EOS)


def test_every_template_here_is_expected() -> None:
    assert {file.stem for file in FOLDER.glob("*.jinja")} == FACTORED.keys() | PLAIN.keys()


@pytest.mark.parametrize("name", FACTORED)
def test_a_family_is_written_as_its_own_template_writes_it(name: str) -> None:
    text = template(name)
    layout = factor(text, bos=BOS, eos=EOS)
    assert (layout.native, layout.results, layout.indented) == (True, FACTORED[name], False)
    talk: list[Message] = [
        ("system", "You remember.\n\nCore memory:\n<human>Ada 👋🏽</human>"),
        ("user", "cześć"),
    ]
    for number in range(4):
        talk += [
            ("user", f"[alert] {number}"),
            ("assistant", '{"function": "x", "arguments": {"q": "日本\\n"}}'),
        ]
        talk += [
            (layout.results, 'Page 1:\n- "a" \\ {{ b }}\n\n- 日本'),
            ("user", "two\n\nlines <b>"),
            ("assistant", "ok"),
        ]
    talk += [("user", "and?")]
    assert layout.write(talk) == native(text, talk) + layout.around["assistant"][0]


@pytest.mark.parametrize("name", FACTORED)
def test_the_beginning_token_stands_once_at_the_head(name: str) -> None:
    layout = factor(template(name), bos=BOS, eos=EOS)
    assert layout.around["system"][0].count(BOS) == (
        BOS in native(template(name), [("system", "x"), ("user", "y")])
    )
    others = [part for role, pair in layout.around.items() if role != "system" for part in pair]
    assert not any(BOS in part for part in others)


@pytest.mark.parametrize("name", PLAIN)
def test_a_family_that_does_not_factor_says_why(name: str) -> None:
    layout = layout_for(template(name), dialects.load("json"), bos=BOS, eos=EOS)
    assert not layout.native
    assert layout.indented
    assert layout.results == "tool"
    assert layout.reason.startswith(PLAIN[name])
    assert "\n" not in layout.reason


def test_llama_3_writes_results_as_json() -> None:
    layout = factor(template("llama3"), bos=BOS, eos=EOS)
    assert layout.content("tool", 'a\n"b" ż') == 'a\\n\\"b\\" ż'
    assert layout.content("user", 'a\n"b"') == 'a\n"b"'


def test_a_model_without_a_template_has_the_plain_layout() -> None:
    assert layout_for("", dialects.load("json")).reason == "the model file has no chat template"


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

UNFACTORABLE = {
    "it drops a role": CHATML.replace(
        "{% for m in messages %}", "{% for m in messages if m.role != 'assistant' %}"
    ),
    "it repeats": CHATML + "{{ messages[0].content }}",
    "it moves the system text": CHATML.replace("in messages", "in messages[1:] + messages[:1]"),
    "it numbers": CHATML.replace("{{ m.role }}", "{{ m.role }}{{ loop.index }}"),
    "it changes the content": CHATML.replace("{{ m.content }}", "{{ m.content | upper }}"),
    "it changes line breaks": CHATML.replace("{{ m.content }}", "{{ m.content.replace('\\n', ' ') }}"),
    "it escapes": CHATML.replace("{{ m.content }}", "{{ m.content | e }}"),
    "it shows the newest only": CHATML.replace("{{ m.content }}", "{{ m.content if loop.revindex < 4 }}"),
    "it merges": CHATML.replace(
        "<|im_start|>",
        "{% if loop.first or m.role != messages[loop.index0 - 1].role %}<|im_start|>{% endif %}",
    ),
    "nothing opens an answer": "{% for m in messages %}{{ m.content }}\n{% endfor %}",
    "it writes nothing": "",
    "it writes one thing": "hello",
}


MERGES_ANSWERS = CHATML.replace(
    "<|im_start|>",
    "{% if loop.first or m.role != 'assistant' or messages[loop.index0 - 1].role != m.role %}<|im_start|>{% endif %}",
    1,
)
DROPS_A_FIRST_ANSWER = CHATML.replace(
    "in messages %}", "in messages if not (loop.index0 == 1 and m.role == 'assistant') %}"
).replace("loop.index0", "messages.index(m)")
RARE = "{% for m in messages %}{% if m.role == 'assistant' and messages[loop.index0 - 1].role in ROLES %}"
REFUSES = RARE + "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + CHATML


@pytest.mark.parametrize("template", [MERGES_ANSWERS, DROPS_A_FIRST_ANSWER])
def test_rare_neighbours_are_written_as_pieces_where_they_are_written(template: str) -> None:
    with pytest.raises(Unfactorable, match="unlike its messages"):
        factor(template, bos=BOS, eos=EOS)


@pytest.mark.parametrize("roles", ["['assistant']", "['system']", "['assistant', 'system']"])
def test_refusing_rare_neighbours_does_no_harm(roles: str) -> None:
    assert factor(REFUSES.replace("ROLES", roles), bos=BOS, eos=EOS) == factor(CHATML, bos=BOS, eos=EOS)


@pytest.mark.parametrize("what", UNFACTORABLE)
def test_what_is_not_one_piece_for_each_message_is_not_used(what: str) -> None:
    with pytest.raises(Unfactorable):
        factor(UNFACTORABLE[what], bos=BOS, eos=EOS)


def test_the_probe_itself_factors() -> None:
    assert factor(CHATML).around["user"] == ("<|im_start|>user\n", "<|im_end|>\n")


# ---- hostile templates

REPEAT = "{% set n = namespace(x=START) %}{% for i in range(90) %}{% set n.x = n.x OP n.x %}{% endfor %}"
HOSTILE = {
    "an endless loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a loop that writes": "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "a huge range": "{{ range(1000000000) | list }}",
    "a string times": "{{ 'a' * 100000000000 }}",
    "a list times": "{{ ([0] * 100000000000) | length }}",
    "a power": "{{ 9 ** 999999999 }}",
    "squares": REPEAT.replace("START", "99999999").replace("OP", "*"),
    "doubling": REPEAT.replace("START", "'aaaaaaaa'").replace("OP", "~"),
    "padding": "{{ 'a'.ljust(99999999999) }}",
    "centring": "{{ 'a' | center(2000000000) }}",
    "formatting": "{{ '%2000000000d' % 1 }}",
    "format": "{{ '{:2000000000}'.format(1) }}",
    "replacing": "{{ ('a' * 100000) | replace('', 'b' * 1000000) }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "insides of Python": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "insides by format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}{{ 1 / 0 }}",
    "code": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "changing what it is given": "{{ messages.append(1) }}",
    "import": "{% import 'os' as os %}",
    "include": "{% include '/etc/passwd' %}",
    "extends": "{% extends 'base' %}",
    "a syntax error": "{% for m in %}",
    "an unclosed block": "{% if true %}",
    "an unknown tag": "{% evil %}",
    "an unknown filter": "{{ 1 | evil }}",
    "a refusal": "{{ raise_exception('not with me\nat all') }}",
    "a division": "{{ 1 / 0 }}",
}


def computed() -> float:
    """Seconds of computing that the processes we started and waited for have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_template_costs_little_and_says_one_line(what: str) -> None:
    before = computed()
    with pytest.raises(Unfactorable) as raised:
        factor(HOSTILE[what] + CHATML)
    assert computed() - before < template_sandbox.TIME_LIMIT + 1.5
    said = str(raised.value)
    assert said
    assert "\n" not in said
    assert len(said) < 300
    assert "<class" not in said


@pytest.mark.parametrize(
    "inside", ["raise_exception.__globals__", "messages | attr('__class__')", "self.__init__"]
)
def test_what_the_sandbox_hides_is_written_as_nothing(inside: str) -> None:
    assert factor(f"{{{{ {inside} }}}}{CHATML}") == factor(CHATML)


def test_jinja_is_looked_for_where_this_process_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jinja2.py").write_text("raise ImportError('the one in front')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match="the one in front"):
        factor(CHATML)


def test_a_busy_machine_changes_no_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def late(command: list[str], **how: object) -> object:
        script = f"import os, sys, time; time.sleep(2.5); os.execv(sys.executable, {command!r})"
        return run([sys.executable, "-c", script], **how)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", late)
    assert factor(CHATML).native


# ---- the plain layout

ODD = "a\rb\r\nc\vd\fe\x1cf\x1dg\x1eh\x85i\u2028j\u2029k"


@pytest.mark.parametrize("name", ["json", "hermes"])
@given(
    text=st.lists(
        st.sampled_from(
            ["### User\n", "### Assistant\n", "### System", "\n", "\r", "\r\n", ODD, " ", "#", "x"]
        )
    ).map("".join)
)
def test_no_content_begins_a_heading(name: str, text: str) -> None:
    layout = plain_layout(dialects.load(name), "for a test")
    whole = layout.write([("system", text), ("user", text), ("tool", text)])
    headings = [line for line in whole.splitlines() if line.startswith("###")]
    assert headings == ["### System", "### User", "### Result", "### Assistant"]


def test_indented_content_is_otherwise_whole() -> None:
    layout = plain_layout(dialects.load("json"), "for a test")
    assert layout.write([("user", "a\nb")]) == "### User\n a\n b\n\n### Assistant\n"
    assert layout.content("user", ODD).replace(" ", "") == ODD


# ---- for people


@pytest.mark.model
def test_a_model_file_is_described(smollm2: Path) -> None:
    described = describe(smollm2)
    assert described["template"] == "native"
    assert described["reason"] == ""
    assert described["results"] in ("tool", "user")
    roles = described["roles"]
    assert isinstance(roles, dict)
    assert roles["user"] == ["<|im_start|>user\n", "<|im_end|>\n"]
