"""What was agreed about a leg's stream, and how an engine is set up.

Values only: no sockets, no engine. `calls` makes them of what offer and answer agreed on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Address", "Direction", "EngineConfig", "MaskMode", "SrtpKeys", "StreamSpec"]

Address = tuple[str, int]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
MaskMode = Literal["silence", "tone", "cut"]


@dataclass(frozen=True)
class EngineConfig:
    """`ports` is the range of UDP ports, its ends included; a pair is used again `cooldown_s` after its leg was closed."""

    bind: str = "0.0.0.0"
    ports: tuple[int, int] = (10000, 20000)
    threads: int = 1
    tick_ms: int = 20
    cooldown_s: float = 2.0
    max_legs: int = 8192
    read_ms: int = 100  # how often legs are read that nobody hears live


@dataclass(frozen=True)
class SrtpKeys:
    """SRTP's keys, each master key and salt, 30 bytes: `local` seals what we send, `remote` opens what comes. `suite` as RFC 4568 section
    6.2 names it: AES_CM_128_HMAC_SHA1_80 or AES_CM_128_HMAC_SHA1_32."""

    suite: str
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)


@dataclass(frozen=True)
class StreamSpec:
    """`direction` is ours: `sendonly` is how we hold, `recvonly` or `inactive` how we are held. `ptime` (ms) is what we send; any is taken.

    `rate` is that of RTP's clock; the audio's own is `Leg.rate`. `timeout_s` without media are told by MediaTimeout; 0: never. A leg that
    was `sendrecv` and is not any more does not time out.
    """

    codec: str = "PCMU"
    payload_type: int = 0
    rate: int = 8000
    ptime: int = 20
    remote: Address | None = None
    remote_rtcp: Address | None = None  # None: the port after the remote's, or the remote itself when `rtcp_mux`
    rtcp_mux: bool = False
    dtmf_payload_type: int | None = None
    dtmf_rate: int = 0  # 0: the codec's
    comfort_noise_payload_type: int | None = None
    direction: Direction = "sendrecv"
    timeout_s: float = 0.0
    channels: int = 1  # as named in the description; audio is mono here
    fmtp: str = ""  # what the peer asks of the encoder
    srtp: SrtpKeys | None = None  # None: in the clear
