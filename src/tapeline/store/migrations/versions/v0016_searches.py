"""The indexes of flows and states hold what a search compares, as those of time do: it need not fetch the rows to pass them over."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    present: dict[str, Any] = {"sqlite_where": sa.text("deleted IS NULL"), "postgresql_where": sa.text("deleted IS NULL")}
    rest = ["direction", "duration", "source", "destination", "deleted"]
    for name, columns in (
        ("recordings_account_state", ["account", "state", "created", "id", "flow_id", *rest]),
        ("recordings_account_flow", ["account", "flow_id", "created", "id", "state", *rest]),
    ):
        op.drop_index(name, "recordings")
        op.create_index(name, "recordings", columns, **present)
