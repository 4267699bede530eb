"""The tables of the store; `migrations/` creates them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

VERSION_TABLE = "driftbell_version"
HEAD = "0016"


class Utc(sa.TypeDecorator[datetime]):
    """A time in UTC, on databases with and without time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


class Id(sa.TypeDecorator[str]):
    """An id. A NUL in a requested id is replaced, since PostgreSQL accepts no text with one."""

    impl = sa.String(64)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value.replace("\0", "\ufffd")


class PredictionId(Id):
    """The id of a prediction, or a client's own. SQLite cannot change the length, and does not enforce it."""

    impl = sa.String(128)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(sa.String(64) if dialect.name == "sqlite" else sa.String(128))


metadata = sa.MetaData()
_Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("id", PredictionId, nullable=False, unique=True),
    sa.Column("time", Utc, nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("probabilities", sa.JSON, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
    sa.Column("metadata", sa.JSON(none_as_null=True)),
    sa.Index("predictions_window", "model", "version", "seq"),
    sqlite_autoincrement=True,
)

shadow_predictions = sa.Table(
    "shadow_predictions",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("prediction_id", PredictionId, nullable=False),
    sa.Column("time", Utc, nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("probabilities", sa.JSON, nullable=False),
    sa.Column("latency_ms", sa.Float),
    sa.UniqueConstraint("prediction_id", "version", name="shadow_predictions_key"),
    sa.Index("shadow_predictions_newest", "model", "version", "seq"),
    sqlite_autoincrement=True,
)
"""Predictions of shadows for answered predictions, which have the features."""

checks = sa.Table(
    "checks",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("time", Utc, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("verdict", sa.String(20), nullable=False),
    sa.Column("duration", sa.Float, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("baseline_first", sa.BigInteger),
    sa.Column("baseline_last", sa.BigInteger),
    sa.Index("checks_newest", "model", "version", "seq"),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("check_id", sa.String(64), nullable=False, unique=True),
    sa.Column("time", Utc, nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("before", sa.String(20)),
    sa.Column("verdict", sa.String(20), nullable=False),
    sa.Column("since", Utc, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("columns", sa.JSON, nullable=False),
    sa.Column("report", sa.String(200), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("delivered", sa.JSON, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try", Utc, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("event", sa.String(20), nullable=False, server_default=""),
)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("prediction_id", PredictionId, nullable=False, index=True),
    sa.Column("prediction_seq", sa.BigInteger, nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("time", Utc, nullable=False),
    # running totals of the model version, including this row: counting would read every row
    sa.Column("labelled", sa.BigInteger, nullable=False),
    sa.Column("corrections", sa.BigInteger, nullable=False),
    sa.Index("labels_arrived", "model", "version", "seq"),
    sa.Index("labels_by_prediction", "model", "version", "prediction_seq", "seq"),
    sqlite_autoincrement=True,
)

alarms = sa.Table(
    "alarms",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("opened", Utc, nullable=False),
    sa.Column("closed", Utc),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("columns", sa.JSON, nullable=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("annotation", sa.String(20), nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("annotated", Utc),
    sa.Column("until", Utc),
    sa.Column("change_point", sa.JSON(none_as_null=True)),
    sa.Column("estimated_loss", sa.JSON(none_as_null=True)),
    sa.Column("largest_loss", sa.JSON(none_as_null=True)),
    sa.Column("closing_reason", sa.Text, nullable=False, server_default=""),
    sa.Index("alarms_opened", "model", "version", "opened"),
)

requests = sa.Table(
    "check_requests",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("time", Utc, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("check_id", sa.String(64)),
    sa.Column("error", sa.Text, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(200), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires", Utc, nullable=False),
    sa.Column("next_run", Utc),
)

archives = sa.Table(
    "archives",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    # the predictions of that day and model version in this range of sequence numbers
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("planned", Utc, nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("error", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

time_slices = sa.Table(
    "time_slices",
    metadata,
    sa.Column("id", _Serial, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("counts", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("model", "version", "day", name="time_slices_key"),
)
"""Counts of the predictions of each day, on bins of the reference."""

slice_marks = sa.Table(
    "slice_marks",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("bins", sa.String(64), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
"""The last prediction of each model version that is in its slices, and on which bins they are counted."""

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("error", sa.Text, nullable=False),
)
"""Why the last pass of a background task failed; "" if it did not."""

refused_rows = sa.Table(
    "refused_rows",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("time", Utc, nullable=False),
    sa.Column("example", sa.JSON(none_as_null=True)),
    sa.UniqueConstraint("model", "version", "day", "field", "reason", "value", name="refused_rows_cause"),
    sqlite_autoincrement=True,
)
"""Counts of refused rows by day and cause: bounded, whatever is sent."""

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("name", Id, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("created", Utc, nullable=False),
    sa.Column("expires", Utc),
    sa.Column("last_used", Utc),
    sa.Column("revoked", Utc),
    sqlite_autoincrement=True,
)
"""API keys, each by its hash; revoked ones stay, so that no other can have their id."""

ended_sessions = sa.Table(
    "ended_sessions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("until", Utc, nullable=False),
)
"""Sessions of the pages that people ended by logging out, until they would have ended by themselves."""

pruned = sa.Table(
    "pruned",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("key", sa.String(20), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("duration", sa.Float, nullable=False),
    sa.UniqueConstraint("kind", "model", "version", "key", name="pruned_of"),
)
"""Counts of deleted rows, so that totals never fall."""

model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("files", sa.JSON, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("task", sa.String(20), nullable=False),
    sa.Column("added", Utc, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.UniqueConstraint("model", "version", name="model_versions_key"),
)

model_files = sa.Table(
    "model_files",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""Contents of the files of model versions, in parts; a file of several versions is there once."""

model_aliases = sa.Table(
    "model_aliases",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("alias", sa.String(20), nullable=False),
    sa.Column("version", sa.String(64)),
    sa.Column("active_from", Utc, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("configured", sa.String(64), nullable=False),
    sa.Column("share", sa.Float),
    sa.Column("is_shadow", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("sticky", sa.Text, nullable=False, server_default=""),
    sa.Column("is_rollback", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("model_aliases_newest", "model", "alias", "seq"),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("id", sa.String(64), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("started", Utc, nullable=False),
)

server_workers = sa.Table(
    "server_workers",
    metadata,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False, index=True),
    sa.Column("seen", Utc, nullable=False),
    sa.Column("ready", sa.JSON, nullable=False),
    sa.Column("errors", sa.JSON, nullable=False),
)
