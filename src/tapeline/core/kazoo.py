"""KAZOO's words that more than one package says: its times, and the types of its files.

Its times are whole seconds since the year 0. Its ids and its envelope are the API's affair, the addresses of its uploads the
delivery's; neither is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["CONTENT_TYPES", "gregorian", "unix"]

CONTENT_TYPES: Final[Mapping[str, str]] = {"mp3": "audio/mpeg", "wav": "audio/x-wav", "ogg": "audio/ogg"}
_EPOCH: Final = 62_167_219_200  # seconds from the year 0 to 1970


def gregorian(wall: float) -> int:
    """Whole seconds since the year 0 of seconds since 1970."""
    return int(wall) + _EPOCH


def unix(gregorian_seconds: float) -> float:
    """Seconds since 1970 of seconds since the year 0."""
    return gregorian_seconds - _EPOCH
