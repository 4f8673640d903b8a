"""Wakes an agent: puts a home, a model and the kernel's settings together."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from localmem.errors import UnknownAgent
from localmem.kernel.agent import Agent
from localmem.kernel.settings import Settings

if TYPE_CHECKING:
    from localmem.memory.home import Home
    from localmem.memory.memory import Memory
    from localmem.processor.engine import LlamaProcessor
    from localmem.processor.profile import Profile
    from localmem.processor.registry import Registry

DEFAULT_AGENT = "default"
"""The agent that is made on first use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the person asked for; None leaves it to the agent, the profile or the machine."""

    agent: str = DEFAULT_AGENT
    model: str | None = None
    window: int | None = None
    seed: int = 0
    temperature: float | None = None
    gpu_layers: int | None = None
    grammar: bool = True


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
    return registry.resolve(chosen or registry.default)


def settings_of(profile: Profile, options: Options) -> Settings:
    """Return the kernel's settings for a model."""
    sampling = replace(profile.sampling, seed=options.seed)
    if options.temperature is not None:
        sampling = replace(sampling, temperature=options.temperature)
    return Settings(
        functions=profile.functions,
        heartbeat=cast("str", profile.heartbeat) == "asked" and "asked" or "derived",
        thought=profile.thought,
        memory_step=profile.memory_step,
        bias=profile.bias,
        sampling=sampling,
        max_steps=profile.max_steps,
    )


def load_processor(registry: Registry, profile: Profile, options: Options) -> LlamaProcessor:
    """Load a model. Raises ModelMissing with the line that fetches it, ModelBroken when it cannot be loaded."""
    from localmem.processor.engine import LlamaProcessor

    return LlamaProcessor(
        registry.require(profile),
        profile,
        window=options.window,
        grammar=options.grammar,
        gpu_layers=options.gpu_layers,
    )


def wake(memory: Memory, registry: Registry, profile: Profile, options: Options) -> Agent:
    """Return the agent of `memory`, awake on the model of `profile`."""
    return Agent(memory, load_processor(registry, profile, options), settings_of(profile, options))
