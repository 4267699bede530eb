"""Metadata of predictions, and room for longer ids."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

IDS = (("predictions", "id"), ("labels", "prediction_id"), ("shadow_predictions", "prediction_id"))


def upgrade() -> None:
    """Add the column, and lengthen the ids."""
    op.add_column("predictions", sa.Column("metadata", sa.JSON))
    if op.get_bind().dialect.name != "sqlite":  # which does not enforce the length of a text
        for table, column in IDS:
            op.alter_column(table, column, type_=sa.String(128), existing_type=sa.String(64))


def downgrade() -> None:
    """Drop the column; longer ids stay as they are."""
    op.drop_column("predictions", "metadata")
