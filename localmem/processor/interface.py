"""The seam to the model: what the kernel asks of a processor, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from localmem.functions.schema import Function
from localmem.records import Call, Event, Result, Usage


@dataclass(frozen=True, slots=True)
class Instructions:
    """The head of the system message: who the model is and how it works. Opens the message."""

    text: str


@dataclass(frozen=True, slots=True)
class Documentation:
    """The functions on offer and how a call is written, inside the system message."""

    text: str


@dataclass(frozen=True, slots=True)
class CoreMemory:
    """The core blocks, inside the system message."""

    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The recursive summary, the tail of the system message. Closes the message; empty text is fine."""

    text: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The start of the model's own message: the last segment of every prompt."""


Encodable = Instructions | Documentation | CoreMemory | Summary | Event | Call | Result | Opening


@dataclass(frozen=True, slots=True)
class Segment:
    """Token ids of one record as the model's template writes it; its length is its size in the window."""

    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A question that a call answers before it names its function.

    `question` is the name of its field, `answers` the answer that leads to each function. A small model judges
    better by answering a question than by choosing a function.
    """

    question: str
    answers: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Calls:
    """A shape: the completion is a call of one of `functions`.

    `thought` bounds the thought in characters (0: none). `heartbeat` says whether the model is asked for one.
    `labels` are the blocks that exist and may be written. `bias` adds to the log-probability of choosing a
    function, by name: a calibrated choice (a constant preference of the model, taken back out). A `verdict`,
    if there is one, takes the place of the thought. A message does not begin with the first word of `unlike`:
    small models echo what they were told, and from the first echo on they never stop.
    """

    functions: tuple[Function, ...]
    thought: int = 0
    heartbeat: bool = False
    labels: tuple[str, ...] = ()
    bias: Mapping[str, float] = field(default_factory=dict, hash=False)
    verdict: Verdict | None = None
    unlike: str = ""


@dataclass(frozen=True, slots=True)
class Prose:
    """A shape: the completion is plain text of at most `characters` characters (a summary)."""

    characters: int


Shape = Calls | Prose


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen; temperature 0 takes the best one. The same seed gives the same tokens."""

    temperature: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one generation: the most tokens it may take, and how they are sampled.

    0 tokens evaluate the prompt and generate nothing. `owner` is the agent that it is for: what it leaves in the
    cache serves that agent's next prompt. `ahead` says that nobody waits for it yet: it is made while nothing else
    is to be done, and beside what the cache holds for the agent's own prompt.
    """

    tokens: int
    sampling: Sampling = Sampling()
    owner: str = ""
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """What came out. `call` is None for prose and where an unconstrained model wrote no legal call."""

    call: Call | None
    text: str
    ids: tuple[int, ...]
    usage: Usage
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a processor can do, and how its calls are written (`howto`, for the instructions).

    `model` tells the model's file from others: its sha256, or where none is known what stands for it.
    """

    model: str
    howto: str
    grammar: bool = True
    shift: bool = False
    snapshots: bool = False


class Generation(Protocol):
    """One completion in the making: iterate for the pieces of the message, then read `completion`."""

    def __iter__(self) -> Iterator[str]: ...

    def start(self, then: Callable[[], None] | None = None) -> None:
        """Begin without a reader; iterating begins by itself. `then` is called when it has come to its own end.

        It may be called on the thread that generates: it is to be short, and what it raises is lost.
        """

    @property
    def over(self) -> bool:
        """Whether it has come to an end, of whatever kind."""

    def cancel(self) -> None:
        """Stop between two tokens; callable from any thread and from a signal handler."""

    @property
    def completion(self) -> Completion:
        """The finished completion; a cancelled one holds what there was, with `call` None."""


class Processor(Protocol):
    """A language model behind four members (MemGPT, section 2: the LLM processor)."""

    @property
    def window(self) -> int:
        """Tokens served: prompt and answer together."""

    @property
    def abilities(self) -> Abilities: ...

    def encode(self, record: Encodable) -> Segment:
        """Return the token ids of one record; content can never act as a delimiter."""

    def generate(self, prompt: Sequence[Segment], shape: Shape, limits: Limits) -> Generation:
        """Start a completion of `prompt`; nothing is evaluated before the iteration starts."""
