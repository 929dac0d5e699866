"""What happened and is still to be told: the outbox. Runs of flows. Where an account's events go, and how deliveries are ordered and
signed."""

import secrets
import string
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("webhook_uri", "webhook_method", "webhook_secret"):
        op.add_column("accounts", sa.Column(name, sa.Text, nullable=False, server_default=""))
    accounts = sa.table("accounts", sa.column("id"), sa.column("webhook_secret"))
    connection = op.get_bind()
    for (account_id,) in connection.execute(sa.select(accounts.c.id)).all():
        secret = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))
        connection.execute(accounts.update().where(accounts.c.id == account_id).values(webhook_secret=secret))
    for name in ("lane", "signing", "receiver"):
        op.add_column("deliveries", sa.Column(name, sa.Text, nullable=False, server_default=""))
    deliveries = sa.table("deliveries", sa.column("id"), sa.column("url"), sa.column("receiver"), sa.column("state"))
    for delivery_id, url in connection.execute(sa.select(deliveries.c.id, deliveries.c.url).where(deliveries.c.state == "waiting")).all():
        parts = urlsplit(url)
        receiver = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
        connection.execute(deliveries.update().where(deliveries.c.id == delivery_id).values(receiver=receiver))
    op.drop_index("deliveries_node_state", "deliveries")
    op.create_index("deliveries_node_state", "deliveries", ["node", "state", "created", "id"])
    op.create_index("deliveries_lane", "deliveries", ["lane", "state", "created", "id"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_index("outbox_node_time", "outbox", ["node", "time", "id"])
    op.create_table(
        "activeflows",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("flow_id", sa.Text, nullable=False),
        sa.Column("reference_type", sa.Text, nullable=False),
        sa.Column("reference_id", sa.Text, nullable=False),
        sa.Column("reference_activeflow_id", sa.Text, nullable=False),
        sa.Column("on_complete_flow_id", sa.Text, nullable=False),
        sa.Column("webhook_uri", sa.Text, nullable=False),
        sa.Column("webhook_method", sa.Text, nullable=False),
        sa.Column("current_action", sa.JSON, nullable=False),
        sa.Column("executed_actions", sa.JSON, nullable=False),
        sa.Column("variables", sa.JSON, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("ended", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("activeflows_created", "activeflows", ["created", "id"])
    op.create_index("activeflows_account_created", "activeflows", ["account", "created", "id"])
    op.create_index("activeflows_node_status", "activeflows", ["node", "status"])
