"""Rows as plain values: what the tables hold, one frozen dataclass for each.

Times are seconds since 1970 UTC, None where it has not happened. The ranks say which state comes after which; the upserts use
them so that a late write never takes a row back (see `statements.forward`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tapeline.core.facts import CallFacts, ConferenceFacts, RecordingFacts, StayFacts

__all__ = [
    "ACTIVEFLOW_RANKS",
    "CALL_RANKS",
    "CONFERENCECALL_RANKS",
    "CONFERENCE_RANKS",
    "RECORDING_RANKS",
    "Account",
    "ActiveflowRow",
    "Application",
    "AgentRow",
    "AttemptRow",
    "CallFilter",
    "CallRow",
    "ConferenceCallRow",
    "ConferenceRow",
    "DeliveryRow",
    "DocumentRow",
    "FlowRow",
    "OutboxRow",
    "RecordingRow",
    "Token",
]

CALL_RANKS: Mapping[str, int] = {
    "dialing": 0,
    "ringing": 1,
    "progressing": 2,
    "terminating": 3,
    "canceling": 3,
    "hangup": 4,
}
RECORDING_RANKS: Mapping[str, int] = {"starting": 0, "recording": 1, "stopping": 2, "available": 3, "failed": 3}
CONFERENCE_RANKS: Mapping[str, int] = {"starting": 0, "progressing": 1, "terminating": 2, "terminated": 3}
CONFERENCECALL_RANKS: Mapping[str, int] = {"joining": 0, "joined": 1, "leaving": 2, "leaved": 3}
ACTIVEFLOW_RANKS: Mapping[str, int] = {"running": 0, "ended": 1}


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. Everything else belongs to one."""

    id: str
    name: str
    created: float = 0.0
    retention_days: float | None = None  # None: as the settings say; 0: for ever
    webhook_uri: str = ""  # where its events go, "" nowhere
    webhook_method: str = ""  # "" is POST
    webhook_secret: str = field(default="", repr=False)  # signs what is sent there
    profile: Mapping[str, str] = field(default_factory=dict)  # what its owner says of it: name, detail, email ...


@dataclass(frozen=True, slots=True)
class Application:
    """A Vonage application. `public_key` is PEM; `options` is what its owner said of it that nothing here is done with."""

    id: str
    account: str
    name: str = ""
    created: float = 0.0
    public_key: str = ""
    answer_url: str = ""
    answer_method: str = "GET"
    fallback_url: str = ""
    fallback_method: str = "GET"
    event_url: str = ""
    event_method: str = "POST"
    signature_secret: str = ""  # "": what is sent is not signed
    options: Mapping[str, Any] = field(default_factory=dict)
    updated: float | None = None
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """An API token. The secret itself is not kept, only its SHA-256."""

    id: str
    account: str
    name: str
    scopes: frozenset[str]
    created: float
    revoked: float | None = None
    detail: str = ""
    prefix: str = ""  # the beginning of its secret, to know it again by; "" of the oldest
    expires: float | None = None  # None: never
    updated: float | None = None


@dataclass(frozen=True, slots=True)
class AgentRow:
    """Somebody of an account who logs in. Of a deleted one the name is free again: it has the id as its `username`."""

    id: str
    account: str
    username: str
    name: str
    role: str  # one of `core.principal.ROLES`
    password: str  # hashed, see `passwords`
    created: float
    detail: str = ""
    updated: float | None = None
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class CallRow(CallFacts):
    source: Mapping[str, Any] = field(default_factory=dict, kw_only=True)  # kind, target, name
    destination: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    node: str = ""  # the media node that owns the call


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls of an application. `outcome` is one of `statements.OUTCOMES`; times bound the call's beginning."""

    outcome: str = ""
    since: float | None = None
    until: float | None = None
    activeflow_id: str = ""
    ascending: bool = True
    offset: int = 0
    limit: int = 10


@dataclass(frozen=True, slots=True)
class RecordingRow(RecordingFacts):
    """In lists `peaks` is left out (empty)."""

    node: str = ""
    object_key: str = ""  # where the audio is in the object store; "" before `available`
    content_type: str = ""
    media_id: str = ""  # the id that its flow gave it (`custom` has it, too); filled in when the row is written


@dataclass(frozen=True, slots=True)
class ConferenceRow(ConferenceFacts):
    """A conference: one made over the API, or a room that its first member opened by name."""

    node: str = ""  # the media node that mixes it


@dataclass(frozen=True, slots=True)
class ConferenceCallRow(StayFacts):
    """One stay of one call in a conference."""

    node: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try at something outside: finishing, an upload, a webhook."""

    id: str
    kind: str  # "finish", "upload", "webhook" ...
    ref: str  # id of the recording (or other thing) it was for
    target: str  # what was tried: a step's name, a URL
    status: int  # HTTP status, 0 where there is none
    time: float
    outcome: str  # "ok" or "failed"
    reason: str = ""
    fault: str = ""  # "destination", "network" or "us"; "" when it went well


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """Something that is to be sent to somebody: a recording's file (`object_key`), or a message (`body`).

    `state` is "waiting", "delivered" or "failed"; `round` grows with each replay, `tries` counts those of this round.
    """

    id: str
    account: str
    kind: str  # "upload", "webhook" ...
    ref: str  # id of the recording (or other thing) it tells of
    url: str
    created: float
    until: float  # when it is given up
    method: str = "PUT"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    object_key: str = ""
    content_type: str = ""
    policy: str = "upload"  # what is tried again, and how often; see delivery.policies
    lane: str = ""  # what shares one is sent one after the other, in order of `created`; "": waits for nobody
    signing: str = ""  # who signs it, as it is sent: "voipbin:<account>", "vonage:<application>"; "": nobody
    receiver: str = ""  # scheme, host and port of `url`; filled in when the row is written
    node: str = ""  # whose worker sends it
    state: str = "waiting"
    round: int = 0
    tries: int = 0
    status: int = 0  # of the last try: its HTTP status, 0 where there was none
    reason: str = ""  # why the last try failed
    due: float | None = None  # the next try
    done: float | None = None


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Something still to be told, of a row that has changed; see `outbox.entry`."""

    id: str
    kind: str
    account: str
    subject: str
    time: float
    node: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActiveflowRow:
    """One run of a flow: on a call (`reference_type` call), over the API (api), or after something (""), without media."""

    id: str
    account: str
    status: str  # running, ended
    created: float
    flow_id: str = ""
    reference_type: str = ""
    reference_id: str = ""
    reference_activeflow_id: str = ""  # the run that began this one
    on_complete_flow_id: str = ""
    webhook_uri: str = ""  # where this run's events go, besides the account's address
    webhook_method: str = ""
    current_action: Mapping[str, Any] = field(default_factory=dict)
    executed_actions: tuple[Mapping[str, Any], ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)  # the starter's own
    document: str = ""  # what a run without media needs to begin again after a crash; "" otherwise
    node: str = ""
    updated: float | None = None
    ended: float | None = None
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A flow document as it was given."""

    id: str
    account: str
    name: str
    document: str
    dialect: str
    created: float
    updated: float | None = None
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document of an account, found by its kind and name."""

    id: str
    account: str
    kind: str  # "account", "user", "device" ...
    name: str
    body: Mapping[str, Any]
    created: float
    updated: float
    deleted: float | None = None
