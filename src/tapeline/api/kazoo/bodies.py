"""What the resources under /v2 have in common: the row of a route, the body's `data`, how a PATCH merges, pages of documents."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.bodies import is_big, read_json
from tapeline.api.kazoo.words import FieldErrors
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import is_id

__all__ = ["MOST", "KazooRoute", "bare", "data_of", "merged", "page_key", "page_marks", "page_place", "page_size", "read_data"]

DEEPEST = 400  # levels of a document, as a flow may have
PAGE_SIZE = 50
MOST = 1000  # in one page


@dataclass(frozen=True, slots=True)
class KazooRoute:
    """`path` is below the account's. `audit` is what using it is called in the audit; "" where it is not noted."""

    method: str
    path: str
    scope: str
    endpoint: Callable[..., Awaitable[Response]]
    summary: str
    audit: str = ""


async def read_data(request: Request) -> dict[str, Any]:
    """The object `data` of the body. Raises BodyTooLarge, InvalidInput, FieldErrors."""
    body = await read_json(request)
    return await asyncio.to_thread(data_of, body) if is_big(request) else data_of(body)


def data_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Raises FieldErrors where there is no object, or it is nested too deep."""
    data = body.get("data")
    if data is None:
        raise FieldErrors({"data": {"required": {"message": "Field is required but missing"}}})
    if not isinstance(data, dict):
        raise FieldErrors({"data": {"type": {"message": "Value did not match type(s): object", "target": "object"}}})
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        inner = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return data
    raise FieldErrors({"data": {"depth": {"message": f"The document is nested more than {DEEPEST} levels deep", "target": DEEPEST}}})


def bare(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without what only we say in it: its id, and whatever is private to KAZOO."""
    return {key: value for key, value in document.items() if key != "id" and not key.startswith(("_", "pvt_"))}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the fields of `new`, objects within objects too; `null` takes a field away. Neither is deeper than DEEPEST."""
    result = dict(old)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def page_size(query: Mapping[str, str]) -> int:
    """Sizes that make no sense are passed over, as on the platform."""
    if query.get("paginate") == "false":
        return MOST
    text = query.get("page_size", "")
    return min(int(text), MOST) if text.isascii() and text.isdigit() and 0 < len(text) < 6 and int(text) else PAGE_SIZE


class _Row(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created(self) -> float: ...


def page_marks(query: Mapping[str, str], rows: Sequence[_Row], size: int) -> dict[str, Any]:
    """What stands beside the data of a page for which `size` rows were asked."""
    marks: dict[str, Any] = {"page_size": len(rows)}
    if query.get("start_key"):
        marks["start_key"] = query["start_key"]
    if len(rows) >= size:
        marks["next_start_key"] = page_key(rows[-1].created, rows[-1].id)
    return marks


def page_key(created: float, row_id: str) -> str:
    """Where a list goes on."""
    return base64.urlsafe_b64encode(json.dumps([created, row_id]).encode()).decode().rstrip("=")


def page_place(key: str) -> tuple[float, str] | None:
    """What `page_key` made. Raises InvalidInput."""
    if not key:
        return None
    try:
        created, row_id = json.loads(base64.urlsafe_b64decode(key[:200] + "=" * (-len(key[:200]) % 4)))
        if not (math.isfinite(created) and is_id(row_id)):
            raise ValueError(key)
        return float(created), str(row_id)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidInput("start_key is none of ours", hint="pass next_start_key as it was given") from error
