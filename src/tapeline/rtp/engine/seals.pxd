# SRTP on the engine's thread, in the compiled build; `sealing.py` has the same functions for the other. libsrtp is called through the
# addresses that `srtp.py` gives; it takes no lock, and neither do we.

from libc.string cimport memcpy

from tapeline.rtp.engine.structs cimport PACKET, Leg, Shard

ctypedef int (*transform)(void*, void*, int*) noexcept nogil

cdef inline int open_sealed(Shard* shard, Leg* leg, const unsigned char* buf, int n, int reports) noexcept nogil:
    # Open a packet into `shard.opened`; its length, or libsrtp's error below zero.
    cdef int status
    memcpy(shard.opened, buf, n)
    status = (<transform><size_t>shard.srtp[3 if reports else 1])(<void*><size_t>leg.opens, shard.opened, &n)
    return -status if status else n

cdef inline int seal(Shard* shard, Leg* leg, int n, int reports) noexcept nogil:
    # Seal what stands in `shard.packet`; its new length, 0 where that cannot be.
    if (<transform><size_t>shard.srtp[2 if reports else 0])(<void*><size_t>leg.seals, shard.packet, &n):
        return 0
    return n
