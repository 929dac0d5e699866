"""The messages of an account's voicemail boxes, among all that it has recorded."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messages = sa.text("deleted IS NULL AND origin = 'voicemail'")
    op.create_index(
        "recordings_voicemail", "recordings", ["account", "created", "id"], sqlite_where=messages, postgresql_where=messages
    )
