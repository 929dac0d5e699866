"""KAZOO's documents that callflows name by their id: menus, groups, lists of numbers, rules of time and sets of them,
voicemail boxes.

    GET, PUT /accounts/A/menus        GET, POST, PATCH, DELETE /accounts/A/menus/ID
    likewise groups, lists, temporal_rules, temporal_rules_sets, vmboxes

A document that is made with an `id` keeps it, so that callflows that name it need not be changed. What is written counts from the next
call on that comes there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.kazoo.bodies import KazooRoute, bare, merged, page_marks, page_place, page_size, read_data
from tapeline.api.kazoo.filters import filters, fits
from tapeline.api.kazoo.rules import LONGEST_URL, pattern_fault
from tapeline.api.kazoo.schema import FLAG, Rule, items, kept, of, one_of, text, whole
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, hex_id, success, uuid_of
from tapeline.api.ports import Service
from tapeline.calls.kazoo.temporal import zone
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.store import DocumentRow

__all__ = ["COLLECTIONS", "KazooCollections", "id_taken", "listed", "wanted_id"]

READ, WRITE = "calls:read", "account:write"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}", re.ASCII)

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Collection:
    """`kind` is the store's; `shown` stands in lists; `secret` is told only to who may write."""

    path: str
    kind: str
    what: str
    rule: Rule
    shown: tuple[str, ...]
    secret: str = ""
    parameter: str = "id"


def _zone_fault(value: Any) -> str:
    if not isinstance(value, str) or value in ("", "inherit"):
        return ""
    try:
        zone(value)
    except ValueError as error:
        return str(error)
    return ""


_NAMED: Final = text(1, 128)
_MEDIA: Final = text(0, LONGEST_URL)
_PROMPT: Final = Rule(("boolean", "string"))
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "wensday", "thursday", "friday", "saturday", "sunday")

COLLECTIONS: Final = (
    Collection("/menus", "menu", "menu", of(
        ("name",), name=_NAMED, allow_record_from_offnet=FLAG, hunt=FLAG, hunt_allow=text(1, 256, also=pattern_fault),
        hunt_deny=text(1, 256, also=pattern_fault), interdigit_timeout=whole(1, 10_000), max_extension_length=whole(1, 6),
        media=of(greeting=_MEDIA, exit_media=_PROMPT, invalid_media=_PROMPT, transfer_media=_PROMPT), record_pin=text(3, 6),
        retries=whole(1, 10), timeout=whole(1, 60_000),
    ), ("name",)),
    Collection("/groups", "group", "group", of(
        ("name", "endpoints"), name=_NAMED, music_on_hold=of(media_id=text(high=128)),
        endpoints=Rule(("object",), others=lambda: of(type=one_of("user", "device", "group"), weight=whole(1, 100))),
    ), ("name", "endpoints")),
    Collection("/lists", "list", "list of numbers", of(
        ("name",), name=_NAMED, description=text(0, 128), list_type=text(1, 128), org=text(0, 128),
        entries=Rule(("object",), others=lambda: of(
            number=text(1, 64), prefix=text(1, 64), pattern=text(1, 1000, also=pattern_fault), regexp=text(1, 1000, also=pattern_fault)
        )),
    ), ("name", "description")),
    Collection("/temporal_rules", "temporal_rule", "rule of time", of(
        ("name", "cycle"), name=_NAMED, cycle=one_of("date", "daily", "weekly", "monthly", "yearly"), days=items(whole(1, 31)),
        enabled=FLAG, end_date=whole(), flags=items(text()), interval=whole(1), month=whole(1, 12),
        ordinal=one_of("every", "first", "second", "third", "fourth", "fifth", "last"), start_date=whole(),
        time_window_start=whole(0, 86_400), time_window_stop=whole(0, 86_400), wdays=items(one_of(*_WEEKDAYS)),
    ), ("name", "cycle", "enabled")),
    Collection("/temporal_rules_sets", "temporal_rules_set", "set of rules", of(
        ("name",), name=_NAMED, temporal_rules=items(text(1, 128), 1),
    ), ("name", "temporal_rules")),
    Collection("/vmboxes", "vmbox", "voicemail box", of(
        ("name", "mailbox"), name=_NAMED, mailbox=text(1, 30), check_if_owner=FLAG, delete_after_notify=FLAG, is_setup=FLAG,
        media=of(unavailable=_MEDIA), media_extension=one_of("mp3", "mp4", "wav"), not_configurable=FLAG,
        notify_email_addresses=items(text()), owner_id=text(1, 128), pin=text(4, 15, pattern=r"\A[0-9]*\Z"), require_pin=FLAG,
        save_after_notify=FLAG, skip_greeting=FLAG, skip_instructions=FLAG, timezone=text(0, 64, also=_zone_fault),
    ), ("name", "mailbox", "owner_id"), secret="pin", parameter="box"),
)  # fmt: skip


class KazooCollections:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[KazooRoute, ...]:
        made = []
        for one in COLLECTIONS:
            single = f"{one.path}/{{{one.parameter}}}"
            endpoints = (
                ("GET", one.path, READ, self.list_all, f"List {one.path[1:].replace('_', ' ')}"),
                ("PUT", one.path, WRITE, self.create, f"Make a {one.what}"),
                ("GET", single, READ, self.get_one, f"A {one.what}"),
                ("POST", single, WRITE, self.replace, f"Replace a {one.what}"),
                ("PATCH", single, WRITE, self.patch, f"Change some of a {one.what}"),
                ("DELETE", single, WRITE, self.delete, f"Delete a {one.what}"),
            )
            made += [KazooRoute(method, path, scope, _bound(how, one), words) for method, path, scope, how, words in endpoints]
        return tuple(made)

    async def list_all(self, request: Request, account: str, name: str, of: Collection) -> Response:
        return await listed(self._service, request, account, of.kind, of.shown)

    async def create(self, request: Request, account: str, name: str, of: Collection) -> Response:
        data, owner, principal = await read_data(request), uuid_of(account), principal_of(request)
        row_name = wanted_id(data) or hex_id(new_id())
        if await self._service.documents.get(owner, of.kind, row_name, principal) is not None:
            raise id_taken(row_name)
        row = await self._write(owner, of, row_name, lambda old: bare(data), principal)
        return success(request, _told(row, of, principal), 201)

    async def get_one(self, request: Request, account: str, name: str, of: Collection) -> Response:
        principal = principal_of(request)
        return success(request, _told(await self._row(uuid_of(account), of, name, principal), of, principal))

    async def replace(self, request: Request, account: str, name: str, of: Collection) -> Response:
        data = bare(await read_data(request))
        return await self._changed(request, account, name, of, lambda old: data)

    async def patch(self, request: Request, account: str, name: str, of: Collection) -> Response:
        data = bare(await read_data(request))
        return await self._changed(request, account, name, of, lambda old: merged(old, data))

    async def delete(self, request: Request, account: str, name: str, of: Collection) -> Response:
        owner, principal = uuid_of(account), principal_of(request)
        row = await self._row(owner, of, name, principal)
        await self._service.documents.delete(owner, of.kind, row.name, principal)
        return success(request, _told(row, of, principal) | {"_read_only": {"deleted": True}})

    async def _changed(self, request: Request, account: str, name: str, of: Collection, how: Callable[[Body], Body]) -> Response:
        owner, principal = uuid_of(account), principal_of(request)
        row = await self._row(owner, of, name, principal)
        return success(request, _told(await self._write(owner, of, row.name, how, principal), of, principal))

    async def _row(self, owner: str, of: Collection, name: str, principal: Principal) -> DocumentRow:
        row = await self._service.documents.get(owner, of.kind, name.lower(), principal) if _NAME.fullmatch(name) else None
        if row is None:
            raise BadIdentifier(name)
        return row

    async def _write(self, owner: str, of: Collection, name: str, how: Callable[[Body], Body], principal: Principal) -> DocumentRow:
        def checked(old: Body) -> Body:
            return kept(how(old), of.rule)

        return await self._service.documents.change(owner, of.kind, name, checked, principal)


def _bound(endpoint: Callable[[Request, str, str, Collection], Any], one: Collection) -> Callable[[Request], Any]:
    async def bound(request: Request) -> Response:
        of = request.path_params
        response: Response = await endpoint(request, of["account"], of.get(one.parameter, ""), one)
        return response

    bound.__name__ = f"{endpoint.__name__}_{one.kind}"
    return bound


def _told(row: DocumentRow, of: Collection, principal: Principal) -> dict[str, Any]:
    hidden = of.secret if not principal.admin and WRITE not in principal.scopes else ""
    return {"id": row.name, **{key: value for key, value in row.body.items() if key != hidden or not hidden}}


async def listed(service: Service, request: Request, account: str, kind: str, shown: Sequence[str]) -> Response:
    """A page of an account's documents of one kind: of each its id and what of `shown` it has."""
    query = request.query_params
    size, place = page_size(query), page_place(query.get("start_key", ""))
    rows = await service.documents.list(uuid_of(account), kind, principal_of(request), place[0] if place else None, size)
    keep = filters(query, {})
    told = [{"id": row.name, **{key: row.body[key] for key in shown if key in row.body}} for row in rows if fits(row.body, keep)]
    return success(request, told, **page_marks(query, rows, size))


def wanted_id(data: Body) -> str:
    """The id that a new document is to keep, "" for none. Raises FieldErrors."""
    found = data.get("id")
    if found is None or found == "":
        return ""
    if not isinstance(found, str) or not _NAME.fullmatch(found):
        raise FieldErrors({"id": {"pattern": {"message": "An id is of letters, digits and _.@+-, at most 128 of them"}}})
    return found.lower()


def id_taken(name: str) -> FieldErrors:
    return FieldErrors({"id": {"unique": {"message": "Another document has this id", "cause": name}}})
