"""Rows and stored audio: what is known of calls and recordings, and the files themselves. See README.md beside this file."""

from tapeline.store.audit import AuditRow, Deed, Verdict
from tapeline.store.database import Database
from tapeline.store.errors import DatabaseUnavailable, ObjectMissing, ObjectsUnavailable
from tapeline.store.exports import ExportRow
from tapeline.store.objects import ObjectStat, ObjectStore, object_key
from tapeline.store.rows import (
    Account,
    ActiveflowRow,
    AgentRow,
    Application,
    AttemptRow,
    CallFilter,
    CallRow,
    ConferenceCallRow,
    ConferenceRow,
    DeliveryRow,
    DocumentRow,
    FlowRow,
    OutboxRow,
    RecordingRow,
    Token,
)
from tapeline.store.search import Found, Search
from tapeline.store.trail import Trail
from tapeline.store.writer import WriteBehind

__all__ = [
    "Account",
    "ActiveflowRow",
    "Application",
    "AgentRow",
    "AttemptRow",
    "AuditRow",
    "CallFilter",
    "CallRow",
    "ConferenceCallRow",
    "ConferenceRow",
    "Database",
    "DatabaseUnavailable",
    "Deed",
    "DeliveryRow",
    "DocumentRow",
    "ExportRow",
    "FlowRow",
    "Found",
    "ObjectMissing",
    "ObjectStat",
    "ObjectStore",
    "ObjectsUnavailable",
    "OutboxRow",
    "RecordingRow",
    "Search",
    "Token",
    "Trail",
    "Verdict",
    "WriteBehind",
    "object_key",
]
