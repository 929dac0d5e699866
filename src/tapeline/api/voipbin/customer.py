"""VoIPBIN's `customer`: the account itself, as its owner sees it, and the address to which its events are sent."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from tapeline.api.auth import principal_of
from tapeline.api.bodies import Fields, read_json
from tapeline.api.kazoo.auth import Directory
from tapeline.api.routes import Route
from tapeline.api.times import rfc3339
from tapeline.api.voipbin.webhooks import METHODS
from tapeline.core.errors import InvalidInput, NotFound
from tapeline.core.ids import ZERO_ID
from tapeline.store import Account

__all__ = ["DESCRIBED", "Customers", "CustomerFace", "CustomerShape", "customer", "webhook_target"]

PROFILE = ("name", "detail", "email", "phone_number", "address")
LONGEST = 1000
LONGEST_URI = 2000


class Customers(Directory, Protocol):
    """The accounts, as `store` has them, where they may be changed."""

    async def get(self, account_id: str) -> Account | None: ...

    async def amend(self, account_id: str, **changes: Any) -> Account | None: ...


class CustomerShape(TypedDict, total=False):
    id: str
    name: str
    detail: str
    email: str
    phone_number: str
    address: str
    webhook_method: str
    webhook_uri: str
    webhook_secret: str
    billing_account_id: str
    status: str
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None


DESCRIBED: tuple[type, ...] = (CustomerShape,)


def customer(account: Account) -> dict[str, Any]:
    """The platform's Customer, with the secret that its webhooks are signed with."""
    told = {name: str(account.profile.get(name, "")) for name in PROFILE}
    return {
        "id": account.id,
        **told,
        "name": told["name"] or account.name,
        "webhook_method": account.webhook_method,
        "webhook_uri": account.webhook_uri,
        "webhook_secret": account.webhook_secret,
        "billing_account_id": ZERO_ID,
        "status": "active",
        "tm_create": rfc3339(account.created),
        "tm_update": None,
        "tm_delete": None,
    }


def webhook_target(uri: str, method: str) -> tuple[str, str]:
    """An address and a method as given, checked. Raises InvalidInput in the platform's words."""
    if uri:
        try:
            parts = urlsplit(uri)
            good = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good or len(uri) > LONGEST_URI or not uri.isprintable() or " " in uri:
            raise InvalidInput("webhook_uri must be an http or https address", reason="INVALID_WEBHOOK_URI")
    method = method.upper()
    if method and method not in METHODS:
        raise InvalidInput(f"webhook_method must be one of {', '.join(METHODS)}, or empty", reason="INVALID_WEBHOOK_METHOD")
    return uri, method


class CustomerFace:
    def __init__(self, customers: Customers) -> None:
        self._customers = customers

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/customer", "account:write", self.get_customer, "The account itself", CustomerShape),
            Route("PUT", "/customer", "account:write", self.put_customer, "Change the account", CustomerShape, body=BODY),
        )

    async def get_customer(self, request: Request) -> Response:
        return JSONResponse(customer(_found(await self._customers.get(principal_of(request).account))))

    async def put_customer(self, request: Request) -> Response:
        """What is not named stays as it is; an empty `webhook_uri` ends the sending of events."""
        account = _found(await self._customers.get(principal_of(request).account))
        fields = Fields(await read_json(request))
        profile = dict(account.profile) | {name: fields.text(name) for name in PROFILE if name in fields}
        if max(map(len, profile.values()), default=0) > LONGEST:
            fields.problem(f"{', '.join(PROFILE)} must have at most {LONGEST} characters each")
        uri = fields.text("webhook_uri") if "webhook_uri" in fields else account.webhook_uri
        method = fields.text("webhook_method") if "webhook_method" in fields else account.webhook_method
        fields.finish()
        uri, method = webhook_target(uri.strip(), method)
        changed = await self._customers.amend(account.id, profile=profile, webhook_uri=uri, webhook_method=method)
        return JSONResponse(customer(_found(changed)))


def _found(account: Account | None) -> Account:
    if account is None:
        raise NotFound("there is no such account any more", reason="RESOURCE_NOT_FOUND")
    return account


BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in PROFILE},
        "webhook_uri": {"type": "string", "description": "Where events are sent; empty: nowhere."},
        "webhook_method": {"type": "string", "enum": ["", *METHODS], "description": "Empty: POST."},
    },
}
