# The system calls of the engine in the compiled build, all without the GIL; `portable.py` has the same functions for the other.
# Inlined into the modules that use them. Addresses are numbers (high and low half, an IPv4 address being its 32 bits).

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport close, ftruncate, read, write

from tapeline.rtp.engine.structs cimport BATCH, COMMANDS, PACKET, READY, SOURCES, Command, Event, Leg, Shard, Source, Tap

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t)
    uint16_t ntohs(uint16_t)
    uint32_t htonl(uint32_t)
    uint32_t ntohl(uint32_t)

cdef extern from "<endian.h>" nogil:
    uint64_t htobe64(uint64_t)
    uint64_t be64toh(uint64_t)

cdef extern from "<sys/socket.h>" nogil:
    enum: AF_INET
    enum: AF_INET6
    enum: SOL_SOCKET
    enum: SO_TIMESTAMPNS
    enum: MSG_DONTWAIT
    enum: MSG_TRUNC
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        unsigned short sa_family
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    cdef struct cmsghdr:
        int cmsg_level
        int cmsg_type
    cmsghdr* CMSG_FIRSTHDR(msghdr*)
    unsigned char* CMSG_DATA(cmsghdr*)
    int recvmmsg(int, mmsghdr*, unsigned int, int, timespec*)
    ssize_t recvmsg(int, msghdr*, int)
    ssize_t sendto(int, const void*, size_t, int, const sockaddr*, socklen_t)

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        unsigned char s6_addr[16]
    cdef struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr

cdef extern from "<sys/epoll.h>" nogil:
    enum: EPOLLIN
    enum: EPOLL_CTL_ADD
    enum: EPOLL_CTL_DEL
    ctypedef union epoll_data_t:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum: EPOLL_CLOEXEC
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_pwait2(int, epoll_event*, int, const timespec*, const void*)
    int epoll_wait(int, epoll_event*, int, int)

cdef enum:
    CONTROL = 64  # bytes of ancillary data: one time stamp

# What the kernel fills: allocated with the shard.
cdef struct Net:
    mmsghdr messages[BATCH]
    iovec places[BATCH]
    sockaddr_in6 names[BATCH]
    unsigned char control[BATCH * CONTROL]
    epoll_event ready[READY]
    int used

cdef inline long long clock() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <long long>ts.tv_sec * 1000000000 + ts.tv_nsec

cdef inline long long wall_offset() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_REALTIME, &ts)
    return <long long>ts.tv_sec * 1000000000 + ts.tv_nsec - clock()

cdef inline int wait(Shard* shard, long long timeout_ns) noexcept nogil:
    cdef Net* net = <Net*>shard.net
    cdef timespec ts
    cdef int found, i
    cdef uint64_t data
    if timeout_ns < 0:
        timeout_ns = 0
    ts.tv_sec = timeout_ns // 1000000000
    ts.tv_nsec = timeout_ns % 1000000000
    found = epoll_pwait2(shard.epoll, net.ready, READY, &ts, NULL)
    if found < 0 and errno != EINTR:  # a kernel before 5.11
        found = epoll_wait(shard.epoll, net.ready, READY, <int>((timeout_ns + 999999) // 1000000))
    for i in range(found):
        data = net.ready[i].data.u64
        shard.ready_kind[i] = data & 3
        shard.ready[i] = <Leg*><size_t>(data - (data & 3))
    return found if found > 0 else 0

cdef inline int open_epoll(int commands_fd) noexcept nogil:
    # commands have no leg and kind 0
    cdef epoll_event event
    cdef int fd = epoll_create1(EPOLL_CLOEXEC)
    event.events = EPOLLIN
    event.data.u64 = 0
    if fd >= 0:
        epoll_ctl(fd, EPOLL_CTL_ADD, commands_fd, &event)
    return fd

cdef inline int watch(Shard* shard, Leg* leg, int kind) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.u64 = <uint64_t><size_t>leg + kind
    return epoll_ctl(shard.epoll, EPOLL_CTL_ADD, leg.rtp if kind == 1 else leg.rtcp, &event) == 0

cdef inline void unwatch(Shard* shard, Leg* leg, int kind) noexcept nogil:
    cdef epoll_event event
    epoll_ctl(shard.epoll, EPOLL_CTL_DEL, leg.rtp if kind == 1 else leg.rtcp, &event)

cdef inline void prepare(Net* net, int i) noexcept nogil:
    net.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
    net.messages[i].msg_hdr.msg_controllen = CONTROL

cdef inline void note(Shard* shard, int i, long long now) noexcept nogil:
    cdef Net* net = <Net*>shard.net
    cdef msghdr* header = &net.messages[i].msg_hdr
    cdef cmsghdr* control = CMSG_FIRSTHDR(header)
    cdef sockaddr_in* four
    cdef timespec ts
    cdef uint64_t half
    shard.size[i] = PACKET + 1 if header.msg_flags & MSG_TRUNC else <int>net.messages[i].msg_len
    shard.at[i] = now
    if control != NULL and control.cmsg_level == SOL_SOCKET and control.cmsg_type == SO_TIMESTAMPNS:
        memcpy(&ts, CMSG_DATA(control), sizeof(timespec))
        shard.at[i] = <long long>ts.tv_sec * 1000000000 + ts.tv_nsec - shard.wall_offset
    shard.port[i] = ntohs(net.names[i].sin6_port)
    if net.names[i].sin6_family == AF_INET:
        four = <sockaddr_in*>&net.names[i]
        shard.high[i] = 0
        shard.low[i] = ntohl(four.sin_addr.s_addr)
    else:
        memcpy(&half, net.names[i].sin6_addr.s6_addr, 8)
        shard.high[i] = <long long>be64toh(half)
        memcpy(&half, net.names[i].sin6_addr.s6_addr + 8, 8)
        shard.low[i] = <long long>be64toh(half)

cdef inline int receive_batch(Shard* shard, int fd, int limit) noexcept nogil:
    cdef Net* net = <Net*>shard.net
    cdef int i, count
    cdef ssize_t size
    if limit == 1:
        prepare(net, 0)
        size = recvmsg(fd, &net.messages[0].msg_hdr, MSG_DONTWAIT)
        if size < 0:
            return 0
        net.messages[0].msg_len = <unsigned int>size
        if net.used == 0:
            net.used = 1
        count = 1
    else:
        for i in range(net.used):
            prepare(net, i)
        count = recvmmsg(fd, net.messages, limit, MSG_DONTWAIT, NULL)
    net.used = count if count > 0 else 0
    for i in range(count):
        note(shard, i, shard.now)
    return count if count > 0 else 0

cdef inline int send_packet(Shard* shard, Leg* leg, int kind, int n, long long when) noexcept nogil:
    cdef long long high, low
    cdef int port, fd
    cdef sockaddr_in four
    cdef sockaddr_in6 six
    cdef uint64_t half
    if leg.rtp < 0:
        return capture(shard, leg, kind, n, when)
    if kind == 0 or leg.muxed:
        high, low, port, fd = leg.to_high, leg.to_low, leg.to_port, leg.rtp
    else:
        high, low, port, fd = leg.reports_high, leg.reports_low, leg.reports_port, leg.rtcp
    if leg.family == AF_INET:
        memset(&four, 0, sizeof(sockaddr_in))
        four.sin_family = AF_INET
        four.sin_port = htons(<uint16_t>port)
        four.sin_addr.s_addr = htonl(<uint32_t>low)
        return sendto(fd, shard.packet, n, MSG_DONTWAIT, <sockaddr*>&four, sizeof(sockaddr_in)) == n
    memset(&six, 0, sizeof(sockaddr_in6))
    six.sin6_family = AF_INET6
    six.sin6_port = htons(<uint16_t>port)
    half = htobe64(<uint64_t>high)
    memcpy(six.sin6_addr.s6_addr, &half, 8)
    half = htobe64(<uint64_t>low)
    memcpy(six.sin6_addr.s6_addr + 8, &half, 8)
    return sendto(fd, shard.packet, n, MSG_DONTWAIT, <sockaddr*>&six, sizeof(sockaddr_in6)) == n

cdef inline int capture(Shard* shard, Leg* leg, int kind, int n, long long when) noexcept nogil:
    cdef unsigned char* place = shard.captured + shard.n_captured
    if shard.n_captured + 24 + n > shard.max_captured:
        return 0
    memcpy(place, &leg.id, 8)
    memcpy(place + 8, &when, 8)
    memcpy(place + 16, &kind, 4)
    memcpy(place + 20, &n, 4)
    memcpy(place + 24, shard.packet, n)
    shard.n_captured += 24 + n
    return 1

cdef inline void close_sockets(Shard* shard, Leg* leg) noexcept nogil:
    # closing also ends epoll's interest
    if leg.rtp < 0:
        return
    close(leg.rtp)
    close(leg.rtcp)
    leg.rtp = -1
    leg.rtcp = -1

cdef inline int read_commands(Shard* shard) noexcept nogil:
    cdef ssize_t size = read(shard.commands_fd, shard.commands, COMMANDS * sizeof(Command))
    return <int>(size // <ssize_t>sizeof(Command)) if size > 0 else 0

cdef inline void write_events(Shard* shard) noexcept nogil:
    cdef ssize_t done
    cdef long long whole
    if shard.n_events == 0:
        return
    done = write(shard.events_fd, (<unsigned char*>shard.events) + shard.written, shard.n_events * sizeof(Event) - shard.written)
    if done <= 0:
        return
    shard.written += done
    whole = shard.written // <long long>sizeof(Event)
    if whole:
        shard.written -= whole * sizeof(Event)
        shard.n_events -= whole
        memmove(shard.events, shard.events + whole, shard.n_events * sizeof(Event))

cdef inline void call_coder(Shard* shard) noexcept nogil:
    cdef uint64_t one = 1
    if shard.asked:
        shard.asked = 0
        if shard.coder_fd >= 0:
            write(shard.coder_fd, &one, 8)

cdef inline long long write_frames(Shard* shard, Tap* tap, long long offset, long long n) noexcept nogil:
    cdef ssize_t done = write(tap.fd, (<unsigned char*>shard.frames) + offset, n)
    while done < 0 and errno == EINTR:
        done = write(tap.fd, (<unsigned char*>shard.frames) + offset, n)
    if done >= 0:
        return done
    return -errno

cdef inline void cut_file(Tap* tap, long long size) noexcept nogil:
    ftruncate(tap.fd, size)

cdef inline int grow_sources(Tap* tap) noexcept nogil:
    cdef Source* grown
    cdef int size = tap.max_sources * 2 + 8
    if size > SOURCES:
        return 0
    grown = <Source*>realloc(tap.sources, size * sizeof(Source))
    if grown == NULL:
        return 0
    tap.sources = grown
    tap.max_sources = size
    return 1

cdef inline void close_file(Tap* tap) noexcept nogil:
    close(tap.fd)
    tap.fd = -1
