"""`tapeline doctor` on this machine: what it finds is tried, not guessed, and nothing is left behind."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import obstore.store
import pytest

from tapeline.cli import main
from tapeline.cli.demo import DemoServer
from tapeline.testing.process import free_port, free_port_range

Doctor = Callable[..., tuple[int, dict[str, list[dict[str, Any]]]]]


# obstore starts its runtime at its first use and keeps it as long as the process lives: no leak of whichever test comes first.
obstore.put(obstore.store.MemoryStore(), "x", b"")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    low, high = free_port_range(40)
    path = tmp_path / "tapeline.toml"
    path.write_text(
        f'[server]\ndata = "{tmp_path / "data"}"\nhttp = "127.0.0.1:{free_port()}"\n'
        f'sip = ["udp:127.0.0.1:{free_port(socket.SOCK_DGRAM)}"]\nrtp_ports = "{low}-{high}"\n[recording]\nmin_free_mb = 1\n'
    )
    return path


@pytest.fixture
def doctor(config: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    def run() -> tuple[int, dict[str, list[dict[str, Any]]]]:
        code = main(["doctor", "--config", str(config), "--json"])
        found: dict[str, list[dict[str, Any]]] = {}
        for finding in json.loads(capsys.readouterr().out):
            found.setdefault(finding["name"], []).append(finding)
        return code, found

    return run


def change(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_a_machine_that_can(doctor: Doctor, config: Path, tmp_path: Path) -> None:
    code, found = doctor()
    assert code == 0
    assert {"listener", "media ports", "disk", "database", "object store", "numbers", "encoder", "speech", "media engine"} <= set(found)
    assert all(finding["verdict"] != "missing" for findings in found.values() for finding in findings)
    assert [finding["detail"] for finding in found["encoder"]] == ["MP3: encodes and decodes", "Ogg/Opus: encodes and decodes"]
    assert {path.name for path in tmp_path.iterdir()} == {"tapeline.toml"}, "it leaves nothing behind"


def test_one_line_each(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 10 and all(line.split()[0] in ("ok", "warning") for line in lines)


def test_a_port_that_is_taken_names_its_setting(doctor: Doctor, config: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        change(config, 'sip = ["', f'sip = ["udp:127.0.0.1:{taken.getsockname()[1]}", "')
        code, found = doctor()
    assert code == 1
    first, second, http = found["listener"]
    assert first["verdict"] == "missing" and "server.sip" in first["hint"]
    assert second["verdict"] == http["verdict"] == "ok"


async def test_a_port_that_a_running_tapeline_holds_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = DemoServer(tmp_path)
    try:
        await server.start({"actions": [{"type": "answer"}]})
        await asyncio.to_thread(main, ["doctor", "--config", str(server.config), "--json"])
    finally:
        await server.stop()
    findings = json.loads(capsys.readouterr().out)
    (http,) = [finding for finding in findings if finding["name"] == "listener" and finding["detail"].startswith("http:")]
    assert http["verdict"] == "ok" and "held by the tapeline that is running" in http["detail"]


def test_media_ports_that_are_all_taken(doctor: Doctor, config: Path) -> None:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    low, _ = free_port_range(2)
    for place, taken in enumerate(sockets):
        taken.bind(("0.0.0.0", low + place))
    text = config.read_text()
    config.write_text("\n".join(line if "rtp_ports" not in line else f'rtp_ports = "{low}-{low + 1}"' for line in text.splitlines()))
    code, found = doctor()
    for taken in sockets:
        taken.close()
    assert code == 1 and found["media ports"][0]["verdict"] == "missing"


def test_too_little_disk(doctor: Doctor, config: Path) -> None:
    change(config, "min_free_mb = 1", "min_free_mb = 1000000000")
    code, found = doctor()
    (disk,) = found["disk"]
    assert code == 1 and disk["verdict"] == "missing" and "recording.min_free_mb" in disk["hint"]


def test_a_database_that_is_none(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tapeline.sqlite").write_bytes(b"this is no database, it only says so" * 100)
    code, found = doctor()
    (database,) = found["database"]
    assert code == 1 and database["verdict"] == "missing" and "server.database" in database["hint"]


def test_an_object_store_that_cannot_be_written(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "objects").write_text("a file where a folder should be")
    code, found = doctor()
    (objects,) = found["object store"]
    assert code == 1 and objects["verdict"] == "missing" and "server.objects" in objects["hint"]


def test_users_and_trunks_that_cannot_be(doctor: Doctor, config: Path) -> None:
    plain = config.read_text()
    config.write_text(plain + '[[users]]\nname = "a"\npassword = "x"\n[[trunks]]\nname = "t"\ntarget = "192.0.2.1"\n')
    code, found = doctor()
    assert code == 0 and found["users"][0]["detail"] == "1, and 1 trunks"
    both = '[[users]]\nname = "a"\npassword = "x"\n[[users]]\nname = "b"\npassword = "x"\nextension = "A"\n[[users]]\nname = "c"\n'
    config.write_text(plain + both + '[[trunks]]\nname = "t"\ntarget = "no host"\n')
    code, found = doctor()
    assert code == 1 and [finding["verdict"] for finding in found["users"]] == ["warning", "missing"]
    assert found["trunks"][0]["verdict"] == "missing"


def test_a_certificate_that_is_not_there(doctor: Doctor, config: Path) -> None:
    assert "certificate" not in doctor()[1]
    change(config, "udp:", "tls:")
    code, found = doctor()
    assert code == 1 and "needs one" in found["certificate"][0]["detail"]
    change(config, "[server]\n", '[server]\ntls_cert = "nowhere.pem"\ntls_key = "nowhere.pem"\n')
    code, found = doctor()
    assert code == 1 and "cannot be read" in found["certificate"][0]["detail"]


def test_a_flow_that_cannot_run(doctor: Doctor, config: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"actions": [{"type": "no-such-action"}]}')
    config.write_text(config.read_text() + '\n[[numbers]]\nmatch = "1"\nflow = "broken.json"\n')
    code, found = doctor()
    (numbers,) = found["numbers"]
    assert code == 1 and numbers["verdict"] == "missing"
