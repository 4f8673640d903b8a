"""Starting: `localmem --help`, and a chat until it asks for the first message, its model in the page cache.

The peer of the help is a bare Python that imports click; that of the chat is llama-cpp-python loading the same file.
Our modules are compiled before, as an installer leaves them.
"""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import localmem
from benchmarks.perf.common import Outcome, alternating, compared, median, profile_of, spread

LOCALMEM = str(Path(sys.executable).with_name("localmem"))


def measure(model: str | None, n: int | None) -> Outcome:
    """Start processes of all kinds in turn."""
    compileall.compile_dir(str(Path(localmem.__file__).parent), quiet=2)
    count = n or 5
    registry, profile = profile_of(model)
    path = str(registry.require(profile))
    load = f"import llama_cpp; llama_cpp.Llama({path!r}, n_ctx={profile.window}, verbose=False)"
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "models").symlink_to(registry.folder)
        chat(home, profile.name)
        help_, bare, asking, raw = alternating(
            count,
            lambda _: seconds([LOCALMEM, "--help"]),
            lambda _: seconds([sys.executable, "-c", "import click"]),
            lambda _: chat(home, profile.name),
            lambda _: seconds([sys.executable, "-c", load]),
        )
    return compared(
        "startup",
        "seconds to the prompt",
        asking,
        raw,
        help=median(help_),
        help_quartiles=spread(help_),
        bare_python=median(bare),
    )


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def chat(home: Path, model: str) -> float:
    """Return the seconds until a chat at a terminal asks for a message; it is left with Ctrl-D then."""
    import pty

    started = time.perf_counter()
    child, terminal = pty.fork()
    if not child:
        os.environ["TERM"] = "xterm"
        os.execv(LOCALMEM, [LOCALMEM, "--home", str(home), "chat", "--model", model])
    shown = b""
    while b">" not in shown.partition(b"/help for")[2]:
        shown += os.read(terminal, 4096)
        if b"\x1b[6n" in shown:  # asks where the cursor is
            os.write(terminal, b"\x1b[1;1R")
            shown = shown.replace(b"\x1b[6n", b"")
    spent = time.perf_counter() - started
    os.write(terminal, b"\x04")
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass
    os.waitpid(child, 0)
    return spent
