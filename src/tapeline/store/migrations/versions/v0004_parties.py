"""Who spoke with whom, on the rows of recordings."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("sip_call_id", "source", "destination", "direction"):
        op.add_column("recordings", sa.Column(name, sa.Text, nullable=False, server_default=""))
