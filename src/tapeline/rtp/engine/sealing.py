"""SRTP on the engine's thread, in the uncompiled build: the functions of `seals.pxd`. Knows nothing of keys."""

from __future__ import annotations

from tapeline.rtp.engine import srtp, state


def open_sealed(shard: state.Shard, leg: state.Leg, buf: state.Buffer, n: int, reports: int) -> int:
    """Open a packet into `shard.opened`; its length, or libsrtp's error below zero."""
    result = srtp.apply(3 if reports else 1, leg.opens, bytes(buf[:n]))
    if isinstance(result, int):
        return -result
    shard.opened = result
    return len(result)


def seal(shard: state.Shard, leg: state.Leg, n: int, reports: int) -> int:
    """Seal what stands in `shard.packet`; its new length, 0 where that cannot be."""
    result = srtp.apply(2 if reports else 0, leg.seals, bytes(shard.packet[:n]))
    if isinstance(result, int):
        return 0
    shard.packet[: len(result)] = result
    return len(result)
