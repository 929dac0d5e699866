"""Times and page tokens as the platform writes them.

A time is RFC 3339 in UTC with `Z`, its fraction without trailing zeros. A page token is the `tm_create` of the last item with exactly
six digits; what comes back may also be in the older form with a space and no zone, which its documents still use.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from tapeline.core.clock import utc
from tapeline.core.errors import InvalidInput

__all__ = ["moment", "page_token", "read_page_token", "rfc3339"]

_TOKEN = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)


def rfc3339(wall: float) -> str:
    """`1768469402.1` -> `2026-01-15T09:30:02.1Z`, to the microsecond."""
    whole, _, fraction = _six_digits(utc(wall)).partition(".")
    fraction = fraction.removesuffix("Z").rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def page_token(created: float) -> str:
    """The token that asks for what was created before `created`.

    It never names a later time than `created`: rounded up, the item would come before its own token and be listed again for ever.
    """
    micros = round(created * 1e6)
    if micros / 1e6 > created:
        micros -= 1
    return _six_digits(utc(micros / 1e6))


def read_page_token(text: str) -> float:
    """Seconds since 1970 of a token in either form. Raises InvalidInput."""
    return moment(text, "page_token", "pass next_page_token of the page before as it was given")


def moment(text: str, name: str, hint: str = "write it as 2026-01-15T09:30:02Z") -> float:
    """Seconds since 1970 of the time `text`, given as the parameter `name`. Raises InvalidInput."""
    found = _TOKEN.fullmatch(text)
    if found:
        day, clock, fraction, zone = found.groups()
        try:
            found_at = datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{zone if zone and zone != 'Z' else '+00:00'}")
            return (found_at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
        except (ValueError, OverflowError):  # the 31st of February and the like
            pass
    raise InvalidInput(
        f"{name} is not a time",
        hint=hint,
        reason="INVALID_REQUEST_PARAMETER",
    )


def _six_digits(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
