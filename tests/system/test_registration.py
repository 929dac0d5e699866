"""A real telephone registers with a running server: with the right password and a wrong one, and is reached where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapeline.testing.authority import Authority, authority_missing
from tapeline.testing.baresip import Account, Baresip, Transport, baresip_missing
from tapeline.testing.process import ChildFailed
from tapeline.testing.server import Server

MISSING = baresip_missing() or authority_missing()
pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

USERS = [{"name": "alice", "password": "wonderland", "extension": "1001"}, {"name": "bob", "password": "builder", "extension": "1002"}]
GREETING = [{"type": "answer"}, {"type": "sleep", "option": {"duration": 20000}}]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, {"5000": GREETING}, tables={"users": USERS}, certificate=authority.issue("127.0.0.1")) as running:
        yield running


def account(server: Server, name: str = "alice", password: str = "wonderland", transport: Transport = "udp") -> Account:
    return Account(server.sip, name, password, transport)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_telephone_registers_and_calls_as_its_user(server: Server, tmp_path: Path, transport: Transport) -> None:
    with Baresip(tmp_path, account=account(server, transport=transport)) as phone:
        phone.dial("5000")
        phone.hang_up()
        phone.wait_for("CALL_CLOSED")


def test_a_telephone_registers_over_tls_and_is_called_over_its_connection(server: Server, authority: Authority, tmp_path: Path) -> None:
    secure = Account(server.sips, "1002", "builder", "tls", authority=authority.certificate)
    with (
        Baresip(tmp_path / "bob", account=secure, answer="auto") as bob,
        Baresip(tmp_path / "alice", account=account(server)) as alice,
    ):
        alice.dial("1002")
        bob.wait_for("CALL_ESTABLISHED")
        bob.hang_up()
        alice.wait_for("CALL_CLOSED")


def test_a_telephone_with_a_wrong_password_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="403"), Baresip(tmp_path, account=account(server, password="wrong")):
        pass
    numbers = server.api.get("/metrics").body.decode()
    assert "tapeline_sip_failed_logins_total 0.0" not in numbers and "tapeline_sip_bindings" in numbers


def test_a_telephone_is_reached_where_it_registered(server: Server, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "bob", account=account(server, "1002", "builder"), answer="auto") as bob,
        Baresip(tmp_path / "alice", account=account(server)) as alice,
    ):
        alice.dial("1002")
        bob.wait_for("CALL_ESTABLISHED")
        alice.hang_up()
        bob.wait_for("CALL_CLOSED")


@pytest.mark.parametrize(("password", "expected"), [("wonderland", 0), ("wrong", 1)])
def test_the_command_logs_in_over_tls(server: Server, authority: Authority, password: str, expected: int) -> None:
    target = f"sips:5000@127.0.0.1:{server.sips[1]}"
    options = ["--user", "1001", "--tls-ca", str(authority.certificate), "--seconds", "0.2"]
    command = [sys.executable, "-m", "tapeline", "call", target, *options]
    done = subprocess.run(command, env={**os.environ, "TAPELINE_CALL_PASSWORD": password}, capture_output=True, text=True, timeout=30)
    assert done.returncode == expected, done.stderr
    assert expected == 0 or "403" in done.stderr
