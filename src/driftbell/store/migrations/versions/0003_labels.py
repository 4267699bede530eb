"""Labels, and alarms with their annotations."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "labels",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("prediction_id", sa.String(64), nullable=False),
        sa.Column("prediction_seq", sa.BigInteger, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("labelled", sa.BigInteger, nullable=False),
        sa.Column("corrections", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_labels_prediction_id", "labels", ["prediction_id"])
    op.create_index("labels_arrived", "labels", ["model", "version", "seq"])
    op.create_index("labels_by_prediction", "labels", ["model", "version", "prediction_seq", "seq"])
    op.create_table(
        "alarms",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("opened", _TIME, nullable=False),
        sa.Column("closed", _TIME),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("mark", sa.String(20), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("marked", _TIME),
        sa.Column("until", _TIME),
    )
    op.create_index("alarms_opened", "alarms", ["model", "version", "opened"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("alarms")
    op.drop_table("labels")
