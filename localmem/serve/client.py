"""The other side of the socket: a conversation with an agent, and commands, in the process that owns the home."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote

from localmem import __version__
from localmem.errors import LocalmemError, ServerGone
from localmem.permission import Ask
from localmem.records import Event, Item, Usage
from localmem.serve.address import connect
from localmem.serve.talk import State
from localmem.serve.wire import VERSION, Begin, End, Frame, plain, raised, read, unpack

SILENCE = 30.0
"""Seconds without a line after which the other side of a stream is taken for gone; it sends one every few."""

PATIENCE = 2.0
"""Seconds that a prompt waits for an interrupt to be taken: it stands still meanwhile."""


class Client:
    """Asks the process that serves a home. Every method raises ServerGone when it is not there (any more)."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def answers(self) -> bool:
        """Return whether the process is at work: a suspended one takes a connection, and says nothing."""
        try:
            with self._asked("GET", "/", None, within=PATIENCE):
                return True
        except ServerGone as error:
            return not isinstance(error.__cause__, TimeoutError)
        except LocalmemError:  # there is nothing at that path, which is an answer
            return True

    def get(self, path: str) -> Any:
        """Return what stands at a path. Raises the LocalmemError that the other side met."""
        with self._asked("GET", path, None) as response:
            return json.loads(response.read())

    def post(self, path: str, body: Mapping[str, object], *, within: float | None = None) -> Any:
        """Return what comes back on data, `within` so many seconds. Raises the LocalmemError met there."""
        with self._asked("POST", path, body, within) as response:
            return json.loads(response.read())

    def lines(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        silence: float | None = SILENCE,
    ) -> Iterator[bytes]:
        """Yield the lines of a stream as they come, to its end, or to a `silence` of so many seconds."""
        with self._asked(method, path, body, silence=silence) as response:
            while line := response.readline():
                if not line.endswith(b"\n"):
                    raise _gone()
                if line != b"\n":
                    yield line

    def command(
        self, words: list[str], given: Mapping[str, object], show: Callable[[str, str], object]
    ) -> int:
        """Run a command there; `show` gets "out" or "err" and what is written. Return its exit code."""
        for line in self.lines("POST", "/command", {"words": words, "given": given}, silence=None):
            for stream, text in json.loads(line).items():
                if stream == "exit":
                    return int(text)
                show(stream, text)
        raise _gone()

    @contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        within: float | None = None,
        silence: float | None = None,
    ) -> Iterator[HTTPResponse]:
        connection = _Connection(self.home)
        try:
            data = None if body is None else plain(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            asked = connection.sock  # the answer's end is the connection's: http.client lets go of it
            asked.settimeout(within)
            response = connection.getresponse()
            if response.headers.get(VERSION) != __version__:
                raise ServerGone("`localmem run` is of another version: stop it and start it again")
            if response.status != 200:
                error = json.loads(response.read())
                raise raised(error["error"], error["message"])
            asked.settimeout(within or silence)
            yield response
        except (OSError, HTTPException, ValueError) as error:
            raise _gone() from error
        finally:
            connection.close()


class RemoteTalk:
    """A Talk with an agent that is awake in the process that serves the home."""

    def __init__(self, client: Client, agent: str) -> None:
        self._client, self._path = client, f"/agents/{quote(agent, safe='')}"
        self._me = uuid.uuid4().hex
        self.usage = Usage()

    @property
    def home(self) -> Path:
        return self._client.home

    def state(self) -> State:
        """Return how the agent stands; a turn that is open there is under way, or will be gone on with there."""
        return replace(read(State, self._client.get(self._path)), unfinished=False, waits=False)

    def turn(self, event: Event) -> Iterator[Item]:
        """Yield the turn of an event as it goes on there. Raises ServerGone, saying what became of the event."""
        body = {"kind": event.kind.value, "text": event.text, "note": event.note, "by": self._me}
        acknowledged = False
        try:
            for line in self._client.lines("POST", f"{self._path}/events", body):
                frame = unpack(line)
                if not acknowledged:
                    acknowledged = True
                elif isinstance(frame, End):
                    self.usage = frame.usage
                    if frame.error:
                        raise raised(frame.error, frame.message)
                    return
                elif not isinstance(frame, Begin):
                    yield frame
        except ServerGone as error:
            raise ServerGone(f"{error}; {_KEPT if acknowledged else _UNKEPT}") from error
        raise ServerGone(f"{_gone()}; {_KEPT if acknowledged else _UNKEPT}")

    def resume(self) -> Iterator[Item]:
        """Yield nothing: the process that serves the home goes on with what was left, by itself."""
        return iter(())

    def catch_up(self) -> Iterator[Item]:
        """Yield nothing: the process that serves the home runs what waits."""
        return iter(())

    def hand_in(self, event: Event) -> None:
        body = {
            "kind": event.kind.value,
            "text": event.text,
            "note": event.note,
            "by": self._me,
            "wait": False,
        }
        self._client.post(f"{self._path}/events", body)

    def interrupt(self) -> None:
        """End this talk's turn, or one that no person began; one that somebody else waits for goes on."""
        self._client.post(f"{self._path}/interrupt", {"by": self._me}, within=PATIENCE)

    def ask_with(self, ask: Ask) -> None:
        """Do nothing: what touches the outside runs there only where `localmem functions permit` allowed it."""

    def slash(self, name: str, rest: str) -> Iterator[str]:
        try:
            yield from self._client.post(f"{self._path}/slash", {"name": name, "rest": rest, "by": self._me})
        except KeyboardInterrupt:
            self.interrupt()
            raise

    def settle(self) -> None:
        """Do nothing: it is done there after each turn."""

    def others(self) -> Iterator[Frame]:
        """Yield what the agent's turns yield from now on that this talk did not begin. Raises ServerGone."""
        for line in self._client.lines("GET", f"{self._path}/stream?except={self._me}"):
            yield unpack(line)


_KEPT = "your message is kept, and answered when it runs again"
_UNKEPT = "your message was not taken: send it again"


def find(home: Path) -> Client | None:
    """Return a client where some process serves a home, None where none does."""
    try:
        connect(home, timeout=2.0).close()
    except OSError:
        return None
    return Client(home)


class _Connection(HTTPConnection):
    def __init__(self, home: Path) -> None:
        super().__init__("localmem")
        self._home = home

    def connect(self) -> None:
        self.sock = connect(self._home)


def _gone() -> ServerGone:
    return ServerGone("`localmem run` is gone")
