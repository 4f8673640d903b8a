"""The processor: a GGUF model in this process whose every completion is a legal function call."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from localmem.processor import dialect as dialects
from localmem.processor.chat_template import model_layout
from localmem.processor.decoding import LlamaGeneration
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
from localmem.processor.llama import Llama
from localmem.processor.registry import Profile
from localmem.processor.tokens import Tokenizer
from localmem.records import Call, Event, EventKind, Result

IDENTIFYING_BYTES = 32 << 20
"""Header and vocabulary of the largest models, and some of the weights."""


class LlamaProcessor:
    """A Processor over llama.cpp. One thread generates at a time; a generation is cancelled from any.

    `grammar` off lets the model write freely and reads its calls leniently: the baseline of benchmarks.
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
    ) -> None:
        self.profile = profile
        self._window = window or profile.window
        self._grammar = grammar
        self.dialect = dialects.load(profile.dialect)
        self.llama = Llama(path, window=self._window, gpu_layers=gpu_layers, threads=threads)
        self.model = profile.sha256 or identity(path)
        self.tokenizer = Tokenizer(self.llama.vocab)
        self.layout = model_layout(self.llama, self.tokenizer, self.dialect)
        self._delimiters = {
            role: (self.tokenizer.markup(before), self.tokenizer.markup(after))
            for role, (before, after) in self.layout.around.items()
        }
        self._grammars: Grammars | None = None
        self._asks_heartbeat = profile.heartbeat == "asked"

    @property
    def window(self) -> int:
        return self._window

    @property
    def abilities(self) -> Abilities:
        example = Call("why" if self.profile.thought else "", "FUNCTION", {"ARGUMENT": "VALUE"})
        howto = self.dialect.write(example, heartbeat=self._asks_heartbeat)
        return Abilities(self.model, howto, self._grammar, self.llama.can_shift)

    def encode(self, record: Encodable) -> Segment:
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
        ids = [token for segment in prompt for token in segment.ids]
        if len(ids) + limits.tokens > self._window:
            raise ValueError(f"{len(ids)} prompt and {limits.tokens} answer tokens exceed {self._window}")
        matcher = self.grammars.start(shape) if self._grammar else None
        return LlamaGeneration(
            self.llama, self.tokenizer, self.dialect, ids, shape, limits, matcher, self.model
        )

    @property
    def grammars(self) -> Grammars:
        """The compiler of shapes, built on first use (it takes up to a second)."""
        if self._grammars is None:
            self._grammars = Grammars(self.llama.handle, self.dialect)
        return self._grammars

    def close(self) -> None:
        """Free the model."""
        self.llama.close()

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
