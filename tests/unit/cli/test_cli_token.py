"""`tapeline token`: secrets are shown once, and worthless once revoked."""

import asyncio
import json
from pathlib import Path

import pytest

from tapeline.cli import main
from tapeline.store import Database, Token


def run(capsys: pytest.CaptureFixture[str], data: Path, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["token", *words, "--data", str(data)])
    told = capsys.readouterr()
    return code, told.out, told.err


def found(data: Path, secret: str) -> Token | None:
    async def look() -> Token | None:
        database = Database(f"sqlite:///{data / 'tapeline.sqlite'}")
        await database.open()
        token = await database.tokens.find(secret)
        await database.close()
        return token

    return asyncio.run(look())


def test_a_token_is_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, tmp_path, "add", "--account", "shop", "--scope", "calls:read", "--name", "till")
    secret = out.strip()
    assert code == 0 and secret.startswith("vb_")
    token = found(tmp_path, secret)
    assert token is not None and token.scopes == {"calls:read"}

    code, out, _ = run(capsys, tmp_path, "list")
    assert code == 0 and secret not in out and token.id in out and "till" in out and "valid" in out and "shop" in out
    listed = json.loads(run(capsys, tmp_path, "list", "--json")[1])
    assert [(t["id"], t["account"], t["scopes"], t["revoked"]) for t in listed] == [(token.id, "shop", ["calls:read"], None)]

    assert run(capsys, tmp_path, "revoke", token.id)[0] == 0
    assert found(tmp_path, secret) is None
    assert "revoked 20" in run(capsys, tmp_path, "list")[1]
    code, _, err = run(capsys, tmp_path, "revoke", token.id)
    assert code == 1 and "no token in force has the id" in err


@pytest.mark.parametrize(
    "words",
    [
        ("--scope", "calls:read", "recordings:listen"),
        ("--scope", "calls:read", "--scope", "recordings:listen"),
        ("--scope", "calls:read,recordings:listen"),
    ],
)
def test_several_scopes(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    code, out, _ = run(capsys, tmp_path, "add", "--account", "default", *words, "--json")
    made = json.loads(out)
    assert code == 0 and made["scopes"] == ["calls:read", "recordings:listen"] and made["account"] == "default"
    token = found(tmp_path, made["secret"])
    assert token is not None and token.id == made["id"]


def test_an_unknown_scope_names_the_nearest_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, tmp_path / "new", "add", "--account", "default", "--scope", "recording:read")
    assert code == 1 and out == "" and "did you mean 'recordings:read'?" in err and "recordings:delete" in err
    assert not (tmp_path / "new").exists()
