"""Who may see what: one rule for all that belongs to an account. An administrator may see everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

from tapeline.calls.errors import not_yours
from tapeline.core.errors import NotFound
from tapeline.core.principal import Principal
from tapeline.store import Search

__all__ = ["account_seen", "present", "seen", "within"]


class Owned(Protocol):
    @property
    def account(self) -> str: ...


class Lasting(Owned, Protocol):
    """What leaves a tombstone."""

    @property
    def deleted(self) -> float | None: ...


AnyOwned = TypeVar("AnyOwned", bound=Owned)
AnyLasting = TypeVar("AnyLasting", bound=Lasting)


def account_seen(account: str, principal: Principal) -> None:
    """Raises Forbidden where it is another's."""
    if not principal.may_see(account):
        raise not_yours("account")


def seen(found: AnyOwned, principal: Principal, what: str) -> AnyOwned:
    """`found`, which is called a `what`, whether or not it was deleted. Raises Forbidden where it is another account's."""
    if not principal.may_see(found.account):
        raise not_yours(what)
    return found


def present(found: AnyLasting, principal: Principal, what: str) -> AnyLasting:
    """As `seen`; raises NotFound where it was deleted."""
    if seen(found, principal, what).deleted is not None:
        raise NotFound(f"the {what} has been deleted")
    return found


def within(wanted: Search, principal: Principal) -> Search:
    """A search that names no account is for the principal's own, or an administrator's for all. Raises Forbidden."""
    if wanted.account is None and not principal.admin:
        return replace(wanted, account=principal.account)
    if wanted.account is not None:
        account_seen(wanted.account, principal)
    return wanted
