"""The first schema: accounts, tokens, calls, recordings, attempts, flows."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _accounts()
    _tokens()
    _calls()
    _recordings()
    _attempts()
    _flows()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_index("accounts_name", "accounts", ["name"], unique=True)


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("revoked", sa.Double, nullable=True),
    )
    op.create_index("tokens_sha256", "tokens", ["sha256"], unique=True)


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("direction", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("source", sa.JSON, nullable=False),
        sa.Column("destination", sa.JSON, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("sip_call_id", sa.Text, nullable=False),
        sa.Column("flow_id", sa.Text, nullable=False),
        sa.Column("activeflow_id", sa.Text, nullable=False),
        sa.Column("master_call_id", sa.Text, nullable=False),
        sa.Column("chained_call_ids", sa.JSON, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("recording_ids", sa.JSON, nullable=False),
        sa.Column("action", sa.JSON, nullable=False),
        sa.Column("hangup_by", sa.Text, nullable=False),
        sa.Column("hangup_reason", sa.Text, nullable=False),
        sa.Column("hangup_cause", sa.Text, nullable=False),
        sa.Column("ringing", sa.Double, nullable=True),
        sa.Column("progressing", sa.Double, nullable=True),
        sa.Column("hungup", sa.Double, nullable=True),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("calls_account_created", "calls", ["account", "created", "id"])
    op.create_index("calls_created", "calls", ["created", "id"])
    op.create_index("calls_node_status", "calls", ["node", "status"])


def _recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("activeflow_id", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("recovered", sa.Boolean, nullable=False),
        sa.Column("paused", sa.Text, nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("channels", sa.Integer, nullable=False),
        sa.Column("rate", sa.Integer, nullable=False),
        sa.Column("duration", sa.Double, nullable=True),
        sa.Column("size", sa.BigInteger, nullable=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("object_key", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("on_end_flow_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=True),
        sa.Column("ended", sa.Double, nullable=True),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
        sa.Column("timeline", sa.JSON, nullable=False),
        sa.Column("measures", sa.JSON, nullable=False),
        sa.Column("peaks", sa.JSON, nullable=False),
        sa.Column("custom", sa.JSON, nullable=False),
    )
    op.create_index("recordings_account_created", "recordings", ["account", "created", "id"])
    op.create_index("recordings_call", "recordings", ["call_id"])
    op.create_index("recordings_created", "recordings", ["created", "id"])
    op.create_index("recordings_node_state", "recordings", ["node", "state"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("fault", sa.Text, nullable=False),
    )
    op.create_index("attempts_ref_time", "attempts", ["ref", "time"])


def _flows() -> None:
    op.create_table(
        "flows",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=True),
        sa.Column("deleted", sa.Double, nullable=True),
    )
    op.create_index("flows_account_created", "flows", ["account", "created", "id"])
