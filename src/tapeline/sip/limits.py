"""What one source may ask of us: a rate of requests, a number of wrong passwords, and no second chance for what was just refused.

Each table is of a fixed size and forgets whoever was quiet longest, so that forged addresses cost memory only once. A source is an
address without its port. This module knows nothing of requests: it is asked, and it counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["FailedLogins", "RateLimit", "Refused"]

_MOST_SOURCES = 16384


class RateLimit:
    """A token bucket for each source: `rate` a second, and `burst` at once. A rate of 0 allows everything."""

    __slots__ = ("_buckets", "_most", "burst", "rate")

    def __init__(self, rate: float, burst: float = 0.0, most: int = _MOST_SOURCES) -> None:
        self.rate = rate
        self.burst = burst or 2 * rate
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and when that was

    def allows(self, source: str, now: float) -> bool:
        """Whether one more may pass, which it then has."""
        if not self.rate:
            return True
        tokens, since = self._buckets.get(source, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1.0
        self._buckets[source] = (tokens - 1.0 if allowed else tokens, now)
        self._buckets.move_to_end(source)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return allowed


class FailedLogins:
    """Wrong passwords by source: after `most` within `window_s` the source is shut out until that time has passed without another."""

    __slots__ = ("_failures", "_most", "_sources", "_window_s")

    def __init__(self, most: int, window_s: float, sources: int = _MOST_SOURCES) -> None:
        self._most = most
        self._window_s = window_s
        self._sources = sources
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last was

    def failed(self, source: str, now: float) -> None:
        count, last = self._failures.get(source, (0, now))
        self._failures[source] = (1 if now - last > self._window_s else count + 1, now)
        self._failures.move_to_end(source)
        if len(self._failures) > self._sources:
            self._failures.popitem(last=False)

    def shut_out(self, source: str, now: float) -> bool:
        count, last = self._failures.get(source, (0, now))
        return bool(self._most) and count >= self._most and now - last <= self._window_s


class Refused:
    """Requests that got an answer without a transaction, so that their repetitions get it too and are not taken for new ones."""

    __slots__ = ("_keys", "_most", "_seconds")

    def __init__(self, seconds: float, most: int = 8192) -> None:
        self._seconds = seconds
        self._most = most
        self._keys: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, key: Hashable, now: float) -> None:
        self._keys[key] = now + self._seconds
        self._keys.move_to_end(key)
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def forget(self, now: float) -> None:
        """Drop those whose repetitions are over."""
        while self._keys and next(iter(self._keys.values())) <= now:
            self._keys.popitem(last=False)
