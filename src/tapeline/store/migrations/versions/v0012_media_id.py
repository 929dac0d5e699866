"""The ids that flows gave recordings, and their calls' ids, to be found by."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("recordings", sa.Column("media_id", sa.Text, nullable=False, server_default=""))
    said = "json_extract(custom, '$.media_id')" if op.get_bind().dialect.name == "sqlite" else "custom->>'media_id'"
    op.execute(f"UPDATE recordings SET media_id = {said} WHERE {said} IS NOT NULL")
    op.create_index("recordings_account_media", "recordings", ["account", "media_id"])
    op.create_index("recordings_sip_call", "recordings", ["sip_call_id"])
