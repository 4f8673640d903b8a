"""Wakes an agent: puts a home, a model and the kernel's settings together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, cast

from localmem import runtime
from localmem.kernel.agent import Agent
from localmem.kernel.outside import Peers
from localmem.kernel.settings import Settings
from localmem.permission import Permission
from localmem.recording import Setup, keep
from localmem.records import Event, Item
from localmem.runtime import Options, choose_model, memory_of, plan_memory, registry_of, settings_of
from localmem.trace import Tracer

if TYPE_CHECKING:
    from localmem.functions.schema import Function
    from localmem.memory.home import Home
    from localmem.memory.undo import Undone
    from localmem.processor.interface import Processor
    from localmem.processor.profile import Profile
    from localmem.processor.registry import Registry

RETRY_TEMPERATURE = 0.7
"""At least so warm a turn is sampled that is run once more."""

MOST_TRACES = 64
"""Generations held in memory until their turn is over: more than a turn has, and a bound where nobody takes them."""


PEER_TURNS = 8
"""Turns that another agent may take until it has answered this one: what waits for it may go first."""

Load = Callable[["Registry", "Profile", Options, Path | None], "Processor"]
"""Loads a model, as `runtime.load_processor` does."""

Loading = Callable[["Registry", "Profile"], AbstractContextManager[object]]
"""Entered around the loading of a model: the place to fetch it first, and to say what is going on."""


class Session:
    """An agent awake in an open home, on a model that can be changed under it. The home is the caller's.

    `permission` is asked before a function touches the outside; `plan` is what its model was given of the memory;
    `notices` are lines for the person, on that and on functions of the agent's choice that could not be had.
    Raises UnknownAgent, UnknownModel, ModelMissing, ModelBroken and WindowTooSmall.
    """

    def __init__(
        self,
        home: Home,
        options: Options,
        loading: Loading = lambda registry, profile: nullcontext(),
        load: Load | None = None,
        peers: Peers | None = None,
    ):
        self.home, self.options, self._loading = home, options, loading
        self._load = load or runtime.load_processor
        self._gate = RLock()  # others ask for the agent while its model is being changed
        self._peers = peers or self._run_peer
        self.memory = memory_of(home, options.agent)
        self.permission = Permission(self.memory)
        self._refused: list[str] = []
        self._traces = home.traces(options.agent)
        self.registry = registry_of(home.path)
        self._agent: Agent | None = None
        self.profile, self._agent = self._wake(choose_model(self.registry, options, self.memory))

    @property
    def notices(self) -> list[str]:
        window, free = self.options.window or self.profile.window, f"{self.plan.available / 1e9:.1f} GB"
        mend = "close other programs, or use --cache q8_0 or a smaller model"
        if self.agent.processor.window < window:
            cut = f"the window is {self.agent.processor.window:,} tokens instead of {window:,}"
            return [f"{free} of memory are free, so {cut}: {mend}", *self._refused]
        if self.plan.fits == "no":
            return [
                f"{self.plan.need / 1e9:.1f} GB of memory are needed and {free} free: {mend}",
                *self._refused,
            ]
        return self._refused

    @property
    def agent(self) -> Agent:
        """The agent on its model, which is loaded once more where a switch to another has failed."""
        with self._gate:
            if self._agent is None:
                self.profile, self._agent = self._wake(self.profile)
            return self._agent

    def interrupt(self) -> None:
        """End the turn under way, if there is one, keeping what was said; for signal handlers and any thread."""
        agent = self._agent
        if agent is not None:
            agent.interrupt()

    def turn(self, event: Event) -> Iterator[Item]:
        """Yield what `Agent.turn` yields; however it ends, its generations are kept to be replayed."""
        return self._kept(self.agent, self.agent.turn(event))

    def resume(self) -> Iterator[Item]:
        """Yield what `Agent.resume` yields; however it ends, its generations are kept to be replayed."""
        left = self.memory.unfinished()
        return self._kept(self.agent, self.agent.resume(), left.event if left else None)

    def tidy(self, steps: int) -> Iterator[Item]:
        """Yield what `Agent.tidy` yields."""
        return self._kept(self.agent, self.agent.tidy(steps))

    def undo(self) -> Undone:
        """Take back the last turn, memory edits included. Raises UsageError where none is left."""
        undone = self.memory.undo()
        self.agent.reload()
        return undone

    def retry(self) -> Iterator[Item]:
        """Take back the last turn and yield it anew, sampled otherwise: the best tokens would be the same.

        Raises UsageError where the last turn is not one that a person began; nothing is taken back then.
        """
        event = self.memory.retake()
        self.agent.reload()
        agent, settings = self.agent, self.agent.settings
        warm = max(RETRY_TEMPERATURE, settings.sampling.temperature)
        sampling = replace(settings.sampling, temperature=warm, seed=event.ticket)
        agent.settings = replace(settings, sampling=sampling)
        try:
            yield from self.turn(event)
        finally:
            agent.settings = settings

    def catch_up(self) -> Iterator[Item]:
        """Run the events that wait, each once: what came while nobody ran the agent, timers that were missed.

        What comes meanwhile waits on, and an interrupt ends it. Yields like `turn`.
        """
        self.memory.inbox.next()  # timers that are due become events
        for event in self.memory.inbox.pending():
            yield from self.turn(event)
            if self.agent.interrupted:
                return

    def switch(self, name: str) -> None:
        """Put the agent on another model, for good; its memory stays. On an error nothing is changed.

        Two models may not fit into memory: the old one is freed first.
        """
        with self._gate:
            profile, agent = self._wake(self._choose(name))
            try:
                self.memory.set_model(profile.name)
            except BaseException:
                _tracer(agent).close()
                raise
            self.profile, self._agent = profile, agent

    def meet(self, name: str) -> None:
        """Go over to another agent of the home, on its own model. On an error nothing is changed.

        Raises UnknownAgent, and what `switch` raises.
        """
        before = self.options, self.memory, self.permission, self._traces
        memory = self.home.agent(name)
        self.options = replace(self.options, agent=name, model=None)
        self.memory, self._traces = memory, self.home.traces(name)
        self.permission = Permission(memory, self.permission.ask)
        try:
            profile = choose_model(self.registry, self.options, memory)
            if self._agent is not None and profile.name == self.profile.name:
                self._agent = self._awake(profile, _tracer(self._agent))
            else:
                self.profile, self._agent = self._wake(profile)
        except BaseException:
            self.options, self.memory, self.permission, self._traces = before
            raise

    def close(self, *, gone: bool = False) -> None:
        """Free the model. Of an agent that is `gone` it keeps nothing: others may go on using it."""
        with self._gate:
            agent, self._agent = self._agent, None
        if agent is None:
            return
        forget = getattr(_tracer(agent).processor, "forget", None)
        if gone and forget is not None:
            forget(agent.memory.name)
        _tracer(agent).close()

    def _kept(self, agent: Agent, items: Iterator[Item], event: Event | None = None) -> Iterator[Item]:
        tracer = _tracer(agent)
        tracer.take()
        try:
            for item in items:
                if event is None and isinstance(item, Event) and item.turn:
                    event = item
                yield item
        finally:
            cast("Generator[Item, None, None]", items).close()
            if event is not None:
                keep(self._traces, event, self._setup(tracer), tracer.take())
        self._rest(agent, tracer)

    def _rest(self, agent: Agent, tracer: Tracer) -> None:
        """The agent has yielded: its state is kept, and what it will need next is prepared, while nobody waits."""
        rest = getattr(tracer.processor, "rest", None)
        if rest is not None:
            rest(agent.memory.name)
        agent.look_ahead()

    def _setup(self, tracer: Tracer) -> Setup:
        able = tracer.abilities
        return Setup(
            model=self.profile.name,
            sha256=able.model,
            window=tracer.window,
            chunk=getattr(tracer.processor, "chunk", 0),
            grammar=able.grammar,
            dialect=self.profile.dialect,
            gpu_layers=self.options.gpu_layers,
        )

    def _run_peer(self, name: str, done: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        """Run another agent on the model that is loaded, until it has answered: nobody else in this home does.

        One that runs on another model does not: its message waits for whoever runs it next.
        """
        from localmem.serve.models import Shared

        model = self.home.agent(name).model or self.profile.name
        if done() or self.registry.resolve(model).name != self.profile.name:
            return
        processor = _tracer(self.agent).processor
        options = replace(self.options, agent=name, model=model)
        with closing(
            Session(self.home, options, load=lambda *_: Shared(processor, lambda: None), peers=self._peers)
        ) as peer:
            for _ in range(PEER_TURNS):
                if done() or stopped():
                    return
                event = None if peer.memory.unfinished() else peer.memory.inbox.next()
                if event is None and not peer.memory.unfinished():
                    return
                with closing(
                    cast("Generator[Item, None, None]", peer.turn(event) if event else peer.resume())
                ) as items:
                    for _ in items:
                        if stopped():
                            peer.agent.interrupt()

    def _choose(self, name: str) -> Profile:
        return choose_model(self.registry, replace(self.options, model=name), self.memory)

    def _functions(self, settings: Settings) -> tuple[Function, ...]:
        """Return the functions that the agent was given beside its set, so far as they can be had."""
        from localmem.functions.shelf import offered
        from localmem.functions.standard import function_set

        names = self.memory.choices.names()
        found, self._refused = offered(self.home.path, names, function_set(settings.functions))
        return found

    def _awake(self, profile: Profile, tracer: Tracer) -> Agent:
        """Return the agent on a model that is loaded."""
        settings = settings_of(profile, self.options, self.memory.functions)
        own = self._functions(settings)
        return Agent(self.memory, tracer, settings, functions=own, permit=self.permission, peers=self._peers)

    def _wake(self, profile: Profile) -> tuple[Profile, Agent]:
        """Load a model in place of the one there is; return what is known of it then, and the agent on it."""
        absent = self.registry.locate(profile) is None
        with self._loading(self.registry, profile):
            if absent:  # fetched just now, its file may have said more of it
                self.registry = registry_of(self.home.path)
                profile = self._choose(profile.name)
            self.close()
            self.plan = plan_memory(self.registry, profile, self.options)
            snapshots = self.home.path / "snapshots"
            processor = self._load(self.registry, profile, self.options, snapshots)
            tracer = Tracer(processor, most=MOST_TRACES)
            try:
                return profile, self._awake(profile, tracer)
            except BaseException:
                tracer.close()
                raise


def _tracer(agent: Agent) -> Tracer:
    """Return what an agent of a session runs on."""
    return cast("Tracer", agent.processor)
