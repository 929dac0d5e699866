"""Lists of calls run along those that are not deleted; and the calls of a run."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    there = sa.text("deleted IS NULL")
    for name, columns in (
        ("calls_created", ["created", "id"]),
        ("calls_application_created", ["application_id", "created", "id"]),
        ("calls_account_created", ["account", "created", "id"]),
    ):
        op.drop_index(name, "calls")
        op.create_index(name, "calls", columns, sqlite_where=there, postgresql_where=there)
    op.create_index("calls_activeflow", "calls", ["activeflow_id"])
