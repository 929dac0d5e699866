"""Numbers for Prometheus: the service's own, read when asked for, and those of the requests, counted here.

A name of the service's that ends in `_total` is a counter, any other a gauge; all are given the prefix `tapeline_`. Labels come
from tables (route, known method, status), never from what a client sent, so their number is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """One registry of its own: two servers in a process do not share numbers. `registry` is open to others' collectors."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "tapeline_http_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "tapeline_http_request_seconds", "Time until the last byte", ("method", "route"), buckets=_BUCKETS, registry=self.registry
        )
        self._accounts = CollectorRegistry(auto_describe=False)  # what tells of accounts, and is not for everybody
        self._stored = [
            Gauge(f"tapeline_storage_{what}", f"Stored {what} of each account", ("account",), registry=self._accounts)
            for what in ("files", "bytes")
        ]

    def watch(self, *stats: Callable[[], Mapping[str, float]]) -> None:
        """Show what each of `stats` says whenever the page is asked for."""
        for one in stats:
            self.registry.register(_Stats(one))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def page(self, usage: Mapping[str, tuple[int, int]] | None = None) -> bytes:
        """The page; with `usage` also the files and bytes of these accounts, and of no others."""
        if usage is None:
            return generate_latest(self.registry)
        for place, gauge in enumerate(self._stored):
            gauge.clear()
            for account, figures in usage.items():
                gauge.labels(account).set(figures[place])
        return generate_latest(self.registry) + generate_latest(self._accounts)


class _Stats(Collector):
    def __init__(self, stats: Callable[[], Mapping[str, float]]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        for name, value in sorted(self._stats().items()):
            full = "tapeline_" + re.sub(r"[^a-zA-Z0-9_]", "_", name).removeprefix("tapeline_")
            words = full.removeprefix("tapeline_").removesuffix("_total").replace("_", " ")
            family = CounterMetricFamily if full.endswith("_total") else GaugeMetricFamily
            yield family(full, words, value=value)
