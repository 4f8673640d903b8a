"""What the person asked for, the model and the settings that follow from it, and the model loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from localmem.errors import UnknownAgent, UsageError
from localmem.kernel.settings import LIMITS, Settings

if TYPE_CHECKING:
    from localmem.memory.home import Home
    from localmem.memory.memory import Memory
    from localmem.processor.engine import LlamaProcessor
    from localmem.processor.machine import Plan
    from localmem.processor.profile import Profile
    from localmem.processor.registry import Registry

DEFAULT_AGENT = "default"
"""The agent that is made on first use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the person asked for; None leaves it to the agent, the profile or the machine.

    `together` is how many agents the cache of a model holds at once.
    """

    agent: str = DEFAULT_AGENT
    model: str | None = None
    window: int | None = None
    seed: int = 0
    temperature: float | None = None
    gpu_layers: int | None = None
    grammar: bool = True
    drafts: bool | None = None
    reuse: str | None = None
    cache: str | None = None
    together: int = 1


def registry_of(home: Path) -> Registry:
    """Return the models of a home: those that ship with localmem and the user's own."""
    from localmem.processor.registry import Registry

    return Registry.load(home / "models", home / "models.toml")


def memory_of(home: Home, name: str) -> Memory:
    """Return an agent's memory; the default agent is made on first use. Raises UnknownAgent."""
    try:
        return home.agent(name)
    except UnknownAgent:
        if name != DEFAULT_AGENT:
            raise
        return home.create_agent(name)


def choose_model(registry: Registry, options: Options, memory: Memory | None) -> Profile:
    """Return the profile of --model, else the agent's model, else LOCALMEM_MODEL, else the default."""
    chosen = options.model or (memory.model if memory else None) or os.environ.get("LOCALMEM_MODEL")
    profile = registry.resolve(chosen or registry.default)
    if profile.kind != "chat":
        raise UsageError(
            f"{profile.name} makes vectors and cannot talk: `localmem models list` shows the others"
        )
    return profile


def settings_of(profile: Profile, options: Options, functions: str | None = None) -> Settings:
    """Return the kernel's settings for a model, with an agent's own set of `functions` if it has one.

    Raises UsageError for a limit that there is not.
    """
    if unknown := [name for name in profile.limits if name not in LIMITS]:
        raise UsageError(f"{profile.name}: no limit {unknown[0]!r}; there are {', '.join(LIMITS)}")
    sampling = replace(profile.sampling, seed=options.seed)
    if options.temperature is not None:
        sampling = replace(sampling, temperature=options.temperature)
    return Settings(
        functions=functions or profile.functions,
        heartbeat="asked" if profile.heartbeat == "asked" else "derived",
        thought=profile.thought,
        memory_step=profile.memory_step,
        bias=profile.bias,
        sampling=sampling,
        max_steps=profile.max_steps,
        **cast("dict[str, Any]", profile.limits),
    )


def load_processor(
    registry: Registry, profile: Profile, options: Options, snapshots: Path | None = None
) -> LlamaProcessor:
    """Load a model; in the folder `snapshots` it keeps what its cache holds of each agent.

    Raises ModelMissing with the line that fetches it, and ModelBroken.
    """
    from localmem.processor import gguf
    from localmem.processor.engine import LlamaProcessor

    path = registry.require(profile)
    trained = gguf.read(path).trained_window
    plan = plan_memory(registry, profile, options)
    if options.window and trained and options.window > trained:
        raise UsageError(
            f"{profile.name} was trained for windows of at most {trained} tokens: use --window {trained} or less"
        )
    return LlamaProcessor(
        path,
        profile,
        window=plan.window,
        grammar=options.grammar,
        gpu_layers=options.gpu_layers,
        drafts=options.drafts,
        reuse=options.reuse,
        cache=options.cache,
        agents=plan.agents,
        snapshots=snapshots,
    )


def plan_memory(registry: Registry, profile: Profile, options: Options) -> Plan:
    """Return what a model is given of the memory that is free now; on a GPU, whose is not known, all it asks for."""
    from localmem.processor import machine
    from localmem.processor.build import uses_gpu

    return machine.plan(
        profile,
        registry.locate(profile),
        window=options.window,
        agents=options.together,
        cache=options.cache or profile.cache,
        available=0 if uses_gpu(options.gpu_layers) else None,
    )
