"""Archives, and the counts of deleted rows."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables, and an index for the newest check of each model version."""
    op.create_table(
        "archives",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("planned", _TIME, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("checks_newest", "checks", ["model", "version", "seq"])
    op.create_index("ix_archives_state", "archives", ["state"])
    op.create_table(
        "pruned",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("key", sa.String(20), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.UniqueConstraint("kind", "model", "version", "key", name="pruned_of"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("pruned")
    op.drop_table("archives")
    op.drop_index("checks_newest", "checks")
