"""One thread writes, whole transactions only, and survives whatever a write does."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest
from memory_acts import say

from localmem.errors import HomeUnusable
from localmem.memory.clock import stamp, system_clock
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.memory.migrations import AGENT_TABLES, MIGRATIONS, Migration
from localmem.memory.store import Store
from localmem.records import Event, EventKind


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = Store(tmp_path / "s.duckdb", clock=system_clock)
    opened.write(lambda cursor: cursor.execute("CREATE TABLE t (n BIGINT)"))
    yield opened
    opened.close()


def rows(store: Store) -> list[int]:
    return store.read(lambda cursor: [row[0] for row in cursor.execute("FROM t ORDER BY n").fetchall()])


def put(store: Store, n: int) -> None:
    store.write(lambda cursor: cursor.execute("INSERT INTO t VALUES (?)", [n]))


def test_a_failed_write_leaves_nothing(store: Store) -> None:
    def work(cursor: Any) -> None:
        cursor.execute("INSERT INTO t VALUES (1)")
        raise KeyError

    with pytest.raises(KeyError):
        store.write(work)
    with pytest.raises(duckdb.CatalogException):
        store.write(lambda cursor: cursor.execute("INSERT INTO nowhere VALUES (1)"))
    put(store, 2)
    assert rows(store) == [2]


def test_threads_write_one_after_the_other(store: Store) -> None:
    def bump(cursor: Any) -> None:
        n = cursor.execute("SELECT count(*) FROM t").fetchone()[0]
        cursor.execute("INSERT INTO t VALUES (?)", [n])

    threads = [threading.Thread(target=lambda: [store.write(bump) for _ in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(store) == list(range(80))


def test_a_write_inside_a_write_is_a_bug(store: Store) -> None:
    with pytest.raises(RuntimeError, match="inside"):
        store.write(lambda cursor: put(store, 1))
    put(store, 2)
    assert rows(store) == [2]


def test_an_interrupt_waits_for_the_write_under_way(store: Store) -> None:
    def work(cursor: Any) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        threading.Event().wait(0.2)
        cursor.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(KeyboardInterrupt):
        store.write(work)
    assert rows(store) == [1]
    put(store, 2)
    assert rows(store) == [1, 2]


def test_a_fatal_error_opens_the_file_again(store: Store) -> None:
    put(store, 1)

    def work(cursor: Any) -> None:
        cursor.execute("INSERT INTO t VALUES (2)")
        raise duckdb.FatalException("the database has been invalidated")

    with pytest.raises(Exception, match="failed"):
        store.write(work)
    put(store, 3)
    assert rows(store) == [1, 3]


def test_readers_see_only_what_is_committed(store: Store) -> None:
    inside, go = threading.Event(), threading.Event()

    def work(cursor: Any) -> None:
        cursor.execute("INSERT INTO t VALUES (1)")
        inside.set()
        go.wait(5)

    writer = threading.Thread(target=store.write, args=(work,))
    writer.start()
    inside.wait(5)
    assert rows(store) == []
    go.set()
    writer.join()
    assert rows(store) == [1]


def test_a_closed_home_refuses_whoever_is_late(tmp_path: Path) -> None:
    with Home.open(tmp_path) as home:
        memory = home.create_agent("a")
    late = [memory.blocks, home.agents, lambda: memory.set_model("m"), lambda: memory.evict(1, "")]
    for work in late:
        with pytest.raises(HomeUnusable, match="is closed"):
            work()
    with Home.open(tmp_path) as again:
        assert again.agent("a").model is None
        with pytest.raises(HomeUnusable, match="is closed"):
            memory.blocks()


def test_closing_finishes_the_writes_that_wait(store: Store) -> None:
    held, go = threading.Event(), threading.Event()
    works = [
        lambda: store.write(lambda cursor: held.set() or go.wait(10)),
        lambda: put(store, 1),
        store.close,
    ]
    threads = []
    for work in works:
        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        held.wait(10)
        threads[-1].join(0.1)
    refused: list[type[BaseException]] = []

    def late() -> None:
        try:
            put(store, 2)
        except BaseException as error:
            refused.append(type(error))

    threads.append(threading.Thread(target=late, daemon=True))
    threads[-1].start()
    threads[-1].join(0.1)
    go.set()
    for thread in threads:
        thread.join(10)
    assert refused == [HomeUnusable]
    store.close()
    again = Store(store.path, clock=system_clock)
    assert rows(again) == [1]
    again.close()


def test_migrations_are_applied_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    first = Migration(1, "one", ("CREATE TABLE t (n BIGINT)", "INSERT INTO t VALUES (1)"))
    second = Migration(2, "two", ("INSERT INTO t VALUES (2)",))
    broken = Migration(3, "three", ("INSERT INTO t VALUES (3)", "INSERT INTO nowhere VALUES (3)"))
    for steps in ([first], [first], [first, second], [first, second]):
        Store(path, clock=system_clock, migrations=steps).close()
    with pytest.raises(duckdb.CatalogException):
        Store(path, clock=system_clock, migrations=[first, second, broken])
    store = Store(path, clock=system_clock, migrations=[first, second])
    assert rows(store) == [1, 2]
    store.close()
    with pytest.raises(HomeUnusable, match="newer localmem"):
        Store(path, clock=system_clock, migrations=[first])


def test_the_list_of_migrations_is_numbered() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_store_of_the_first_version_opens_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    path = tmp_path / "home" / "localmem.duckdb"
    old = Store(path, clock=system_clock, migrations=MIGRATIONS[:1])

    def fill(cursor: Any) -> None:
        now = stamp(system_clock)
        cursor.execute("INSERT INTO agents VALUES (nextval('agent_ids'), 'default', NULL, NULL, 0, ?)", [now])
        payload = '{"kind": "user", "text": "hello", "note": ""}'
        cursor.execute(
            "INSERT INTO records VALUES (nextval('record_ids'), 1, 1, 'event', 0, 'hello', ?, ''::BLOB, ?)",
            [payload, now],
        )
        cursor.execute("INSERT INTO turns VALUES (1, 1, true, 0)")

    old.write(fill)
    old.close()
    with Home.open(tmp_path / "home") as home:
        memory = home.agent("default")
        unfinished = memory.unfinished()
        assert unfinished is not None
        assert unfinished.event.text == "hello"
        assert memory.inbox.next() is None
        event = memory.submit(Event(EventKind.USER, "again"))
        assert memory.inbox.next() == event


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "s.duckdb")) as other:
        other.execute("CREATE TABLE theirs (n BIGINT)")
    with pytest.raises(HomeUnusable, match="no store of localmem"):
        Store(tmp_path / "s.duckdb", clock=system_clock)


def test_every_table_of_an_agent_is_emptied_with_it(home: Home, memory: Memory) -> None:
    sql = "SELECT table_name FROM duckdb_columns() WHERE column_name = 'agent'"
    found = home.store.read(lambda cursor: {row[0] for row in cursor.execute(sql).fetchall()})
    assert found == set(AGENT_TABLES)
    say(memory, "hello", "hi")
    memory.edit(lambda desk: desk.insert_passage("fact"))
    memory.settle()
    home.delete_agent("default")
    for table in (*AGENT_TABLES, "agents"):
        left = home.store.read(lambda cursor, table=table: cursor.execute(f"FROM {table}").fetchall())
        assert left == [], table


def test_the_store_cannot_reach_outside(home: Home, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    for sql in (f"FROM '{tmp_path}/x.csv'", "INSTALL fts", f"ATTACH '{tmp_path}/other' AS other"):
        with pytest.raises(duckdb.Error):
            home.store.read(lambda cursor, sql=sql: cursor.execute(sql).fetchall())


def test_many_turns_survive_closing_and_opening(tmp_path: Path) -> None:
    for n in range(5):
        with Home.open(tmp_path) as home:
            memory = home.agent("a") if home.agents() else home.create_agent("a")
            memory.open_turn(Event(EventKind.USER, f"number {n}"))
    with Home.open(tmp_path) as home:
        assert [record.id for record in home.agent("a").records()] == [1, 2, 3, 4, 5]
