"""The numbers that the engine and its Python side agree on; `structs.pxd` holds the same ones for the compiled build.

A test compares the two lists. Durations are milliseconds unless the name says otherwise.
"""

# Sizes
HUSH = 64  # mean magnitude below which nobody hears a step
BATCH = 16  # datagrams taken from one socket at a time
PACKET = 2048  # bytes kept of a datagram; a longer one is malformed
SEEN = 256  # sequence numbers remembered to tell duplicates
POINTS = 48  # seconds of delay minima that the clock's line is drawn through
PLAYERS = 8  # at once on one leg
SOURCES = 1024  # of one tap, at most
SUMS = 6  # of a bus: for so many kinds of member (rate, packet length, phase) it is summed up once in a tick
STAYS = 8  # changes of what a leg hears that no tap has passed yet
DEAF = 64  # members of its bus that a leg does not hear
CHANNELS = 32
CHANGES = 32  # mask changes that a tap has not reached yet
EVENTS = 4096  # events waiting for their pipe
COMMANDS = 64  # taken from the pipe at a time
DIGITS = 64  # waiting to be sent
READY = 256  # sockets reported by one wait
RING = 131072  # samples, at 48 kHz; slower legs use as much as two seconds of them need
FRAME = 2880  # samples of the longest packet sent: 60 ms at 48 kHz
BLOCK = 32768  # samples that a tap mixes at once

# Times
LAG = 900  # the recorder reads this far behind the clock
WRITE = 500  # and appends this often: what a crash loses is LAG + WRITE at most, and that may be 1500
KEPT = 1700  # of a ring the recorder may still want so much; after a stall it takes it before anything new is placed
CALM = 100  # a leg is relayed to when nothing has spoken against it for so long
SILENT = 200  # and no longer when nothing has come for so long
CATCH_UP = 200  # of what was heard before it, at most so much is sent ahead
RAMP = 5  # who is heard begins, ends and changes so softly
LINGER = 200  # a stopped tap waits this long for what is still under way
IDLE = 1000  # after this much silence a socket is waited for, no longer asked
AHEAD = 200  # audio from further in the future fits nothing
EARLY = 30  # a packet earlier than this moves the stream's clock at once
SUSPECT = 100  # a packet later than this may be a jump of its timestamps
CONFIRM = 200  # and is one when it has gone on for so long
SETTLE = 800  # a new stream finds its clock in this time; by then no recorder has come so far
PAUSE = 3000  # a stream silent for so long finds its clock anew where it does not fit any more

# Codecs, in the order of their tables
PCMU = 0
PCMA = 1
L16 = 2
G722 = 3
OPUS = 4

# Kinds of source and of player's target
IN = 0
OUT = 1
MIX = 2

# Members of a bus
ALL = 0
OTHERS = 1
OWN = 2

# Mask modes
PLAIN = 0
SILENCE = 1
TONE = 2
CUT = 3

# Commands
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

# Events
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

# Tasks for a codec thread
DECODE = 1
ENCODE = 2
QUIETEN = 3
TASKS = 128  # of one leg at a time: who sends more than is heard must not take the others' turn
