"""Conferences, and the stays of calls in them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _conferences()
    _conferencecalls()


def _conferences() -> None:
    op.create_table(
        "conferences",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("timeout", sa.Integer, nullable=False),
        sa.Column("pre_flow_id", sa.Text, nullable=False),
        sa.Column("post_flow_id", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("recording_ids", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("expires", sa.Double, nullable=True),
        sa.Column("ended", sa.Double, nullable=True),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("conferences_created", "conferences", ["created", "id"])
    op.create_index("conferences_account_created", "conferences", ["account", "created", "id"])
    op.create_index("conferences_node_status", "conferences", ["node", "status"])


def _conferencecalls() -> None:
    op.create_table(
        "conferencecalls",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("conference_id", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("activeflow_id", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("muted", sa.Boolean, nullable=False),
        sa.Column("deaf", sa.Boolean, nullable=False),
        sa.Column("joined", sa.Double, nullable=True),
        sa.Column("left", sa.Double, nullable=True),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("conferencecalls_created", "conferencecalls", ["created", "id"])
    op.create_index("conferencecalls_account_created", "conferencecalls", ["account", "created", "id"])
    op.create_index("conferencecalls_node_status", "conferencecalls", ["node", "status"])
