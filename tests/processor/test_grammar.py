"""The shipped grammars on a tokenizer of single bytes: what they let through, what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from localmem.functions import executor
from localmem.functions.schema import DATE_PATTERN, Function, Parameter
from localmem.functions.standard import SETS, function_set
from localmem.processor import dialect as dialects
from localmem.processor.interface import Calls, Verdict
from localmem.records import Call
from localmem.resources import grammars

DIALECTS = ("json", "hermes")
LABELS = ("human", "persona", "projekt ąß", 'say "hi"')
END, OPEN, CLOSE = 256, 257, 258


class Bytes:
    """256 tokens of one byte each, the end of a text, and two that look like markup."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(256)), b"<|im_end|>", b"<tool_call>", b"</tool_call>")
    special_token_ids = (END, OPEN, CLOSE)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


@cache
def tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(Bytes()))


@cache
def matcher(lark: str) -> LLMatcher:
    made = LLMatcher(tokenizer(), LLMatcher.grammar_from_lark(lark))
    assert not made.get_error()
    return made


def lets_through(lark: str, text: str | bytes | Sequence[int]) -> bool:
    """Whether the whole text is allowed, and nothing is missing at its end."""
    walker = matcher(lark).deep_copy()
    ids = list(text.encode()) if isinstance(text, str) else list(text)
    return bool(walker.try_consume_tokens(ids) == len(ids) and walker.is_accepting())


def everything() -> tuple[Function, ...]:
    """Every function of every standard set, once."""
    return tuple({f.name: f.among(["anna", "other"]) for name in SETS for f in function_set(name)}.values())


def shape(**settings: object) -> Calls:
    return replace(Calls(everything(), labels=LABELS), **settings)  # type: ignore[arg-type]


def written(dialect: dialects.Dialect, call: Call, within: Calls) -> str:
    return dialect.write(call, heartbeat=within.heartbeat)


TEXTS = (
    "Hi Ada!",
    "Grüß dich 👋🏽 👨‍👩‍👧",
    "こんにちは、世界",
    "Zażółć gęślą jaźń",
    'quotes " and \\ and / and {"function": "x"}',
    "two\nlines\tand\r\na tab\x00\x1b",
    "<tool_call> </tool_call> <|im_end|> <|im_start|>",
    "\u2028 \ufffd \ud7ff",
    " ",
    "}" * 50,
)

ARGUMENTS: dict[str, dict[str, object]] = {
    "send_message": {"message": "TEXT"},
    "core_memory_append": {"label": "human", "content": "TEXT"},
    "core_memory_replace": {"label": "projekt ąß", "old_content": "TEXT", "new_content": ""},
    "core_memory_rewrite": {"label": 'say "hi"', "content": "TEXT"},
    "conversation_search": {"query": "TEXT", "page": 2},
    "conversation_search_date": {"start": "2024-02-29", "end": "2026-12-31", "page": 999},
    "archival_memory_insert": {"content": "TEXT"},
    "archival_memory_search": {"query": "TEXT"},
    "pause_heartbeats": {"minutes": 1440},
    "send_message_to_agent": {"agent": "anna", "message": "TEXT", "wait": True},
    "page_out": {"record": 2**53},
    "set_timer": {"when": "2026-11-22 09:00", "note": "TEXT"},
    "remove_timer": {"number": 12},
    "go_on": {},
    "archive_insert": {"archive": "books", "content": "TEXT"},
    "open_document": {"name": "TEXT", "position": 0.5},
    "next_page": {},
    "read_document": {"name": "book.txt", "task": "TEXT"},
    "nothing_to_remember": {},
}


def test_the_corpus_knows_every_standard_function() -> None:
    assert set(ARGUMENTS) == {function.name for function in everything()}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("thought", [0, 60])
@pytest.mark.parametrize("heartbeat", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_legal_calls_pass_and_are_read_back(name: str, thought: int, heartbeat: bool, text: str) -> None:
    dialect, within = dialects.load(name), shape(thought=thought, heartbeat=heartbeat)
    lark = dialect.lark(within)
    for function in within.functions:
        arguments = {k: text if v == "TEXT" else v for k, v in ARGUMENTS[function.name].items()}
        call = Call(text if thought else "", function.name, arguments, heartbeat)
        said = written(dialect, call, within)
        assert lets_through(lark, said), said
        assert dialect.read(said) == call
        executor.bind(function, dialect.read(said).arguments, LABELS)


def call_text(function: str, arguments: str) -> str:
    return f'{{"function": "{function}", "arguments": {arguments}}}'


REFUSED = {
    "a function that is not offered": call_text("core_memory_archive", "{}"),
    "an unknown label": call_text("core_memory_append", '{"label": "humans", "content": "x"}'),
    "a label out of the prompt": call_text("core_memory_append", '{"label": "system", "content": "x"}'),
    "a missing argument": call_text("core_memory_append", '{"label": "human"}'),
    "no arguments": call_text("send_message", "{}"),
    "an extra argument": call_text("send_message", '{"message": "x", "name": "Ada"}'),
    "the wrong order": call_text("core_memory_append", '{"content": "x", "label": "human"}'),
    "arguments first": '{"arguments": {"message": "x"}, "function": "send_message"}',
    "an argument twice": call_text("send_message", '{"message": "x", "message": "y"}'),
    "a number for a text": call_text("send_message", '{"message": 1}'),
    "null for a text": call_text("send_message", '{"message": null}'),
    "a text for a number": call_text("conversation_search", '{"query": "x", "page": "1"}'),
    "a fraction": call_text("conversation_search", '{"query": "x", "page": 1.5}'),
    "an exponent": call_text("conversation_search", '{"query": "x", "page": 1e2}'),
    "a leading zero": call_text("conversation_search", '{"query": "x", "page": 01}'),
    "page 0": call_text("conversation_search", '{"query": "x", "page": 0}'),
    "page 1000": call_text("conversation_search", '{"query": "x", "page": 1000}'),
    "a truth for a number": call_text("conversation_search", '{"query": "x", "page": true}'),
    "a record beyond all": call_text("page_out", f'{{"record": {2**53 + 1}}}'),
    "an empty text": call_text("send_message", '{"message": ""}'),
    "a text too long": call_text("send_message", f'{{"message": "{"a" * 2001}"}}'),
    "emoji too long": call_text("send_message", f'{{"message": "{"😀" * 2001}"}}'),
    "escapes too long": call_text("send_message", '{"message": "' + "\\n" * 2001 + '"}'),
    "half a character": call_text("send_message", '{"message": "\\ud83d"}'),
    "the other half": call_text("send_message", '{"message": "\\ude00"}'),
    "an unknown escape": call_text("send_message", '{"message": "\\x41"}'),
    "a bare line break": call_text("send_message", '{"message": "a\nb"}'),
    "a bare NUL": call_text("send_message", '{"message": "\x00"}'),
    "no day of the calendar": call_text(
        "conversation_search_date", '{"start": "2026-02-30", "end": "2026-03-01"}'
    ),
    "no leap year": call_text("conversation_search_date", '{"start": "2025-02-29", "end": "2026-03-01"}'),
    "a date in words": call_text("conversation_search_date", '{"start": "yesterday", "end": "2026-03-01"}'),
    "a short date": call_text("conversation_search_date", '{"start": "2026-1-1", "end": "2026-03-01"}'),
    "a thought nobody asked for": '{"thought": "x", "function": "nothing_to_remember", "arguments": {}}',
    "a heartbeat nobody asked for": call_text("nothing_to_remember", "{}")[:-1]
    + ', "request_heartbeat": true}',
    "blanks in front": "  " + call_text("nothing_to_remember", "{}"),
    "blanks inside": '{"function":   "nothing_to_remember", "arguments": {}}',
    "blanks flooding": '{"function": "nothing_to_remember", "arguments": {' + " " * 400 + "}}",
    "line breaks inside": '{\n"function": "nothing_to_remember", "arguments": {}}',
    "a line break behind": call_text("nothing_to_remember", "{}") + "\n",
    "two calls": call_text("nothing_to_remember", "{}") * 2,
    "half a call": call_text("nothing_to_remember", "{}")[:-1],
    "prose": "Sure! Let me help.",
    "a fence": f"```json\n{call_text('nothing_to_remember', '{}')}\n```",
    "nothing": "",
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("what", REFUSED)
def test_illegal_calls_are_refused(name: str, what: str) -> None:
    dialect = dialects.load(name)
    said = REFUSED[what].replace('"function":', f'"{dialect.function}":', 1)
    assert not lets_through(dialect.lark(shape()), dialect.before + said + dialect.after)


@pytest.mark.parametrize("name", DIALECTS)
def test_what_is_asked_for_may_not_be_left_out(name: str) -> None:
    dialect, call = dialects.load(name), Call("", "nothing_to_remember", {})
    assert not lets_through(dialect.lark(shape(thought=60)), dialect.write(call, heartbeat=False))
    assert not lets_through(dialect.lark(shape(heartbeat=True)), dialect.write(call, heartbeat=False))
    lengthy = dialect.write(replace(call, thought="x" * 61), heartbeat=False)
    assert not lets_through(dialect.lark(shape(thought=60)), lengthy)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_verdict_leads_to_its_functions(name: str) -> None:
    answers = {function.name: "yes" for function in everything()} | {"nothing_to_remember": "no"}
    dialect, within = dialects.load(name), shape(verdict=Verdict("a fact", answers), thought=60)
    lark, nothing = dialect.lark(within), f'"{dialect.function}": "nothing_to_remember", "arguments": {{}}}}'

    def allowed(fields: str) -> bool:
        return lets_through(lark, dialect.before + fields + dialect.after)

    assert allowed('{"a fact": "no", ' + nothing)
    assert not allowed('{"a fact": "yes", ' + nothing)
    assert not allowed('{"a fact": "maybe", ' + nothing)
    assert not allowed("{" + nothing)
    assert not allowed('{"thought": "x", "a fact": "no", ' + nothing)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("special", [END, OPEN, CLOSE])
def test_no_special_token_stands_in_a_text(name: str, special: int) -> None:
    dialect = dialects.load(name)
    said = dialect.write(Call("", "send_message", {"message": "XX"}), heartbeat=False).encode()
    at = said.index(b"XX") + 1
    assert lets_through(dialect.lark(shape()), said)
    assert not lets_through(dialect.lark(shape()), [*said[:at], special, *said[at:]])


@pytest.mark.parametrize("name", DIALECTS)
def test_the_end_comes_exactly_once_and_behind_the_call(name: str) -> None:
    dialect = dialects.load(name)
    said = list(dialect.write(Call("", "nothing_to_remember", {}), heartbeat=False).encode())
    walker = matcher(dialect.lark(shape())).deep_copy()
    for token in said:
        assert not walker.is_accepting()
        assert walker.consume_token(token)
    assert walker.is_accepting()
    assert walker.compute_ff_tokens() == [END] or walker.is_stopped()


@pytest.mark.parametrize("name", DIALECTS)
def test_the_functions_offered_are_those_of_the_shape(name: str) -> None:
    dialect = dialects.load(name)
    only = shape(functions=tuple(f for f in everything() if f.name == "send_message"))
    for function in everything():
        call = Call(
            "", function.name, {k: "x" if v == "TEXT" else v for k, v in ARGUMENTS[function.name].items()}
        )
        allowed = lets_through(dialect.lark(only), dialect.write(call, heartbeat=False))
        assert allowed == (function.name == "send_message")


@pytest.mark.parametrize("name", DIALECTS)
def test_the_text_of_a_definition_cannot_leave_its_place(name: str) -> None:
    """Labels and names go into the grammar as JSON; nothing in them is read as Lark."""
    labels = ('"', "\\", "%json {}", "start: /.*/", "@CALL@", "//@ x = 1", "<tool_call>\\n", "ü😀")
    dialect, within = dialects.load(name), shape(labels=labels)
    for label in labels:
        call = Call("", "core_memory_append", {"label": label, "content": "x"})
        assert lets_through(dialect.lark(within), dialect.write(call, heartbeat=False))
    assert not lets_through(dialect.lark(within), dialect.before + "anything" + dialect.after)


# ---- random calls


# DEL stands in no JSON text that the grammar writes, and half a character in none at all.
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x7f"))


def values(parameter: Parameter) -> st.SearchStrategy[object]:
    schema = parameter.schema
    if parameter.label:
        return st.sampled_from(LABELS)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])  # type: ignore[arg-type]
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])  # type: ignore[arg-type]
    if schema["type"] == "number":
        return st.sampled_from([0.0, 0.5, 1.0, 12.0])
    if schema["type"] == "boolean":
        return st.booleans()
    if "pattern" in schema and schema["pattern"] != DATE_PATTERN:
        return st.sampled_from(["in 10 minutes", "every 2 hours", "at 09:00", "2026-11-22 09:00"])
    if "pattern" in schema:
        return st.dates(min_value=date(1000, 1, 1)).map(str)
    least, most = schema["minLength"], schema["maxLength"]
    return texts.filter(lambda text: least <= len(text) <= most)  # type: ignore[operator]


@st.composite
def legal_calls(draw: st.DrawFn) -> tuple[Call, Calls]:
    within = shape(thought=draw(st.sampled_from([0, 80])), heartbeat=draw(st.booleans()))
    function = draw(st.sampled_from(within.functions))
    arguments = {p.name: draw(values(p)) for p in function.parameters if p.required or draw(st.booleans())}
    thought = draw(texts.filter(lambda text: 1 <= len(text) <= 80)) if within.thought else ""
    return Call(thought, function.name, arguments, within.heartbeat and draw(st.booleans())), within


@given(legal_calls(), st.sampled_from(DIALECTS))
def test_a_legal_call_comes_back_as_it_was(made: tuple[Call, Calls], name: str) -> None:
    (call, within), dialect = made, dialects.load(name)
    said = written(dialect, call, within)
    assert lets_through(dialect.lark(within), said)
    assert dialect.read(said) == call
    _, arguments = executor.checked(call, within.functions, LABELS)
    assert {k: str(v) for k, v in arguments.items()} == {k: str(v) for k, v in call.arguments.items()}


@given(st.data(), st.sampled_from(DIALECTS))
def test_whatever_the_grammar_lets_through_is_read_and_bound(data: st.DataObject, name: str) -> None:
    """Walks the grammar at random, as a model that knows nothing, and closes texts soon."""
    dialect = dialects.load(name)
    within = shape(thought=data.draw(st.sampled_from([0, 20])), heartbeat=data.draw(st.booleans()))
    walker, said = matcher(dialect.lark(within)).deep_copy(), bytearray()
    noise = data.draw(st.randoms(use_true_random=False))
    while not walker.is_stopped():
        mask = walker.compute_bitmask()
        allowed = [t for t in range(259) if mask[t // 8] >> t % 8 & 1]
        if END in allowed:
            break
        token = ord('"') if ord('"') in allowed and noise.random() < 0.2 else noise.choice(allowed)
        assert walker.consume_token(token)
        said += Bytes.tokens[token]
    call = dialect.read(said.decode())
    executor.checked(call, within.functions, LABELS)
    assert bool(call.thought) == bool(within.thought)


# ---- summaries


@pytest.mark.parametrize(
    "text", ["Ada asked.", "Żółw 😀…", '"Yes", she said.\nThen more.', "日本語です", "9"]
)
def test_a_summary_is_prose(text: str) -> None:
    assert lets_through(dialects.summary_grammar(100), text)


@pytest.mark.parametrize("text", ["", " x", "\n\nx", "{}", "a\x00", "a\tb", "a\r\nb", "a\x1b[31m", "x" * 101])
def test_no_summary(text: str) -> None:
    assert not lets_through(dialects.summary_grammar(100), text)


def test_a_summary_is_bounded_in_characters() -> None:
    assert lets_through(dialects.summary_grammar(100), "ż" * 100)
    assert lets_through(dialects.summary_grammar(1), "x")
    assert not lets_through(dialects.summary_grammar(100), [*b"x", END, *b"x"])


# ---- the documentation


def test_the_snippet_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (grammars() / "README.md").read_text("utf-8")
    snippet = readme.split("```python\n")[1].split("```")[0]
    exec(snippet, {"__name__": "snippet"})
    assert capsys.readouterr().out.split() == ["True", "False"]
