"""Renders a chat template in a process of its own: it is a program that came with the model file.

Jinja's sandbox keeps it away from Python's insides; the process has a bounded memory and a bounded time,
because one filter in C code can fill the machine before a line of Python runs again. Run as a script it reads
one job from standard input and writes the results, both as JSON; it imports nothing but jinja2.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

TIME_LIMIT = 2
"""Seconds of computing for everything that is rendered of one template; waiting for a busy machine is free."""

PATIENCE = 30
"""Seconds on the clock after which we stop waiting: for systems that cannot bound computing."""

MEMORY_LIMIT = 512 << 20
"""Bytes of address space, where the system can bound it."""

LONGEST = 1_000_000
"""Characters that one rendering may come to."""

Message = tuple[str, str]
"""A role (system, user, assistant, tool) and its content."""


class Refused(Exception):
    """The template did not render; says why in one line."""


def render(
    template: str, conversations: Sequence[Sequence[Message]], *, bos: str = "", eos: str = ""
) -> list[tuple[str, str] | Refused]:
    """Return each conversation as text, without and with the generation prompt, or why it was refused.

    Raises Refused when nothing at all can be rendered: a syntax error, too much time or memory. Raises
    ImportError when that process finds no jinja2 where this one looks.
    """
    job = json.dumps(
        {"template": template, "conversations": conversations, "bos": bos, "eos": eos, "path": sys.path}
    )
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", __file__], input=job.encode(), capture_output=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"it took more than {PATIENCE} s") from None
    if -done.returncode == getattr(signal, "SIGXCPU", None):
        raise Refused(f"it took more than {TIME_LIMIT} s")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Refused("it broke the process that renders it (too much memory)") from None
    if "failed" in answer:
        raise ImportError(f"no template can be rendered: {answer['failed']}")
    if "refused" in answer:
        raise Refused(answer["refused"])
    return [
        Refused(found) if isinstance(found, str) else (found[0], found[1]) for found in answer["rendered"]
    ]


def _main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    sys.path[:] = job["path"]
    try:
        environment = _environment()
    except ImportError as error:
        sys.stdout.write(json.dumps({"failed": _line(error)}))
        return
    _bound()
    try:
        compiled = environment.from_string(job["template"])
    except Exception as error:
        answer: dict[str, Any] = {"refused": f"it is no valid template: {_line(error)}"}
    else:
        answer = {"rendered": [_render(compiled, talk, job) for talk in job["conversations"]]}
    sys.stdout.write(json.dumps(answer))


def _render(compiled: Any, conversation: Sequence[Message], job: dict[str, Any]) -> str | tuple[str, str]:
    def once(opening: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in conversation]
        text = compiled.render(
            messages=messages, add_generation_prompt=opening, bos_token=job["bos"], eos_token=job["eos"]
        )
        if len(text) > LONGEST:
            raise ValueError("it writes too much")
        return str(text)

    try:
        return once(False), once(True)
    except MemoryError:
        return "it takes too much memory"
    except Exception as error:  # a template may fail in any way; none is a bug of ours
        return f"it refuses: {_line(error)}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _bound() -> None:
    try:
        import resource
    except ImportError:  # Windows: our patience alone
        return
    for what, soft, hard in (
        (resource.RLIMIT_AS, MEMORY_LIMIT, MEMORY_LIMIT),
        (resource.RLIMIT_CPU, TIME_LIMIT, TIME_LIMIT + 1),
    ):
        try:
            resource.setrlimit(what, (soft, hard))
        except (ValueError, OSError):
            pass


def _environment() -> Any:
    """Return the environment that templates are written for: that of Hugging Face's tokenizers."""
    import jinja2
    from jinja2 import ext, nodes, sandbox

    class Generation(ext.Extension):
        """`{% generation %}` marks what the model wrote, for training; here it says nothing."""

        tags = {"generation"}  # noqa: RUF012 (as jinja2 declares it)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return nodes.Scope(
                parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line
            )

    def refuse(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = _to_json
    return environment


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


if __name__ == "__main__":
    _main()
