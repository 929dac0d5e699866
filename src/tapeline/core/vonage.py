"""Vonage's words for what every platform has: names of conversations, and times.

A call begins in a conversation of its own, which those who are connected with it join; a named conversation is a conference.
"""

from __future__ import annotations

from tapeline.core.clock import utc

__all__ = ["conversation_id", "conversation_uuid", "moment", "second"]

PREFIX = "CON-"


def conversation_uuid(own_id: str) -> str:
    """Of a call's or its recording's `activeflow_id`, or of a conference's id where that is what it is in."""
    return PREFIX + own_id


def conversation_id(text: str) -> str:
    """The id that a conversation's name stands for; `text` itself where it is one already."""
    return text.removeprefix(PREFIX)


def moment(wall: float) -> str:
    """ISO 8601 with milliseconds, as events are stamped."""
    return utc(wall).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(wall * 1000) % 1000:03d}Z"


def second(wall: float) -> str:
    """ISO 8601 without a fraction, as recordings' times are told."""
    return utc(wall).strftime("%Y-%m-%dT%H:%M:%SZ")
