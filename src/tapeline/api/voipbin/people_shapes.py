"""Access keys and agents as VoIPBIN's API has them. Their times are null where they have not come."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from tapeline.api.voipbin.shapes import nullable_times
from tapeline.core.principal import Principal
from tapeline.store import AgentRow, Token

__all__ = ["DESCRIBED", "PERMISSIONS", "AccesskeyShape", "AccesskeysShape", "AgentShape", "AgentsShape", "accesskey", "agent", "role_named"]

PERMISSIONS = {"admin": 32, "manager": 64, "agent": 16}  # the platform's bits
SERVER_ADMINISTRATOR = 1


class KeyExtra(TypedDict):
    scopes: list[str]


class AccesskeyShape(TypedDict, total=False):
    id: str
    customer_id: str
    name: str
    detail: str
    token: str
    token_prefix: str
    tm_expire: str | None
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None
    tapeline: KeyExtra


class AccesskeysShape(TypedDict):
    result: list[AccesskeyShape]
    next_page_token: str


class AgentExtra(TypedDict, total=False):
    role: str
    scopes: list[str]


class AgentShape(TypedDict, total=False):
    id: str
    customer_id: str
    username: str
    name: str
    detail: str
    ring_method: str
    status: str
    permission: int
    tag_ids: list[str]
    addresses: list[dict[str, Any]]
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None
    tapeline: AgentExtra


class AgentsShape(TypedDict):
    result: list[AgentShape]
    next_page_token: str


DESCRIBED: tuple[type, ...] = (AccesskeyShape, AccesskeysShape, AgentShape, AgentsShape)


def accesskey(token: Token, secret: str = "") -> dict[str, Any]:
    """The platform's Accesskey; with its secret only where it has just been made."""
    return {
        "id": token.id,
        "customer_id": token.account,
        "name": token.name,
        **({"detail": token.detail} if token.detail else {}),
        **({"token": secret} if secret else {}),
        "token_prefix": token.prefix,
        **nullable_times(tm_expire=token.expires, tm_create=token.created, tm_update=token.updated, tm_delete=token.revoked),
        "tapeline": {"scopes": sorted(token.scopes)},
    }


def agent(row: AgentRow, principal: Principal | None = None) -> dict[str, Any]:
    """The platform's Agent. `principal`, where this is who asks: what it may do stands under `tapeline`."""
    extra: dict[str, Any] = {"role": row.role}
    if principal is not None:
        extra["scopes"] = sorted(principal.scopes)
    administrator = principal is not None and principal.admin
    return {
        "id": row.id,
        "customer_id": row.account,
        "username": "" if row.deleted is not None else row.username,
        "name": row.name,
        "detail": row.detail,
        "ring_method": "ringall",
        "status": "",
        "permission": SERVER_ADMINISTRATOR if administrator else PERMISSIONS.get(row.role, 0),
        "tag_ids": [],
        "addresses": [],
        **nullable_times(tm_create=row.created, tm_update=row.updated, tm_delete=row.deleted),
        "tapeline": extra,
    }


def role_named(permission: int) -> str:
    """The highest role of a mask of the platform's bits; "" where there is none."""
    return next((role for role, bit in PERMISSIONS.items() if permission & bit), "")

