
"""The same rows and jobs in PostgreSQL, started here for the test: schema, forward-only rows, a server that goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from tapeline.core.ids import new_id
from tapeline.delivery.config import VARIABLE, WorkerConfig
from tapeline.recording.manifest import Manifest
from tapeline.recording.spool import Spool
from tapeline.store import (
    ActiveflowRow,
    CallRow,
    Database,
    DatabaseUnavailable,
    Deed,
    DeliveryRow,
    ExportRow,
    FlowRow,
    RecordingRow,
    Search,
    WriteBehind,
)
from tapeline.store.tables import metadata

ACCOUNT = new_id()
pytestmark = pytest.mark.peer


class Server:
    """A PostgreSQL server of our own, in a folder of its own, on a free port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-A", "trust", "-U", "postgres", "-N")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        subprocess.run(
            [self._programs / program, "-D", self._folder / "data", *arguments],
            user=user,
            cwd=self._folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql); run scripts/peers")
    if os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("there is no user postgres, and the server refuses to run as root")
    folder = Path(tempfile.mkdtemp(prefix="tapeline-pg-", dir="/tmp"))  # pytest's own folders are closed to other users
    folder.chmod(0o777)
    started = Server(found[-1].parent, folder)
    started.start()
    yield started
    started.stop()
    shutil.rmtree(folder)


async def test_rows_move_forward_only_and_come_back_as_written(server: Server) -> None:
    database = Database(server.url)
    await database.open()
    await database.open()
    row = RecordingRow(
        new_id(), ACCOUNT, "stopping", 1.0, updated=1.0, size=6_000_000_000, peaks=((0.5, 1.0),), timeline=({"at": 1.5, "event": "x"},)
    )
    await database.recordings.upsert(row)
    await database.recordings.upsert(replace(row, state="recording", updated=5.0))
    assert await database.recordings.get(row.id) == row
    done = replace(row, state="available", updated=0.5, sha256="00")
    await database.recordings.upsert(done)
    await database.recordings.upsert(replace(row, state="failed", updated=9.0))
    assert await database.recordings.get(row.id) == done
    await database.removals.remove([row.id], 7.0)
    await database.recordings.upsert(replace(done, updated=9.0))
    found = await database.recordings.get(row.id)
    assert found is not None and found.deleted == 7.0
    run = ActiveflowRow(new_id(), ACCOUNT, "running", 1.0)
    assert [await database.activeflows.begin(run) for _ in range(2)] == [True, False]
    token, secret = await database.tokens.add(ACCOUNT, "ci", {"admin"})
    assert await database.tokens.find(secret) == token
    await database.close()


async def test_documents_notes_and_callflows_change_without_losing_a_change(server: Server) -> None:
    database = Database(server.url)
    await database.open()
    account = new_id()
    row = RecordingRow(new_id(), account, "available", 1.0, updated=1.0, custom={"media_id": "mine"})
    await database.recordings.upsert(row)
    adding = [lambda old, n=n: {**old, f"k{n}": n} for n in range(20)]
    await asyncio.gather(*(database.documents.change(account, "user", "anna", how) for how in adding))
    await asyncio.gather(*(database.recordings.annotate(row.id, how) for how in adding))
    document, noted = await database.documents.find(account, "user", "anna"), await database.recordings.get(row.id)
    assert document is not None and len(document.body) == 20
    assert noted is not None and len(noted.custom) == 21
    found = await database.recordings.search(Search(account, equal={"media_id": ("mine",)}))
    assert [one.id for one in found] == [row.id]
    await database.flows.put(FlowRow(new_id(), account, "", "{}", "kazoo", 1.0, 2.0))
    assert [one[1:] for one in await database.flows.changed("kazoo", 2.0)] == [(2.0, None)]
    assert [one.name for one in await database.documents.changed(document.updated)] == ["anna"]
    await database.close()


async def test_the_archive_is_kept_alike(server: Server) -> None:
    """Search, hold, sweep, export and audit, whose statements differ from SQLite's in places."""
    database = Database(server.url)
    await database.open()
    account = (await database.accounts.ensure("archive")).id
    assert await database.accounts.add("archive") is None
    assert [found.name for found in await database.accounts.page(limit=1)] == ["archive"]
    rows = [
        RecordingRow(
            new_id(), account, "available", 1000.0 + n, ended=1001.0 + n, updated=1.0, size=5, source=f"+4930{n}", object_key=f"k{n}",
        )  # fmt: skip
        for n in range(6)
    ]
    await database.recordings.upsert(*rows)
    await database.keeping.amend(rows[2].id, tags=("vip", "late"), note="said yes")
    mine = Search(account)
    for wanted in (replace(mine, number="49302"), replace(mine, tag="vip"), replace(mine, note="SAID"), Search(tag="late", number="+4")):
        assert [row.id for row in (await database.recordings.page(wanted)).rows] == [rows[2].id]
    page = await database.recordings.page(Search(account, limit=4))
    assert [row.source for row in page.rows] == ["+49305", "+49304", "+49303", "+49302"] and page.after == (1002.0, rows[2].id)
    await database.keeping.hold(rows[0].id, 2000.0, "case", "clerk")
    stranger = RecordingRow(new_id(), new_id(), "available", 1000.0, ended=1001.0, updated=1.0, size=7)
    own = replace(stranger, id=new_id(), account=account, created=1002.6, ended=1002.7)
    await database.recordings.upsert(stranger, own)
    await database.keeping.amend(own.id, retention_days=0.5)
    gone = set()
    while page_of := await database.removals.sweep(1003.5 + 86400.0, 1.0, 1, "here"):
        gone |= {row.id for row in page_of}
    wanted_gone = {rows[1].id, rows[2].id, stranger.id, own.id}
    assert gone & {row.id for row in (*rows, stranger, own)} == wanted_gone
    assert {entry.subject for entry in await database.outbox.waiting("here")} == gone
    assert await database.keeping.usage(account) == {account: (4, 20)}
    await database.keeping.add_up(0)
    assert await database.keeping.usage(account) == {account: (4, 20)} and stranger.account not in await database.keeping.usage()
    export = ExportRow(new_id(), account, "progressing", 5.0, updated=5.0, secret="s")
    await database.exports.add(export, [row.id for row in rows])
    claimed = await database.exports.claim(export.id, "here", 5.0)
    assert claimed is not None and await database.exports.claim(export.id, "there", 6.0) is None
    assert await database.exports.end(replace(claimed, status="finished", object_key="z"), {"x": 1})
    assert (await database.exports.remove(export.id, 9.0)) is not None and len(await database.removals.due(9e9, 10)) == 3
    assert (await database.audit.verify()).rows == len(gone)
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises((DBAPIError, DatabaseUnavailable), match="only ever added"):
            async with database.writing() as connection:
                await connection.exec_driver_sql(statement)
    await asyncio.gather(*(database.audit.add(Deed(1.0, account, "clerk", "seen")) for _ in range(20)))
    verdict = await database.audit.verify()
    assert (verdict.rows, verdict.problem) == (len(gone) + 20, "")
    await database.close()


async def test_a_role_that_may_make_no_extensions_and_no_schemas_is_enough(server: Server, tmp_path: Path) -> None:
    """What it may do is written in docs/storage.md. Without an index of texts, parts of numbers and notes are found all the same."""
    name = "plain_" + new_id().replace("-", "")
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    engine = create_engine(engine.url.set(database=name), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"GRANT USAGE, CREATE ON SCHEMA public TO {name}")
        connection.exec_driver_sql(f"CREATE SCHEMA dbos AUTHORIZATION {name}")
    node = Node("plain", tmp_path, f"postgresql://{name}@127.0.0.1:{server.port}/{name}")
    recording = node.record()
    assert await node.work(until=recording) == 0
    database = Database(node.config.database)
    await database.open()
    try:
        other = RecordingRow(new_id(), ACCOUNT, "available", 2.0, updated=2.0, source="+49301234567")
        await database.recordings.upsert(other)
        await database.keeping.amend(recording, note="Said YES twice")
        mine = Search(ACCOUNT)
        assert [row.id for row in (await database.recordings.page(replace(mine, number="01234"))).rows] == [other.id]
        assert [row.id for row in (await database.recordings.page(replace(mine, note="yes"))).rows] == [recording]
    finally:
        await database.close()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT extname FROM pg_extension").scalars().all() == ["plpgsql"]
    engine.dispose()


async def test_the_migrated_schema_is_the_one_the_code_knows(server: Server) -> None:
    database = Database(server.url)
    await database.open()
    await database.close()
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        ours = {"include_object": lambda thing, name, kind, *_: kind != "table" or name in metadata.tables, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=ours), metadata) == []
    engine.dispose()


async def test_rows_wait_for_a_server_that_is_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeline.store.writer.FIRST_PAUSE_S", 0.05)
    database = Database(server.url)
    await database.open()
    writer = WriteBehind(database)
    writer.start()
    calls = [CallRow(new_id(), ACCOUNT, "incoming", "ringing", float(at)) for at in range(300)]
    writer.put(calls[0])
    assert await writer.drain(10.0)
    await asyncio.to_thread(server.stop)
    for call in calls[1:]:
        writer.put(call)
    assert not await writer.drain(0.5)
    with pytest.raises(DatabaseUnavailable):
        await database.check()
    assert not writer.healthy
    await asyncio.to_thread(server.start)
    assert await writer.drain(20.0)
    assert writer.healthy and len(await database.calls.list(ACCOUNT, None, 1000)) == 300
    await writer.close()
    await database.close()


class Node:
    """A worker with a spool of its own on the shared database."""

    def __init__(self, name: str, root: Path, url: str) -> None:
        self.spool = Spool(root / name / "spool")
        self.config = WorkerConfig(str(root / name), url, str(root / "objects"), url, name, slots=2)

    def record(self) -> str:
        known = {"created": 1.0, "started": 1.0, "ended": 2.0, "reason": "stopped"}
        spec = {"format": "wav", "channels": 1, "rate": 8000}
        manifest = Manifest(id=new_id(), account=ACCOUNT, spec=spec, rate=8000, channels=1, state="recording", **known)
        with self.spool.create(manifest).open("ab") as file:
            file.write(bytes(16000))
        self.spool.finish(replace(manifest, state="stopped"))
        return manifest.id

    async def work(self, *, fault: str = "", until: str = "") -> int:
        """Run the worker until it dies, or until the recording `until` has left the spool."""
        environment = os.environ | {VARIABLE: self.config.to_json(), "TAPELINE_FAULT": fault}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tapeline.delivery.worker", stdin=PIPE, stdout=DEVNULL, env=environment
        )
        try:
            async with asyncio.timeout(30):
                while until and self.spool.path(until).exists():
                    await asyncio.sleep(0.05)
                if until:
                    process.terminate()
                return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            assert process.stdin is not None
            process.stdin.close()


async def test_what_a_node_without_a_worker_has_left_goes_to_one_of_two(server: Server) -> None:
    database = Database(server.url)
    await database.open()
    try:
        rows = [DeliveryRow(new_id(), "a", "webhook", "r", "http://x.example/", float(n), 9e9, node="lonely") for n in range(50)]
        await database.deliveries.add(*rows)
        for node in ("one", "two"):
            await database.workers.beat(node)
            await database.workers.beat(node)
            assert await database.workers.deserted(node, missed=True) == ["lonely"]
        page = [place[1] for place, _ in await database.workers.left_behind("lonely", files=False)]
        one, two = await asyncio.gather(*(database.workers.adopt(page, "lonely", node) for node in ("one", "two")))
        assert sorted(one + two) == sorted(row.id for row in rows)
        assert await database.workers.adopt(page, "one", "two") == []  # who is there keeps its own
        await database.workers.leave("one")
        assert sorted(await database.workers.adopt(page, "one", "two")) == sorted(one)
        assert await database.workers.left_behind("lonely", files=True, after=(1.0, "")) == []
    finally:
        await database.close()


async def test_nodes_that_share_a_database_leave_each_others_jobs_alone(server: Server, tmp_path: Path) -> None:
    first, second = Node("first", tmp_path, server.url), Node("second", tmp_path, server.url)
    left = first.record()
    assert await first.work(fault="kill:available") == -signal.SIGKILL
    own = second.record()
    assert await second.work(until=own) == 0
    database = Database(server.url)
    await database.open()
    assert await database.recordings.get(left) is None
    assert first.spool.path(left).exists()
    assert await first.work(until=left) == 0
    for recording in (left, own):
        row = await database.recordings.get(recording)
        assert row is not None and (row.state, row.duration) == ("available", 1.0)
    await database.close()
