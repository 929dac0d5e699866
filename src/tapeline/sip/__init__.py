"""SIP signalling without I/O: messages, transactions, dialogs and calls. See README.md in this folder.

`Endpoint` is the way in. Sockets are in `tapeline.sip.transports` alone.
"""

from tapeline.sip.auth import Credentials
from tapeline.sip.config import EndpointConfig, Flow, Outgoing, SipTimers
from tapeline.sip.dtmf import info_digit
from tapeline.sip.endpoint import Endpoint
from tapeline.sip.errors import (
    ImpossibleInput,
    MalformedMessage,
    MalformedMultipart,
    MalformedSdp,
    MalformedUri,
    NoCommonMedia,
    NotDrained,
)
from tapeline.sip.events import (
    Accepted,
    Ended,
    Established,
    Event,
    Incoming,
    InfoReceived,
    LoginFailed,
    Progress,
    ReferProgress,
    Referred,
    Registered,
    RegistrationChanged,
    ReofferAccepted,
    ReofferAcknowledged,
    Reoffered,
    ReofferRefused,
    Replied,
    SessionEvent,
    Unregistered,
)
from tapeline.sip.message import Request, Response, parse_message
from tapeline.sip.refer import Refer
from tapeline.sip.registrar import Binding, Registrar, RegistrarConfig
from tapeline.sip.registration import Registration
from tapeline.sip.session import Session
from tapeline.sip.trace import Trace
from tapeline.sip.uri import Uri, parse_uri

__all__ = [
    "Accepted",
    "Binding",
    "Credentials",
    "Ended",
    "Endpoint",
    "EndpointConfig",
    "Established",
    "Event",
    "Flow",
    "ImpossibleInput",
    "Incoming",
    "InfoReceived",
    "LoginFailed",
    "MalformedMessage",
    "MalformedMultipart",
    "MalformedSdp",
    "MalformedUri",
    "NoCommonMedia",
    "NotDrained",
    "Outgoing",
    "Progress",
    "Refer",
    "ReferProgress",
    "Referred",
    "Registered",
    "Registrar",
    "RegistrarConfig",
    "Registration",
    "RegistrationChanged",
    "ReofferAccepted",
    "ReofferAcknowledged",
    "ReofferRefused",
    "Reoffered",
    "Replied",
    "Request",
    "Response",
    "Session",
    "SessionEvent",
    "SipTimers",
    "Trace",
    "Unregistered",
    "Uri",
    "info_digit",
    "parse_message",
    "parse_uri",
]
