"""Which nodes' workers are at work."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("seen", sa.Double, nullable=False),
    )
