"""Retention, holds, tags, notes and searching of recordings: columns, the removals still to be done, and indexes that lists run along.

On SQLite a trigram index (FTS5) finds parts of numbers and notes. Its rows are in the order of `created`: `recording_places` gives
each recording a number made of its millisecond and its turn within that. Triggers keep both.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# What a filter of a search compares, so that rows that do not fit are passed over within the index.
_COMPARED = ["state", "direction", "duration", "flow_id", "source", "destination", "deleted"]

_PLACE = "CAST({row}.created * 1000 AS INTEGER) * 1048576"
_ENTER = f"""
INSERT OR IGNORE INTO recording_places (place, id)
SELECT coalesce((SELECT max(place) + 1 FROM recording_places
                 WHERE place >= {_PLACE} AND place < {_PLACE} + 1048576), {_PLACE}), {{row}}.id WHERE {{row}}.deleted IS NULL;
INSERT INTO recording_text (rowid, source, destination, note, id, account)
SELECT place, {{row}}.source, {{row}}.destination, {{row}}.note, {{row}}.id, {{row}}.account FROM recording_places WHERE id = {{row}}.id;
"""
_LEAVE = """
DELETE FROM recording_text WHERE rowid = (SELECT place FROM recording_places WHERE id = old.id);
DELETE FROM recording_places WHERE id = old.id;
"""


def upgrade() -> None:
    op.add_column("accounts", sa.Column("retention_days", sa.Double, nullable=True))
    for name in ("held", "retention_days"):
        op.add_column("recordings", sa.Column(name, sa.Double, nullable=True))
    for name in ("hold_reason", "held_by", "note", "flow_id"):
        op.add_column("recordings", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.add_column("recordings", sa.Column("tags", sa.JSON, nullable=False, server_default="[]"))
    op.create_table(
        "recording_tags",
        sa.Column("recording", sa.String(36), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_index("recording_tags_tag", "recording_tags", ["account", "tag", "created", "recording"])
    op.create_table(
        "removals",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("recording", sa.String(36), nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("due", sa.Double, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("removals_due", "removals", ["due"])
    _indexes()
    if op.get_bind().dialect.name == "sqlite":
        _text_index()


def _indexes() -> None:
    present: dict[str, Any] = {"sqlite_where": sa.text("deleted IS NULL"), "postgresql_where": sa.text("deleted IS NULL")}
    op.drop_index("recordings_created", "recordings")
    op.drop_index("recordings_account_created", "recordings")
    op.create_index("recordings_created", "recordings", ["created", "id", "account", *_COMPARED], **present)
    op.create_index("recordings_account_created", "recordings", ["account", "created", "id", *_COMPARED], **present)
    op.create_index("recordings_account_state", "recordings", ["account", "state", "created", "id"], **present)
    op.create_index("recordings_account_flow", "recordings", ["account", "flow_id", "created", "id"], **present)
    op.create_index("recordings_activeflow", "recordings", ["activeflow_id"])
    sized = sa.text("deleted IS NULL AND size IS NOT NULL")
    op.create_index("recordings_account_size", "recordings", ["account", "size", "deleted"], sqlite_where=sized, postgresql_where=sized)
    swept = sa.text("deleted IS NULL AND held IS NULL AND retention_days IS NULL")
    op.create_index("recordings_swept", "recordings", ["account", "created", "id"], sqlite_where=swept, postgresql_where=swept)
    own = sa.text("deleted IS NULL AND held IS NULL AND retention_days > 0")
    op.create_index("recordings_own_retention", "recordings", ["retention_days"], sqlite_where=own, postgresql_where=own)


def _text_index() -> None:
    op.execute("CREATE TABLE recording_places (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)")
    columns = "source, destination, note, id UNINDEXED, account UNINDEXED"
    op.execute(f"CREATE VIRTUAL TABLE recording_text USING fts5({columns}, tokenize = 'trigram')")
    op.execute(
        "INSERT INTO recording_places (place, id)"
        f" SELECT {_PLACE.format(row='r')} - 1"
        " + row_number() OVER (PARTITION BY CAST(r.created * 1000 AS INTEGER) ORDER BY r.created, r.id), r.id"
        " FROM recordings r WHERE r.deleted IS NULL"
    )
    op.execute(
        "INSERT INTO recording_text (rowid, source, destination, note, id, account)"
        " SELECT p.place, r.source, r.destination, r.note, r.id, r.account FROM recording_places p JOIN recordings r ON r.id = p.id"
    )
    op.execute(f"CREATE TRIGGER recording_text_enter AFTER INSERT ON recordings BEGIN {_ENTER.format(row='new')} END")
    op.execute(
        "CREATE TRIGGER recording_text_change AFTER UPDATE OF source, destination, note ON recordings"
        " WHEN new.deleted IS NULL AND (new.source != old.source OR new.destination != old.destination OR new.note != old.note)"
        " BEGIN UPDATE recording_text SET source = new.source, destination = new.destination, note = new.note"
        " WHERE rowid = (SELECT place FROM recording_places WHERE id = new.id); END"
    )
    op.execute(
        "CREATE TRIGGER recording_text_leave AFTER UPDATE OF deleted ON recordings"
        f" WHEN new.deleted IS NOT NULL AND old.deleted IS NULL BEGIN {_LEAVE} END"
    )
    op.execute(f"CREATE TRIGGER recording_text_gone AFTER DELETE ON recordings BEGIN {_LEAVE} END")
