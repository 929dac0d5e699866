"""Exports: many recordings in one file."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
        sa.Column("wanted", sa.JSON, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("missing", sa.Integer, nullable=False),
        sa.Column("missed", sa.JSON, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("object_key", sa.Text, nullable=False),
        sa.Column("finished", sa.Double, nullable=True),
        sa.Column("expires", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("exports_account_created", "exports", ["account", "created", "id"])
    op.create_index("exports_created", "exports", ["created", "id"])
    op.create_index("exports_status", "exports", ["status", "expires"])
    op.create_table(
        "export_items",
        sa.Column("export", sa.String(36), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("recording", sa.String(36), nullable=False),
    )
