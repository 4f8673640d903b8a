"""Long runs of real models: varied inputs, and a conversation that outlives its window many times."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inputs import varied

from localmem.functions.executor import checked
from localmem.kernel.agent import Agent
from localmem.memory.home import Home
from localmem.processor.engine import LlamaProcessor
from localmem.processor.interface import Limits, Prose, Segment, Shape
from localmem.processor.registry import Registry
from localmem.records import Call, Event, EventKind, Eviction, Result
from localmem.runtime import Options, settings_of

SMOL, QWEN = "smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct"


class Watched(LlamaProcessor):
    """A processor that checks, at every decode, the budget and that no content became a template token."""

    checks = 0

    def generate(self, prompt: list[Segment], shape: Shape, limits: Limits):  # type: ignore[no-untyped-def, override]
        ids = [token for segment in prompt for token in segment.ids]
        assert len(ids) + limits.tokens <= self.window
        assert limits.tokens >= 256 or isinstance(shape, Prose)
        assert len(self.held(limits.owner)) <= self.window
        self.checks += 1
        generation = super().generate(prompt, shape, limits)
        assert generation._work.known == ids
        return generation


def wake(home: Home, name: str, path: Path, window: int) -> tuple[Agent, Watched]:
    profile = Registry.load()[name]
    processor = Watched(path, profile, window=window)
    memory = home.create_agent("default")
    return Agent(memory, processor, settings_of(profile, Options())), processor


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Home.open(tmp_path / "home") as opened:
        yield opened


def no_template_token_from_content(processor: LlamaProcessor, text: str) -> None:
    added = processor.tokenizer.added
    event = processor.encode(Event(EventKind.USER, text))
    delimiters = processor.encode(Event(EventKind.USER, ""))
    assert sum(token in added for token in event.ids) == sum(token in added for token in delimiters.ids)
    content = processor.tokenizer.content(text)
    assert processor.tokenizer.bytes(content) == text.encode()


def talk(agent: Agent, processor: Watched, inputs: list[str]) -> None:
    functions = agent._policy.functions
    for text in inputs:
        no_template_token_from_content(processor, text)
        made = [item for item in agent.turn(Event(EventKind.USER, text)) if isinstance(item, Call)]
        assert made
        for call in made:
            checked(call, functions, [block.label for block in agent.memory.blocks()])
            written = processor.tokenizer.bytes(call.ids).decode()
            assert json.loads(written)["function"] == call.function
    events = [r for r in agent.memory.records() if isinstance(r, Event) and r.kind is EventKind.USER]
    assert [event.text for event in events] == inputs


@pytest.mark.model
def test_twelve_varied_inputs(home: Home, smollm2: Path) -> None:
    agent, processor = wake(home, SMOL, smollm2, 2048)
    talk(agent, processor, varied(12, seed=5))


@pytest.mark.model
@pytest.mark.large
def test_two_hundred_varied_inputs(home: Home, smollm2: Path) -> None:
    agent, processor = wake(home, SMOL, smollm2, 4096)
    talk(agent, processor, varied(200))


@pytest.mark.model
@pytest.mark.large
def test_sixty_varied_inputs_on_the_default_model(home: Home, qwen15: Path) -> None:
    agent, processor = wake(home, QWEN, qwen15, 4096)
    talk(agent, processor, varied(60, seed=1))


def converse(home: Home, path: Path, turns: int) -> None:
    agent, processor = wake(home, SMOL, path, 2048)
    evictions = 0
    said = ["My parrot is called Quicksilver and was born in Valparaiso."]
    said += [f"Turn {n}: {varied(60, seed=3)[n % 60][:400]}" for n in range(1, turns)]
    for text in said:
        evictions += sum(isinstance(item, Eviction) for item in agent.turn(Event(EventKind.USER, text)))
    assert evictions >= turns // 30
    assert processor.checks >= turns
    records = agent.memory.records()
    assert [r.id for r in records] == sorted(r.id for r in records)
    assert [r.text for r in records if isinstance(r, Event) and r.kind is EventKind.USER] == said
    assert {r.call for r in records if isinstance(r, Result)} == {
        r.id for r in records if isinstance(r, Call)
    }
    hits = agent.memory.search_recall("parrot Quicksilver").hits
    assert hits[0].text == said[0]


@pytest.mark.model
def test_a_conversation_that_outlives_its_window(home: Home, smollm2: Path) -> None:
    converse(home, smollm2, 40)


@pytest.mark.model
@pytest.mark.large
def test_a_conversation_of_three_hundred_turns(home: Home, smollm2: Path) -> None:
    converse(home, smollm2, 300)


def test_the_inputs_are_varied_and_repeatable() -> None:
    inputs = varied(200)
    assert inputs == varied(200)
    assert len(set(inputs)) > 190
    assert max(len(text.encode()) for text in inputs) > 50_000


def ask(home: Path, text: str, *options: str) -> dict[str, Any]:
    """Run one turn in a process of its own."""
    command = [
        sys.executable,
        "-c",
        "from localmem.cli.main import run; run()",
        "--home",
        str(home),
        "ask",
        text,
    ]
    run = subprocess.run([*command, "--json", *options], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


@pytest.mark.model
@pytest.mark.large
def test_a_name_and_a_dog_outlive_the_process(tmp_path: Path, qwen15: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / qwen15.name).symlink_to(qwen15)
    told = ask(tmp_path, "My name is Ada, I live in Lisbon and I have a dog called Bruno")
    assert any(step["function"].startswith("core_memory_") and step["ok"] for step in told["steps"])
    assert "Bruno" in ask(tmp_path, "What is my dog called?")["reply"]


@pytest.mark.model
@pytest.mark.large
def test_the_smallest_model_makes_the_same_calls_legally(tmp_path: Path, smollm2: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / smollm2.name).symlink_to(smollm2)
    for text in ("My name is Ada, I live in Lisbon and I have a dog called Bruno", "What is my dog called?"):
        answer = ask(tmp_path, text, "--model", SMOL)
        assert answer["steps"][-1]["function"] == "send_message"
        assert answer["reply"]
        assert answer["context"]["used"] <= answer["context"]["window"]
