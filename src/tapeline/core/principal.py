"""Who asks: the account and the rights that a token, key or signed assertion stands for.

How a principal was made (which token, which platform's login) is the faces' affair; what it may do is asked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tapeline.core.errors import Forbidden

__all__ = ["ALL_SCOPES", "ROLES", "Principal", "role_of"]

ALL_SCOPES = frozenset({
    "admin",  # everything, on every account
    "calls:read",
    "calls:write",  # hang up, and whatever changes a live call
    "recordings:read",  # list and see
    "recordings:listen",  # hear and download
    "recordings:write",  # start, stop, pause, mask
    "recordings:delete",
    "recordings:export",  # put many into one file
    "recordings:hold",  # place and lift legal holds
    "flows:read",  # stored flows, and the runs of flows
    "flows:write",
    "storage:read",  # which files are stored, and how much that is
    "account:write",  # the account itself: its keys, its agents, where its events are sent
    "audit:read",  # who did what with recordings
})

ROLES: Mapping[str, frozenset[str]] = {  # of an account's agents; the platform's names
    "admin": ALL_SCOPES - {"admin"},
    "manager": ALL_SCOPES - {"admin", "account:write", "audit:read"},
    "agent": frozenset({"storage:read"}),
}


def role_of(scopes: frozenset[str]) -> str:
    """The highest role all of whose scopes are among `scopes`; "" where there is none."""
    return next((role for role, needed in ROLES.items() if needed <= scopes), "")


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller of the service. `account` is the tenant's id; an `admin` may act on all of them."""

    account: str
    scopes: frozenset[str] = field(default_factory=frozenset)
    name: str = ""
    id: str = ""  # of the token or the agent; "" where it is neither

    @property
    def admin(self) -> bool:
        return "admin" in self.scopes

    def require(self, scope: str) -> None:
        """Raises Forbidden unless this principal holds `scope` (or is an administrator)."""
        if not self.admin and scope not in self.scopes:
            raise Forbidden(f"this token may not do that: it lacks the scope {scope!r}", hint="use a token made with --scope " + scope)

    def may_see(self, account: str) -> bool:
        return self.admin or account == self.account
