"""`tapeline recordings`: the store, on the command line, with the server down."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tapeline.cli import main
from tapeline.core.ids import new_id
from tapeline.store import Database, ObjectStore, RecordingRow, object_key

RATE = 8000
Cli = Callable[..., tuple[int, str, str]]


@dataclass
class Shelf:
    """A data folder with one recording of 2 s: left loud in its first second, right in its second."""

    data: Path
    account: str
    row: RecordingRow

    @property
    def audio(self) -> Path:
        return self.data / "objects" / self.row.object_key

    def put(self, **fields: object) -> RecordingRow:
        row = RecordingRow(id=new_id(), account=self.account, created=1_700_000_100.0, **({"state": "recording"} | fields))  # type: ignore[arg-type]
        self._write(row)
        return row

    def _write(self, row: RecordingRow) -> None:
        async def write() -> None:
            database = Database(f"sqlite:///{self.data / 'tapeline.sqlite'}")
            await database.open()
            await database.recordings.upsert(row)
            await database.close()

        asyncio.run(write())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    data = tmp_path / "data"
    tone = np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE).astype(np.float32) / 2
    silence = np.zeros(RATE, dtype=np.float32)
    sound = np.stack([np.concatenate([tone, silence]), np.concatenate([silence, tone])], axis=1)
    master = tmp_path / "master.wav"
    soundfile.write(master, sound, RATE, subtype="PCM_16")

    async def fill() -> tuple[str, RecordingRow]:
        database = Database(f"sqlite:///{data / 'tapeline.sqlite'}")
        await database.open()
        account = await database.accounts.by_name("default")
        assert account is not None
        recording_id = new_id()
        key = object_key(account.id, recording_id, "wav")
        await ObjectStore(str(data / "objects")).put_file(key, master, "audio/wav")
        row = RecordingRow(
            id=recording_id,
            account=account.id,
            state="available",
            created=1_700_000_000.0,
            reason="hangup",
            channels=2,
            duration=2.0,
            size=master.stat().st_size,
            sha256=hashlib.sha256(master.read_bytes()).hexdigest(),
            object_key=key,
            content_type="audio/wav",
            timeline=({"at": 0.0, "event": "started"}, {"at": 1.25, "event": "masked", "mode": "tone"}),
            measures={"loudness_lufs": -9.1},
            peaks=((0.5, 0.0), (0.0, 0.5)),
        )
        await database.recordings.upsert(row)
        await database.close()
        return account.id, row

    account, row = asyncio.run(fill())
    return Shelf(data, account, row)


@pytest.fixture
def cli(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["recordings", *words, "--data", str(shelf.data)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_list_is_newest_first_and_complete(cli: Cli, shelf: Shelf) -> None:
    newer = shelf.put(state="failed", reason="absent")
    code, out, _ = cli("list")
    assert code == 0
    head, first, second = out.splitlines()
    assert head.split()[:4] == ["ID", "STATE", "MADE", "LENGTH"]
    assert first.startswith(newer.id) and "failed: absent" in first
    assert second.startswith(shelf.row.id) and "available" in second and "0:02.0" in second and "wav 8000 Hz x2" in second


def test_list_as_json_names_the_account(cli: Cli, shelf: Shelf) -> None:
    code, out, _ = cli("list", "--json", "--state", "available")
    (found,) = json.loads(out)
    assert (code, found["id"], found["account"], found["duration"]) == (0, shelf.row.id, "default", 2.0)


def test_list_by_state_account_and_limit(cli: Cli, shelf: Shelf) -> None:
    newer = shelf.put()
    assert [row["id"] for row in json.loads(cli("list", "--json", "--limit", "1")[1])] == [newer.id]
    assert [row["id"] for row in json.loads(cli("list", "--json", "--state", "recording")[1])] == [newer.id]
    assert len(json.loads(cli("list", "--json", "--account", "default")[1])) == 2
    code, _, err = cli("list", "--account", "nobody")
    assert code == 1 and "no account is named 'nobody'" in err
    code, _, err = cli("list", "--state", "done")
    assert code == 1 and "states are: starting" in err


def test_show_draws_what_was_said_when(cli: Cli, shelf: Shelf) -> None:
    code, out, _ = cli("show", shelf.row.id)
    assert code == 0
    assert shelf.row.sha256 in out and "0:01.2  masked mode=tone" in out and "loudness lufs -9.1" in out
    lines = out.splitlines()
    left, right = lines.index("channel 1"), lines.index("channel 2")
    bottom_left, bottom_right = lines[left + 3], lines[right + 3]
    half = len(bottom_left) // 2
    assert bottom_left == "█" * half + "·" * half
    assert bottom_right == "·" * half + "█" * half


def test_show_tells_why_a_recording_is_not_finished(cli: Cli, shelf: Shelf) -> None:
    async def fail() -> None:
        database = Database(f"sqlite:///{shelf.data / 'tapeline.sqlite'}")
        await database.open()
        await database.attempts.add("finish", waiting.id, "store", outcome="failed", reason="the bucket is away", fault="destination")
        await database.close()

    waiting = shelf.put(state="stopping")
    asyncio.run(fail())
    code, out, _ = cli("show", waiting.id)
    assert code == 0 and out.rstrip().endswith("finish failed at store: the bucket is away")
    _, told, _ = cli("show", waiting.id, "--json")
    assert [attempt["reason"] for attempt in json.loads(told)["attempts"]] == ["the bucket is away"]


def test_download_is_the_stored_audio(cli: Cli, shelf: Shelf, tmp_path: Path) -> None:
    target = tmp_path / "out.wav"
    code, out, err = cli("download", shelf.row.id, "-o", str(target))
    assert code == 0 and out == "" and str(target) in err
    assert hashlib.sha256(target.read_bytes()).hexdigest() == shelf.row.sha256
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_download_of_damaged_audio_leaves_no_file(cli: Cli, shelf: Shelf, tmp_path: Path) -> None:
    _damage(shelf.audio)
    code, _, err = cli("download", shelf.row.id, "-o", str(tmp_path / "out.wav"))
    assert code == 1 and "damaged" in err
    assert {path.name for path in tmp_path.iterdir()} == {"data", "master.wav"}


def _damage(path: Path) -> None:
    """Flip a bit in the middle, keeping the size; a new file, since the object may share its bytes with others."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_verify_tells_intact_from_damaged_and_gone(cli: Cli, shelf: Shelf) -> None:
    code, out, _ = cli("verify", shelf.row.id)
    assert code == 0 and "intact" in out and "2.000 s decoded" in out
    _damage(shelf.audio)
    code, out, _ = cli("verify", shelf.row.id, "--json")
    found = json.loads(out)
    assert code == 1 and not found["ok"]
    (problem,) = found["problems"]
    assert "sha256" in problem
    shelf.audio.unlink()
    code, out, _ = cli("verify", shelf.row.id)
    assert code == 1 and "is gone" in out


def test_verify_decodes_and_does_not_trust_a_matching_checksum(cli: Cli, shelf: Shelf, tmp_path: Path) -> None:
    """A row whose checksum was taken of audio that nobody can decode."""
    rubbish = b"RIFF rubbish" * 100
    source = tmp_path / "rubbish"
    source.write_bytes(rubbish)
    key = shelf.row.object_key.replace(shelf.row.id, new_id())
    asyncio.run(ObjectStore(str(shelf.data / "objects")).put_file(key, source, "audio/wav"))
    row = shelf.put(state="available", object_key=key, size=len(rubbish), sha256=hashlib.sha256(rubbish).hexdigest(), duration=1.0)
    code, out, _ = cli("verify", row.id)
    assert code == 1 and "cannot be decoded" in out


def test_verify_compares_length_and_channels(cli: Cli, shelf: Shelf) -> None:
    row = shelf.put(state="available", object_key=shelf.row.object_key, sha256=shelf.row.sha256, duration=3.0, channels=1)
    code, out, _ = cli("verify", row.id)
    assert code == 1 and "lasts 2.000 s, its row says 3.000 s" in out and "has 2 channel(s), its row says 1" in out


def test_delete_removes_audio_and_hides_the_row(cli: Cli, shelf: Shelf) -> None:
    assert cli("delete", shelf.row.id)[0] == 0
    assert not shelf.audio.exists()
    assert json.loads(cli("list", "--json")[1]) == []
    for command in ("show", "delete", "verify", "download"):
        code, _, err = cli(command, shelf.row.id)
        assert code == 1 and "no recording has the id" in err


def test_what_is_still_being_recorded_is_neither_deleted_nor_downloaded(cli: Cli, shelf: Shelf) -> None:
    row = shelf.put()
    code, _, err = cli("delete", row.id)
    assert code == 1 and "still recording" in err and "hint:" in err
    code, _, err = cli("download", row.id)
    assert code == 1 and "is recording" in err


def test_a_data_folder_without_a_database_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recordings", "list", "--data", str(tmp_path / "typo")]) == 1
    told = capsys.readouterr()
    assert told.out == "" and "Traceback" not in told.err
    first, second = told.err.splitlines()
    assert first.startswith("error: there is no tapeline database") and "--data" in second and "server.data" in second
    assert not (tmp_path / "typo").exists()
