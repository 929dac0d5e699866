"""Alembic runs this file. The connection, already in a transaction, comes from `tapeline.store.migrate`."""

from alembic import context

from tapeline.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most of a table in place
)
context.run_migrations()
