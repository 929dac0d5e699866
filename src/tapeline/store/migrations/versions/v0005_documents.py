"""Documents of accounts, and what changed of flows and documents lately."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("documents_account_kind", "documents", ["account", "kind", "created", "id"])
    op.create_index("documents_updated", "documents", ["updated"])
    op.create_index("flows_dialect_updated", "flows", ["dialect", "updated"])
