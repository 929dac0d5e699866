# The engine's structures in the compiled build; `state.py` holds classes of the same fields for the uncompiled one, and
# `constants.py` the same numbers. Tests compare them. All times are ns of CLOCK_MONOTONIC, all positions samples since its beginning.

from libc.math cimport floor

cdef enum:
    BATCH = 16
    HUSH = 64
    PACKET = 2048
    SEEN = 256
    POINTS = 48
    PLAYERS = 8
    SOURCES = 1024
    SUMS = 6
    STAYS = 8
    DEAF = 64
    CHANNELS = 32
    CHANGES = 32
    EVENTS = 4096
    COMMANDS = 64
    DIGITS = 64
    READY = 256
    RING = 131072
    FRAME = 2880
    BLOCK = 32768
    LAG = 900
    WRITE = 500
    KEPT = 1700
    CALM = 100
    SILENT = 200
    CATCH_UP = 200
    RAMP = 5
    LINGER = 200
    IDLE = 1000
    AHEAD = 200
    EARLY = 30
    SUSPECT = 100
    CONFIRM = 200
    SETTLE = 800
    PAUSE = 3000
    PCMU = 0
    PCMA = 1
    L16 = 2
    G722 = 3
    OPUS = 4
    IN = 0
    OUT = 1
    MIX = 2
    ALL = 0
    OTHERS = 1
    OWN = 2
    PLAIN = 0
    SILENCE = 1
    TONE = 2
    CUT = 3
    ADD_LEG = 1
    CONFIGURE = 2
    CLOSE_LEG = 3
    ADD_PLAYER = 4
    STOP_PLAYER = 5
    SET_ECHO = 6
    SEND_DIGITS = 7
    WATCH_VOICE = 8
    ADD_BUS = 9
    JOIN = 10
    LEAVE = 11
    CLOSE_BUS = 12
    ADD_TAP = 13
    SET_MASK = 14
    STOP_TAP = 15
    QUIT = 16
    PLAY_BUS = 17
    STOP_BUS = 18
    HEAR = 19
    DEPART = 20
    DEPARTED = 21
    ARRIVE_TAP = 22
    SET_KEYS = 23
    IGNORE = 24
    DIGIT = 1
    MEDIA_STARTED = 2
    MEDIA_TIMEOUT = 3
    MEDIA_RESUMED = 4
    SOURCE_CHANGED = 5
    PLAYER_ENDED = 6
    VOICE = 7
    TAP_PROGRESS = 8
    TAP_ENDED = 9
    LEG_CLOSED = 10
    BUS_CLOSED = 11
    MOVED = 12
    DECODE = 1
    ENCODE = 2
    QUIETEN = 3
    TASKS = 128

cdef struct Header:
    int marker
    int payload_type
    int sequence
    long long timestamp
    long long ssrc
    int offset
    int size

cdef struct Report:
    long long about
    int has_sender
    long long sender
    long long ntp_high
    long long ntp_low
    long long timestamp
    long long packets
    long long octets
    int has_block
    int fraction
    long long lost
    long long highest
    long long jitter
    long long last_report
    long long delay
    int bye
    long long bye_source
    int described
    long long described_source

cdef struct Player:
    long long id
    const short* pcm
    long long length
    long long offset
    int loop
    int ended
    int stopped
    long long since
    long long ended_at

cdef struct Counters:
    long long packets
    long long placed
    long long late
    long long duplicate
    long long foreign
    long long malformed
    long long early
    long long wrong_payload
    long long unwanted
    long long unsettled
    long long implausible
    long long empty
    long long comfort_noise
    long long dtmf
    long long overloaded
    long long unauthentic
    long long replayed
    long long reports
    long long jumps
    long long changes
    long long received
    long long relayed
    long long sent
    long long unsent
    long long skipped
    long long octets
    long long rtcp_packets
    long long rtcp_foreign
    long long rtcp_malformed
    long long rtcp_unauthentic
    long long rtcp_sent
    double jitter
    long long fraction_lost
    long long remote_fraction
    long long remote_lost
    long long remote_jitter
    long long round_trip

cdef struct Stay:
    Bus* bus
    int gain
    long long since
    long long until

cdef struct Leg:
    long long id
    int rtp
    int rtcp
    int family
    unsigned long long name
    int waiting
    int moving
    int closing
    long long closed_at
    # what was agreed
    int configured
    int codec
    int payload_type
    int dtmf_type
    int dtmf_rate
    int noise_type
    int rate
    int rate_ms
    int sample_size
    int ptime
    long long ptime_ns
    int receives
    int sends
    int held
    int muxed
    long long timeout_ns
    const short* expand
    const unsigned char* compress
    int quiet
    int coded
    int scale
    int advance
    long long coder
    int pending
    long long moved
    long long reached
    int wanted
    long long opens
    long long seals
    # addresses
    int locked
    int as_expected
    long long source_high
    long long source_low
    int source_port
    long long expected_high
    long long expected_low
    int expected_port
    long long to_high
    long long to_low
    int to_port
    long long reports_high
    long long reports_low
    int reports_port
    # the stream that is heard
    int started
    int timed_out
    int streaming
    long long streams
    int bye
    long long ssrc
    long long candidate
    int candidates
    long long free_at
    int expected_sequence
    long long first
    long long highest
    long long stamp
    long long expected_before
    long long received_before
    double transit
    long long last_at
    long long heard_at
    int seen[SEEN]
    # its clock
    int anchored
    long long anchored_at
    long long base
    long long origin
    long long detour
    long long detour_at
    long long detour_pos
    long long stream_pos
    long long window_at
    double window_least
    double window_time
    int points
    double point_time[POINTS]
    double point_offset[POINTS]
    double line_offset
    double line_slope
    double slack
    int drifting
    # what was heard and sent
    short* ring
    short* out_ring
    int mask
    long long horizon
    long long out_horizon
    long long consumed
    int tapped
    int out_tapped
    # the live path
    int live
    int echo
    int watched
    int threshold
    long long hangover_ns
    int voiced
    long long loud_at
    long long delay
    long long lateness
    long long lateness_before
    int joined
    Bus* bus
    int hear
    int speak
    int heard
    int n_stays
    Stay stays[STAYS]
    int n_deaf
    long long deaf[DEAF]
    Player* players[PLAYERS]
    int n_players
    # what another leg says, sent on untouched
    int relaying
    long long calm_at
    long long relay_at
    long long relay_resume
    long long relay_stream
    long long relay_first
    long long relay_sequence
    long long relay_stamp
    long long event_in
    long long event_stream
    long long event_stamp
    long long event_until
    # sending
    long long next_send
    int mark
    long long out_ssrc
    long long out_sequence
    long long out_stamp
    unsigned char dial[DIGITS]
    int dial_head
    int digits
    long long dialled
    long long dial_at
    long long dial_stamp
    long long dial_ms
    long long gap_ms
    # digits heard
    int digit_known
    int digit_open
    int digit
    long long digit_stamp
    long long digit_span
    long long digit_before
    long long digit_at
    # reading and looking after
    long long read_at
    long long next_read
    long long next_check
    long long next_report
    long long next_calm
    # counters
    Counters counts
    long long sent_before
    long long sender_report
    long long sender_report_at

cdef struct Span:
    Leg* leg
    int gain
    long long since
    long long until

cdef struct Sum:
    long long when
    int n
    int rate
    int* acc

cdef struct Bus:
    long long id
    Leg** members
    int n_members
    int max_members
    int digits
    int moving
    int closing
    long long closed_at
    int tapped
    int stays
    int n_spans
    int max_spans
    Span* spans
    Leg* voice
    Sum sums[SUMS]

cdef struct Task:
    int kind
    int size
    Leg* leg
    long long coder
    long long pos
    long long moved
    long long stamp
    int n
    int marker

cdef struct Line:
    unsigned char* data
    long long size
    long long head
    long long tail

cdef struct Source:
    int kind
    int channel
    Leg* leg
    Bus* bus
    long long since
    long long until
    int named

cdef struct Change:
    long long pos
    int mode

cdef struct Tap:
    long long id
    int fd
    int rate
    int n_channels
    int n_sources
    int max_sources
    Source* sources
    int reports
    long long base
    long long started_at
    long long start
    long long pos
    long long end
    long long frames
    int moving
    int stopping
    long long stopped_at
    int ended
    long long ended_at
    int error
    int mode
    int n_changes
    Change changes[CHANGES]
    long long next_write
    long long next_progress
    int peaks[CHANNELS]

cdef struct Command:
    int op
    int size
    long long target
    long long args[16]
    unsigned char blob[112]

cdef struct Event:
    int kind
    int size
    long long target
    long long at
    long long args[3]
    unsigned short levels[CHANNELS]
    long long spare[2]

cdef struct Shard:
    int running
    long long now
    long long tick_ns
    long long next_tick
    long long next_prune
    long long last_tick
    long long read_ns
    long long wall_offset
    long long ticks
    long long overruns
    long long busy_ns
    int epoll
    int commands_fd
    int events_fd
    Leg** legs
    int n_legs
    int max_legs
    Bus** buses
    int n_buses
    Tap** taps
    int n_taps
    int max_taps
    long long departing
    long long departures
    long long told_departures
    # one batch of datagrams
    void* net
    unsigned char* data[BATCH]
    int size[BATCH]
    long long high[BATCH]
    long long low[BATCH]
    int port[BATCH]
    long long at[BATCH]
    # sockets that a wait reported
    Leg* ready[READY]
    int ready_kind[READY]
    # scratch
    Header* header
    Report* report
    unsigned char* packet
    unsigned char* opened
    long long srtp[4]
    int* acc
    int* heard
    int* part
    int* own
    int* ear
    short* frame
    short* frames
    int hull[POINTS]
    const short* expand[2]
    const unsigned char* compress[2]
    # queues
    Command commands[COMMANDS]
    Event* events
    int n_events
    long long written
    long long lost_events
    # between this thread and its codec thread
    Line* work
    Line* done
    Task* task
    unsigned char* task_data
    int coder_fd
    long long asked
    # what was sent, where there are no sockets
    unsigned char* captured
    long long n_captured
    long long max_captured

cdef inline Leg* leg_of(long long handle) noexcept nogil:
    return <Leg*><size_t>handle

cdef inline Bus* bus_of(long long handle) noexcept nogil:
    return <Bus*><size_t>handle

cdef inline Player* player_of(long long handle) noexcept nogil:
    return <Player*><size_t>handle

cdef inline Tap* tap_of(long long handle) noexcept nogil:
    return <Tap*><size_t>handle

cdef inline long long whole(double value) noexcept nogil:
    return <long long>floor(value)

cdef inline long long ms(long long value) noexcept nogil:
    return value * 1000000

cdef inline long long forever() noexcept nogil:
    return <long long>1 << 62

cdef inline int ring_mask(int rate) noexcept nogil:
    cdef int size = RING // 8
    while size < RING and size < rate * 2:
        size *= 2
    return size - 1

cdef inline long long signed32(long long value) noexcept nogil:
    return <int>value

cdef inline long long ntp_seconds(long long wall) noexcept nogil:
    return <unsigned int>(wall // 1000000000 + <long long>2208988800)

cdef inline long long position(long long at, int rate) noexcept nogil:
    return at // 1000000000 * rate + (at % 1000000000) * rate // 1000000000

cdef inline long long moment(long long pos, int rate) noexcept nogil:
    return pos // rate * 1000000000 + (pos % rate) * 1000000000 // rate

cdef inline double exact(long long at, int rate) noexcept nogil:
    return <double>(at // 1000000000 * rate) + <double>(at % 1000000000) * rate / 1e9

cdef inline int push(Shard* shard, int kind, long long target, long long at, long long a, long long b, long long c) noexcept nogil:
    cdef Event* event
    if shard.n_events >= (EVENTS // 2 if kind == VOICE or kind == TAP_PROGRESS else EVENTS):
        shard.lost_events += 1
        return 0
    event = &shard.events[shard.n_events]
    event.kind = kind
    event.size = 0
    event.target = target
    event.at = at
    event.args[0] = a
    event.args[1] = b
    event.args[2] = c
    shard.n_events += 1
    return 1

cdef inline void push_peaks(Shard* shard, int kind, Tap* tap, long long at) noexcept nogil:
    cdef int i
    if push(shard, kind, tap.id, at, tap.frames, 0, 0):
        shard.events[shard.n_events - 1].size = tap.n_channels
        for i in range(tap.n_channels):
            shard.events[shard.n_events - 1].levels[i] = tap.peaks[i]
