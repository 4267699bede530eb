"""The log in a SQL database: SQLite in WAL mode."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from driftbell.errors import LeaseLostError, LogError
from driftbell.log import labels, outbox, predictions
from driftbell.log.alarms import AlarmsInSql, close_replaced
from driftbell.log.alarms import save as save_alarm
from driftbell.log.codec import check_from_json, check_to_json, line_of
from driftbell.log.tables import HEAD, VERSION_TABLE, checks, leases, requests
from driftbell.records import (
    Alarm,
    Alert,
    Check,
    CheckKind,
    CheckRequest,
    CheckTotals,
    Delivery,
    Label,
    Labelled,
    LabelReceipt,
    LabelTotals,
    Lease,
    Prediction,
    Share,
    TrafficBucket,
    Verdict,
    Window,
)

MONITOR, PING = "monitor", "ping"
BUSY_SECONDS = 10


def sqlite_log(path: Path) -> SqlLog:
    """Open the log in a SQLite file, creating or migrating it first.

    Every writing transaction takes the write lock at its beginning, so that two processes wait for each
    other instead of failing; `synchronous = NORMAL` in WAL mode survives the death of every process
    (not a power cut).

    Raises:
        LogError: the file cannot be opened, or is no database, or was written by a newer release.
    """
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("driftbell_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    with _errors():
        migrate(engine)
    inode = path.stat().st_ino

    def still_there() -> None:
        """SQLite goes on writing to a file that was removed; its rows would be gone with the process."""
        try:
            if path.stat().st_ino == inode:
                return
        except OSError:
            pass
        raise LogError(f"the prediction log {path} was removed or replaced: restart the service")

    return SqlLog(engine, still_there)


def _use_wal(connection: Any) -> None:
    """Switch to WAL; SQLite does not wait by itself while another process does the same to a new file."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def migrate(engine: sa.Engine) -> None:
    """Bring the tables up to date; a second process that does the same waits and then finds nothing to do.

    Raises:
        LogError: the tables were made by a newer release.
    """
    with engine.begin() as connection:
        if sa.inspect(connection).has_table(VERSION_TABLE):
            version = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
            if version == HEAD:
                return
            if version is not None and version > HEAD:
                raise LogError(f"the log has tables of a newer driftbell ({version}); this one knows {HEAD}")
        from alembic import command  # only here: it is not needed at every start
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", "driftbell.log:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise LogError(f"the prediction log cannot be used: {cause}") from error
    except UnicodeDecodeError as error:
        raise LogError("the prediction log cannot be used: a line is not UTF-8") from error


class SqlLog(AlarmsInSql):
    """See `driftbell.ports.Log`."""

    def __init__(self, engine: sa.Engine, still_there: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._still_there = still_there

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        self._still_there()
        with _errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _errors(), self._engine.connect().execution_options(driftbell_reads=True) as connection:
            yield connection

    def append(self, new: Sequence[Prediction]) -> None:
        """Write predictions in one transaction."""
        self.ingest([line_of(prediction) for prediction in new])

    def ingest(self, lines: Sequence[bytes]) -> None:
        """Write predictions that are lines already, in one transaction and one statement."""
        if lines:
            with self._write() as connection:
                predictions.ingest(connection, lines)

    def window(self, rows: int, *, model: str, version: str) -> Window:
        """Read the last predictions of one model version."""
        with self._read() as connection:
            return predictions.newest(connection, rows, model, version)

    def predictions_after(
        self, seq: int, limit: int, *, model: str, version: str, last: int | None = None
    ) -> Window:
        """Read the predictions with a larger sequence number, at most the newest `limit`."""
        with self._read() as connection:
            return predictions.newest(connection, limit, model, version, seq, last)

    def prediction(self, prediction_id: str) -> Prediction | None:
        """Read one prediction."""
        with self._read() as connection:
            return predictions.one(connection, prediction_id)

    def count(self, *, model: str, version: str, limit: int | None = None) -> int:
        """Count predictions of one model version."""
        with self._read() as connection:
            return predictions.count(connection, model, version, limit)

    def traffic(self, since: datetime, bucket_seconds: int) -> list[TrafficBucket]:
        """Count predictions and latencies by bucket."""
        with self._read() as connection:
            return predictions.traffic(connection, since, bucket_seconds)

    def add_labels(self, new: Sequence[Label]) -> LabelReceipt:
        """Write labels in one transaction."""
        if not new:
            return LabelReceipt()
        with self._write() as connection:
            return labels.add(connection, new)

    def labelled_after(self, seq: int, limit: int, *, model: str, version: str) -> list[Labelled]:
        """Read the labels with a larger sequence number in the order of arrival."""
        with self._read() as connection:
            return labels.after(connection, seq, limit, model, version)

    def labelled(
        self, rows: int, *, model: str, version: str, as_of: datetime | None = None
    ) -> list[Labelled]:
        """Read the newest predictions that have a label, each with its newest label."""
        with self._read() as connection:
            return labels.newest(connection, rows, model, version, as_of)

    def realised(self, rows: int, *, model: str, version: str, as_of: datetime | None = None) -> Share:
        """Count the right ones among the newest predictions that have a label."""
        with self._read() as connection:
            return labels.realised(connection, rows, model, version, as_of)

    def label_share(self, rows: int, *, model: str, version: str) -> Share:
        """Count those of the last predictions that have a label."""
        with self._read() as connection:
            return labels.share(connection, rows, model, version)

    def label_totals(self, *, model: str, version: str) -> LabelTotals:
        """Count all labels of one model version."""
        with self._read() as connection:
            return labels.totals(connection, model, version)

    def save_check(
        self, check: Check, lease: Lease, alert: Alert | None = None, alarm: Alarm | None = None
    ) -> None:
        """Write a check, its alert and its alarm in one transaction, if the lease still holds."""
        row = {
            "id": check.id,
            "time": check.time,
            "kind": check.kind.value,
            "model": check.model,
            "version": check.version,
            "verdict": check.judgement.verdict.value,
            "duration": check.duration,
            "error": check.error,
            "body": check_to_json(check),
        }
        with self._write() as connection:
            _fence(connection, lease)
            if connection.execute(sa.select(checks.c.seq).where(checks.c.id == check.id)).scalar():
                return
            connection.execute(checks.insert(), row)
            if alert:
                outbox.add(connection, alert)
            close_replaced(connection, model=check.model, version=check.version, now=check.time)
            if alarm:
                save_alarm(connection, alarm)

    def check(self, check_id: str) -> Check | None:
        """Read one check."""
        with self._read() as connection:
            body = connection.execute(sa.select(checks.c.body).where(checks.c.id == check_id)).scalar()
        return check_from_json(body) if body else None

    def checks(self, limit: int, *, version: str | None = None) -> list[Check]:
        """Read the newest checks."""
        query = sa.select(checks.c.body).order_by(checks.c.seq.desc()).limit(limit)
        if version is not None:
            query = query.where(checks.c.version == version)
        with self._read() as connection:
            return [check_from_json(body) for body in connection.execute(query).scalars()]

    def check_totals(self) -> CheckTotals:
        """Count all checks."""
        failed = sa.func.sum(sa.cast(checks.c.error != "", sa.Integer))
        query = sa.select(checks.c.verdict, sa.func.count(), failed, sa.func.sum(checks.c.duration)).group_by(
            checks.c.verdict
        )
        with self._read() as connection:
            rows = connection.execute(query).all()
        return CheckTotals({r[0]: r[1] for r in rows}, sum(r[2] for r in rows), sum(r[3] for r in rows))

    def last_alert(self, *, model: str, version: str) -> Alert | None:
        """Read the newest alert of one model version."""
        with self._read() as connection:
            return outbox.last(connection, model, version)

    def state_since(self, verdicts: Collection[Verdict], *, model: str, version: str) -> datetime | None:
        """Tell when the newest checks that have one of these verdicts began."""
        with self._read() as connection:
            return outbox.state_since(connection, verdicts, model, version)

    def pending_alerts(self) -> list[Delivery]:
        """Read the alerts that wait to be delivered."""
        with self._read() as connection:
            return outbox.pending(connection)

    def save_delivery(self, delivery: Delivery, lease: Lease) -> None:
        """Write how far a delivery is, if the lease still holds."""
        with self._write() as connection:
            _fence(connection, lease)
            outbox.save(connection, delivery)

    def alert_totals(self) -> dict[str, int]:
        """Count all alerts by state of their delivery."""
        with self._read() as connection:
            return outbox.totals(connection)

    def request_check(self, kind: CheckKind, now: datetime) -> CheckRequest:
        """Ask the monitor for a check."""
        request = CheckRequest(secrets.token_hex(8), now, kind)
        row = {
            "id": request.id,
            "time": now,
            "kind": kind.value,
            "state": request.state,
            "check_id": None,
            "error": "",
        }
        with self._write() as connection:
            connection.execute(requests.insert(), row)
        return request

    def pending_request(self) -> CheckRequest | None:
        """Read the oldest unanswered request."""
        query = sa.select(requests).where(requests.c.state == "pending").order_by(requests.c.seq).limit(1)
        with self._read() as connection:
            return _request(connection.execute(query).one_or_none())

    def answer_request(self, request_id: str, *, check_id: str | None, error: str = "") -> None:
        """Say that a request is done or failed."""
        values = {"state": "done" if check_id else "failed", "check_id": check_id, "error": error}
        with self._write() as connection:
            connection.execute(requests.update().where(requests.c.id == request_id).values(values))

    def request(self, request_id: str) -> CheckRequest | None:
        """Read one request."""
        with self._read() as connection:
            return _request(
                connection.execute(sa.select(requests).where(requests.c.id == request_id)).one_or_none()
            )

    def take_lease(
        self, holder: str, *, now: datetime, seconds: float, next_run: datetime | None
    ) -> Lease | None:
        """Take or renew the monitor's lease."""
        with self._write() as connection:
            held = _lease(connection.execute(sa.select(leases).where(leases.c.name == MONITOR)).one_or_none())
            if held and held.holder != holder and held.expires > now:
                return None
            same = held is not None and held.holder == holder
            token = 1 if held is None else held.token if same else held.token + 1
            taken = Lease(holder, token, now + timedelta(seconds=seconds), next_run)
            row = {
                "holder": holder,
                "token": token,
                "expires": taken.expires,
                "next_run": next_run,
            }
            statement = insert(leases).values(name=MONITOR, **row)
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))
            return taken

    def release_lease(self, holder: str) -> None:
        """Give the lease back."""
        mine = (leases.c.name == MONITOR) & (leases.c.holder == holder)
        with self._write() as connection:
            past = datetime.fromtimestamp(0, UTC)
            connection.execute(leases.update().where(mine).values(expires=past, next_run=None))

    def lease(self) -> Lease | None:
        """Read who holds the lease."""
        with self._read() as connection:
            return _lease(connection.execute(sa.select(leases).where(leases.c.name == MONITOR)).one_or_none())

    def ping(self) -> None:
        """Write a row of its own: a full disk lets one take the lock, and fails at the commit."""
        row = {"holder": "", "token": 0, "expires": datetime.fromtimestamp(0, UTC), "next_run": None}
        with self._write() as connection:
            statement = insert(leases).values(name=PING, **row)
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _fence(connection: sa.Connection, lease: Lease) -> None:
    token = connection.execute(sa.select(leases.c.token).where(leases.c.name == MONITOR)).scalar()
    if token != lease.token:
        raise LeaseLostError("another monitor has taken over, so nothing was saved")


def _lease(row: Any) -> Lease | None:
    return row and Lease(row.holder, row.token, row.expires, row.next_run)


def _request(row: Any) -> CheckRequest | None:
    return row and CheckRequest(row.id, row.time, CheckKind(row.kind), row.state, row.check_id, row.error)
