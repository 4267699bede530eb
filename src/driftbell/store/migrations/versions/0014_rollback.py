"""End of a challenge by the monitor, and its notification."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "model_aliases", sa.Column("is_rollback", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("notifications", sa.Column("event", sa.String(20), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("notifications", "event")
    op.drop_column("model_aliases", "is_rollback")
