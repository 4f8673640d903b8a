"""The commands inside a chat: one table that dispatch, /help and completion read."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from localmem.cli import views
from localmem.cli.common import expanded, safe
from localmem.errors import UsageError
from localmem.kernel.tidy import STEPS, changes
from localmem.records import Event, Item, Usage
from localmem.serve.talk import LocalTalk, Talk
from localmem.session import Session

NOTHING_TO_TIDY = "there is nothing to tidy"


class Leave(Exception):
    """The person has had enough."""


@dataclass(frozen=True, slots=True)
class Play:
    """A turn that a command asks for, still to be played."""

    items: Iterator[Item]


@dataclass(slots=True)
class Chat:
    """What the commands act upon: a talk, and how it is shown. `usage` is what this chat has cost so far;
    `editor` whether one can be opened."""

    talk: Talk
    verbose: bool = False
    editor: bool = True
    turns: int = 0
    usage: Usage = field(default_factory=Usage)

    @property
    def here(self) -> LocalTalk | None:
        """The talk, where the agent is awake in this process."""
        return self.talk if isinstance(self.talk, LocalTalk) else None

    @property
    def session(self) -> Session:
        """The session of an agent that is awake here. Raises UsageError where it is not."""
        if self.here is None:
            raise UsageError("the agent runs in `localmem run`: stop that first, then say it again")
        return self.here.session

    def next_event(self) -> Event | None:
        """Return the event that an agent awake here is to take up next; elsewhere it is taken up there."""
        return self.here.session.agent.next_event() if self.here else None

    def count(self) -> None:
        """Add the turn that has just been played."""
        self.turns += 1
        self.usage += self.talk.usage


Shown = str | Play
Words = Callable[[Chat, str], Iterable[str]]


def _no_words(chat: Chat, typed: str) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command: what stands behind its name, one line of help, what it does, what its argument may be.

    `where` it runs: with the "agent", even where that is awake in another process; at the "terminal"; or "here" only.
    """

    name: str
    arguments: str
    help: str
    run: Callable[[Chat, str], Iterator[Shown]]
    words: Words = _no_words
    where: Literal["agent", "terminal", "here"] = "agent"


def parse(line: str) -> tuple[str, str] | None:
    """Return the command of a line and what stands behind it, or None for a message.

    A first word with a second "/" in it is a path, and begins a message.
    """
    found = re.fullmatch(r"/([^\s/]*)(?:\s+(.*))?", line.strip(), re.DOTALL)
    return (found[1].lower(), (found[2] or "").strip()) if found else None


def message(line: str) -> str:
    """Return what a line that is no command says: "//..." begins with one "/"."""
    return line[1:] if line.startswith("//") else line


def run(chat: Chat, name: str, rest: str) -> Iterator[Shown]:
    """Run a command and yield what it shows. Raises Leave, and UsageError for a command there is not."""
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=2)
        hint = f"did you mean /{' or /'.join(close)}?" if close else "/help lists what there is"
        raise UsageError(f"there is no command /{name}: {hint} (a message may begin with //)")
    command = COMMANDS[name]
    if rest and not command.arguments:
        raise UsageError(f"/{name} takes nothing behind it")
    if not rest and command.arguments and not command.arguments.startswith("["):
        raise UsageError(f"say what: /{name} {command.arguments}")
    if command.where == "agent" and chat.here is None:
        return chat.talk.slash(name, rest)
    return command.run(chat, rest)


def lines(session: Session, name: str, rest: str) -> Iterator[str]:
    """Run a command with an agent for a terminal elsewhere. Raises UsageError for one that cannot be run so."""
    if name in COMMANDS and COMMANDS[name].where != "agent":
        raise UsageError(f"/{name} is for the terminal in which the agent is awake")
    chat = Chat(LocalTalk(session, lines), editor=False)
    return (shown for shown in run(chat, name, rest) if isinstance(shown, str))


def _help(chat: Chat, rest: str) -> Iterator[Shown]:
    offered = {n: command for n, command in COMMANDS.items() if chat.here or command.where != "here"}
    heads = {name: f"/{name} {command.arguments}".rstrip() for name, command in offered.items()}
    wide = max(map(len, heads.values()))
    for name, command in offered.items():
        yield f"  {heads[name]:<{wide}}  {command.help}"
    yield f"  {'//...':<{wide}}  a message that begins with /"
    yield from _KEYS


_KEYS = (
    "Enter sends; Alt-Enter, Ctrl-J or a \\ at the end begins a new line; a paste is one message.",
    "Enter while the agent is at work stops it and sends; a command waits until it is done.",
    "Tab completes, Ctrl-R searches what was entered, Ctrl-X Ctrl-E opens your editor.",
    "Ctrl-C stops the agent and keeps what was said; twice, it leaves, as Ctrl-D does.",
)


def _agents(chat: Chat, rest: str) -> Iterator[Shown]:
    yield from views.agent_lines(chat.session.home.agents(), chat.session.memory.name)


def _switch(chat: Chat, rest: str) -> Iterator[Shown]:
    chat.session.meet(rest)
    yield f"you talk with {chat.session.memory.name} on {_model_name(chat)} now"


def _model(chat: Chat, rest: str) -> Iterator[Shown]:
    session = chat.session
    if not rest:
        yield f"{session.profile.name}, window {session.agent.processor.window:,} tokens"
        here = ", ".join(_models(chat, ""))
        yield f"here: {here or 'no other'}; /model NAME or FILE.gguf changes it"
        return
    session.switch(rest)
    yield f"{session.memory.name} is on {session.profile.name} from now on"


def _memory(chat: Chat, rest: str) -> Iterator[Shown]:
    return views.memory_lines(chat.session.memory)


def _core(chat: Chat, rest: str) -> Iterator[Shown]:
    memory = chat.session.memory
    verb, _, label = rest.partition(" ")
    if verb == "edit" and label:
        if not chat.editor:
            raise UsageError(f"that is for a terminal: localmem memory edit {label.strip()}")
        from localmem.cli.memory import edit_block

        edit_block(memory, label.strip())
        chat.session.agent.context.load(memory)
        rest = label.strip()
    blocks = [memory.block(rest)] if rest else memory.blocks()
    for block in blocks:
        yield from views.block_lines(block)


def _search(chat: Chat, rest: str) -> Iterator[Shown]:
    yield from _recall(chat, rest)
    yield from _archive(chat, rest)


def _recall(chat: Chat, rest: str) -> Iterator[Shown]:
    text, page = _paged(rest)
    yield from views.page_lines("conversation", chat.session.memory.search_recall(text, page))


def _archive(chat: Chat, rest: str) -> Iterator[Shown]:
    text, page = _paged(rest)
    yield from views.page_lines("archive", chat.session.memory.search_archive(text, page))


def _load(chat: Chat, rest: str) -> Iterator[Shown]:
    from localmem.cli.load import load_into

    try:
        named = [expanded(word) for word in shlex.split(rest)]
    except ValueError as error:
        raise UsageError(f"the path is quoted wrongly ({error})") from error
    load_into(chat.session.home.archive_of(chat.session.memory.name), named)
    yield f"{chat.session.memory.name} can search it; `localmem load --archive` loads for several agents"


def _export(chat: Chat, rest: str) -> Iterator[Shown]:
    name = chat.session.memory.name
    file = expanded(rest) if rest else Path(f"{name}.agent")
    size = chat.session.home.export_agent(name, file)
    yield f"{name} is in {file}, {size:,} bytes: `localmem agents import {file}` loads it"


def _context(chat: Chat, rest: str) -> Iterator[Shown]:
    return views.context_lines(chat.session.agent.report())


def _undo(chat: Chat, rest: str) -> Iterator[Shown]:
    yield from views.undone_lines(chat.session.undo())


def _retry(chat: Chat, rest: str) -> Iterator[Shown]:
    chat.session.agent.usage = Usage()
    yield Play(chat.session.retry())


def _tidy(chat: Chat, rest: str) -> Iterator[Shown]:
    if rest and not re.fullmatch(r"[1-9]\d{0,8}", rest):
        raise UsageError("say how many steps at most: /tidy 20")
    changed = changes(list(chat.session.tidy(int(rest) if rest else STEPS)))
    yield from map(safe, changed or (NOTHING_TO_TIDY,))


def _timers(chat: Chat, rest: str) -> Iterator[Shown]:
    return views.timer_lines(chat.session.memory.inbox.timers())


def _functions(chat: Chat, rest: str) -> Iterator[Shown]:
    return views.function_lines(chat.session.agent.functions)


def _save(chat: Chat, rest: str) -> Iterator[Shown]:
    from localmem.transcript import save

    memory = chat.session.memory
    file, messages = save(memory, expanded(rest) if rest else None)
    yield f"{messages:,} messages are in {file}"


def _stats(chat: Chat, rest: str) -> Iterator[Shown]:
    return views.usage_lines(chat.turns, chat.usage)


def _verbose(chat: Chat, rest: str) -> Iterator[Shown]:
    if rest not in ("", "on", "off"):
        raise UsageError("say /verbose, /verbose on or /verbose off")
    chat.verbose = rest == "on" if rest else not chat.verbose
    yield f"thoughts, calls and what they cost are {'shown' if chat.verbose else 'not shown'} from now on"


def _exit(chat: Chat, rest: str) -> Iterator[Shown]:
    raise Leave


def _paged(rest: str) -> tuple[str, int]:
    """Return the text to look for, and the page: "tea page 2"."""
    found = re.fullmatch(r"(.+?)\s+page\s+([1-9]\d{0,5})", rest, re.DOTALL)
    return (found[1], int(found[2])) if found else (rest, 1)


def _model_name(chat: Chat) -> str:
    return Path(chat.session.profile.name).name


# what an argument may be


def _models(chat: Chat, typed: str) -> Iterable[str]:
    registry = chat.session.registry
    return [p.name for p in registry if p.kind == "chat" and registry.locate(p)]


def _agent_names(chat: Chat, typed: str) -> Iterable[str]:
    return [row.name for row in chat.session.home.agents()]


def _labels(chat: Chat, typed: str) -> Iterable[str]:
    labels = [block.label for block in chat.session.memory.blocks()]
    return [*labels, *(f"edit {label}" for label in labels)]


def _on_off(chat: Chat, typed: str) -> Iterable[str]:
    return "on", "off"


def paths(chat: Chat, typed: str) -> Iterable[str]:
    """Return the files and folders that a path may go on to."""
    folder, _, start = typed.rpartition("/")
    base = Path(f"{folder}/" if "/" in typed else ".").expanduser()
    try:
        there = sorted(base.iterdir())
    except (OSError, RuntimeError):
        return []
    shown = [f for f in there if f.name.startswith(start) and (start or not f.name.startswith("."))]
    head = f"{folder}/" if "/" in typed else ""
    return [f"{head}{file.name}{'/' if file.is_dir() else ''}" for file in shown[:200]]


COMMANDS = {
    command.name: command
    for command in (
        Command("help", "", "this", _help, where="terminal"),
        Command("agents", "", "who there is", _agents),
        Command("switch", "AGENT", "talk with another agent", _switch, _agent_names, "here"),
        Command("model", "[NAME]", "the model, or change to another", _model, _models),
        Command("memory", "", "core memory, summary and the rest", _memory),
        Command("core", "[[edit] LABEL]", "core memory, or edit a block", _core, _labels),
        Command("recall", "TEXT [page N]", "look in what was said", _recall),
        Command("archive", "TEXT [page N]", "look in the archive", _archive),
        Command("search", "TEXT [page N]", "look in both", _search),
        Command("load", "PATH...", "load documents into the archive", _load, paths, "here"),
        Command("context", "", "how the window is used", _context),
        Command("timers", "", "what is to come, and when", _timers),
        Command("undo", "", "take back the last turn", _undo),
        Command("tidy", "[STEPS]", "merge duplicates, condense old talk; /undo takes it back", _tidy),
        Command("retry", "", "have the last turn answered anew", _retry, where="here"),
        Command("export", "[FILE]", "write the agent to a file", _export, paths, "here"),
        Command("functions", "", "what the agent may call", _functions),
        Command("save", "[FILE]", "write what was said to a file", _save, paths, "here"),
        Command("stats", "", "what this chat has cost", _stats, where="terminal"),
        Command(
            "verbose",
            "[on|off]",
            "show thoughts and calls, or not",
            _verbose,
            _on_off,
            "terminal",
        ),
        Command("exit", "", "leave", _exit, where="terminal"),
    )
}
