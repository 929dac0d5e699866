"""Agents who log in; access keys with a note, a prefix and an end."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("detail", "prefix"):
        op.add_column("tokens", sa.Column(name, sa.Text, nullable=False, server_default=""))
    for name in ("expires", "updated"):
        op.add_column("tokens", sa.Column(name, sa.Double, nullable=True))
    op.create_index("tokens_account_created", "tokens", ["account", "created"])
    op.create_table(
        "agents",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("agents_account_created", "agents", ["account", "created", "id"])
    op.create_index("agents_username", "agents", ["username"], unique=True)
