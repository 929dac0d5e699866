"""The messages of a call as text for people. What proves who somebody is, and the keys of media, are left out."""

from __future__ import annotations

import re

from tapeline.core.clock import utc
from tapeline.sip import Trace
from tapeline.sip.uri import host_port

__all__ = ["as_text"]

_SECRETS = re.compile(r'(response="|inline:)[^"|\s;]+', re.IGNORECASE)


def as_text(trace: Trace, epoch: float) -> str:
    """`epoch` is the wall clock at second 0 of the trace's own."""
    parts = []
    for entry in trace:
        arrow = "<-" if entry.way == "in" else "->"
        at = utc(epoch + entry.at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        flow = entry.flow
        head = f"--- {at} {flow.transport} {host_port(*flow.local)} {arrow} {host_port(*flow.remote)}"
        message = entry.data.decode("utf-8", "replace").replace("\r\n", "\n")
        shown = _SECRETS.sub(r"\1***", message)
        parts.append(f"{head}\n{shown}")
    if trace.dropped:
        parts.append(f"--- {trace.dropped} messages in the middle were not kept")
    return "\n".join(parts) + "\n"
