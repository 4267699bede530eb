"""PostgreSQL: crashes, restarts, timeouts, encodings, authentication and TLS."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from tests import postgres
from tests.contract.builders import IRIS, NOW, label, prediction
from tests.contract.calls import CALLS

from driftbell.config.postgres_url import parse_database
from driftbell.errors import ConfigError, StoreError
from driftbell.records.database import Address
from driftbell.store import postgres_connect
from driftbell.store.postgres import LOCK_SECONDS, WRITE_SECONDS, WRITES, open_postgres, upgrade_postgres
from driftbell.store.tables import HEAD, VERSION_TABLE, metadata


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    postgres.required()
    with contextlib.closing(postgres.Server(*postgres.FAST, tls=True)) as server:
        yield server


def opened(url: str) -> Any:
    return contextlib.closing(open_postgres(parse_database(url)))


def engine_on(url: str) -> Any:
    database = parse_database(url)
    address = sa.URL.create(
        "postgresql+pg8000",
        database.user,
        database.password,
        database.addresses[0].host,
        database.addresses[0].port,
        database.name,
    )
    return sa.create_engine(address)


@contextlib.contextmanager
def connected(url: str) -> Iterator[Any]:
    engine = engine_on(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_store_works_again_after_its_server_crashed_and_restarted(server: postgres.Server) -> None:
    url = server.clean()
    with opened(url) as store, opened(url) as other:
        store.predictions.append([prediction(1)])
        with ThreadPoolExecutor(8) as threads:  # several connections in the pool
            list(threads.map(lambda _: store.ping(), range(16)))
        other.ping()
        server.stop(signal.SIGQUIT)
        try:
            for call in CALLS.values():
                with pytest.raises(StoreError, match="cannot be used") as caught:
                    call(store)
                for secret in (postgres.PASSWORD, postgres.ENCODED):
                    assert secret not in str(caught.value)
        finally:
            server.start()
        other.predictions.append([prediction(2)])
        deadline = time.monotonic() + 60
        while True:
            try:
                store.predictions.append([prediction(3)])
                break
            except StoreError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for call in CALLS.values():
            with contextlib.suppress(StoreError):  # LeaseLostError, here
                call(store)
        ids = [p.id for p in store.predictions.window(9, **IRIS).predictions]
    assert ids == ["id-1", "id-2", "id-3"]


def test_a_standby_is_disconnected_so_that_the_new_primary_is_used(server: postgres.Server) -> None:
    url = server.clean()
    name = url.split("?")[0].rpartition("/")[2]
    with opened(url) as store:
        store.predictions.append([prediction(1)])
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        backends = set()
        for _ in range(2):
            with pytest.raises(StoreError, match="recovery"):
                store.predictions.append([prediction(2)])
            assert store.predictions.count(**IRIS) == 1
            with store.connections.read() as connection:
                backends.add(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar())
        assert len(backends) == 2, "the address may resolve to another server by now, so the store reconnects"
        server.run("SELECT pg_promote()", name)
        store.predictions.append([prediction(2)])
        assert store.predictions.count(**IRIS) == 2


def test_a_session_that_the_server_ends_is_not_used_again(server: postgres.Server) -> None:
    url = server.clean()
    with opened(url) as store:
        store.predictions.append([prediction(1)])
        server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'driftbell'"
        )
        store.predictions.append([prediction(2)])
        assert store.predictions.count(**IRIS) == 2


def test_the_server_ends_a_paused_writer_which_writes_nothing(server: postgres.Server) -> None:
    url = server.clean()
    with opened(url) as paused, opened(url) as store:
        waited = []

        def write() -> None:
            with paused.connections.write() as connection:
                connection.execute(sa.text("UPDATE leases SET token = 7"))
                store.ping()  # waits for the lock until the server ends the paused writer
                waited.append(True)

        with pytest.raises(StoreError):
            write()
        assert waited, "the other writer got the lock"
        with store.connections.read() as connection:
            assert connection.execute(sa.text("SELECT sum(token) FROM leases")).scalar() == 0
        paused.ping()


def test_a_lock_that_is_never_released_fails_writers_and_no_reader(server: postgres.Server) -> None:
    url = server.clean()
    with opened(url) as store, connected(url) as connection:
        store.predictions.append([prediction(1)])
        connection.execute(sa.text(f"SELECT pg_advisory_lock({WRITES})"))
        with pytest.raises(StoreError, match="lock timeout"):
            store.predictions.append([prediction(2)])
        assert store.predictions.count(**IRIS) == 1
        connection.execute(sa.text(f"SELECT pg_advisory_unlock({WRITES})"))
        store.predictions.append([prediction(2)])


def test_the_server_gives_up_before_the_client() -> None:
    assert LOCK_SECONDS < WRITE_SECONDS < postgres_connect.NETWORK_SECONDS


def running_statements(server: postgres.Server) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(50)%'"
    return int(server.run(f"{query} AND pid <> pg_backend_pid()")[0][0])


SLEEP = sa.text("SELECT pg_sleep(50)")


def test_a_slow_writer_is_ended_by_the_server_and_its_lock_is_free(server: postgres.Server) -> None:
    with opened(server.clean()) as store, opened(store_url(server)) as other:
        with pytest.raises(StoreError, match="statement timeout"), store.connections.write() as connection:
            connection.execute(SLEEP)
        other.ping()
        assert running_statements(server) == 0


@pytest.mark.parametrize("query", ["?sslmode=disable", "?sslmode=require"])
@pytest.mark.parametrize("writes", [False, True])
def test_a_statement_is_cancelled_when_the_client_gives_up(
    server: postgres.Server, query: str, writes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.clean().replace("?sslmode=disable", query)
    monkeypatch.setattr("driftbell.store.postgres._engine.__kwdefaults__", {"timeout": 0.5})
    with opened(url) as store:
        transaction = store.connections.write if writes else store.connections.read
        with pytest.raises(StoreError, match="timed out"), transaction() as connection:
            connection.execute(SLEEP)
        assert running_statements(server) == 0
        store.ping()


def test_the_statement_of_a_killed_client_is_ended(server: postgres.Server) -> None:
    with opened(server.clean()) as store:
        with store.connections.read() as connection:
            interval = connection.execute(sa.text("SHOW client_connection_check_interval")).scalar()
        assert interval == f"{postgres_connect.CHECK_MILLISECONDS // 1000}s"


def store_url(server: postgres.Server) -> str:
    assert server._clean_url
    return server._clean_url


def test_of_several_servers_the_first_that_accepts_writes_is_used(server: postgres.Server) -> None:
    good = parse_database(server.clean())
    absent, present = Address("127.0.0.1", 1), good.addresses[0]
    for addresses in ((absent, present), (present, absent), (absent, absent, present, absent)):
        with contextlib.closing(open_postgres(replace(good, addresses=addresses))) as store:
            store.ping()
    with pytest.raises(StoreError, match="Connection refused"):
        open_postgres(replace(good, addresses=(absent, absent)))
    server.run(f"ALTER DATABASE {good.name} SET default_transaction_read_only = on")  # as on a standby
    try:
        with opened(server.url(good.name)) as store, store.connections.engine.connect() as connection:
            assert not postgres_connect.accepts_writes(connection.connection.dbapi_connection)
    finally:
        server.run(f"ALTER DATABASE {good.name} RESET default_transaction_read_only")


def test_the_parameters_of_a_url_are_used(server: postgres.Server) -> None:
    name = parse_database(server.clean()).name
    parameters = f"host={server.folder}&port={server.port}&connect_timeout=3&application_name=drift%20log"
    url = f"postgresql://{postgres.USER}:{postgres.ENCODED}@/{name}?{parameters}&sslmode=verify-full"
    with opened(url) as store, store.connections.read() as connection:
        query = "SELECT application_name, client_addr FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        assert tuple(connection.execute(sa.text(query)).one()) == ("drift log", None)


def test_a_server_that_does_not_answer_is_given_up_after_the_timeout_of_the_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/log?connect_timeout=1&sslmode=disable"
        with pytest.raises(StoreError, match="timed out"):
            open_postgres(parse_database(url))


def test_more_callers_than_connections_wait_for_each_other(server: postgres.Server) -> None:
    with opened(server.clean()) as store, ThreadPoolExecutor(30) as threads:
        list(threads.map(lambda i: store.predictions.append([prediction(i)]), range(60)))
        assert store.predictions.count(**IRIS) == 60
        assert store.predictions.window(60, **IRIS).last == 60


def test_replicas_that_start_at_once_create_the_tables_once(server: postgres.Server) -> None:
    url = server.empty_database()
    barrier = threading.Barrier(4)

    def start(number: Any) -> None:
        barrier.wait()
        with opened(url) as store:
            store.predictions.append([prediction(number)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(start, range(4)))
    with opened(url) as store:
        assert store.predictions.count(**IRIS) == 4
    assert upgrade_postgres(parse_database(url)) == (HEAD, HEAD)
    with connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_tables_of_the_first_release_are_migrated_while_its_replicas_write(server: postgres.Server) -> None:
    url = server.empty_database()
    insert = sa.text(
        "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
        "VALUES (:id, :time, 'iris', 'v1', '{}', 'setosa', '{}', 1)"
    )
    engine = engine_on(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "driftbell.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    written: list[str] = []
    stop = threading.Event()

    def write() -> None:
        """Write as a replica of the first release does, one short transaction after the other."""
        while not stop.is_set():
            name = f"meanwhile-{len(written)}"
            with engine.begin() as writing:
                writing.execute(insert, {"id": name, "time": NOW})
                time.sleep(0.05)  # the migration comes while it is open
            written.append(name)

    with ThreadPoolExecutor(1) as threads:
        replica = threads.submit(write)
        try:
            assert upgrade_postgres(parse_database(url)) == ("0001", HEAD)
            before = len(written)
            while len(written) < before + 3 and not replica.done():
                time.sleep(0.01)
        finally:
            stop.set()
        replica.result()
    with engine.begin() as connection:
        connection.execute(insert, {"id": "id-7", "time": NOW})
    engine.dispose()
    with opened(url) as store:
        assert {p.id for p in store.predictions.window(10_000, **IRIS).predictions} == {*written, "id-7"}
        assert store.labels.add([label(7)]).accepted == 1


def test_tables_of_a_newer_release_are_refused(server: postgres.Server) -> None:
    url = server.empty_database()
    upgrade_postgres(parse_database(url))
    with connected(url) as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        connection.commit()
    for refused in (open_postgres, upgrade_postgres):
        with pytest.raises(StoreError, match="newer driftbell"):
            refused(parse_database(url))


def database_in(server: postgres.Server, encoding: Any) -> Any:
    name = f"in_{encoding.lower()}"
    server.run(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    return parse_database(server.url(name))


def test_a_database_with_an_unsuitable_encoding_is_refused(server: postgres.Server) -> None:
    database = database_in(server, "LATIN1")
    for refused in (open_postgres, upgrade_postgres):
        with pytest.raises(StoreError, match="encoding LATIN1: create one with ENCODING 'UTF8'"):
            refused(database)


def test_texts_are_stored_correctly_whatever_the_session_encoding(server: postgres.Server) -> None:
    database = database_in(server, "SQL_ASCII")
    server.run(f"ALTER DATABASE {database.name} SET client_encoding = 'LATIN1'")
    with contextlib.closing(open_postgres(database)) as store:
        new = prediction(1, features={"größe": "日本 €"})
        store.predictions.append([new])
        assert store.predictions.get("id-1") == new


def test_connection_errors_do_not_contain_the_password(server: postgres.Server) -> None:
    good = parse_database(server.clean())
    wrong = {
        "password authentication failed": replace(good, password="hunter2"),
        "asks for a password: log.url has none": replace(good, password=None),
        "cannot log in": replace(good, password="hunter2\0"),
        'database "nothing" does not exist': replace(good, name="nothing"),
        "Connection refused": replace(good, addresses=(Address("127.0.0.1", 1),)),
    }
    for words, database in wrong.items():
        with pytest.raises(StoreError, match=words) as caught:
            open_postgres(database)
        for secret in ("hunter2", postgres.PASSWORD):
            assert secret not in str(caught.value)


def test_certificates_are_verified_with_verify_full(server: postgres.Server) -> None:
    database = replace(parse_database(server.clean()), addresses=(Address("localhost", server.port),))
    authority = server.folder / "ca.pem"
    verified = replace(database, sslmode="verify-full", sslrootcert=authority)
    address = replace(verified, addresses=(Address("127.0.0.1", server.port),))
    others = (replace(database, sslmode=mode) for mode in ("disable", "prefer", "require"))
    for good in (verified, replace(address, sslmode="verify-ca"), *others):
        store = open_postgres(good)
        store.ping()
        with store.connections.read() as connection:
            query = sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert connection.execute(query).scalar() is (good.sslmode != "disable"), good.sslmode
        store.close()
    for bad in (address, replace(address, sslmode="verify-ca", sslrootcert=None)):
        with pytest.raises(StoreError, match="certificate verify failed"):
            open_postgres(bad)
    with pytest.raises(ConfigError, match="cannot read its sslrootcert nowhere"):
        open_postgres(replace(verified, sslrootcert=Path("nowhere")))


def test_a_server_without_tls_is_refused_with_require(postgres_server: Any) -> None:
    database = parse_database(postgres_server.clean())
    with pytest.raises(StoreError, match="refuses SSL"):
        open_postgres(replace(database, sslmode="require"))
    open_postgres(replace(database, sslmode="prefer")).close()


FILLED = (
    "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
    "SELECT 'id-' || n, TIMESTAMPTZ '2026-01-31 12:00:00Z' + n * interval '1 second' - (n <= 40)::int * "
    "interval '1 day', 'iris', 'v1', '{}', 'setosa', '{}', 1 FROM generate_series(1, 30000) AS n",
    "INSERT INTO labels (prediction_id, prediction_seq, model, version, value, time, labelled, corrections) "
    "SELECT id, seq, model, version, 'setosa', time, seq, 0 FROM predictions",
    "ANALYZE",
)
NEAR_END = NOW + timedelta(seconds=29900)
FAST_READS = {
    "predictions.window": lambda store: store.predictions.window(50, **IRIS),
    "predictions.after": lambda store: store.predictions.after(29000, 50, **IRIS, last=29900),
    "predictions.count": lambda store: store.predictions.count(**IRIS, limit=50),
    "predictions.get": lambda store: store.predictions.get("id-7"),
    "predictions.traffic": lambda store: store.predictions.traffic(NEAR_END, 60),
    "predictions.traffic_between": lambda store: store.predictions.traffic_between(29900, 29990, 60),
    "predictions.numbers_since": lambda store: store.predictions.numbers_since(NEAR_END),
    "predictions.first_since": lambda store: store.predictions.first_since(NEAR_END, **IRIS),
    "labels.add": lambda store: store.labels.add([label(i, "virginica") for i in range(1, 20)]),
    "labels.newest": lambda store: store.labels.newest(50, **IRIS),
    "labels.after": lambda store: store.labels.after(29900, 50, **IRIS),
    "labels.realized": lambda store: store.labels.realized(50, **IRIS),
    "labels.coverage": lambda store: store.labels.coverage(50, **IRIS),
    "labels.totals": lambda store: store.labels.totals(**IRIS),
    "retention.plan": lambda store: store.retention.plan(
        NOW + timedelta(days=9),
        50,
        store.coordination.take_lease("a", now=NOW, seconds=9, next_run=None),
        now=NOW,
        to_file=False,
    ),
}


def test_no_query_scans_a_whole_table(server: postgres.Server) -> None:
    url = server.clean()
    for statement in FILLED:
        server.run(statement, url.split("?")[0].rpartition("/")[2])
    statements = []
    with opened(url) as store:
        engine = store.connections.engine
        sa.event.listen(engine, "before_cursor_execute", lambda *event: statements.append(event[2:4]))
        selects = []
        for name, call in FAST_READS.items():
            call(store)
            reads = [s for s in statements if "FROM predictions" in s[0] or "FROM labels" in s[0]]
            new = [(name, *s) for s in reads if s[0].startswith("SELECT")]
            assert new, name
            selects += new
            statements.clear()
        with store.connections.read() as connection:
            for name, statement, parameters in selects:
                explained = f"EXPLAIN (ANALYZE, TIMING OFF) {statement}"
                plan = "\n".join(connection.exec_driver_sql(explained, tuple(parameters)).scalars())
                scans = plan.replace("Seq Scan on archives", "")  # a row a day: no index is as fast
                assert "Seq Scan on" not in scans, f"{name}\n{statement}\n{plan}"
                assert "Index" in plan, name
                filtered = map(int, re.findall(r"Rows Removed by Filter: (\d+)", plan))
                assert max(filtered, default=0) < 200, f"{name}\n{statement}\n{plan}"
