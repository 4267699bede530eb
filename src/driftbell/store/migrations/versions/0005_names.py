"""Notifications, annotations and degradation: tables, columns and stored checks under their new names."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BATCH_ROWS = 200
DEGRADATION = {"parts": "evidence", "loss": "estimated_loss", "since": "change_point", "slice": "segment"}
EVIDENCE = {"name": "source", "pages": "can_alarm"}

checks = sa.table(
    "checks",
    sa.column("seq", sa.BigInteger),
    sa.column("body", sa.JSON),
    sa.column("baseline_first", sa.BigInteger),
    sa.column("baseline_last", sa.BigInteger),
)


def upgrade() -> None:
    """Rename tables and columns, then convert the stored checks."""
    op.drop_index("ix_alerts_state", "alerts")
    op.rename_table("alerts", "notifications")
    op.create_index("ix_notifications_state", "notifications", ["state"])
    op.execute("ALTER TABLE alarms RENAME COLUMN mark TO annotation")
    op.execute("ALTER TABLE alarms RENAME COLUMN marked TO annotated")
    op.execute("UPDATE pruned SET kind = 'notification' WHERE kind = 'alert'")
    op.add_column("checks", sa.Column("baseline_first", sa.BigInteger))
    op.add_column("checks", sa.Column("baseline_last", sa.BigInteger))
    connection = op.get_bind()
    last = 0
    while True:
        query = sa.select(checks.c.seq, checks.c.body).where(checks.c.seq > last).order_by(checks.c.seq)
        rows = connection.execute(query.limit(BATCH_ROWS)).all()
        if not rows:
            return
        for seq, body in rows:
            converted = convert(body)
            baseline = converted["baseline"] or {}
            values = {
                "body": converted,
                "baseline_first": baseline.get("first"),
                "baseline_last": baseline.get("last"),
            }
            connection.execute(checks.update().where(checks.c.seq == seq).values(values))
        last = rows[-1].seq


def convert(body: dict[str, Any]) -> dict[str, Any]:
    """Rename the keys of a stored check.

    Of its state, only the position in the log and the time of the newest annotation are converted. The
    evidence restarts from there.
    """
    judgement = dict(body["judgement"])
    judgement["degradation"] = _degradation(judgement.pop("harm", None))
    judgement["columns"] = [_column(column) for column in judgement["columns"]]
    state = body.get("state") or {}
    evidence = state.get("harm") or {}
    position = {"reference": state.get("reference", "")}
    if state.get("marked"):
        position["annotated"] = state["marked"]
    return {
        **body,
        "judgement": judgement,
        "baseline": state.get("base"),
        "state": {
            **position,
            "evidence": {name: evidence[name] for name in ("seq", "label_seq") if name in evidence},
        },
    }


def _degradation(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    degradation = {DEGRADATION.get(name, name): value for name, value in stored.items()}
    degradation["evidence"] = [
        {EVIDENCE.get(name, name): value for name, value in part.items()}
        for part in degradation.get("evidence", [])
    ]
    for evidence in degradation["evidence"]:
        if evidence["source"] == "broken data":
            evidence["source"] = "data quality"
    if degradation.get("performance"):
        performance = dict(degradation["performance"])
        performance["realized"] = performance.pop("realised", None)
        degradation["performance"] = performance
    return degradation


def _column(column: dict[str, Any]) -> dict[str, Any]:
    """Set `drifted`, which the first releases did not store."""
    alarmed = column["verdict"] == "alarm"
    verdict = "warning" if alarmed else column["verdict"]
    return {**column, "verdict": verdict, "drifted": column.get("drifted", alarmed)}


def downgrade() -> None:
    """Refuse: the upgrade deleted the evidence of the stored checks."""
    raise RuntimeError("cannot downgrade: restore a backup from before the upgrade")
