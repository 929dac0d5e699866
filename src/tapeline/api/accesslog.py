"""Keeps credentials out of logs.

The platform's clients put their token into the query, so any log line with a URL would hold it. Our own line for each request has no
query at all; uvicorn's loggers are given a filter, so that none leaks whether or not its access log is on.
"""

from __future__ import annotations

import logging
import re

__all__ = ["RedactQuery", "redact"]

_SECRET = re.compile(r"((?:^|[?&;\s\"'])(?:token|accesskey|access_token|password|secret)=)[^&;\s\"']+", re.IGNORECASE)


def redact(text: str) -> str:
    """`/v1.0/calls?token=abc&page_size=2` -> `/v1.0/calls?token=***&page_size=2`."""
    return _SECRET.sub(r"\1***", text)


class RedactQuery(logging.Filter):
    """Replaces secrets in the message and in every text argument of a record; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str):
            record.msg = redact(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(redact(item) if isinstance(item, str) else item for item in record.args)
        return True

    @classmethod
    def install(cls) -> None:
        """Add the filter to uvicorn's loggers, once."""
        for name in ("uvicorn.access", "uvicorn.error", "uvicorn"):
            logger = logging.getLogger(name)
            if not any(isinstance(item, cls) for item in logger.filters):
                logger.addFilter(cls())
                logger.addFilter(_is_no_refusal)


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """uvicorn takes the handshake of a websocket that was refused with an answer for one that was forgotten, and calls it an error."""
    return record.msg != "ASGI callable returned without completing handshake."
