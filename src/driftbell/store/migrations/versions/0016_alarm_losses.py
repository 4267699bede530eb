"""Change point, losses and the reason of the end of an alarm."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

COLUMNS = ("change_point", "estimated_loss", "largest_loss")


def upgrade() -> None:
    """Add the columns; alarms of before have none of it."""
    for name in COLUMNS:
        op.add_column("alarms", sa.Column(name, sa.JSON))
    op.add_column("alarms", sa.Column("closing_reason", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("alarms", "closing_reason")
    for name in COLUMNS:
        op.drop_column("alarms", name)
