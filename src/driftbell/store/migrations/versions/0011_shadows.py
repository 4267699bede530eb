"""Predictions of shadows."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "shadow_predictions",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("prediction_id", sa.String(64), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("probabilities", sa.JSON, nullable=False),
        sa.Column("latency_ms", sa.Float),
        sa.UniqueConstraint("prediction_id", "version", name="shadow_predictions_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_shadow_predictions_time", "shadow_predictions", ["time"])
    op.create_index("shadow_predictions_newest", "shadow_predictions", ["model", "version", "seq"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("shadow_predictions")
