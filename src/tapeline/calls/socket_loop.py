"""The sound of a websocket: RTP to and from a leg over this machine's own loop, in frames of 20 ms as the peer has them.

    leg -> RTP (L16) -> `SocketLoop` -> frame (little-endian) -> peer, and back through a buffer that is emptied at the pace of sound

So a websocket is a leg like any other for buses, recordings and players. What the peer sends ahead is kept up to `MOST_FRAMES`; what
comes beyond that is dropped and counted. When it sends nothing, silence goes to the leg. Telephone events become `on_digit`. Knows no
websocket and no call.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

import numpy as np

from tapeline.audio.resample import Resampler

__all__ = ["FRAME_S", "SocketLoop"]

FRAME_S = 0.02
MOST_FRAMES = 1024
LATE_S = 0.5  # a loop that was held up for longer does not catch up
KEYS = "0123456789*#ABCD"
HEADER = struct.Struct("!BBHII")  # RFC 3550 section 5.1


class SocketLoop(asyncio.DatagramProtocol):
    """`rate` is the peer's, `leg_rate` that of the leg, whose samples are `payload_type`; digits come as `dtmf_type` (RFC 4733)."""

    def __init__(
        self,
        rate: int,
        leg_rate: int,
        on_frame: Callable[[bytes], None],
        on_digit: Callable[[str, int], None],
    ) -> None:
        self._frame = round(rate * FRAME_S) * 2  # octets
        self._rate = leg_rate
        self._on_frame = on_frame
        self._on_digit = on_digit
        self._out = bytearray()  # to the peer, not a whole frame yet
        self._in = bytearray()  # from the peer, not due yet
        self._to_peer = Resampler(leg_rate, rate, 1) if rate != leg_rate else None
        self._to_leg = Resampler(rate, leg_rate, 1) if rate != leg_rate else None
        self._transport: asyncio.DatagramTransport | None = None
        self._task: asyncio.Task[None] | None = None
        self._payload_type, self._dtmf_type, self._dtmf_rate = 0, -1, leg_rate
        self._event = -1  # the timestamp of the last key that was told
        self.dropped = 0  # octets that came faster than sound for too long

    async def open(self) -> int:
        """The port on which it listens. Raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def start(self, leg_port: int, payload_type: int, dtmf_type: int | None, dtmf_rate: int) -> None:
        """Send and receive from now on."""
        self._payload_type, self._dtmf_rate = payload_type, dtmf_rate or self._rate
        self._dtmf_type = -1 if dtmf_type is None else dtmf_type
        self._task = asyncio.get_running_loop().create_task(self._speak(("127.0.0.1", leg_port)))

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.close()

    # -- from the peer to the leg --------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Samples from the peer: int16, little-endian, at its rate, of any length."""
        room = MOST_FRAMES * self._frame - len(self._in)
        self.dropped += max(0, len(data) - room)
        self._in += data[: max(0, room) // 2 * 2]

    async def _speak(self, to: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        sequence = stamp = 0
        while True:
            samples = self._next()
            if self._transport is not None and not self._transport.is_closing():
                head = HEADER.pack(0x80, self._payload_type, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 0x7461706C)
                self._transport.sendto(head + samples.astype(">i2").tobytes(), to)
            sequence += 1
            stamp += len(samples)
            due += FRAME_S
            now = loop.time()
            if now - due > LATE_S:
                due = now
            await asyncio.sleep(max(0.0, due - now))

    def _next(self) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        piece = bytes(self._in[: self._frame]).ljust(self._frame, b"\0")
        del self._in[: self._frame]
        samples = np.frombuffer(piece, "<i2").astype(np.int16)
        if self._to_leg is None:
            return samples
        return self._to_leg.feed(samples.reshape(-1, 1))[:, 0]

    # -- from the leg to the peer --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own does not say that it is one

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) <= HEADER.size or data[0] != 0x80:
            return  # the leg's packets have neither padding nor extension nor contributing sources
        kind = data[1] & 0x7F
        if kind == self._dtmf_type:
            self._key(data)
        elif kind == self._payload_type:
            self._sound(data[HEADER.size :])

    def error_received(self, exc: Exception) -> None:
        """The leg is closed already, or not open yet."""

    def _key(self, data: bytes) -> None:
        stamp = int.from_bytes(data[4:8], "big")
        if len(data) < HEADER.size + 4 or stamp == self._event or not data[13] & 0x80:
            return
        self._event = stamp
        if data[12] < len(KEYS):
            duration = int.from_bytes(data[14:16], "big")
            self._on_digit(KEYS[data[12]], round(duration * 1000 / self._dtmf_rate))

    def _sound(self, payload: bytes) -> None:
        samples = np.frombuffer(payload[: len(payload) // 2 * 2], ">i2").astype(np.int16)
        if self._to_peer is not None:
            samples = self._to_peer.feed(samples.reshape(-1, 1))[:, 0]
        self._out += samples.astype("<i2").tobytes()
        while len(self._out) >= self._frame:
            self._on_frame(bytes(self._out[: self._frame]))
            del self._out[: self._frame]
