"""The tables, in SQLAlchemy's terms, fit for SQLite and PostgreSQL alike.

`migrations/` brings a database to exactly this; a test compares the two. Times are seconds since 1970 as double precision,
ids are UUIDs as text, and whatever is only ever read as a whole is JSON.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text, text

__all__ = [
    "accounts",
    "activeflows",
    "applications",
    "agents",
    "attempts",
    "audit",
    "calls",
    "conferencecalls",
    "conferences",
    "deliveries",
    "documents",
    "export_items",
    "exports",
    "flows",
    "metadata",
    "outbox",
    "recording_tags",
    "recordings",
    "removals",
    "storage_use",
    "tokens",
    "workers",
]

metadata = MetaData()
_ID = String(36)


def _text(name: str) -> Column[str]:
    """Text without a length: neither database is faster with one, and a value too long must not stop a batch of rows."""
    return Column(name, Text, nullable=False)


def _later(name: str) -> Column[str]:
    """Text that the table did not have at first: rows from before have none."""
    return Column(name, Text, nullable=False, server_default="")


def _time(name: str) -> Column[float]:
    return Column(name, Double, nullable=True)


def _where(condition: str) -> dict[str, Any]:
    """An index of only some rows."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


_COMPARED = ("state", "direction", "duration", "flow_id", "source", "destination", "deleted")
_REST = tuple(name for name in _COMPARED if name not in ("state", "flow_id"))

accounts = Table(
    "accounts",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("name"),
    Column("created", Double, nullable=False),
    _later("webhook_uri"),
    _later("webhook_method"),
    _later("webhook_secret"),
    _time("retention_days"),
    Column("profile", JSON, nullable=False, server_default="{}"),
    Index("accounts_name", "name", unique=True),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("name"),
    Column("scopes", JSON, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created", Double, nullable=False),
    _time("revoked"),
    _later("detail"),
    _later("prefix"),
    _time("expires"),
    _time("updated"),
    Index("tokens_sha256", "sha256", unique=True),
    Index("tokens_account_created", "account", "created"),
)

agents = Table(
    "agents",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("username"),
    _text("name"),
    _text("detail"),
    _text("role"),
    _text("password"),
    Column("created", Double, nullable=False),
    _time("updated"),
    _time("deleted"),
    Index("agents_username", "username", unique=True),
    Index("agents_account_created", "account", "created", "id"),
)

calls = Table(
    "calls",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("direction"),
    _text("status"),
    Column("created", Double, nullable=False),
    Column("source", JSON, nullable=False),
    Column("destination", JSON, nullable=False),
    _text("node"),
    _text("sip_call_id"),
    _text("flow_id"),
    _text("activeflow_id"),
    _text("master_call_id"),
    Column("chained_call_ids", JSON, nullable=False),
    _text("recording_id"),
    Column("recording_ids", JSON, nullable=False),
    Column("action", JSON, nullable=False),
    _text("hangup_by"),
    _text("hangup_reason"),
    _text("hangup_cause"),
    _time("ringing"),
    _time("progressing"),
    _time("hungup"),
    _time("updated"),
    _time("deleted"),
    _later("application_id"),
    _later("event_url"),
    _later("event_method"),
    Index("calls_created", "created", "id", **_where("deleted IS NULL")),
    Index("calls_application_created", "application_id", "created", "id", **_where("deleted IS NULL")),
    Index("calls_account_created", "account", "created", "id", **_where("deleted IS NULL")),
    Index("calls_activeflow", "activeflow_id"),
    Index("calls_node_status", "node", "status"),
)

recordings = Table(
    "recordings",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("state"),
    Column("created", Double, nullable=False),
    _text("call_id"),
    _text("activeflow_id"),
    _text("reference"),
    _text("node"),
    _text("reason"),
    Column("recovered", Boolean, nullable=False),
    _text("paused"),
    _text("format"),
    Column("channels", Integer, nullable=False),
    Column("rate", Integer, nullable=False),
    Column("duration", Double, nullable=True),
    Column("size", BigInteger, nullable=True),
    _text("sha256"),
    _text("object_key"),
    _text("content_type"),
    _text("on_end_flow_id"),
    _text("label"),
    _text("origin"),
    _time("started"),
    _time("ended"),
    _time("updated"),
    _time("deleted"),
    Column("timeline", JSON, nullable=False),
    Column("measures", JSON, nullable=False),
    Column("peaks", JSON, nullable=False),
    Column("custom", JSON, nullable=False),
    _later("sip_call_id"),
    _later("source"),
    _later("destination"),
    _later("direction"),
    _later("application_id"),
    _time("held"),
    _time("retention_days"),
    _later("hold_reason"),
    _later("held_by"),
    _later("note"),
    _later("flow_id"),
    Column("tags", JSON, nullable=False, server_default="[]"),
    _later("media_id"),
    # Those that lists and searches run along hold what a filter compares: a row that does not fit is passed over in the index alone.
    Index("recordings_created", "created", "id", "account", *_COMPARED, **_where("deleted IS NULL")),
    Index("recordings_account_created", "account", "created", "id", *_COMPARED, **_where("deleted IS NULL")),
    Index("recordings_account_state", "account", "state", "created", "id", "flow_id", *_REST, **_where("deleted IS NULL")),
    Index("recordings_account_flow", "account", "flow_id", "created", "id", "state", *_REST, **_where("deleted IS NULL")),
    Index("recordings_voicemail", "account", "created", "id", **_where("deleted IS NULL AND origin = 'voicemail'")),
    Index("recordings_swept", "account", "created", "id", **_where("deleted IS NULL AND held IS NULL AND retention_days IS NULL")),
    Index(
        "recordings_own_retention", "retention_days", "created", "id", **_where("deleted IS NULL AND held IS NULL AND retention_days > 0")
    ),
    Index("recordings_activeflow", "activeflow_id"),
    Index("recordings_account_media", "account", "media_id"),
    Index("recordings_sip_call", "sip_call_id"),
    Index("recordings_call", "call_id"),
    Index("recordings_node_state", "node", "state"),
)

recording_tags = Table(  # the same tags as in the rows of recordings, to search by
    "recording_tags",
    metadata,
    Column("recording", _ID, primary_key=True),
    Column("tag", Text, primary_key=True),
    _text("account"),
    Column("created", Double, nullable=False),
    Index("recording_tags_tag", "account", "tag", "created", "recording"),
)

storage_use = Table(  # what each account stores: the sum of its rows, which the migration's triggers add to
    "storage_use",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("account"),
    Column("files", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("storage_use_account", "account", "files", "size"),
)

exports = Table(
    "exports",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("status"),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("wanted", JSON, nullable=False),
    _text("actor"),
    _text("node"),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("missing", Integer, nullable=False),
    Column("missed", JSON, nullable=False),
    Column("size", BigInteger, nullable=False),
    _text("reason"),
    _text("secret"),
    _text("object_key"),
    _time("finished"),
    _time("expires"),
    _time("deleted"),
    Index("exports_account_created", "account", "created", "id"),
    Index("exports_created", "created", "id"),
    Index("exports_status", "status", "expires"),
)

export_items = Table(
    "export_items",
    metadata,
    Column("export", _ID, primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("recording", _ID, nullable=False),
)

removals = Table(  # objects whose rows say that they are gone, and that are still to be removed
    "removals",
    metadata,
    Column("key", Text, primary_key=True),
    Column("recording", _ID, nullable=False),
    _text("account"),
    Column("created", Double, nullable=False),
    Column("due", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    _text("reason"),
    Index("removals_due", "due"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("kind"),
    _text("ref"),
    _text("target"),
    Column("status", Integer, nullable=False),
    Column("time", Double, nullable=False),
    _text("outcome"),
    _text("reason"),
    _text("fault"),
    Index("attempts_ref_time", "ref", "time"),
)

audit = Table(  # the triggers that keep it as it is are the migration's
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    _text("account"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    Column("status", Integer, nullable=False),
    _text("request_id"),
    _text("address"),
    _text("detail"),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_account_seq", "account", "seq"),
    Index("audit_subject_seq", "subject", "seq"),
)

flows = Table(
    "flows",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("name"),
    _text("document"),
    _text("dialect"),
    Column("created", Double, nullable=False),
    _time("updated"),
    _time("deleted"),
    Index("flows_account_created", "account", "created", "id"),
    Index("flows_dialect_updated", "dialect", "updated"),
)

documents = Table(
    "documents",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("kind"),
    _text("name"),
    Column("body", JSON, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    _time("deleted"),
    Index("documents_account_kind", "account", "kind", "created", "id"),
    Index("documents_updated", "updated"),
)

conferences = Table(
    "conferences",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("status"),
    Column("created", Double, nullable=False),
    _text("kind"),
    _text("room"),
    _text("name"),
    _text("detail"),
    Column("data", JSON, nullable=False),
    Column("options", JSON, nullable=False),
    Column("timeout", Integer, nullable=False),
    _text("pre_flow_id"),
    _text("post_flow_id"),
    _text("node"),
    _text("recording_id"),
    Column("recording_ids", JSON, nullable=False),
    _text("reason"),
    _time("expires"),
    _time("ended"),
    _time("updated"),
    _time("deleted"),
    Index("conferences_created", "created", "id"),
    Index("conferences_account_created", "account", "created", "id"),
    Index("conferences_node_status", "node", "status"),
)

conferencecalls = Table(
    "conferencecalls",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("status"),
    Column("created", Double, nullable=False),
    _text("conference_id"),
    _text("call_id"),
    _text("activeflow_id"),
    _text("node"),
    _text("reason"),
    Column("muted", Boolean, nullable=False),
    Column("deaf", Boolean, nullable=False),
    _time("joined"),
    _time("left"),
    _time("updated"),
    _time("deleted"),
    Index("conferencecalls_created", "created", "id"),
    Index("conferencecalls_account_created", "account", "created", "id"),
    Index("conferencecalls_node_status", "node", "status"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("kind"),
    _text("ref"),
    _text("url"),
    _text("method"),
    Column("headers", JSON, nullable=False),
    _text("body"),
    _text("object_key"),
    _text("content_type"),
    _text("policy"),
    _text("node"),
    _text("state"),
    Column("round", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("status", Integer, nullable=False),
    _text("reason"),
    Column("created", Double, nullable=False),
    Column("until", Double, nullable=False),
    _time("due"),
    _time("done"),
    _later("lane"),
    _later("signing"),
    _later("receiver"),
    Index("deliveries_created", "created", "id"),
    Index("deliveries_account_created", "account", "created", "id"),
    Index("deliveries_ref", "ref"),
    Index("deliveries_node_state", "node", "state", "created", "id"),
    Index("deliveries_lane", "lane", "state", "created", "id"),
)

workers = Table(  # which nodes' workers are at work
    "workers",
    metadata,
    Column("node", Text, primary_key=True),
    Column("seen", Double, nullable=False),  # by the database's clock
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("kind"),
    _text("account"),
    _text("subject"),
    Column("time", Double, nullable=False),
    _text("node"),
    Column("data", JSON, nullable=False),
    Index("outbox_node_time", "node", "time", "id"),
)

activeflows = Table(
    "activeflows",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("status"),
    Column("created", Double, nullable=False),
    _text("flow_id"),
    _text("reference_type"),
    _text("reference_id"),
    _text("reference_activeflow_id"),
    _text("on_complete_flow_id"),
    _text("webhook_uri"),
    _text("webhook_method"),
    Column("current_action", JSON, nullable=False),
    Column("executed_actions", JSON, nullable=False),
    Column("variables", JSON, nullable=False),
    _text("document"),
    _text("node"),
    _time("updated"),
    _time("ended"),
    _time("deleted"),
    Index("activeflows_created", "created", "id"),
    Index("activeflows_account_created", "account", "created", "id"),
    Index("activeflows_node_status", "node", "status"),
)

applications = Table(
    "applications",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("account"),
    _text("name"),
    _text("public_key"),
    _text("answer_url"),
    _text("answer_method"),
    _text("fallback_url"),
    _text("fallback_method"),
    _text("event_url"),
    _text("event_method"),
    _text("signature_secret"),
    Column("options", JSON, nullable=False),
    Column("created", Double, nullable=False),
    _time("updated"),
    _time("deleted"),
    Index("applications_account_created", "account", "created", "id"),
)
