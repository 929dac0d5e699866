"""How long to wait between tries of what failed. Knows nothing of what was tried, or of how a pause is kept."""

from __future__ import annotations

__all__ = ["pause_after"]


def pause_after(failures: int, longest_s: float = 900.0) -> float:
    """Seconds to wait after that many failures in a row: 1, 2, 4 ... then every `longest_s`.

    Finishing has no last try: while the spool has the audio, giving up would only lose it.
    """
    return min(2.0 ** min(failures - 1, 16), longest_s)
