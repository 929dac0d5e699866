"""Alembic's migrations: `versions/` in order, run by `tapeline.store.migrate`."""
