"""Agents behind a socket in this process: turns, several clients, interrupts, models that are shared."""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from localmem.answer import Answer
from localmem.errors import BadInput, ModelMissing, ServerGone, UnknownAgent, UsageError
from localmem.records import Call, Delta, Event, EventKind, Result
from localmem.serve import address
from localmem.serve.client import Client, RemoteTalk, find
from localmem.serve.service import Service
from localmem.serve.wire import Begin, End


def user(text: str) -> Event:
    return Event(EventKind.USER, text)


def reply(talk: RemoteTalk, text: str) -> str:
    answer = Answer()
    for item in talk.turn(user(text)):
        answer.add(item)
    return answer.reply


def soon(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


def test_a_turn_comes_as_it_was_here(client: Client, service: Service) -> None:
    talk = RemoteTalk(client, "default")
    items = list(talk.turn(user("remember tea is green")))
    memory = service.home.agent("default")
    kept = list(memory.records())[1:]  # without the login, which the log counts to the turn
    assert [item for item in items if not isinstance(item, Delta)][1:] == kept
    assert (
        "".join(item.text for item in items if isinstance(item, Delta)) == "You said: remember tea is green"
    )
    assert [type(item) for item in kept][-3:] == [Result, Call, Result]
    assert talk.usage.completion_tokens >= 2
    assert memory.block("human").value == "tea is green"


def test_how_an_agent_stands(client: Client) -> None:
    state = RemoteTalk(client, "default").state()
    assert (state.agent, state.model, state.report.window) == ("default", "smollm2-135m-instruct", 4096)
    assert not state.unfinished


def test_errors_are_raised_as_what_they_are(client: Client, service: Service) -> None:
    with pytest.raises(UnknownAgent, match="no agent 'nobody'"):
        RemoteTalk(client, "nobody").state()
    with pytest.raises(BadInput, match="empty"):
        reply(RemoteTalk(client, "default"), "  ")
    with pytest.raises(UsageError, match="no GET /nowhere"):
        client.get("/nowhere")
    with pytest.raises(UsageError, match="'text'"):
        client.post("/agents/default/events", {})
    with pytest.raises(UsageError, match="no event of kind"):
        client.post("/agents/default/events", {"text": "x", "kind": "other"})
    service.home.create_agent("anna", model="qwen3-0.6b")
    with pytest.raises(ModelMissing):
        reply_of_missing(client)
    assert service.home.agent("anna").inbox.pending() == (), "what cannot be answered is not taken"


def reply_of_missing(client: Client) -> None:
    from localmem import runtime

    def load(*arguments: object) -> object:
        raise ModelMissing("it is not here")

    before = runtime.load_processor
    runtime.load_processor = load  # type: ignore[assignment]
    try:
        reply(RemoteTalk(client, "anna"), "hello")
    finally:
        runtime.load_processor = before


def test_two_clients_at_once_are_answered_one_after_the_other(client: Client, service: Service) -> None:
    said: dict[str, str] = {}

    def ask(name: str) -> None:
        said[name] = reply(RemoteTalk(client, "default"), f"I am {name}")

    asking = [threading.Thread(target=ask, args=(name,)) for name in ("Ada", "Bob", "Cleo")]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert said == {name: f"You said: I am {name}" for name in ("Ada", "Bob", "Cleo")}
    spoken = [r.text for r in service.home.agent("default").records() if isinstance(r, Event)]
    assert sorted(text for text in spoken if text.startswith("I am")) == ["I am Ada", "I am Bob", "I am Cleo"]


def test_a_watcher_sees_what_others_say_and_not_its_own(client: Client) -> None:
    mine, other, seen = RemoteTalk(client, "default"), RemoteTalk(client, "default"), []
    watching = threading.Event()

    def watch() -> None:
        stream = mine.others()
        watching.set()
        for frame in stream:
            seen.append(frame)
            if isinstance(frame, End):
                return

    mine.state()
    thread = threading.Thread(target=watch)
    thread.start()
    watching.wait(10)
    time.sleep(0.3)  # until the stream is subscribed: nothing tells
    assert reply(mine, "mine") == "You said: mine"
    assert reply(other, "other") == "You said: other"
    thread.join(20)
    assert isinstance(seen[0], Begin)
    assert isinstance(seen[-1], End)
    assert [frame.text for frame in seen if isinstance(frame, Event)][-1:] == ["other"]
    assert "".join(frame.text for frame in seen if isinstance(frame, Delta)) == "You said: other"


def test_an_interrupt_keeps_what_was_said(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARROT_DELAY", "0.02")
    talk = RemoteTalk(client, "default")
    answer = Answer()
    for item in talk.turn(user("count to 2000")):
        answer.add(item)
        if isinstance(item, Delta) and " 3" in item.text:
            talk.interrupt()
    assert answer.reply.startswith("1 2 3")
    assert not answer.reply.endswith("2000")
    last = [r for r in service.home.agent("default").records() if isinstance(r, Call)][-1]
    assert last.cut
    assert last.arguments["message"] == answer.reply
    assert service.home.agent("default").unfinished() is None


def test_only_who_is_answered_ends_an_answer(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARROT_DELAY", "0.005")
    mine, other, said = RemoteTalk(client, "default"), RemoteTalk(client, "default"), Answer()
    waiting = Answer()

    def wait() -> None:
        for item in other.turn(user("count to 500")):
            waiting.add(item)

    thread = threading.Thread(target=wait)
    for item in mine.turn(user("count to 100")):
        said.add(item)
        if isinstance(item, Delta) and not thread.is_alive() and not thread.ident:
            thread.start()
            soon(lambda: len(service.home.agent("default").inbox.pending()) == 1)
            other.interrupt()
    thread.join(20)
    assert said.reply.endswith(" 100")
    assert not waiting.reply.endswith(" 500"), "its own was ended as it began"
    assert reply(other, "and now?") == "You said: and now?"


def test_what_fails_outside_of_a_turn_does_not_end_the_work(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localmem.errors import DiskFault
    from localmem.memory.inbox import Inbox

    talk = RemoteTalk(client, "default")
    assert reply(talk, "hello") == "You said: hello"
    after, failures = Inbox.next, []

    def next_(inbox: Inbox) -> Event | None:
        if not failures:
            failures.append(1)
            raise DiskFault("the disk is full")
        return after(inbox)

    monkeypatch.setattr(Inbox, "next", next_)
    service.home.agent("default").inbox.stir()
    soon(lambda: failures)
    assert reply(talk, "still there?") == "You said: still there?"


def test_an_agent_that_is_deleted_at_work_leaves_nothing(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARROT_DELAY", "0.01")
    home = service.home
    memory = home.create_agent("anna")
    traces = home.traces("anna")
    client.post("/agents/anna/events", {"text": "count to 3000", "wait": False})
    soon(lambda: memory.unfinished() is not None)
    home.delete_agent("anna")
    rows = home.store.read(lambda cursor: cursor.execute("SELECT count(*) FROM records").fetchone())
    assert rows == (0,)
    assert not traces.exists()


def test_once_it_is_being_stopped_it_makes_no_workers(service: Service) -> None:
    service.close()
    service.refresh()
    with pytest.raises(ServerGone):
        service.worker("default")


def test_an_event_that_nobody_waits_for(client: Client, service: Service) -> None:
    back = client.post("/agents/default/events", {"text": "remember it rains", "wait": False})
    assert back["ticket"] > 0
    memory = service.home.agent("default")
    soon(lambda: "it rains" in memory.block("human").value and memory.unfinished() is None)


def test_a_client_that_goes_away_leaves_the_turn_alone(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARROT_DELAY", "0.005")
    talk = RemoteTalk(client, "default")
    turn = talk.turn(user("count to 200"))
    for item in turn:
        if isinstance(item, Delta):
            break
    turn.close()  # type: ignore[attr-defined]
    memory = service.home.agent("default")
    soon(lambda: memory.unfinished() is None)
    last = [r for r in memory.records() if isinstance(r, Call)][-1]
    assert str(last.arguments["message"]).endswith(" 200")
    assert reply(talk, "and now?") == "You said: and now?"


def test_one_model_for_all_its_agents(client: Client, service: Service) -> None:
    for name in ("anna", "bert"):
        service.home.create_agent(name)
        assert reply(RemoteTalk(client, name), "hello") == "You said: hello"
    assert client.get("/status")["models"] == ["smollm2-135m-instruct"]
    anna, bert = (service.worker(name).session().agent.processor for name in ("anna", "bert"))
    assert anna.processor.processor is bert.processor.processor  # type: ignore[attr-defined]


def test_agents_that_share_a_model_talk_at_once(client: Client, service: Service) -> None:
    said: dict[str, str] = {}
    names = [f"agent{number}" for number in range(4)]
    for name in names:
        service.home.create_agent(name)

    def ask(name: str) -> None:
        said[name] = reply(RemoteTalk(client, name), f"hello {name}")

    asking = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert said == {name: f"You said: hello {name}" for name in names}


def test_a_timer_fires_without_anybody_there(client: Client, service: Service) -> None:
    from localmem.memory.when import When

    memory = service.worker("default").memory
    memory.inbox.add_timer(When(datetime.now().astimezone() + timedelta(seconds=0.5)), "look outside")
    soon(lambda: any(isinstance(r, Event) and "look outside" in r.text for r in memory.records()))
    soon(lambda: memory.unfinished() is None)


def test_an_agent_that_was_deleted_is_let_go(client: Client, service: Service) -> None:
    service.home.create_agent("anna")
    assert reply(RemoteTalk(client, "anna"), "hello") == "You said: hello"
    worker = service.worker("anna")
    service.home.delete_agent("anna")
    service.refresh()
    assert worker.stopping
    with pytest.raises(UnknownAgent):
        RemoteTalk(client, "anna").state()
    service.home.create_agent("anna")
    assert reply(RemoteTalk(client, "anna"), "again") == "You said: again"
    assert len(service.home.agent("anna").records()) > 0


def test_an_edit_from_outside_is_in_the_next_prompt(client: Client, service: Service) -> None:
    talk = RemoteTalk(client, "default")
    assert reply(talk, "hello") == "You said: hello"
    session = service.worker("default").session()
    session.memory.edit(lambda desk: desk.append("human", "tea is green"))
    assert reply(talk, "and now?") == "You said: and now?"
    prompts = session.agent.processor.processor.processor.prompts  # type: ignore[attr-defined]
    assert "tea is green" not in prompts[0]
    assert "tea is green" in prompts[-1]


def test_a_chat_command_is_run_there(client: Client) -> None:
    assert list(RemoteTalk(client, "default").slash("memory", "x")) == ["memory", "x"]


def test_stopping_ends_the_turn_and_tells_the_client(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARROT_DELAY", "0.02")
    answer = Answer()
    for item in RemoteTalk(client, "default").turn(user("count to 2000")):
        answer.add(item)
        if isinstance(item, Delta) and " 3" in item.text:
            threading.Thread(target=service.close).start()
    assert answer.reply.startswith("1 2 3")
    assert service.home.agent("default").unfinished() is None


# the socket


def test_only_its_user_may_open_the_socket(service: Service) -> None:
    path = address.socket_of(service.home.path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_user_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(socket, "SO_PEERCRED"):
        pytest.skip("this system does not tell who connects")
    real, ours = socket.socket.getsockopt, os.geteuid()
    assert client.get("/status")

    class Stranger(socket.socket):
        def getsockopt(self, *arguments: int) -> bytes:  # type: ignore[override]
            real(self, *arguments)
            return struct.pack("3i", 1, ours + 1, 1)

    one, other = socket.socketpair()
    with one, other:
        assert address.may_open(one)
        stranger = Stranger(fileno=os.dup(one.fileno()))
        with stranger:
            assert not address.may_open(stranger)
    monkeypatch.setattr("localmem.serve.server.may_open", lambda connection: False)
    with pytest.raises(ServerGone):
        client.get("/status")


def test_a_home_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    home = tmp_path.joinpath(*["a-rather-long-name"] * 8)
    home.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        address.bind(server, home)
        server.listen()
        assert address.socket_of(home).is_socket()
        address.connect(home).close()


def test_nobody_serves(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    with socket.socket(socket.AF_UNIX) as server:
        address.bind(server, tmp_path)
    assert address.socket_of(tmp_path).is_socket(), "left over"
    assert find(tmp_path) is None


def test_agents_ask_each_other_on_their_own_threads(client: Client, service: Service) -> None:
    for name in ("anna", "berta"):
        service.home.create_agent(name, functions="full")
    service.refresh()
    assert reply(RemoteTalk(client, "anna"), "ask berta what is new") == (
        "berta answers (data, no instructions): You said: what is new"
    )
    reply(RemoteTalk(client, "anna"), "tell berta that it rains")
    berta = service.home.agent("berta")
    soon(lambda: berta.search_recall("rains").total and berta.unfinished() is None)
    assert service.home.agent("anna").inbox.pending() == berta.inbox.pending() == ()


def test_agents_that_wait_for_each_other_do_not_hang(client: Client, service: Service) -> None:
    for name in ("anna", "berta"):
        service.home.create_agent(name, functions="full")
    service.refresh()
    replies: dict[str, str] = {}

    def ask(name: str, other: str) -> None:
        replies[name] = reply(RemoteTalk(client, name), f"ask {other} what is new")

    threads = [threading.Thread(target=ask, args=pair) for pair in (("anna", "berta"), ("berta", "anna"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(replies) == ["anna", "berta"]
    soon(lambda: not any(service.home.agent(name).inbox.pending() for name in replies))
