"""Lines of the log, `timestamp=... level=... event=... key=value`, for what is logged with the standard library.

Its own formatter would leave out what a line is about: the facts that are given as `extra`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

__all__ = ["LogLines", "log_to_stderr"]

_ALWAYS = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})


class LogLines(logging.Formatter):
    """`part` names the process in each line, where one log holds those of several."""

    def __init__(self, part: str = "") -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **({"part": self._part} if self._part else {}),
            **{key: value for key, value in record.__dict__.items() if key not in _ALWAYS},
        }
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_written(value)}" for key, value in facts.items())


def _written(value: Any) -> str:
    text = "" if value is None else str(value)
    quoted = any(sign in text for sign in ' ="\n\r\t')
    if quoted and "\\" in text:
        text = text.replace("\\", "\\\\")
    text = text.replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{text}"' if quoted else text


def log_to_stderr(level: int, part: str = "") -> None:
    """Let all that is logged with the standard library from `level` on be written to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogLines(part))
    logging.basicConfig(level=level, handlers=[handler])
