"""VoIPBIN's `customer`: the account itself, as its owner sees it, and the address to which its events are sent; and its `customers`: all
accounts, which the server's administrators see, change and make.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from tapeline.api.auth import principal_of
from tapeline.api.bodies import Fields, read_json
from tapeline.api.kazoo.auth import Directory
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.times import rfc3339
from tapeline.api.voipbin.shapes import listing
from tapeline.api.voipbin.webhooks import METHODS
from tapeline.calls.errors import not_yours
from tapeline.calls.views import Page
from tapeline.core.errors import InvalidInput, InvalidState, NotFound
from tapeline.core.ids import ZERO_ID
from tapeline.store import Account

__all__ = ["DESCRIBED", "Customers", "CustomerFace", "CustomerShape", "customer", "webhook_target"]

PROFILE = ("name", "detail", "email", "phone_number", "address")
LONGEST = 1000
LONGEST_NAME = 100  # of an account; settings name it so
LONGEST_URI = 2000


class Customers(Directory, Protocol):
    """The accounts, as `store` has them, where they may be changed."""

    async def get(self, account_id: str) -> Account | None: ...

    async def add(self, name: str, **columns: Any) -> Account | None:
        """None where the name is taken."""

    async def page(self, before: float | None = None, limit: int = 100) -> list[Account]: ...

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


class CustomersShape(TypedDict):
    result: list[CustomerShape]
    next_page_token: str


DESCRIBED: tuple[type, ...] = (CustomerShape, CustomersShape)


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
            Route("GET", "/customers", "account:write", self.list, "List accounts, newest first", CustomersShape, PAGING),
            Route("POST", "/customers", "account:write", self.create, "Make an account", CustomerShape, body=BODY),
            Route("GET", "/customers/{id}", "account:write", self.get, "One account", CustomerShape),
            Route("PUT", "/customers/{id}", "account:write", self.put, "Change an account", CustomerShape, body=BODY),
        )

    async def get_customer(self, request: Request) -> Response:
        return JSONResponse(customer(_found(await self._customers.get(principal_of(request).account))))

    async def put_customer(self, request: Request) -> Response:
        """What is not named stays as it is; an empty `webhook_uri` ends the sending of events."""
        return await self._change(request, _found(await self._customers.get(principal_of(request).account)))

    async def list(self, request: Request) -> Response:
        """All of them for an administrator of the server; for others their own."""
        principal = principal_of(request)
        before, limit = read_paging(request)
        if principal.admin:
            found = await self._customers.page(before, limit)
        else:
            own = _found(await self._customers.get(principal.account))
            found = [own] if before is None or own.created < before else []
        return JSONResponse(listing(Page(tuple(found)), customer))

    async def create(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        name = fields.text("name").strip()
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            fields.problem(f"name must have 1 to {LONGEST_NAME} printable characters")
        columns = _columns(fields, Account("", name))
        principal_of(request).require("admin")
        made = await self._customers.add(name, **columns)
        if made is None:
            raise InvalidState(f"there is an account of the name {name}", reason="CUSTOMER_ALREADY_EXISTS")
        return JSONResponse(customer(made))

    async def get(self, request: Request, id: str) -> Response:
        return JSONResponse(customer(await self._one(request, id)))

    async def put(self, request: Request, id: str) -> Response:
        return await self._change(request, await self._one(request, id))

    async def _one(self, request: Request, id: str) -> Account:
        account_id = path_id(id)
        account = await self._customers.get(account_id)
        if account is None:
            raise NotFound(f"no account has the id {account_id}", reason="CUSTOMER_NOT_FOUND")
        if not principal_of(request).may_see(account_id):
            raise not_yours("account")
        return account

    async def _change(self, request: Request, account: Account) -> Response:
        columns = _columns(Fields(await read_json(request)), account)
        return JSONResponse(customer(_found(await self._customers.amend(account.id, **columns))))


def _columns(fields: Fields, account: Account) -> dict[str, Any]:
    """The columns of `account` as the body wants them. Raises InvalidInput."""
    profile = dict(account.profile) | {name: fields.text(name) for name in PROFILE if name in fields}
    if max(map(len, profile.values()), default=0) > LONGEST:
        fields.problem(f"{', '.join(PROFILE)} must have at most {LONGEST} characters each")
    uri = fields.text("webhook_uri") if "webhook_uri" in fields else account.webhook_uri
    method = fields.text("webhook_method") if "webhook_method" in fields else account.webhook_method
    fields.finish()
    uri, method = webhook_target(uri.strip(), method)
    return {"profile": profile, "webhook_uri": uri, "webhook_method": method}


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
