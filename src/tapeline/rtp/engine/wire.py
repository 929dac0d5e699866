"""RTP and RTCP on the wire (RFC 3550 sections 5 and 6): headers and reports are read out of bytes and written into them.

Each function takes a buffer and a length, trusts neither, and keeps nothing. It does not know who sent what, or whether it fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def get16(buf: state.Buffer, at: int) -> int:
    return (buf[at] << 8) | buf[at + 1]


def get32(buf: state.Buffer, at: int) -> int:
    high = (buf[at] << 8) | buf[at + 1]
    low = (buf[at + 2] << 8) | buf[at + 3]
    return (high << 16) | low


def put16(buf: state.Writable, at: int, value: int) -> None:
    buf[at] = (value >> 8) & 255
    buf[at + 1] = value & 255


def put32(buf: state.Writable, at: int, value: int) -> None:
    buf[at] = (value >> 24) & 255
    buf[at + 1] = (value >> 16) & 255
    buf[at + 2] = (value >> 8) & 255
    buf[at + 3] = value & 255


def parse(header: state.Header, buf: state.Buffer, n: int) -> int:
    """Read an RTP header (RFC 3550 section 5.1); 1 when it holds, 0 when the packet is malformed. A payload may be empty."""
    if n < 12 or buf[0] >> 6 != 2:
        return 0
    offset = 12 + 4 * (buf[0] & 15)
    if buf[0] & 16:
        if n < offset + 4:
            return 0
        offset += 4 + 4 * get16(buf, offset + 2)
    end = n
    if buf[0] & 32:
        padding = buf[n - 1]
        if padding == 0:
            return 0
        end = n - padding
    if end < offset:
        return 0
    header.marker = buf[1] >> 7
    header.payload_type = buf[1] & 127
    header.sequence = get16(buf, 2)
    header.timestamp = get32(buf, 4)
    header.ssrc = get32(buf, 8)
    header.offset = offset
    header.size = end - offset
    return 1


def build(buf: state.Writable, marker: int, payload_type: int, sequence: int, timestamp: int, ssrc: int) -> None:
    """Write an RTP header of twelve bytes."""
    buf[0] = 128
    buf[1] = (marker << 7) | payload_type
    put16(buf, 2, sequence)
    put32(buf, 4, timestamp)
    put32(buf, 8, ssrc)


def parse_reports(report: state.Report, buf: state.Buffer, n: int) -> int:
    """Read a compound RTCP packet; the number of its parts, 0 when any of them is malformed.

    Kept are the last sender report, the report block about `report.about`, the source of an SDES and of a BYE. Other types
    (feedback, APP, XR) are only checked for their length.
    """
    report.has_sender = 0
    report.has_block = 0
    report.bye = 0
    report.described = 0
    at = 0
    parts = 0
    while at < n:
        if n - at < 4 or buf[at] >> 6 != 2:
            return 0
        kind = buf[at + 1]
        count = buf[at] & 31
        size = 4 + 4 * get16(buf, at + 2)
        if kind < 192 or kind > 223 or at + size > n:
            return 0
        body = size
        if buf[at] & 32:
            padding = buf[at + size - 1]
            if padding == 0 or padding > size - 4 or at + size != n:
                return 0
            body = size - padding
        if not parse_part(report, buf, at, kind, count, body):
            return 0
        at += size
        parts += 1
    return parts


def parse_part(report: state.Report, buf: state.Buffer, at: int, kind: int, count: int, size: int) -> int:
    """One packet of a compound, from its header at `at`; 0 when malformed."""
    if kind == 200 or kind == 201:
        blocks = 28 if kind == 200 else 8
        if size < blocks + 24 * count:
            return 0
        report.sender = get32(buf, at + 4)
        if kind == 200:
            report.has_sender = 1
            report.ntp_high = get32(buf, at + 8)
            report.ntp_low = get32(buf, at + 12)
            report.timestamp = get32(buf, at + 16)
            report.packets = get32(buf, at + 20)
            report.octets = get32(buf, at + 24)
        for i in range(count):
            read_block(report, buf, at + blocks + 24 * i)
    elif kind == 202:
        return parse_description(report, buf, at + 4, at + size, count)
    elif kind == 203:
        if size < 4 + 4 * count or not reason_fits(buf, at, count, size):
            return 0
        if count:
            report.bye = 1
            report.bye_source = get32(buf, at + 4)
    elif kind == 205 or kind == 206:
        return size >= 12
    return 1


def read_block(report: state.Report, buf: state.Buffer, at: int) -> None:
    if get32(buf, at) != report.about:
        return
    report.has_block = 1
    report.fraction = buf[at + 4]
    lost = get32(buf, at + 4) & 0xFFFFFF
    report.lost = lost - 0x1000000 if lost & 0x800000 else lost
    report.highest = get32(buf, at + 8)
    report.jitter = get32(buf, at + 12)
    report.last_report = get32(buf, at + 16)
    report.delay = get32(buf, at + 20)


def reason_fits(buf: state.Buffer, at: int, count: int, size: int) -> int:
    """Whether a BYE's text, if it has one, ends within it."""
    text = 4 + 4 * count
    return text == size or text + 1 + buf[at + text] <= size


def parse_description(report: state.Report, buf: state.Buffer, at: int, end: int, count: int) -> int:
    """SDES chunks (RFC 3550 section 6.5): each a source, items, and zeros to the next word."""
    for _ in range(count):
        if at + 4 > end:
            return 0
        report.described = 1
        report.described_source = get32(buf, at)
        start = at
        at += 4
        while True:
            if at >= end:
                return 0
            if buf[at] == 0:
                break
            if at + 2 > end or at + 2 + buf[at + 1] > end:
                return 0
            at += 2 + buf[at + 1]
        at += 4 - ((at - start) & 3)
        if at > end:
            return 0
    return 1


def build_reports(buf: state.Writable, report: state.Report, source: int, heard: int, name: int) -> int:
    """Write SR (when `report.has_sender`) or RR, with a block about `report.about` when `heard`, and an SDES; the length is returned."""
    at = 28 if report.has_sender else 8
    buf[0] = 128 | heard
    buf[1] = 200 if report.has_sender else 201
    put32(buf, 4, source)
    if report.has_sender:
        put32(buf, 8, report.ntp_high)
        put32(buf, 12, report.ntp_low)
        put32(buf, 16, report.timestamp)
        put32(buf, 20, report.packets)
        put32(buf, 24, report.octets)
    if heard:
        put32(buf, at, report.about)
        put32(buf, at + 4, report.lost & 0xFFFFFF)
        buf[at + 4] = report.fraction
        put32(buf, at + 8, report.highest)
        put32(buf, at + 12, report.jitter)
        put32(buf, at + 16, report.last_report)
        put32(buf, at + 20, report.delay)
        at += 24
    put16(buf, 2, at // 4 - 1)
    # SDES: a CNAME of 16 hex digits, stable for the leg (RFC 7022 section 4.2), then zeros to the word's end.
    buf[at] = 129
    buf[at + 1] = 202
    put16(buf, at + 2, 6)
    put32(buf, at + 4, source)
    buf[at + 8] = 1
    buf[at + 9] = 16
    for i in range(16):
        digit = (name >> (4 * i)) & 15
        buf[at + 10 + i] = digit + 48 if digit < 10 else digit + 87
    buf[at + 26] = 0
    buf[at + 27] = 0
    return at + 28
