"""Alerts, with the progress of their delivery."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "alerts",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("check_id", sa.String(64), nullable=False, unique=True),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("before", sa.String(20)),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("report", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("delivered", sa.JSON, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_try", _TIME, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("ix_alerts_state", "alerts", ["state"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("alerts")
