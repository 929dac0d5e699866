"""baresip as one telephone: it says what a plan holds, presses keys, and keeps what it hears.

Each instance runs with a folder of its own and without a sound card: the voice comes from a WAV file, the ear is a null device, and
baresip's `sndfile` filter writes what was decoded. Control and events go over its `ctrl_tcp` module: JSON in netstrings
(cr.yp.to/proto/netstrings.txt). With an `Account` it registers and calls through that server; without, it is called directly. Every SIP
message is in its output. Blocking.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import soundfile

from tapeline.testing.listening import Heard, decode
from tapeline.testing.plan import Plan
from tapeline.testing.process import Child, ChildFailed, free_port, free_port_range, until
from tapeline.testing.waveforms import silence

__all__ = ["Account", "Baresip", "Transport", "baresip_missing"]

_MODULES = Path("/usr/lib/baresip/modules")
_NEEDED = ("account", "aubridge", "aufile", "ctrl_tcp", "g711", "g722", "menu", "opus", "sndfile", "srtp")
_CODECS = {"PCMU": "PCMU", "PCMA": "PCMA", "G722": "G722", "opus": "opus/48000/2"}
_ENCRYPTION = {"off": "", "optional": ";mediaenc=srtp", "required": ";mediaenc=srtp-mand"}

Transport = Literal["udp", "tcp", "tls"]
Encryption = Literal["off", "optional", "required"]  # SRTP: not offered, offered beside RTP, or nothing else

_CONFIG = """\
poll_method epoll
net_interface 127.0.0.1
sip_listen 127.0.0.1:{sip}
call_local_timeout 120
call_max_calls 4
audio_source aufile,{voice}
audio_player aubridge,ear
audio_alert aubridge,bell
ringback_disabled yes
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
ausrc_format s16
auplay_format s16
rtp_ports {rtp[0]}-{rtp[1]}
snd_path {heard}
module_path {modules}
module g711.so
module g722.so
module opus.so
module srtp.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
module ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
{authority}"""


@dataclass(frozen=True, slots=True)
class Account:
    """Where a telephone registers: with whom, as whom, over what. `authority` is the file of the certificates that it trusts."""

    server: tuple[str, int]
    username: str
    password: str
    transport: Transport = "udp"
    expires_s: int = 300
    authority: Path | None = None

    @property
    def uri(self) -> str:
        return f"{self.address(self.username)};transport={self.transport}"

    def address(self, number: str) -> str:
        """`number` at the server; baresip itself adds the transport of its account."""
        return f"sip:{number}@{self.server[0]}:{self.server[1]}"


def baresip_missing() -> str:
    """Why baresip cannot be used here, or nothing."""
    if not shutil.which("baresip"):
        return "baresip is not installed (Debian package baresip-core); run scripts/peers"
    absent = [name for name in _NEEDED if not (_MODULES / f"{name}.so").exists()]
    return f"baresip has no module {', '.join(absent)} in {_MODULES} (Debian package baresip-core)" if absent else ""


class Baresip:
    """A telephone at `uri`. `answer` says whether it takes incoming calls by itself.

    After its plan it is silent for `patience_s`, and only then hangs up by itself, as baresip does at a file's end.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan | None = None,
        *,
        name: str = "caller",
        account: Account | None = None,
        answer: Literal["auto", "manual"] = "manual",
        codecs: Sequence[str] = ("PCMU",),
        srtp: Encryption = "off",
        patience_s: float = 90.0,
    ) -> None:
        self._folder = folder
        self.account = account
        self.port = _sip_port()
        self.uri = account.uri if account else f"sip:{name}@127.0.0.1:{self.port}"
        self._control_port = free_port()
        self._socket: socket.socket | None = None
        self._received = b""
        self.events: list[Mapping[str, Any]] = []
        heard = folder / "heard"
        heard.mkdir(parents=True, exist_ok=True)
        said = plan.voice() if plan else silence(0.02)
        soundfile.write(folder / "voice.wav", np.concatenate([said, silence(patience_s)]), 8000, subtype="PCM_16")
        authority = account.authority.absolute() if account and account.authority else None
        config = _CONFIG.format(
            sip=self.port,
            voice=folder.absolute() / "voice.wav",
            rtp=free_port_range(32),
            heard=heard.absolute(),
            modules=_MODULES,
            control=self._control_port,
            authority=f"sip_cafile {authority}\n" if authority else "",
        )
        (folder / "config").write_text(config)
        login = f";auth_user={account.username};auth_pass={account.password};regint={account.expires_s}" if account else ";regint=0"
        address = account.uri if account else f"sip:{name}@127.0.0.1"
        named = ",".join(_CODECS[codec] for codec in codecs)
        (folder / "accounts").write_text(f"<{address}>{login};answermode={answer};audio_codecs={named}{_ENCRYPTION[srtp]}\n")
        self.child = Child("baresip", ["baresip", "-s", "-f", str(folder.absolute())], folder, urgent=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def start(self) -> None:
        """Start it, connect to its control port, and wait until it is registered. Raises ChildFailed where it does not come up."""
        self.child.start()
        try:
            self._socket = until(self._connect, "baresip's control port")
            self._socket.settimeout(0.05)
            if self.account is not None:
                self._registered()
        except BaseException:
            self.end()
            raise

    def _registered(self) -> None:
        """Wait for the answer to its REGISTER, in its log: the event of it comes before anybody is connected to hear it."""
        answer = until(lambda: re.search(r"(?:/v4\}|reg: \S+:) (.+)", self.child.output()), "baresip's registration", 20)
        if not answer[1].startswith("200"):
            raise ChildFailed(f"{self.uri} was not registered: {answer[1]}\n{self.child.tail()}")

    def end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.child.end()

    def dial(self, target: str) -> None:
        """Call `target` (a URI, or a number at its server) and wait for the answer. Raises ChildFailed where the call is closed instead."""
        self.ring(target)
        event = self.wait_for("CALL_ESTABLISHED", "CALL_CLOSED", timeout_s=20)
        if event["type"] == "CALL_CLOSED":
            raise ChildFailed(f"the call to {target} was not answered: {event.get('param')}\n{self.child.tail()}")

    def ring(self, target: str) -> None:
        """Call `target` without waiting."""
        if self.account is not None and not target.startswith("sip"):
            target = self.account.address(target)
        self.command("dial", target)

    def answer(self, timeout_s: float = 30.0) -> None:
        """Wait for a call and take it."""
        self.wait_for("CALL_INCOMING", timeout_s=timeout_s)
        self.command("accept")
        self.wait_for("CALL_ESTABLISHED", timeout_s=timeout_s)

    def press(self, digits: str, *, gap_s: float = 0.3) -> None:
        """Press keys, one after the other, as RFC 4733 events."""
        for digit in digits:
            self.command("sndcode", digit)
            self.listen_for(gap_s)

    def hang_up(self) -> None:
        """End the current call, or refuse the one that rings."""
        self.command("hangup")

    def hold(self) -> None:
        self.command("hold")

    def resume(self) -> None:
        self.command("resume")

    def take_up(self, line: int) -> None:
        """Make the call on this line (the first call has 1) the current one."""
        self.command("line", str(line))

    def transfer(self, target: str) -> None:
        """Send the other party of the current call elsewhere (REFER)."""
        if self.account is not None and not target.startswith("sip"):
            target = self.account.address(target)
        self.command("transfer", target)

    def transfer_to_call(self, line: int) -> None:
        """Connect the other party of the call on `line` with the one of the newest call that was answered to this telephone.

        baresip itself cannot: the target is given the Replaces header (RFC 3891) by hand, made of that answer.
        """
        self.take_up(line)
        target, identity, ours, theirs = self._last_answered()
        replaces = f"{identity};to-tag={theirs};from-tag={ours}".replace("@", "%40").replace(";", "%3B").replace("=", "%3D")
        self.command("transfer", f"{target}?Replaces={replaces}")

    def command(self, name: str, parameters: str = "") -> None:
        """Give baresip a command of its own. What it cannot do is told when events are read."""
        if self._socket is None:
            raise ChildFailed("baresip was not started")
        body = json.dumps({"command": name, "params": parameters}).encode()
        self._socket.sendall(b"%d:%s," % (len(body), body))

    def wait_for(self, *types: str, timeout_s: float = 30.0) -> Mapping[str, Any]:
        """The next event, not yet taken, of one of these types; the events before it are gone. Raises ChildFailed after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            while self.events:
                event = self.events.pop(0)
                if event.get("type") in types:
                    return event
            if time.monotonic() > deadline:
                raise ChildFailed(f"baresip reported none of {', '.join(types)} within {timeout_s:g} s\n{self.child.tail()}")
            self._read()

    def listen_for(self, seconds: float) -> None:
        """Let `seconds` pass while events are collected."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read()

    def heard(self, call: int = -1) -> Heard:
        """What it heard in a call (the last one, or counted from 0), from the first packet to the last; to be asked when it is over."""
        files = sorted((self._folder / "heard").glob("*-dec.wav"))
        if not files:
            raise ChildFailed(f"baresip heard nothing\n{self.child.tail()}")
        heard = decode(files[call])
        return Heard(heard.samples[:, :1], heard.rate)  # Opus is always stereo on the wire, with the same on both sides here

    def _connect(self) -> socket.socket | None:
        self.child.check()
        try:
            return socket.create_connection(("127.0.0.1", self._control_port), timeout=1)
        except ConnectionRefusedError:
            return None

    def _last_answered(self) -> tuple[str, str, str, str]:
        """Of the newest call that was answered to us: address called, Call-ID, our tag, the other's tag."""
        for message in reversed(re.split(r"(?=SIP/2\.0 |INVITE sip:)", self.child.output())):
            if message.startswith("SIP/2.0 200") and "CSeq" in message and " INVITE" in message:
                found = [re.search(rf"^{name}:(.*)$", message, re.MULTILINE | re.IGNORECASE) for name in ("To", "Call-ID", "From")]
                to, identity, sender = (match[1].strip() if match else "" for match in found)
                target = re.search(r"<(sips?:[^>;]+)", to)
                tags = [re.search(r";tag=([^;\s]+)", value) for value in (sender, to)]
                if target and tags[0] and tags[1]:
                    return target[1], identity, tags[0][1], tags[1][1]
        raise ChildFailed(f"baresip has no call that was answered\n{self.child.tail()}")

    def _read(self) -> None:
        """Take what has arrived, waiting 50 ms at most."""
        if self._socket is None:
            raise ChildFailed("baresip was not started")
        with contextlib.suppress(TimeoutError):
            received = self._socket.recv(65536)
            if not received:
                self.child.wait(5)
                raise ChildFailed(f"baresip has ended\n{self.child.tail()}")
            self._received += received
        while (colon := self._received.find(b":")) > 0 and len(self._received) > (end := colon + 1 + int(self._received[:colon])):
            message = json.loads(self._received[colon + 1 : end])
            self._received = self._received[end + 1 :]
            if message.get("event"):
                self.events.append(message)
            elif not message.get("ok", True):
                raise ChildFailed(f"baresip refused a command: {message.get('data')}")


def _sip_port() -> int:
    """A free port for UDP and TCP whose neighbour is free too: baresip listens for TLS on the next one."""
    while True:
        port = free_port(socket.SOCK_STREAM)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for number, kind in ((port, socket.SOCK_DGRAM), (port + 1, socket.SOCK_STREAM)):
                held.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", number))
            return port
