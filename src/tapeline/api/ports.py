"""What the faces need of the rest of the house, as protocols; `calls.services.service.Service` and `store` fulfil them.

Errors are those of `core.errors`: NotFound, Forbidden, InvalidState, InvalidInput, Unavailable, Exhausted. Who may see what is the
service's rule; which scope a route needs is the face's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from tapeline.calls.services.callflows import Change, Written
from tapeline.calls.views import (
    ActiveflowDraft,
    Address,
    CallOrder,
    CallView,
    ChannelView,
    ConferenceCallView,
    ConferenceDraft,
    ConferenceView,
    ExportView,
    FlowDraft,
    FlowView,
    Page,
    PlacedCalls,
    RecordingFile,
    RecordingView,
    StorageView,
)
from tapeline.calls.vonage.voice import Order
from tapeline.core.principal import Principal
from tapeline.core.recordspec import MaskMode, RecordSpec
from tapeline.store import Application, AttemptRow, AuditRow, CallFilter, DeliveryRow, DocumentRow, FlowRow, Search
from tapeline.store.rows import ActiveflowRow, AgentRow, Token

__all__ = [
    "ActiveflowService",
    "Agents",
    "CallService",
    "CallflowService",
    "ConferenceService",
    "DeliveryService",
    "DocumentService",
    "FlowService",
    "Service",
    "Tokens",
]


class Tokens(Protocol):
    """API tokens, as `store` has them. All may raise Unavailable."""

    async def find(self, secret: str) -> Token | None:
        """The token with this secret, unless it was revoked."""

    async def get(self, token_id: str) -> Token | None: ...

    async def page(self, account: str | None, before: float | None, limit: int, *, administrators: bool) -> Sequence[Token]: ...

    async def add(
        self, account_id: str, name: str, scopes: Collection[str], *, detail: str = "", expires: float | None = None
    ) -> tuple[Token, str]: ...

    async def rename(self, token_id: str, name: str, detail: str) -> None: ...

    async def revoke(self, token_id: str) -> bool: ...


class Agents(Protocol):
    """Who logs in, as `store` has them."""

    async def get(self, agent_id: str) -> AgentRow | None: ...

    async def by_username(self, username: str) -> AgentRow | None: ...

    async def list(self, account: str | None, before: float | None, limit: int) -> Sequence[AgentRow]: ...

    async def add(self, row: AgentRow) -> None: ...

    async def change(self, agent_id: str, **columns: Any) -> AgentRow | None: ...

    async def delete(self, agent_id: str) -> AgentRow | None: ...


class ConferenceService(Protocol):
    """The use cases of conferences. A stay is one call's time in one."""

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page: ...

    async def get(self, conference_id: str, principal: Principal) -> ConferenceView: ...

    async def create(self, draft: ConferenceDraft, principal: Principal) -> ConferenceView: ...

    async def update(self, conference_id: str, draft: ConferenceDraft, principal: Principal) -> ConferenceView: ...

    async def delete(self, conference_id: str, principal: Principal) -> ConferenceView: ...

    async def start_recording(self, conference_id: str, spec: RecordSpec, principal: Principal) -> ConferenceView: ...

    async def stop_recording(self, conference_id: str, principal: Principal) -> ConferenceView: ...

    async def list_stays(self, principal: Principal, before: float | None, limit: int) -> Page: ...

    async def get_stay(self, stay_id: str, principal: Principal) -> ConferenceCallView: ...

    async def kick(self, stay_id: str, principal: Principal) -> ConferenceCallView: ...

    async def moderate(
        self, stay_id: str, principal: Principal, *, muted: bool | None = None, deaf: bool | None = None
    ) -> ConferenceCallView: ...


class FlowService(Protocol):
    """The use cases of stored flows."""

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page: ...

    async def get(self, flow_id: str, principal: Principal) -> FlowView: ...

    async def create(self, draft: FlowDraft, principal: Principal) -> FlowView: ...

    async def update(self, flow_id: str, draft: FlowDraft, principal: Principal) -> FlowView: ...

    async def delete(self, flow_id: str, principal: Principal) -> FlowView: ...


class ActiveflowService(Protocol):
    """The use cases of runs of flows."""

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page: ...

    async def get(self, activeflow_id: str, principal: Principal) -> ActiveflowRow: ...

    async def create(self, draft: ActiveflowDraft, principal: Principal) -> ActiveflowRow: ...

    async def stop(self, activeflow_id: str, principal: Principal) -> ActiveflowRow: ...

    async def delete(self, activeflow_id: str, principal: Principal) -> ActiveflowRow: ...


class CallService(Protocol):
    """The use cases of calls beyond seeing and ending them."""

    async def place(self, order: CallOrder, principal: Principal) -> PlacedCalls: ...

    async def switch(self, call_id: str, what: Literal["hold", "music", "silence"], on: bool, principal: Principal) -> None: ...

    async def mute(self, call_id: str, muted: Literal["", "in", "out", "both"], principal: Principal) -> None: ...

    async def talk(self, call_id: str, text: str, language: str, principal: Principal) -> None: ...

    async def channels(self, account: str, principal: Principal) -> Sequence[ChannelView]: ...

    async def metaflow(self, call_id: str, document: Mapping[str, Any], principal: Principal) -> None: ...

    async def keep_trace(self, call_id: str, on: bool, principal: Principal) -> None: ...

    async def trace(self, call_id: str, principal: Principal) -> str: ...


class Archive(Protocol):
    """Recordings that are over, found by more than their id."""

    async def search(self, wanted: Search, principal: Principal) -> list[RecordingView]: ...

    async def deeds(
        self,
        principal: Principal,
        *,
        before: int | None,
        limit: int,
        subject: str,
        action: str,
        actor: str,
        since: float | None,
        until: float | None,
    ) -> list[AuditRow]: ...

    async def hold(self, recording_id: str, reason: str, principal: Principal) -> RecordingView: ...

    async def release(self, recording_id: str, principal: Principal) -> RecordingView: ...

    async def amend(self, recording_id: str, principal: Principal, **changes: Any) -> RecordingView: ...

    async def retention(self, principal: Principal) -> float | None: ...

    async def set_retention(self, days: float | None, principal: Principal) -> None: ...

    async def storage(self, principal: Principal) -> StorageView: ...

    async def files(self, principal: Principal, before: float | None, limit: int) -> Page:
        """Recordings whose files are stored."""

    async def file(self, file_id: str, principal: Principal, scope: str) -> RecordingView:
        """The recording that such a file is of, for what needs `scope`."""

    async def usage(self) -> Mapping[str, tuple[int, int]]:
        """Files and bytes of each account, as they were within the last minute. Never raises."""

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView: ...


class CallflowService(Protocol):
    """Stored callflows."""

    async def list(self, account: str, principal: Principal, before: float | None, limit: int) -> list[FlowRow]: ...

    async def get(self, flow_id: str, account: str, principal: Principal) -> FlowRow: ...

    async def create(self, account: str, how: Change, principal: Principal, flow_id: str = "") -> Written: ...

    async def change(self, flow_id: str, account: str, how: Change, principal: Principal) -> Written: ...

    async def delete(self, flow_id: str, account: str, principal: Principal) -> FlowRow: ...


class DeliveryService(Protocol):
    """What is sent to somebody."""

    async def list(
        self, principal: Principal, before: float | None, limit: int, *, ref: str = "", state: str = "", kind: str = ""
    ) -> Sequence[DeliveryRow]: ...

    async def troubled(self, account: str, principal: Principal, before: float | None, limit: int) -> Sequence[DeliveryRow]: ...

    async def get(self, delivery_id: str, principal: Principal) -> tuple[DeliveryRow, Sequence[AttemptRow]]: ...

    async def setbacks(self, recording_id: str, principal: Principal) -> Sequence[AttemptRow]: ...

    async def replay(self, delivery_id: str, principal: Principal) -> DeliveryRow: ...


class DocumentService(Protocol):
    """Documents of an account, by kind and name."""

    async def get(self, account: str, kind: str, name: str, principal: Principal) -> DocumentRow | None: ...

    async def list(
        self, account: str, kind: str, principal: Principal, before: float | None = None, limit: int = 1000
    ) -> list[DocumentRow]: ...

    async def change(self, account: str, kind: str, name: str, how: Change, principal: Principal) -> DocumentRow: ...

    async def delete(self, account: str, kind: str, name: str, principal: Principal) -> DocumentRow | None: ...


class VoiceService(Protocol):
    """What applications do with their calls; another application's is not there (NotFound)."""

    async def place(self, order: Order, application: Application) -> CallView: ...

    async def get(self, call_id: str, application: Application) -> CallView: ...

    async def list(self, wanted: CallFilter, application: Application) -> tuple[int, Sequence[CallView]]: ...

    async def hang_up(self, call_id: str, application: Application) -> None: ...

    async def mute(self, call_id: str, application: Application, *, heard: bool | None = None, hears: bool | None = None) -> None: ...

    async def transfer(self, call_id: str, application: Application, program: Any, url: str = "") -> None: ...

    async def talk(self, call_id: str, application: Application, text: str, language: str, *, loops: int, level: float) -> None: ...

    async def stream(self, call_id: str, application: Application, url: str, *, loops: int, level: float) -> None: ...

    async def hush(self, call_id: str, application: Application, kind: Literal["stream", "talk"]) -> None: ...

    async def press(self, call_id: str, application: Application, keys: str) -> None: ...

    async def tell_keys(self, call_id: str, application: Application, address: tuple[str, str] | None) -> None: ...


class ExportService(Protocol):
    """Many recordings in one file."""

    async def create(self, principal: Principal, ids: Sequence[str] = (), wanted: Search | None = None) -> ExportView: ...

    async def get(self, export_id: str, principal: Principal) -> ExportView: ...

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page: ...

    async def remove(self, export_id: str, principal: Principal) -> ExportView: ...

    async def file(self, export_id: str, expires: int, signed: str) -> tuple[str, RecordingFile]: ...


class Service(Protocol):
    """The use cases. `before` is seconds since 1970: only what was created strictly earlier."""

    @property
    def archive(self) -> Archive: ...

    @property
    def voice(self) -> VoiceService: ...

    @property
    def exports(self) -> ExportService: ...

    @property
    def callflows(self) -> CallflowService: ...

    @property
    def deliveries(self) -> DeliveryService: ...

    @property
    def documents(self) -> DocumentService: ...

    @property
    def telephony(self) -> CallService: ...

    @property
    def conferences(self) -> ConferenceService: ...

    @property
    def activeflows(self) -> ActiveflowService: ...

    @property
    def flows(self) -> FlowService: ...

    async def list_calls(self, principal: Principal, before: float | None, limit: int) -> Page: ...

    async def get_call(self, call_id: str, principal: Principal) -> CallView: ...

    async def hangup(self, call_id: str, principal: Principal) -> CallView: ...

    async def delete_call(self, call_id: str, principal: Principal) -> CallView: ...

    async def transfer(self, call_id: str, destination: Address, principal: Principal) -> CallView: ...

    async def start_recording(self, call_id: str, spec: RecordSpec, principal: Principal) -> CallView: ...

    async def stop_recording(self, call_id: str, principal: Principal) -> CallView: ...

    async def mask_recording(self, recording_id: str, mode: MaskMode, principal: Principal) -> RecordingView: ...

    async def unmask_recording(self, recording_id: str, principal: Principal) -> RecordingView: ...

    async def list_recordings(self, principal: Principal, before: float | None, limit: int) -> Page: ...

    async def search_recordings(self, wanted: Search, principal: Principal) -> tuple[Sequence[RecordingView], tuple[float, str] | None]:
        """A page, and where the next begins; None where nothing is left."""

    async def get_recording(self, recording_id: str, principal: Principal) -> RecordingView: ...

    async def delete_recording(self, recording_id: str, principal: Principal) -> RecordingView: ...

    async def recording_file(self, recording_id: str, principal: Principal) -> RecordingFile: ...

    async def verify_recording(self, recording_id: str, principal: Principal) -> Mapping[str, Any]: ...

    async def health(self) -> Mapping[str, str]:
        """Name of a part -> "ok", or what is wrong with it; a server that drains is not ready."""

    def stats(self) -> Mapping[str, float]:
        """Gauges, and counters where the name ends in `_total`."""
