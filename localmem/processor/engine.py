"""The processor: a GGUF model in this process whose every completion is a legal function call."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from localmem.errors import ModelBroken
from localmem.processor import dialect as dialects
from localmem.processor.chat_template import model_layout
from localmem.processor.choosing import Chooser
from localmem.processor.decoding import LlamaGeneration
from localmem.processor.drafts import Lookup, Pace
from localmem.processor.grammar import Grammars
from localmem.processor.interface import (
    Abilities,
    CoreMemory,
    Documentation,
    Encodable,
    Instructions,
    Limits,
    Opening,
    Segment,
    Shape,
    Summary,
)
from localmem.processor.llama import Llama, Logits
from localmem.processor.machine import cells
from localmem.processor.registry import Profile
from localmem.processor.scheduler import Scheduler
from localmem.processor.slots import Slots
from localmem.processor.snapshots import Snapshots
from localmem.processor.tokens import Tokenizer
from localmem.processor.work import Work
from localmem.records import Call, Event, EventKind, Result

IDENTIFYING_BYTES = 32 << 20
"""Header and vocabulary of the largest models, and some of the weights."""


PACES = {"gpu": Pace(0.05, 16), "fast": Pace(0.3, 8), "cpu": Pace(0.45, 4)}
"""What drafts have to be worth, by `Llama.kind`; measured: benchmarks/README.md."""


class LlamaProcessor:
    """A Processor over llama.cpp. Any thread may generate, also several at once; a generation is cancelled from any.

    `agents` is how many are kept in the cache at once; `snapshots` is the folder where `rest` keeps what they
    hold. `grammar` off lets the model write freely and reads its calls leniently: the baseline of benchmarks.
    `drafts` off generates one token a pass but for what the grammar forces. `reuse` "shift" moves what only
    changed its place in a prompt instead of evaluating it again: faster, and not exactly the same. `cache` is how
    keys and values are kept (see `profile.CACHE_BITS`). None leaves them to the profile.
    Raises ModelBroken when the file cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        profile: Profile,
        *,
        window: int | None = None,
        grammar: bool = True,
        gpu_layers: int | None = None,
        threads: int | None = None,
        agents: int = 1,
        snapshots: Path | None = None,
        drafts: bool | None = None,
        reuse: str | None = None,
        cache: str | None = None,
    ) -> None:
        self.profile = profile
        self._window = window or profile.window
        self._grammar = grammar
        self.dialect = dialects.load(profile.dialect)
        self.llama = Llama(
            path,
            cells=cells(self._window, agents),
            sequences=agents + 2,  # and one to put aside what moves
            cache=cache or profile.cache,
            gpu_layers=gpu_layers,
            threads=threads,
        )
        self.model = profile.sha256 or identity(path)
        with ThreadPoolExecutor(1) as aside:
            opened = aside.submit(self.llama.open)
            self.tokenizer = Tokenizer(self.llama.vocab)
            self.layout = model_layout(self.llama, self.tokenizer, self.dialect)
            opened.result()
        self._delimiters = {
            role: (self.tokenizer.markup(before), self.tokenizer.markup(after))
            for role, (before, after) in self.layout.around.items()
        }
        self._grammars: Grammars | None = None
        self._asks_heartbeat = profile.heartbeat == "asked"
        self.drafts = (profile.drafts if drafts is None else drafts) and self.llama.can_cut
        self.reuse, self.cache = reuse or profile.reuse, self.llama.cache
        self._slots = slots = Slots(self.llama, agents + 1)
        self._snapshots = Snapshots(snapshots, self.llama, slots, self._stamp()) if snapshots else None
        if self._snapshots is not None:
            slots.leaves = self._snapshots.leaves
        self._scheduler = Scheduler(
            self.llama, self._slots, self._snapshots, shift=self.reuse == "shift" and self.llama.can_shift
        )
        self._freed = weakref.finalize(self, self._scheduler.close)  # where nobody closes it, and at exit

    @property
    def window(self) -> int:
        return self._window

    @property
    def abilities(self) -> Abilities:
        example = Call("why" if self.profile.thought else "", "FUNCTION", {"ARGUMENT": "VALUE"})
        howto = self.dialect.write(example, heartbeat=self._asks_heartbeat)
        return Abilities(self.model, howto, self._grammar, self.llama.can_shift, self._snapshots is not None)

    def encode(self, record: Encodable) -> Segment:
        self._refuse_freed()
        match record:
            case Instructions(text):
                return self._segment("system", text, close=False, first=True)
            case Documentation(text) | CoreMemory(text):
                return self._segment("system", text, open_=False, close=False)
            case Summary(text):
                return self._segment("system", text, open_=False)
            case Event():
                return self._segment("user", event_text(record))
            case Result():
                return self._segment(self.layout.results, self._result_text(record))
            case Call():
                return self._call_segment(record)
            case Opening():
                return Segment(self._delimiters["assistant"][0])

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> LlamaGeneration:
        """Start a completion. Raises ValueError when prompt and answer exceed the window: count before."""
        self._refuse_freed()
        ids = [token for segment in prompt for token in segment.ids]
        if not ids:
            raise ValueError("an empty prompt has nothing behind it")
        if len(ids) + limits.tokens > self._window:
            raise ValueError(f"{len(ids)} prompt and {limits.tokens} answer tokens exceed {self._window}")
        matcher = self.grammars.start(shape) if self._grammar and limits.tokens else None
        chooser = Chooser(self.tokenizer, self.dialect, shape, limits, matcher)
        lookup = Lookup(ids, limits.tokens, PACES[self.llama.kind]) if self.drafts else None
        work = Work(ids, limits, chooser, self.tokenizer, matcher, lookup)
        return LlamaGeneration(
            self._scheduler, work, self.dialect, shape, grammar=self._grammar, model=self.model
        )

    @property
    def chunk(self) -> int:
        """The most tokens of one decode."""
        return self.llama.chunk

    def begin_with(self, ids: Sequence[int]) -> None:
        """Let the cache hold these ids and nothing else, evaluated from an empty cache in whole chunks."""
        self._scheduler.ask(lambda: self._slots.begin_with(ids))

    def logits(self, ids: Sequence[int]) -> Logits:
        """Return what the model says behind these ids, shape (vocabulary,)."""

        def job() -> Logits:
            slot = self._slots.take(ids, "", ahead=False)
            if slot is None:
                raise ValueError("every sequence is busy")
            try:
                return self._slots.evaluate(slot, ids)
            finally:
                self._slots.release(slot)

        return self._scheduler.ask(job)

    def held(self, owner: str = "") -> list[int]:
        """Return the ids that the cache holds for an agent, from the first on; the most where it has two states."""
        found = self._scheduler.ask(lambda: [list(slot.ids) for slot in self._slots.of(owner)])
        return max(found, key=len, default=[])

    @property
    def busy(self) -> bool:
        """Whether anything is being made, for somebody who waits or ahead of need."""
        return self._scheduler.busy

    def rest(self, owner: str) -> None:
        """Keep an agent's state on disk, as soon as nothing else is to be done: it has yielded."""
        snapshots, slots = self._snapshots, self._slots
        if snapshots is not None:
            self._scheduler.later(owner, lambda: [snapshots.save(slot) for slot in slots.of(owner)])

    def forget(self, owner: str) -> None:
        """Hold nothing of an agent any more, nor keep anything of it on disk: it is gone."""

        def job() -> None:
            for slot in self._slots.of(owner):
                self._slots.forget(slot)
            if self._snapshots is not None:
                self._snapshots.drop(owner)

        self._scheduler.ask(job)

    @property
    def grammars(self) -> Grammars:
        """The compiler of shapes, built on first use (it takes up to a second)."""
        if self._grammars is None:
            self._grammars = Grammars(self.llama.handle, self.dialect)
        return self._grammars

    def close(self) -> None:
        """Free the model, after what the agents hold was kept on disk; a second time does nothing."""
        self._scheduler.close()

    def _refuse_freed(self) -> None:
        if self._scheduler.closed:
            raise ModelBroken("the model has been freed")

    def _stamp(self) -> dict[str, object]:
        return {
            "model": self.model,
            "window": self._window,
            "library": self.llama.library,
            "cache": self.llama.cache,
            "chunk": self.llama.chunk,
        }

    def _segment(
        self, role: str, text: str, *, open_: bool = True, close: bool = True, first: bool = False
    ) -> Segment:
        before, after = self._delimiters[role]
        ids = before if open_ else ()
        if first and self.tokenizer.adds_bos and ids[:1] != (self.tokenizer.bos,):
            ids = (self.tokenizer.bos, *ids)
        ids += self.tokenizer.content(self.layout.content(role, text)) if text else ()
        return Segment(ids + (after if close else ()))

    def _call_segment(self, call: Call) -> Segment:
        before, after = self._delimiters["assistant"]
        if call.ids and call.model == self.model:
            return Segment(before + call.ids + after)
        written = self.dialect.write(call, heartbeat=self._asks_heartbeat)
        marked = [self.dialect.before, self.dialect.after]
        body = written.removeprefix(marked[0]).removesuffix(marked[1])
        ids = (
            self.tokenizer.markup(marked[0]) + self.tokenizer.content(body) + self.tokenizer.markup(marked[1])
        )
        return Segment(before + ids + after)

    def _result_text(self, result: Result) -> str:
        text = result.stub or (result.text if result.ok else f"Error: {result.text}")
        return text if self.layout.results == "tool" else self.dialect.result.replace("{result}", text)


def event_text(event: Event) -> str:
    """Return an event as the model reads it: its kind, its note, its text.

    A person's words stand alone, unless they begin like an event of the system: then they are marked as theirs.
    """
    imitates = event.text.lstrip().startswith("[")
    kind = f"[{event.kind.value}] " if event.kind is not EventKind.USER else "[person] " if imitates else ""
    note = f"[{event.note}] " if event.note else ""
    return f"{kind}{note}{event.text}"


def identity(path: Path) -> str:
    """Return what tells a model file without a known sha256 from others, at once: its size and beginning.

    The beginning holds the vocabulary, which is what the token ids kept with a call depend on.
    """
    with path.open("rb") as file:
        head = file.read(IDENTIFYING_BYTES)
    return sha256(b"%d:%s" % (path.stat().st_size, head)).hexdigest()
