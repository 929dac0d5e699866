"""The rules by which a delivery is tried again: how often, after which pause, and which answers are final.

Each platform promises its own. A delivery's row names its rule, and keeps how many tries were made: so the rule holds across restarts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from tapeline.delivery.pauses import pause_after

__all__ = ["KAZOO_RETRIES", "KEEP_TRYING_S", "LONGEST_PAUSE_S", "POLICIES", "Policy", "policy_of"]

KEEP_TRYING_S: Final = 3 * 86400.0  # how long a delivery is tried, or waits for a worker
LONGEST_PAUSE_S: Final = 3600.0
KAZOO_RETRIES: Final = 5  # that a webhook of KAZOO's may ask for; its policy is `kazoo-N`

Meaning = Literal["taken", "refused", "again"]


@dataclass(frozen=True, slots=True)
class Policy:
    """`meaning` of an answer's status; no answer at all means "again". `most` tries in all, 0: as long as the row's `until` allows."""

    meaning: Callable[[int], Meaning]
    pause: Callable[[int], float]  # seconds after so many failures
    most: int = 0
    timeout_s: float = 4 * 3600.0  # of one try as a whole
    idle_s: float = 30.0  # in which nothing moves
    answer_s: float = 30.0  # from the last byte sent to an answer's first: what was sent may still be on its way to one who is slow
    redirects: int = 10


def _growing(failures: int) -> float:
    return pause_after(failures, LONGEST_PAUSE_S)


def _only_success(status: int) -> Meaning:
    return "taken" if 200 <= status < 300 else "again"


def _server_errors(status: int) -> Meaning:
    return "taken" if 200 <= status < 300 else "again" if status >= 500 else "refused"


def _voipbin(status: int) -> Meaning:
    """What is answered below 500, 4xx too, counts as delivered."""
    return "taken" if status < 500 else "again"


def _vonage(status: int) -> Meaning:
    return "taken" if 200 <= status < 300 else "again" if status in (429, 502, 503, 504) else "refused"


def _kazoo(retries: int) -> Policy:
    return Policy(_only_success, lambda failures: 3.0, most=retries + 1, timeout_s=30.0, idle_s=15.0, answer_s=15.0, redirects=3)


POLICIES: Final[dict[str, Policy]] = {
    "upload": Policy(_only_success, _growing, answer_s=300.0),
    "server": Policy(_server_errors, _growing, timeout_s=60.0),
    "kazoo": _kazoo(2),
    **{f"kazoo-{retries}": _kazoo(retries) for retries in range(KAZOO_RETRIES + 1)},
    "voipbin": Policy(_voipbin, lambda failures: 1.0, most=3, timeout_s=30.0, idle_s=15.0, answer_s=15.0, redirects=3),
    "vonage": Policy(_vonage, lambda failures: 1.0, most=2, timeout_s=15.0, idle_s=15.0, answer_s=15.0),
}


def policy_of(name: str) -> Policy:
    """The rule of that name; of a name that is not known, that of uploads, which gives up last."""
    return POLICIES.get(name, POLICIES["upload"])
