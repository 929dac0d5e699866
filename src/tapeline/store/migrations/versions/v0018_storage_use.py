"""What each account stores, kept by triggers as recordings come and go, and recordings of their own days in the order they are over."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_LEFT = "INSERT INTO storage_use (account, files, size) VALUES (old.account, -1, -old.size);"
_CAME = "INSERT INTO storage_use (account, files, size) VALUES (new.account, 1, new.size);"
_COUNTED = "{row}.deleted IS NULL AND {row}.size IS NOT NULL"
_OLD, _NEW = _COUNTED.format(row="old"), _COUNTED.format(row="new")
_CHANGED = "(old.size IS DISTINCT FROM new.size OR (old.deleted IS NULL) != (new.deleted IS NULL) OR old.account != new.account)"
_POSTGRESQL = f"""
CREATE FUNCTION storage_use_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP != 'INSERT' THEN
        IF {_OLD} THEN {_LEFT} END IF;
    END IF;
    IF TG_OP != 'DELETE' THEN
        IF {_NEW} THEN {_CAME} END IF;
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "storage_use",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
    )
    op.create_index("storage_use_account", "storage_use", ["account", "files", "size"])
    op.execute(
        "INSERT INTO storage_use (account, files, size) SELECT account, count(*), sum(size) FROM recordings"
        " WHERE deleted IS NULL AND size IS NOT NULL GROUP BY account"
    )
    op.drop_index("recordings_account_size", "recordings")
    if op.get_bind().dialect.name == "sqlite":
        _sqlite()
    else:
        op.execute(_POSTGRESQL)
        note = "FOR EACH ROW {when}EXECUTE FUNCTION storage_use_note()"
        op.execute(f"CREATE TRIGGER storage_use_came AFTER INSERT OR DELETE ON recordings {note.format(when='')}")
        changed = note.format(when=f"WHEN ({_CHANGED}) ")
        op.execute(f"CREATE TRIGGER storage_use_changed AFTER UPDATE OF size, deleted, account ON recordings {changed}")
    op.drop_index("recordings_own_retention", "recordings")
    own = sa.text("deleted IS NULL AND held IS NULL AND retention_days > 0")
    columns = ["retention_days", "created", "id"]
    op.create_index("recordings_own_retention", "recordings", columns, sqlite_where=own, postgresql_where=own)


def _sqlite() -> None:
    # A trigger of its own for each way: a condition cannot stand within one. DISTINCT FROM is IS NOT in older ones.
    changed = _CHANGED.replace("IS DISTINCT FROM", "IS NOT")
    events = (
        ("enter", "INSERT", _NEW, _CAME),
        ("gone", "DELETE", _OLD, _LEFT),
        ("leave", "UPDATE OF size, deleted, account", f"{_OLD} AND {changed}", _LEFT),
        ("come", "UPDATE OF size, deleted, account", f"{_NEW} AND {changed}", _CAME),
    )
    for name, event, condition, deed in events:
        op.execute(f"CREATE TRIGGER storage_use_{name} AFTER {event} ON recordings WHEN {condition} BEGIN {deed} END")
