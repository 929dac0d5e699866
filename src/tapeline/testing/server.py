"""A real `tapeline serve` in a folder of its own, on free loopback ports: what a system test talks to.

It writes the configuration and the flows, starts the command as a user would, waits until it says it is ready, and gives its addresses, its
administrator's token and a client of its API. It can be stopped (SIGTERM), killed (SIGKILL) and started again on the same data and
ports. Knows nothing of how the server is made.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tapeline.testing.api import Api
from tapeline.testing.authority import Certificate
from tapeline.testing.process import Child, free_port, free_port_range, until

__all__ = ["Server"]

Setting = str | int | float | bool | Sequence[str]
Sections = Mapping[str, Mapping[str, Setting]]


class Server:
    """The server. `flows` are documents by the number that runs them; `settings` go into `tapeline.toml` over what a test needs, and so do
    the rows of `tables` ("users", "trunks"). With a `certificate` it listens for TLS too, at `sips`; with the file of its `authority` it
    serves HTTP over TLS as well. `{HTTP}` in a setting stands for host and port of its HTTP.
    """

    def __init__(
        self,
        folder: Path,
        flows: Mapping[str, Any] | None = None,
        settings: Sections | None = None,
        *,
        tables: Mapping[str, Sequence[Mapping[str, Setting]]] | None = None,
        certificate: Certificate | None = None,
        authority: Path | None = None,
        data: Path | None = None,
        environment: Mapping[str, str] | None = None,
        rtp_ports: int = 2000,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = data or folder / "data"
        self._authority = authority
        self.sip = ("127.0.0.1", _sip_port())
        self.sips = ("127.0.0.1", free_port())
        self.http = ("127.0.0.1", free_port())
        low, high = free_port_range(rtp_ports)
        sections: dict[str, dict[str, Setting]] = {
            "server": {"rtp_ports": f"{low}-{high}", "advertise": "127.0.0.1"},
            "recording": {"min_free_mb": 1},
            "delivery": {"allow_private_addresses": True},
        }
        if certificate is not None:
            files = {"tls_cert": str(certificate.certificate.absolute()), "tls_key": str(certificate.key.absolute())}
            sections["server"] |= {**files, "http_tls": authority is not None}
        for section, values in (settings or {}).items():
            sections.setdefault(section, {}).update(values)
        config = folder / "tapeline.toml"
        text = _toml(sections) + _rows(tables or {}) + self._numbers(flows or {})
        config.write_text(text.replace("{HTTP}", f"{self.http[0]}:{self.http[1]}"))
        sip = f"{self.sip[0]}:{self.sip[1]}"
        command = [
            *(sys.executable, "-m", "tapeline", "serve", "--config", str(config), "--data", str(self.data)),
            *("--http", f"{self.http[0]}:{self.http[1]}", "--sip", f"udp:{sip}", "--sip", f"tcp:{sip}"),
            *(("--sip", f"tls:{self.sips[0]}:{self.sips[1]}") if certificate is not None else ()),
        ]
        self.child = Child("server", command, folder, environment)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        state = self.child.state()
        self.child.end()
        if error is not None:
            error.add_note(f"the server: {state}\n{self.child.tail(40, without='event=request ')}")

    @property
    def base_url(self) -> str:
        return f"{'https' if self._authority is not None else 'http'}://{self.http[0]}:{self.http[1]}"

    def uri(self, number: str = "1000") -> str:
        return f"sip:{number}@{self.sip[0]}:{self.sip[1]}"

    @property
    def token(self) -> str:
        """The administrator's token, as the server keeps it."""
        return (self.data / "admin-token").read_text().strip()

    @property
    def api(self) -> Api:
        return Api(*self.http, token=self.token, authority=self._authority)

    def start(self, timeout_s: float = 30.0) -> None:
        """Start, or start again, and wait until it is ready. Raises ChildFailed where it ends or takes longer."""
        self.child.start()
        until(self.ready, "the server to be ready", timeout_s)

    def ready(self) -> bool:
        """Whether it answers that it is ready."""
        self.child.check()
        try:
            return Api(*self.http, timeout_s=2, authority=self._authority).get("/readyz").status == 200
        except (OSError, HTTPException):
            return False

    def metrics(self) -> dict[str, float]:
        """The numbers of /metrics that have no labels, by name."""
        lines = Api(*self.http, timeout_s=10, authority=self._authority).get("/metrics").ok().body.decode().splitlines()
        pairs = (line.split(" ") for line in lines if not line.startswith("#") and "{" not in line)
        return {name: float(value) for name, value in pairs}

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM and wait; its exit status."""
        return self.child.stop(timeout_s)

    def begin_stop(self) -> None:
        """SIGTERM, without waiting."""
        self.child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the server's process alone, as `kill -9 PID` does; processes that it started must notice by themselves."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(5)

    def _numbers(self, flows: Mapping[str, Any]) -> str:
        text = ""
        for index, (number, document) in enumerate(flows.items()):
            path = self.folder / f"flow-{index}.json"
            path.write_text(json.dumps(document, indent=1))
            text += f"\n[[numbers]]\nmatch = {json.dumps(number)}\nflow = {json.dumps(str(path.absolute()))}\n"
        return text


def _toml(sections: Sections) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's too."""
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _rows(tables: Mapping[str, Sequence[Mapping[str, Setting]]]) -> str:
    rows = [(name, row) for name, several in tables.items() for row in several]
    return "".join(f"\n[[{name}]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items()) for name, row in rows)


def _sip_port() -> int:
    """A port that is free for UDP and for TCP."""
    while True:
        port = free_port(socket.SOCK_STREAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
