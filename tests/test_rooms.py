"""The rooms: each heavy dependency is imported in one of them, and importing localmem does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "localmem"
HEAVY = {
    "llama_cpp": "processor",
    "llguidance": "processor",
    "outlines": "processor",
    "jinja2": "processor",
    "duckdb": "memory",
    "faiss": "memory",
    "sentence_transformers": "memory",
    "torch": "memory",
    "pypdf": "documents",
    "mammoth": "documents",
    "markdownify": "documents",
    "bs4": "documents",
    "charset_normalizer": "documents",
    "semantic_text_splitter": "documents",
    "click": "cli",
    "prompt_toolkit": "cli",
}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("dependency", HEAVY)
def test_one_room_imports_each_heavy_dependency(dependency: str) -> None:
    rooms = {
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        if dependency in {name.split(".")[0] for name in imported(file)}
    }
    assert rooms <= {HEAVY[dependency]}


def test_the_kernel_knows_neither_the_terminal_nor_the_engine() -> None:
    for file in (PACKAGE / "kernel").glob("*.py"):
        for name in imported(file):
            assert not name.startswith(
                ("localmem.cli", "localmem.processor.engine", "localmem.processor.llama")
            )


def test_importing_every_module_loads_nothing_heavy() -> None:
    modules = [
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for file in PACKAGE.rglob("*.py")
        if file.name != "__main__.py"
    ]
    script = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
print([name for name in {sorted(set(HEAVY) - {"click", "prompt_toolkit"})!r} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_file_says_its_idea_in_its_first_line() -> None:
    for file in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "tests").rglob("*.py")]:
        text = file.read_text("utf-8")
        if text.strip():
            assert (ast.get_docstring(ast.parse(text)) or "").strip(), file
