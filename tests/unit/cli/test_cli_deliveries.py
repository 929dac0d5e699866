"""`tapeline deliveries`: what was sent is listed and shown with every try, and can be sent again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tapeline.cli import main
from tapeline.core.ids import new_id
from tapeline.store import Database, DeliveryRow

RECORDING = new_id()


def run(capsys: pytest.CaptureFixture[str], data: Path, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["deliveries", *words, "--data", str(data)])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def rows(tmp_path: Path) -> tuple[str, str]:
    """A delivery that was given up after a failed try, and one that waits."""
    account = new_id()
    refs = (RECORDING, new_id())
    failed, waiting = (DeliveryRow(new_id(), account, "upload", ref, f"http://x/{n}", 1000.0 + n, 2000.0 + n) for n, ref in enumerate(refs))

    async def fill() -> None:
        database = Database(f"sqlite:///{tmp_path / 'tapeline.sqlite'}")
        await database.open()
        await database.deliveries.add(failed, waiting)
        await database.deliveries.note(failed, at=1500.0, state="failed", status=404, reason="answered 404", fault="destination", due=None)
        await database.close()

    asyncio.run(fill())
    return failed.id, waiting.id


def test_deliveries_are_listed_and_narrowed(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: tuple[str, str]) -> None:
    code, out, _ = run(capsys, tmp_path, "list")
    assert code == 0 and "answered 404" in out and "http://x/1" in out
    assert out.index(rows[1]) < out.index(rows[0])  # newest first
    listed = json.loads(run(capsys, tmp_path, "list", "--state", "failed", "--json")[1])
    assert [(row["id"], row["status"], row["tries"]) for row in listed] == [(rows[0], 404, 1)]
    assert rows[1] not in run(capsys, tmp_path, "list", "--recording", RECORDING)[1]
    code, _, err = run(capsys, tmp_path, "list", "--state", "lost")
    assert code == 1 and "states are: waiting delivered failed" in err


def test_a_delivery_is_shown_with_its_tries(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: tuple[str, str]) -> None:
    code, out, _ = run(capsys, tmp_path, "show", rows[0])
    assert code == 0 and "PUT http://x/0" in out and "404" in out and "destination" in out
    shown = json.loads(run(capsys, tmp_path, "show", rows[0], "--json")[1])
    assert [attempt["reason"] for attempt in shown["attempts"]] == ["answered 404"]
    code, _, err = run(capsys, tmp_path, "show", new_id())
    assert code == 1 and "no delivery has the id" in err


def test_a_replay_waits_again_for_as_long(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: tuple[str, str]) -> None:
    code, out, _ = run(capsys, tmp_path, "replay", rows[0], "--json")
    again = json.loads(out)
    assert code == 0 and (again["state"], again["round"], again["tries"], again["done"]) == ("waiting", 1, 0, None)
    assert again["until"] > again["created"] + 1000
    assert run(capsys, tmp_path, "replay", new_id())[0] == 1
