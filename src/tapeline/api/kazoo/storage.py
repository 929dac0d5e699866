"""An account's storage plans over KAZOO's face: which handler takes the recordings that name no url.

    GET PUT POST PATCH DELETE /accounts/A/storage

Handlers are `s3` and `http`. Saving tries each that is new or changed: a small text is stored and read back, and a failure refuses the
save. `validate_settings=false` leaves that out where the settings permit it. The document holds secrets, so reading it takes the same
scope as writing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.kazoo.bodies import KazooRoute, bare, merged, read_data
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.schema import FLAG, Faults, Rule, check, items, of, one_of, only, text, whole
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, hex_id, success, uuid_of
from tapeline.api.ports import Service
from tapeline.core.errors import InvalidState, TapelineError
from tapeline.delivery.plans import Handler, handler_in

__all__ = ["KazooStorage", "Probe"]

SCOPE: Final = "calls:write"
MOST: Final = 20  # handlers of an account
HANDLERS: Final = ("s3", "http")
OTHERS: Final = ("azure", "google_drive", "google_storage", "onedrive", "dropbox")

Probe = Callable[[Handler, str], Awaitable[None]]  # the handler, and the account in hexadecimal; raises TapelineError

_NOT_BLANK: Final = r"\A[^\s]*\Z"
_TEXT: Final = text()
_OBJECT: Final = Rule(("object",))


class _Forms:
    """What a storage document must look like."""

    def __init__(self, rules: Rules) -> None:
        field = only(arg=one_of("account_id", "db", "id", "attachment"), const=_TEXT, field=_TEXT, group=items(_OBJECT))
        common = {"field_list": items(field), "field_separator": _TEXT, "folder_base_path": _TEXT}
        url = rules.web
        self.http = of(("url",), url=url, verb=one_of("put", "post"), send_multipart=FLAG, base64_encode_data=FLAG, **common)
        self.s3 = of(
            ("bucket", "key", "secret"),
            bucket=text(3, 63, pattern=_NOT_BLANK), key=text(1, 128, pattern=_NOT_BLANK), secret=text(1, 128, pattern=_NOT_BLANK),
            host=text(1, 253, pattern=r"\A[A-Za-z0-9.-]+\Z"), port=whole(1, 65_535), scheme=one_of("http", "https"),
            region=text(1, 64, pattern=r"\A[A-Za-z0-9-]+\Z"), bucket_access_method=one_of("auto", "vhost", "path"),
            bucket_after_host=FLAG, **common,
        )  # fmt: skip
        handler = of(("handler", "settings"), handler=one_of(*HANDLERS, *OTHERS), name=_TEXT, settings=_OBJECT)
        kept = only(handler=_TEXT, params=of(folder_path=_TEXT), stub=FLAG)
        kind = of(attachments=kept, connection=_TEXT)
        kinds = of(call_recording=kind, fax=kind, function=kind, mailbox_message=kind, media=kind)
        database = of(attachments=kept, connection=_TEXT, database=_OBJECT, types=kinds)
        plan = only(account=database, aggregate=database, modb=database, system=database)
        attachments = Rule(("object",), others=lambda: handler, pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")
        self.document = of(attachments=attachments, connections=_OBJECT, plan=plan)


class KazooStorage:
    def __init__(self, service: Service, rules: Rules, probe: Probe, *, unprobed: bool) -> None:
        """`unprobed`: whether `validate_settings=false` is heard."""
        self._service = service
        self._forms = _Forms(rules)
        self._probe = probe
        self._unprobed = unprobed

    def routes(self) -> tuple[KazooRoute, ...]:
        return (
            KazooRoute("GET", "/storage", SCOPE, self.get_storage, "The storage plans"),
            KazooRoute("PUT", "/storage", SCOPE, self.create_storage, "Make the storage plans"),
            KazooRoute("POST", "/storage", SCOPE, self.replace_storage, "Replace the storage plans"),
            KazooRoute("PATCH", "/storage", SCOPE, self.patch_storage, "Change some of the storage plans"),
            KazooRoute("DELETE", "/storage", SCOPE, self.delete_storage, "Delete the storage plans"),
        )

    async def get_storage(self, request: Request, account: str) -> Response:
        owner = uuid_of(account)
        body = await self._body(request, owner)
        if body is None:
            raise BadIdentifier(account)
        return success(request, _told(body, owner))

    async def create_storage(self, request: Request, account: str) -> Response:
        document = bare(await read_data(request))
        return await self._change(request, account, lambda old: document, 201)

    async def replace_storage(self, request: Request, account: str) -> Response:
        document = bare(await read_data(request))
        return await self._change(request, account, lambda old: document)

    async def patch_storage(self, request: Request, account: str) -> Response:
        document = bare(await read_data(request))
        return await self._change(request, account, lambda old: merged(old, document))

    async def delete_storage(self, request: Request, account: str) -> Response:
        owner = uuid_of(account)
        body = await self._body(request, owner)
        if body is None:
            raise BadIdentifier(account)
        await self._service.documents.delete(owner, "storage", owner, principal_of(request))
        return success(request, _told(body, owner) | {"_read_only": {"deleted": True}})

    async def _body(self, request: Request, owner: str) -> Mapping[str, Any] | None:
        row = await self._service.documents.get(owner, "storage", owner, principal_of(request))
        return row.body if row is not None else None

    async def _change(
        self, request: Request, account: str, how: Callable[[Mapping[str, Any]], Mapping[str, Any]], status: int = 200
    ) -> Response:
        """Check what is wanted, try what is new in it, and write it, unless somebody else has written meanwhile."""
        owner = uuid_of(account)
        before = await self._body(request, owner) or {}
        wanted = how(before)
        self._check(wanted)
        await self._try(request, owner, before, wanted)

        def unchanged(old: Mapping[str, Any]) -> Mapping[str, Any]:
            if old != before:
                raise InvalidState("the storage document was changed by somebody else meanwhile", reason="CONFLICT")
            return wanted

        row = await self._service.documents.change(owner, "storage", owner, unchanged, principal_of(request))
        return success(request, _told(row.body, owner), status)

    def _check(self, document: Mapping[str, Any]) -> None:
        faults: Faults = check(document, self._forms.document)
        if not faults:
            attachments = document.get("attachments") or {}
            if len(attachments) > MOST:
                faults["attachments"] = {"maxProperties": {"message": f"At most {MOST} handlers", "target": MOST}}
            for name, entry in list(attachments.items())[:MOST]:
                faults |= self._handler_faults(name, entry)
            faults |= _plan_faults(document.get("plan") or {}, attachments)
        if faults:
            raise FieldErrors(faults)

    def _handler_faults(self, name: str, entry: Mapping[str, Any]) -> Faults:
        kind = str(entry.get("handler", "")).lower()
        if kind not in HANDLERS:
            said = {"message": f"The handler {kind!r} is not available here", "target": list(HANDLERS), "value": kind}
            return {f"attachments.{name}.handler": {"enum": said}}
        return check(entry.get("settings") or {}, getattr(self._forms, kind), f"attachments.{name}.settings")

    async def _try(self, request: Request, owner: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Raises FieldErrors with what each handler said that did not work."""
        if request.query_params.get("validate_settings") == "false":
            if self._unprobed:
                return
            raise FieldErrors({"validate_settings": {"forbidden": {"message": "Not allowed to skip the test of the settings"}}})
        handlers = [handler_in(wanted, name) for name in wanted.get("attachments") or {}]
        fresh = [handler for handler in handlers if handler is not None and handler != handler_in(before, handler.id)]
        said = await asyncio.gather(*(self._ask(handler, hex_id(owner)) for handler in fresh))
        faults = {f"attachments.{name}": {"invalid": {"message": message, "target": name}} for name, message in said if message}
        if faults:
            raise FieldErrors(faults)

    async def _ask(self, handler: Handler, account: str) -> tuple[str, str]:
        try:
            await self._probe(handler, account)
        except TapelineError as error:
            return handler.id, f"{error.message} ({error.hint})" if error.hint else error.message
        return handler.id, ""


def _plan_faults(plan: Mapping[str, Any], attachments: Mapping[str, Any]) -> Faults:
    """Each handler that a plan names must be there."""
    faults: Faults = {}
    for name, database in plan.items():
        within = [("attachments", database.get("attachments"))]
        within += [(f"types.{kind}.attachments", (found or {}).get("attachments")) for kind, found in (database.get("types") or {}).items()]
        for path, chosen in within:
            wanted = (chosen or {}).get("handler")
            if wanted and wanted not in attachments:
                said = {"message": "No attachment handler has this id", "value": str(wanted)[:64]}
                faults[f"plan.{name}.{path}.handler"] = {"invalid": said}
    return faults


def _told(body: Mapping[str, Any], owner: str) -> dict[str, Any]:
    return {**body, "id": hex_id(owner)}
