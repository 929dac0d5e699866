"""Ranges and preconditions of a stored file: RFC 9110 sections 13 and 14, without I/O.

One range is served as such. Several are answered with the whole file, as the RFC allows, and so is what cannot be read or names
another unit. Knows nothing of HTTP frameworks: header texts in, decisions out.
"""

from __future__ import annotations

import re
from email.utils import formatdate, parsedate_to_datetime

from tapeline.api.errors import RangeNotSatisfiable

__all__ = ["http_date", "not_modified", "quoted", "range_applies", "select"]

_RANGE = re.compile(r"([0-9]*)[ \t]*-[ \t]*([0-9]*)", re.ASCII)
_BEYOND = 10**18  # longer than any file; numbers with more digits need no exact value
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def select(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open [start, end) that a Range header asks for; None for the whole file. Raises RangeNotSatisfiable."""
    unit, equals, rest = (header or "").partition("=")
    found = _RANGE.fullmatch(rest.strip())
    if unit.strip().lower() != "bytes" or not equals or found is None:
        return None  # RFC 9110 section 14.2: an invalid or unknown range is ignored
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:  # the last so many bytes
        length = min(_number(last), size)
        if length == 0:
            if size == 0 and _number(last):
                return None  # satisfiable by section 14.1.2, yet no Content-Range can say so
            raise RangeNotSatisfiable(size)
        return size - length, size
    start = _number(first)
    end = _number(last) + 1 if last else size
    if end <= start and last:
        return None  # last before first: invalid
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, min(end, size)


def range_applies(if_range: str | None, etag: str, modified: float) -> bool:
    """Whether the file is still the one that If-Range speaks of (RFC 9110 section 13.1.5: strong comparison, exact date)."""
    if not if_range:
        return True
    validator = if_range.strip()
    if _TAG.fullmatch(validator):
        return validator == etag and not etag.startswith("W/")
    return validator == http_date(modified)


def not_modified(if_none_match: str | None, if_modified_since: str | None, etag: str, modified: float) -> bool:
    """Whether the client has this file already (RFC 9110 sections 13.1.2 and 13.1.3); If-None-Match wins."""
    if if_none_match is not None:
        tags = [tag.removeprefix("W/") for tag in _TAG.findall(if_none_match)]
        return if_none_match.strip() == "*" or etag.removeprefix("W/") in tags
    if if_modified_since is None:
        return False
    try:
        return int(modified) <= parsedate_to_datetime(if_modified_since).timestamp()
    except (ValueError, OverflowError):
        return False


def quoted(etag: str) -> str:
    """`etag` as an entity tag, whether or not the store gave it quotes."""
    return etag if _TAG.fullmatch(etag) else '"' + re.sub(r'[^\x21\x23-\x7e]', "", etag) + '"'


def http_date(wall: float) -> str:
    """The date form of RFC 9110 section 5.6.7."""
    return formatdate(int(wall), usegmt=True)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else _BEYOND
