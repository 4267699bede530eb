"""Share, shadow and sticky key of a challenger."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("model_aliases", sa.Column("share", sa.Float))
    op.add_column(
        "model_aliases", sa.Column("is_shadow", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("model_aliases", sa.Column("sticky", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them."""
    for name in ("share", "is_shadow", "sticky"):
        op.drop_column("model_aliases", name)
