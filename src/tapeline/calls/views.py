"""What the service tells of calls and recordings: plain frozen values, the same for every face.

A face maps these to its platform's shapes; nobody outside `calls` sees a session, and nobody outside `store` sees a row.
Times are seconds since 1970 UTC; None where it has not happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tapeline.core.facts import CallFacts, ConferenceFacts, RecordingFacts, StayFacts

__all__ = [
    "ActiveflowDraft",
    "Address",
    "CallOrder",
    "CallView",
    "ChannelView",
    "ConferenceCallView",
    "ConferenceDraft",
    "ConferenceView",
    "ExportView",
    "FlowDraft",
    "FlowView",
    "GroupcallView",
    "Page",
    "PlacedCalls",
    "RecordingFile",
    "RecordingView",
    "StorageView",
]


@dataclass(frozen=True, slots=True)
class Address:
    """A party of a call. `kind` is `tel`, `sip`, `extension` ...; `target` the number or URI."""

    kind: str = ""
    target: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class CallView(CallFacts):
    source: Address = field(kw_only=True)
    destination: Address = field(kw_only=True)
    mute_direction: str = ""  # in, out or both, where it is muted; of a live call only
    event_asked: bool = False  # who dialled it tells why it was not answered


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A call that is up, with whom it is of and with whom it talks."""

    call: CallView
    user: str = ""  # the name of the user of ours at its end
    other_leg: str = ""  # the SIP Call-ID of the call that it talks with


@dataclass(frozen=True, slots=True)
class CallOrder:
    """Calls to be placed, one to each destination; who answers runs the flow: `flow_id`, or else the document `actions`."""

    destinations: tuple[Address, ...]
    source: Address | None = None
    flow_id: str = ""
    actions: Any = None
    anonymous: Literal["yes", "no", "auto"] = "auto"
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupcallView:
    """Calls to all the phones of one party at once; the first to answer is the one that goes on."""

    id: str
    account: str
    source: Address
    destination: Address
    call_ids: tuple[str, ...]
    created: float


@dataclass(frozen=True, slots=True)
class PlacedCalls:
    calls: tuple[CallView, ...] = ()
    groupcalls: tuple[GroupcallView, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordingView(RecordingFacts):
    @property
    def media_id(self) -> str:
        """The id that its flow gave it; "" where it gave none."""
        return str(self.custom.get("media_id", ""))


@dataclass(frozen=True, slots=True)
class ConferenceView(ConferenceFacts):
    member_ids: tuple[str, ...] = ()  # stays that last now, in the order of joining


@dataclass(frozen=True, slots=True)
class ConferenceDraft:
    """What is asked of a new conference, or to be changed of one: None, or an option that is not named, is left as it is."""

    id: str = ""
    kind: str = ""
    name: str | None = None
    detail: str | None = None
    data: Mapping[str, Any] | None = None
    timeout: int | None = None  # seconds
    pre_flow_id: str | None = None
    post_flow_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # some fields of core.roomspec.RoomSpec


@dataclass(frozen=True, slots=True)
class ConferenceCallView(StayFacts):
    """One stay of one call in a conference."""


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """The stored audio, to be streamed. `read(start, end)` yields the bytes of [start, end)."""

    size: int
    content_type: str
    etag: str
    filename: str
    modified: float
    read: Callable[[int, int], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class FlowView:
    """A stored flow; `actions` as they were given."""

    id: str
    account: str
    name: str
    created: float
    detail: str = ""
    actions: tuple[Mapping[str, Any], ...] = ()
    on_complete_flow_id: str = ""
    updated: float | None = None
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class FlowDraft:
    """What a flow shall be like; None leaves what is."""

    name: str | None = None
    detail: str | None = None
    actions: Sequence[Any] | None = None
    on_complete_flow_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExportView:
    """Many recordings in one file. `wanted` is the filter, empty where ids were given; `uri` the link, "" while there is none."""

    id: str
    account: str
    status: str  # progressing, finished, failed, expired
    created: float
    updated: float
    wanted: Mapping[str, Any] = field(default_factory=dict)
    total: int = 0  # 0 where it is not known yet
    done: int = 0
    missing: int = 0
    missed: tuple[Mapping[str, str], ...] = ()
    size: int = 0
    reason: str = ""
    uri: str = ""
    finished: float | None = None
    expires: float | None = None
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class StorageView:
    """What is stored of an account: how many files, of how many bytes."""

    account: str
    files: int
    size: int
    created: float = 0.0  # the account


@dataclass(frozen=True, slots=True)
class ActiveflowDraft:
    """A run that shall begin: of a stored flow, or of `actions`."""

    id: str = ""
    flow_id: str = ""
    actions: Sequence[Any] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    webhook_uri: str = ""
    webhook_method: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first. `items` are views of one kind; `next` is the `created` time to go on before, or None."""

    items: tuple[Any, ...]
    next: float | None = None
