"""HTTP over the home's socket: one thread for each request, answers as JSON, streams as lines of JSON."""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from localmem import __version__
from localmem.errors import LocalmemError, UnknownAgent, UsageError
from localmem.records import Event, EventKind
from localmem.serve.address import bind, may_open, socket_of
from localmem.serve.service import Service
from localmem.serve.talk import Slash, state_of
from localmem.serve.wire import VERSION, Begin, End, Frame, failed, pack, plain
from localmem.serve.worker import Subscription, Worker
from localmem.session import Session

BEAT = 5.0
"""Seconds of silence after which a stream carries an empty line, so that a side that is gone is noticed."""

STREAM = "application/x-ndjson"

Answer: TypeAlias = "object | Generator[bytes, None, None] | Callable[[Write], None]"
"""What a route returns: data, the lines of a stream, or a function that writes them."""

Write = Callable[[bytes], object]

Command = Callable[[list[str], Mapping[str, Any], Callable[[str, str], object]], int]
"""Runs a command of the command line here and returns its exit code; hands over "out" or "err" and the text."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the agent that its path names, its query, and its body."""

    agent: str
    query: Mapping[str, str]
    body: Mapping[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text of the body. Raises UsageError where it is missing or no text."""
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise UsageError(f"the body needs {name!r}, a text")
        return value


class Server(ThreadingMixIn, UnixStreamServer):
    """Serves a home to its user. `command` and `slash` are the terminal's parts, handed in from there.

    Raises HomeUnusable where no socket can be made.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, service: Service, command: Command, slash: Slash) -> None:
        self.service, self.command, self.slash = service, command, slash
        self.path = socket_of(service.home.path)
        super().__init__(str(self.path), Handler)

    def server_bind(self) -> None:
        bind(self.socket, self.service.home.path)

    def verify_request(self, request: Any, client_address: object) -> bool:
        return isinstance(request, socket.socket) and may_open(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a client go that went away; each answer says its own errors."""

    def start(self) -> None:
        """Answer from now on, in a thread."""
        threading.Thread(target=self.serve_forever, name="server", args=(0.1,)).start()

    def stop(self) -> None:
        """Take no more requests, and take the socket away."""
        self.shutdown()
        self.server_close()
        self.path.unlink(missing_ok=True)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    server_version = f"localmem/{__version__}"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the service tells of turns."""

    def _answer(self, method: str) -> None:
        try:
            answer = self._route(method)
            first = next(answer, b"") if isinstance(answer, Generator) else b""
        except LocalmemError as error:
            name, message = failed(error)
            self._send(404 if isinstance(error, UnknownAgent) else 400, {"error": name, "message": message})
            return
        except Exception as error:
            name, message = failed(error)
            self._send(500, {"error": name, "message": message})
            return
        if isinstance(answer, Generator):
            self._head(200, STREAM)
            with closing(answer):
                self.wfile.write(first)
                for line in answer:
                    self.wfile.write(line)
        elif callable(answer):
            self._head(200, STREAM)
            answer(self.wfile.write)
        else:
            self._send(200, answer)

    def _route(self, method: str) -> Answer:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = _body(self.rfile.read(length))
        for wanted, pattern, route in ROUTES:
            found = re.fullmatch(pattern, url.path)
            if found and wanted == method:
                agent = unquote(found["agent"]) if "agent" in found.groupdict() else ""
                return route(self.server, Asked(agent, query, body))
        raise UsageError(f"there is no {method} {url.path}")

    def _send(self, status: int, data: object) -> None:
        self._head(status, "application/json")
        self.wfile.write(plain(data))

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(VERSION, __version__)
        self.end_headers()


def _body(data: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(data or b"{}")
    except ValueError as error:
        raise UsageError(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError("the body is a JSON object")
    return body


def _status(server: Server, asked: Asked) -> Answer:
    return server.service.status()


def _agents(server: Server, asked: Asked) -> Answer:
    return server.service.home.agents()


def _state(server: Server, asked: Asked) -> Answer:
    return state_of(server.service.worker(asked.agent).session())


def _submit(server: Server, asked: Asked) -> Answer:
    """Take an event; the answer streams its turn, or with `wait` false is the acknowledged event alone."""
    kind = asked.text("kind", EventKind.USER.value)
    if kind not in [known.value for known in EventKind]:
        raise UsageError(f"there is no event of kind {kind!r}")
    event = Event(EventKind(kind), asked.text("text"), asked.text("note", ""))
    worker, by = server.service.worker(asked.agent), asked.text("by", "")
    return worker.submit(event, by) if asked.body.get("wait") is False else _turn(worker, event, by)


def _turn(worker: Worker, event: Event, by: str) -> Generator[bytes, None, None]:
    """Yield an event as it was acknowledged, and then the frames of its own turn."""
    with worker.subscribed() as mine:
        event = worker.submit(event, by)
        yield pack(event)
        begun = False
        for frame in _frames(mine):
            begun = begun or (isinstance(frame, Begin) and frame.event == event.ticket)
            if begun or frame is None:
                yield pack(frame) if frame else b"\n"
            if begun and isinstance(frame, End):
                return


def _stream(server: Server, asked: Asked) -> Answer:
    """Stream every turn of an agent from now on, but for those that `except` began."""
    return _turns(server.service.worker(asked.agent), asked.query.get("except", ""))


def _turns(worker: Worker, without: str) -> Generator[bytes, None, None]:
    with worker.subscribed() as every:
        yield b"\n"
        shown = False
        for frame in _frames(every):
            if isinstance(frame, Begin):
                shown = not without or frame.by != without
            if shown or frame is None:
                yield pack(frame) if frame else b"\n"


def _frames(subscription: Subscription) -> Iterator[Frame | None]:
    """Yield the frames of a subscription to its end; None where none came for a while."""
    while True:
        try:
            frame = subscription.next(BEAT)
        except queue.Empty:
            yield None
            continue
        if frame is None:
            return
        yield frame


def _interrupt(server: Server, asked: Asked) -> Answer:
    server.service.worker(asked.agent).interrupt(asked.text("by", "") or None)
    return {}


def _slash(server: Server, asked: Asked) -> Answer:
    name, rest = asked.text("name"), asked.text("rest", "")

    def run(session: Session) -> list[str]:
        return list(server.slash(session, name, rest))

    return server.service.worker(asked.agent).do(run, asked.text("by", ""))


def _command(server: Server, asked: Asked) -> Answer:
    """Run a command of the command line here; what it writes is streamed, its exit code comes last."""
    words, given = asked.body.get("words"), asked.body.get("given")
    if not isinstance(words, list) or not isinstance(given, dict):
        raise UsageError("the body needs 'words', the names of a command, and 'given', its parameters")

    def run(write: Write) -> None:
        try:
            code = server.command(words, given, lambda stream, text: write(plain({stream: text})))
        finally:
            server.service.refresh()
        write(plain({"exit": code}))

    return run


ROUTES: Sequence[tuple[str, str, Callable[[Server, Asked], Answer]]] = (
    ("GET", "/status", _status),
    ("GET", "/agents", _agents),
    ("GET", "/agents/(?P<agent>[^/]+)", _state),
    ("POST", "/agents/(?P<agent>[^/]+)/events", _submit),
    ("GET", "/agents/(?P<agent>[^/]+)/stream", _stream),
    ("POST", "/agents/(?P<agent>[^/]+)/interrupt", _interrupt),
    ("POST", "/agents/(?P<agent>[^/]+)/slash", _slash),
    ("POST", "/command", _command),
)
