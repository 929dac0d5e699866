"""SRTP (RFC 3711) with keys that signalling agreed on: libsrtp, as pylibsrtp brings it, called by the engine's threads themselves.

pylibsrtp makes and owns the sessions, one for each direction of a leg; the engine gets their addresses and those of four functions of
libsrtp, and calls them without Python's lock. A session keeps the rollover counter and what came before, so it lives as long as its
key does; a new key comes with a new SSRC, so that no key stream is ever used twice and nobody need guess a rollover counter (RFC 3711
sections 3.3.1 and 9.1). The uncompiled build calls the same functions from here.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

from tapeline.core.errors import InvalidInput
from tapeline.rtp.spec import SrtpKeys

__all__ = ["FUNCTIONS", "KEY_BYTES", "Keyring", "apply"]

KEY_BYTES = 30  # RFC 3711 section 8.2: a master key of 128 bits, a salt of 112
_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
_WINDOW = 512  # packets that may be late: more than the recorder waits for
_KEPT = 64  # sessions of a leg; by the time that many have followed, the engine has long turned to a newer one
_NAMES = ("srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp")

FUNCTIONS = tuple(int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in _NAMES)
"""Addresses: seal RTP, open RTP, seal RTCP, open RTCP."""

_sessions: WeakValueDictionary[int, Session] = WeakValueDictionary()


def _session(suite: str, key: bytes, direction: int) -> tuple[int, Session]:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=_PROFILES[suite])
    policy.window_size = _WINDOW
    session = Session(policy)
    address = int(ffi.cast("uintptr_t", session._srtp[0]))
    _sessions[address] = session
    return address, session


class Keyring:
    """The sessions of one leg."""

    def __init__(self) -> None:
        self._kept: deque[Session] = deque(maxlen=_KEPT)
        self._local: tuple[str, bytes] | None = None
        self._remote: tuple[str, bytes] | None = None
        self._addresses = [0, 0]  # to open with, to seal with

    def turn(self, keys: SrtpKeys | None, send: Callable[[int, int, int, int], None]) -> None:
        """Use these keys from now on, or none. `send(opens, seals, ssrc, sequence)` is called where something changes: the addresses of
        the sessions, 0 for none, and where ours is another key than before the SSRC and sequence to go on with, else -1.

        Raises InvalidInput.
        """
        if keys is not None and (keys.suite not in _PROFILES or {len(keys.local), len(keys.remote)} != {KEY_BYTES}):
            raise InvalidInput(f"no SRTP with {keys.suite} and keys of {len(keys.local)} and {len(keys.remote)} bytes")
        local = (keys.suite, keys.local) if keys else None
        remote = (keys.suite, keys.remote) if keys else None
        if (local, remote) == (self._local, self._remote):
            return
        anew = local is not None and self._local is not None and local != self._local
        if remote != self._remote:
            self._addresses[0] = self._open(remote, Policy.SSRC_ANY_INBOUND)
        if local != self._local:
            self._addresses[1] = self._open(local, Policy.SSRC_ANY_OUTBOUND)
        self._local, self._remote = local, remote
        opens, seals = self._addresses
        send(opens, seals, secrets.randbits(32) if anew else -1, secrets.randbits(15) if anew else -1)

    def _open(self, key: tuple[str, bytes] | None, direction: int) -> int:
        if key is None:
            return 0
        address, session = _session(*key, direction)
        self._kept.append(session)
        return address


def apply(number: int, address: int, packet: bytes) -> bytes | int:
    """Function `number` of FUNCTIONS on a packet, for the uncompiled build: the packet that comes of it, or libsrtp's error."""
    buffer: Any = ffi.new("char[]", 4096)
    ffi.memmove(buffer, packet, len(packet))
    length = ffi.new("int *", len(packet))
    status = int(getattr(lib, _NAMES[number])(_sessions[address]._srtp[0], buffer, length))
    return status if status else bytes(ffi.buffer(buffer, length[0]))
