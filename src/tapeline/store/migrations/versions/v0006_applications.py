"""Vonage applications, and to which of them a call or recording belongs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXTS = (
    "account", "name", "public_key", "answer_url", "answer_method", "fallback_url", "fallback_method", "event_url", "event_method",
    "signature_secret",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "applications",
        sa.Column("id", sa.String(36), primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("applications_account_created", "applications", ["account", "created", "id"])
    for table in ("calls", "recordings"):
        op.add_column(table, sa.Column("application_id", sa.Text, nullable=False, server_default=""))
    op.create_index("calls_application_created", "calls", ["application_id", "created", "id"])
