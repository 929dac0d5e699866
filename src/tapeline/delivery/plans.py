"""Storage plans: an account's document that says which handler takes its recordings, and under which name.

The document holds `attachments`, a handler each (`s3` or `http`, with its settings), and `plan`, which names one of them for a kind of
recording (`tapeline.core.kazoo.storage_handler`). From it and a recording's metadata an address is made:

    s3      s3://HANDLER@BUCKET/KEY          the key is DB/ID_NAME unless the handler has a `field_list`
    http    URL/ACCOUNT/OWNER/ID/NAME        or as its `field_list` says

The handler's secrets are not in the address; whoever sends looks them up by its id (see `s3`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from tapeline.core.kazoo import hex_id, recording_document, storage_handler
from tapeline.store import RecordingRow

__all__ = ["Handler", "Stored", "handler_in", "month_database", "place", "stored_by"]

_S3_FIELDS: Final = ({"arg": "db"}, {"group": [{"arg": "id"}, {"const": "_"}, {"arg": "attachment"}]})
_HTTP_FIELDS: Final = ({"arg": "account_id"}, {"field": "owner_id"}, {"arg": "id"}, {"arg": "attachment"})


@dataclass(frozen=True, slots=True)
class Handler:
    """One entry of `attachments`. `folder` is the plan's `folder_path`."""

    id: str
    kind: str
    settings: Mapping[str, Any]
    folder: str = ""

    def text(self, name: str) -> str:
        value = self.settings.get(name)
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""

    def flag(self, name: str) -> bool:
        return self.settings.get(name) in (True, "true")


@dataclass(frozen=True, slots=True)
class Stored:
    """How something reaches a handler. `part` are headers of the file within a multipart body, where it is to be one."""

    url: str
    method: str = "PUT"
    multipart: bool = False
    part: Mapping[str, str] | None = None


def handler_in(storage: Mapping[str, Any], handler_id: str) -> Handler | None:
    """The handler of that id."""
    attachments = storage.get("attachments")
    found = attachments.get(handler_id) if isinstance(attachments, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    settings = found.get("settings")
    return Handler(handler_id, str(found.get("handler", "")), settings if isinstance(settings, Mapping) else {})


def stored_by(storage: Mapping[str, Any], row: RecordingRow) -> tuple[Stored, Mapping[str, Any]] | None:
    """Where the account's plan has the recording stored, and its metadata; None where no plan says anything of it."""
    wanted, params = storage_handler(storage, row.custom, row.origin)
    if not wanted:
        return None
    handler = handler_in(storage, wanted) or Handler(wanted, "", {})
    folder = params.get("folder_path")
    handler = Handler(handler.id, handler.kind, handler.settings, folder if isinstance(folder, str) else "")
    document = recording_document(row)
    return place(handler, document, hex_id(row.account), str(document["name"])), document


def place(handler: Handler, document: Mapping[str, Any], account: str, name: str) -> Stored:
    """The address of a file called `name` with this metadata. One of a handler that is not known cannot be sent to, and says so then."""
    path = "/".join(quote(part, safe="") for part in _path(handler, document, account, name))
    if handler.kind != "http":
        return Stored(f"{handler.kind or 'unknown'}://{quote(handler.id, safe='')}@{quote(handler.text('bucket') or '-', safe='')}/{path}")
    parts = urlsplit(handler.text("url"))
    url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))
    method = "POST" if handler.text("verb").lower() == "post" else "PUT"
    if not handler.flag("send_multipart"):
        return Stored(url, method)
    return Stored(url, method, True, {"Content-Transfer-Encoding": "base64"} if handler.flag("base64_encode_data") else {})


def month_database(account: str, document_id: str) -> str:
    """KAZOO's name of an account's database of the month that begins an id."""
    return f"account/{account[:2]}/{account[2:4]}/{account[4:]}-{document_id[:6]}"


def _path(handler: Handler, document: Mapping[str, Any], account: str, name: str) -> list[str]:
    own_id = str(document["id"])
    arguments = {"account_id": account, "db": month_database(account, own_id), "id": own_id, "attachment": name}
    fields = handler.settings.get("field_list")
    if not isinstance(fields, list) or not fields:
        fields = _S3_FIELDS if handler.kind == "s3" else _HTTP_FIELDS
    separator = handler.text("field_separator") or "/"
    said = separator.join(found for field in fields if (found := _field(field, arguments, document)))
    base = [handler.text("folder_base_path"), handler.folder]
    # Nothing in it leads out of the handler's own folder.
    return [part for part in "/".join([*base, said]).split("/") if part not in ("", ".", "..")] or [own_id]


def _field(field: Any, arguments: Mapping[str, str], document: Mapping[str, Any], depth: int = 0) -> str:
    if not isinstance(field, Mapping) or depth > 3:
        return ""
    if "arg" in field:
        return arguments.get(str(field["arg"]), "")
    if "const" in field:
        return str(field["const"])
    if "field" in field:
        value = document.get(str(field["field"]))
        return str(value) if isinstance(value, str | int | float) else ""
    inner = field.get("group")
    if not isinstance(inner, Sequence) or isinstance(inner, str):
        return ""
    return "".join(_field(each, arguments, document, depth + 1) for each in inner)

