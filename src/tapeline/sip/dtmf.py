"""Digits in INFO bodies: `application/dtmf-relay` (Signal= and Duration= lines) and the bare `application/dtmf`.

Neither was ever standardised (RFC 6086 section 8.1 tells the story); phones send them all the same when no telephone-event was
agreed on. Knows nothing of calls.
"""

from __future__ import annotations

import re

__all__ = ["info_digit"]

_SIGNAL = re.compile(rb"^\s*signal\s*[=:]\s*([0-9a-d*#]{1,2})\s*$", re.IGNORECASE | re.MULTILINE)
_CODES = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}  # some phones send the event's number (RFC 4733 section 3.2)
_KEYS = frozenset("0123456789*#ABCD")


def info_digit(content_type: str, body: bytes) -> str:
    """The key that an INFO tells of, "" where it tells of none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/dtmf-relay":
        match = _SIGNAL.search(body)
        found = match[1].decode("ascii") if match else ""
    elif kind == "application/dtmf":
        found = body[:8].strip().decode("ascii", "replace")
    else:
        return ""
    found = _CODES.get(found, found.upper())
    return found if found in _KEYS else ""
