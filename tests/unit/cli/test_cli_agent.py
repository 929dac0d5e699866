"""`tapeline agent`: the password comes from standard input and is stored hashed."""

import asyncio
import io
import json
from pathlib import Path

import pytest

from tapeline.cli import main
from tapeline.store import AgentRow, Database, passwords


def run(capsys: pytest.CaptureFixture[str], data: Path, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["agent", *words, "--data", str(data)])
    told = capsys.readouterr()
    return code, told.out, told.err


def found(data: Path, username: str) -> AgentRow | None:
    async def look() -> AgentRow | None:
        database = Database(f"sqlite:///{data / 'tapeline.sqlite'}")
        await database.open()
        agent = await database.agents.by_username(username)
        await database.close()
        return agent

    return asyncio.run(look())


def test_an_agent_is_made_listed_changed_and_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    code, out, _ = run(capsys, tmp_path, "add", "Ann@Shop.example", "--account", "shop", "--role", "manager", "--name", "Ann", "--json")
    made = json.loads(out)
    assert code == 0 and (made["account"], made["username"], made["role"]) == ("shop", "ann@shop.example", "manager")
    agent = found(tmp_path, "ann@shop.example")
    assert agent is not None and agent.id == made["id"] and "horse" not in agent.password
    assert passwords.matches("correct horse", agent.password) and not passwords.matches("correct house", agent.password)

    listed = json.loads(run(capsys, tmp_path, "list", "--json")[1])
    assert [(one["username"], one["account"], one["role"]) for one in listed] == [("ann@shop.example", "shop", "manager")]
    assert "ann@shop.example" in run(capsys, tmp_path, "list")[1]

    monkeypatch.setattr("sys.stdin", io.StringIO("battery staple\n"))
    assert run(capsys, tmp_path, "password", "ann@shop.example")[0] == 0
    agent = found(tmp_path, "ann@shop.example")
    assert agent is not None and passwords.matches("battery staple", agent.password)

    assert run(capsys, tmp_path, "delete", "ann@shop.example")[0] == 0
    assert found(tmp_path, "ann@shop.example") is None
    code, _, err = run(capsys, tmp_path, "delete", "ann@shop.example")
    assert code == 1 and "no agent has the username" in err


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        (("ann", "--role", "owner"), "correct horse\n", "'owner' is not a role"),
        (("ann",), "short\n", "a password has 8 to 256 characters"),
        (("ann",), "", "a password has 8 to 256 characters"),
        ((" ",), "correct horse\n", "must not be empty"),
    ],
)
def test_what_is_wrong_is_told_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], typed: str, told: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    code, out, err = run(capsys, tmp_path / "new", "add", *words)
    assert code == 1 and out == "" and told in err
    assert not (tmp_path / "new").exists()


def test_a_username_is_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for account, expected in (("shop", 0), ("other", 1)):
        monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
        code, _, err = run(capsys, tmp_path, "add", "ann", "--account", account)
        assert code == expected
    assert "there is an agent with the username 'ann'" in err
