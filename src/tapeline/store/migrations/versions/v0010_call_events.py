"""Where the events of a call go."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("event_url", "event_method"):
        op.add_column("calls", sa.Column(name, sa.Text, nullable=False, server_default=""))
