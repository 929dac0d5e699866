"""The migrations lead to exactly the tables that the code knows, on any way there, and PostgreSQL takes the same tables."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from tapeline.store.database import normal_url
from tapeline.store.migrate import migrate, revision
from tapeline.store.tables import metadata


def schema(path: Path) -> dict[str, object]:
    """Every table's columns and every index's, as SQLite itself tells them. Triggers and the index of texts are the
    migrations' alone: SQLAlchemy has no words for them."""
    found: dict[str, object] = {}
    connection = sqlite3.connect(path)
    names = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite_%' AND name != 'alembic_version'"
        " AND name NOT LIKE 'recording_text%' AND name != 'recording_places'"
    )
    for kind, name in names.fetchall():
        pragma = "table_info" if kind == "table" else "index_xinfo"
        found[f"{kind} {name}"] = connection.execute(f"PRAGMA {pragma}({name})").fetchall()
    found["unique"] = sorted(
        row[1] for table in metadata.tables for row in connection.execute(f"PRAGMA index_list({table})") if row[2] and row[3] == "c"
    )
    connection.close()
    return found


def test_a_migrated_schema_is_the_one_made_from_the_tables(tmp_path: Path) -> None:
    migrate(normal_url(f"sqlite:///{tmp_path / 'migrated'}"))
    engine = create_engine(f"sqlite:///{tmp_path / 'fresh'}")
    metadata.create_all(engine)
    engine.dispose()
    assert schema(tmp_path / "migrated") == schema(tmp_path / "fresh")
    assert len(schema(tmp_path / "fresh")) > 10


def ours(name: str | None, kind: str, parents: object) -> bool:
    return kind != "table" or name in metadata.tables


def test_alembic_finds_nothing_left_to_do(tmp_path: Path) -> None:
    migrate(normal_url(f"sqlite:///{tmp_path / 'migrated'}"))
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": ours})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == revision() != ""
    engine.dispose()


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    url = normal_url(f"sqlite:///{tmp_path / 'x'}")
    migrate(url)
    before = schema(tmp_path / "x")
    migrate(url)
    assert schema(tmp_path / "x") == before


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = normal_url(f"sqlite:///{tmp_path / 'x'}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [url] * 4))
    assert "table recordings" in schema(tmp_path / "x")


def test_postgresql_takes_the_same_tables() -> None:
    dialect = postgresql.dialect()
    for table in metadata.tables.values():
        text = str(CreateTable(table).compile(dialect=dialect))
        assert "DOUBLE PRECISION" in text or table.name in ("export_items", "storage_use")  # which have no time
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE")
