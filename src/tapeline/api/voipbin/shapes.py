"""The resources of VoIPBIN's API as JSON-ready objects, made from the service's views.

The rules of presence are the platform's: an id without a value is the zero UUID and is there; an empty string or list and a time that
has not come are left out. What tapeline knows beyond the platform stands under the one extra key `tapeline`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on

from tapeline.api.times import page_token, rfc3339
from tapeline.calls.views import Address, CallView, ConferenceCallView, ConferenceView, Page, PlacedCalls, RecordingView
from tapeline.core.ids import ZERO_ID

__all__ = [
    "DESCRIBED",
    "ActionShape",
    "AddressShape",
    "CallShape",
    "CallsShape",
    "ConferenceCallShape",
    "ConferenceCallsShape",
    "ConferenceShape",
    "ConferencesShape",
    "GroupcallShape",
    "PeaksShape",
    "PlacedCallsShape",
    "RecordingShape",
    "RecordingsShape",
    "TimelineShape",
    "call",
    "conference",
    "conferencecall",
    "finite",
    "listing",
    "nullable_times",
    "peaks",
    "placed_calls",
    "recording",
    "schemas",
    "timeline",
]

View = TypeVar("View")


class AddressShape(TypedDict, total=False):
    type: str
    target: str
    target_name: str
    name: str
    detail: str


class ActionShape(TypedDict, total=False):
    id: str
    next_id: str
    type: str
    option: dict[str, Any]
    tm_execute: str | None


class CallExtra(TypedDict, total=False):
    sip_call_id: str
    hangup_cause: str


class CallShape(TypedDict, total=False):
    id: str
    customer_id: str
    owner_type: str
    owner_id: str
    flow_id: str
    activeflow_id: str
    type: str
    master_call_id: str
    chained_call_ids: list[str]
    recording_id: str
    recording_ids: list[str]
    groupcall_id: str
    source: AddressShape
    destination: AddressShape
    status: str
    action: ActionShape
    direction: str
    mute_direction: str
    hangup_by: str
    hangup_reason: str
    tm_ringing: str
    tm_progressing: str
    tm_hangup: str
    tm_create: str
    tm_update: str
    tm_delete: str
    tapeline: CallExtra


class RecordingExtra(TypedDict, total=False):
    reason: str
    recovered: bool
    paused: str
    channels: int
    rate: int
    duration: float | None
    size: int | None
    sha256: str
    label: str
    origin: str
    measures: dict[str, Any]
    tags: list[str]
    note: str
    flow_id: str
    source: str
    destination: str
    direction: str
    retention_days: float | None
    hold: dict[str, Any] | None


class RecordingShape(TypedDict, total=False):
    id: str
    customer_id: str
    owner_type: str
    owner_id: str
    activeflow_id: str
    reference_type: str
    reference_id: str
    status: str
    format: str
    on_end_flow_id: str
    tm_start: str
    tm_end: str
    tm_create: str
    tm_update: str
    tm_delete: str
    tapeline: RecordingExtra


class ConferenceExtra(TypedDict, total=False):
    room: str
    reason: str
    moderated: bool
    max_members: int
    join_tone: str
    leave_tone: str
    music: str
    tm_expire: str | None


class ConferenceShape(TypedDict, total=False):
    id: str
    customer_id: str
    type: str
    status: str
    name: str
    detail: str
    data: dict[str, Any]
    timeout: int
    pre_flow_id: str
    post_flow_id: str
    conferencecall_ids: list[str]
    recording_id: str
    recording_ids: list[str]
    transcribe_id: str
    direct_hash: str
    tm_end: str | None
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None
    tapeline: ConferenceExtra


class ConferenceCallExtra(TypedDict, total=False):
    mute: bool
    deaf: bool
    reason: str
    tm_join: str | None
    tm_leave: str | None


class ConferenceCallShape(TypedDict, total=False):
    id: str
    customer_id: str
    activeflow_id: str
    conference_id: str
    reference_type: str
    reference_id: str
    status: str
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None
    tapeline: ConferenceCallExtra


class ConferencesShape(TypedDict):
    result: list[ConferenceShape]
    next_page_token: str


class ConferenceCallsShape(TypedDict):
    result: list[ConferenceCallShape]
    next_page_token: str


class CallsShape(TypedDict):
    result: list[CallShape]
    next_page_token: str


class GroupcallShape(TypedDict, total=False):
    id: str
    customer_id: str
    status: str
    source: AddressShape
    destinations: list[AddressShape]
    ring_method: str
    answer_method: str
    call_ids: list[str]
    tm_create: str


class PlacedCallsShape(TypedDict):
    calls: list[CallShape]
    groupcalls: list[GroupcallShape]


class RecordingsShape(TypedDict):
    result: list[RecordingShape]
    next_page_token: str


class TimelineShape(TypedDict):
    id: str
    duration: float | None
    result: list[dict[str, Any]]


class PeaksShape(TypedDict):
    id: str
    duration: float | None
    channels: int
    result: list[list[float]]


class ErrorBody(TypedDict, total=False):
    status: str
    reason: str
    message: str
    request_id: str
    details: list[dict[str, Any]]


class ErrorShape(TypedDict):
    error: ErrorBody


DESCRIBED: tuple[type, ...] = (
    CallShape, CallsShape, PlacedCallsShape, RecordingShape, RecordingsShape, TimelineShape, PeaksShape,
    ConferenceShape, ConferencesShape, ConferenceCallShape, ConferenceCallsShape, ErrorShape,
)  # fmt: skip


def schemas(more: Iterable[type] = ()) -> dict[str, Any]:
    """JSON schemas of all shapes, and of `more`, by name, as the API's description refers to them."""
    adapters: list[tuple[type, Literal["serialization"], TypeAdapter[Any]]] = [
        (shape, "serialization", TypeAdapter(shape)) for shape in (*DESCRIBED, *more)
    ]
    _, together = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    found: dict[str, Any] = together["$defs"]
    return found


def call(view: CallView) -> dict[str, Any]:
    """The platform's Call."""
    return {
        "id": view.id,
        "customer_id": view.account,
        "owner_type": "",
        "owner_id": ZERO_ID,
        "flow_id": view.flow_id or ZERO_ID,
        "activeflow_id": view.activeflow_id or ZERO_ID,
        "type": "flow",
        "master_call_id": view.master_call_id or ZERO_ID,
        **_present(chained_call_ids=list(view.chained_call_ids)),
        "recording_id": view.recording_id or ZERO_ID,
        **_present(recording_ids=list(view.recording_ids)),
        "groupcall_id": ZERO_ID,
        "source": _address(view.source),
        "destination": _address(view.destination),
        "status": view.status,
        "action": action(view.action),
        "direction": view.direction,
        **_present(mute_direction=view.mute_direction, hangup_by=view.hangup_by, hangup_reason=view.hangup_reason),
        **_times(
            tm_ringing=view.ringing,
            tm_progressing=view.progressing,
            tm_hangup=view.hungup,
            tm_create=view.created,
            tm_update=view.updated,
            tm_delete=view.deleted,
        ),
        "tapeline": {"sip_call_id": view.sip_call_id, "hangup_cause": view.hangup_cause},
    }


def placed_calls(placed: PlacedCalls) -> dict[str, Any]:
    """The platform's answer to `POST /calls`: a party with several phones is a groupcall."""
    return {
        "calls": [call(view) for view in placed.calls],
        "groupcalls": [
            {
                "id": view.id,
                "customer_id": view.account,
                "status": "progressing",
                "source": _address(view.source),
                "destinations": [_address(view.destination)],
                "ring_method": "ring_all",
                "answer_method": "hangup_others",
                "call_ids": list(view.call_ids),
                **_times(tm_create=view.created),
            }
            for view in placed.groupcalls
        ],
    }


def recording(view: RecordingView) -> dict[str, Any]:
    """The platform's Recording."""
    return {
        "id": view.id,
        "customer_id": view.account,
        "owner_type": "",
        "owner_id": ZERO_ID,
        "activeflow_id": view.activeflow_id or ZERO_ID,
        "reference_type": view.reference,
        "reference_id": view.call_id or ZERO_ID,
        "status": view.state,
        **_present(format=view.format),
        "on_end_flow_id": view.on_end_flow_id or ZERO_ID,
        **_times(
            tm_start=view.started,
            tm_end=view.ended,
            tm_create=view.created,
            tm_update=view.updated,
            tm_delete=view.deleted,
        ),
        "tapeline": {
            "reason": view.reason,
            "recovered": view.recovered,
            "paused": view.paused,
            "channels": view.channels,
            "rate": view.rate,
            "duration": finite(view.duration),
            "size": view.size,
            "sha256": view.sha256,
            "label": view.label,
            "origin": view.origin,
            "measures": finite(view.measures),
            "tags": list(view.tags),
            "note": view.note,
            "flow_id": view.flow_id or ZERO_ID,
            "source": view.source,
            "destination": view.destination,
            "direction": view.direction,
            "retention_days": view.retention_days,
            "hold": {"reason": view.hold_reason, "by": view.held_by, **_times(tm_hold=view.held)} if view.held is not None else None,
        },
    }


def conference(view: ConferenceView) -> dict[str, Any]:
    """The platform's Conference. Unlike elsewhere, its times are null where they have not come."""
    return {
        "id": view.id,
        "customer_id": view.account,
        "type": "conference" if view.room else view.kind,
        "status": view.status,
        **_present(name=view.name, detail=view.detail, data=finite(view.data), timeout=view.timeout),
        "pre_flow_id": view.pre_flow_id or ZERO_ID,
        "post_flow_id": view.post_flow_id or ZERO_ID,
        **_present(conferencecall_ids=list(view.member_ids)),
        "recording_id": view.recording_id or ZERO_ID,
        **_present(recording_ids=list(view.recording_ids)),
        "transcribe_id": ZERO_ID,
        "direct_hash": "",
        **nullable_times(tm_end=view.ended, tm_create=view.created, tm_update=view.updated, tm_delete=view.deleted),
        "tapeline": {**finite(view.options), "room": view.room, "reason": view.reason, **nullable_times(tm_expire=view.expires)},
    }


def conferencecall(view: ConferenceCallView) -> dict[str, Any]:
    """The platform's Conferencecall: one stay of one call."""
    return {
        "id": view.id,
        "customer_id": view.account,
        "activeflow_id": view.activeflow_id or ZERO_ID,
        "conference_id": view.conference_id or ZERO_ID,
        "reference_type": "call",
        "reference_id": view.call_id or ZERO_ID,
        "status": view.status,
        **nullable_times(tm_create=view.created, tm_update=view.updated, tm_delete=view.deleted),
        "tapeline": {
            "mute": view.muted, "deaf": view.deaf, "reason": view.reason, **nullable_times(tm_join=view.joined, tm_leave=view.left),
        },
    }  # fmt: skip


def timeline(view: RecordingView) -> dict[str, Any]:
    """What happened while it was recorded, in order."""
    return {"id": view.id, "duration": finite(view.duration), "result": finite(view.timeline)}


def peaks(view: RecordingView) -> dict[str, Any]:
    """The loudest of each stretch of each channel, for drawing; empty until the recording is available."""
    return {"id": view.id, "duration": finite(view.duration), "channels": view.channels, "result": finite(view.peaks)}


def listing(page: Page, shape: Callable[[View], dict[str, Any]]) -> dict[str, Any]:
    """A page. The platform sends the token of the last item even where nothing follows, and an empty one with an empty page."""
    return {
        "result": [shape(item) for item in page.items],
        "next_page_token": page_token(page.items[-1].created) if page.items else "",
    }


def finite(value: Any) -> Any:
    """`value` with lists for sequences, and null where a number is not finite (the loudness of silence), which JSON cannot say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(item) for item in value]
    return value


def _address(address: Address) -> dict[str, str]:
    return _present(type=address.kind, target=address.target, target_name=address.name)


def action(action: Mapping[str, Any]) -> dict[str, Any]:
    """The action now running; without one, the platform's empty action."""
    executed = action.get("tm_execute")
    return {
        "id": action.get("id") or ZERO_ID,
        "next_id": action.get("next_id") or ZERO_ID,
        **_present(type=action.get("type", ""), option=finite(action.get("option") or {})),
        "tm_execute": rfc3339(executed) if isinstance(executed, float | int) else executed,
    }


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _times(**fields: float | None) -> dict[str, str]:
    return {name: rfc3339(wall) for name, wall in fields.items() if wall is not None}


def nullable_times(**fields: float | None) -> dict[str, str | None]:
    """Times of those resources that have null where one has not come."""
    return {name: rfc3339(wall) if wall is not None else None for name, wall in fields.items()}
