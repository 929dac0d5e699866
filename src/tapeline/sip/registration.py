"""Our registration with another server (RFC 3261 section 10.2): made, kept, made again, and taken back.

It is refreshed well before it ends, each time at another moment, so that many do not come at once. A refusal or silence is followed by
another try after a delay that doubles up to half an hour, or as long as Retry-After says; 423 by one with the interval it asks for. A
lost connection is one more reason to register: the server has forgotten us with it. What lies behind a NAT is kept open by blank lines.

    trying -> registered -> (refresh) registered          trying, registered -> failed -> (delay) trying
    any -> ending -> ended

This module knows nothing of names: the flow is given to it, and `move` gives it another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Literal, Protocol

from tapeline.sip.auth import Credentials
from tapeline.sip.config import EndpointConfig, Flow
from tapeline.sip.errors import MalformedMessage
from tapeline.sip.events import Event, RegistrationChanged
from tapeline.sip.headers import parse_name_addr
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import Field, Response
from tapeline.sip.requests import Line, Outcome
from tapeline.sip.timers import Timer, Timers
from tapeline.sip.uri import host_port

__all__ = ["Registration"]

State = Literal["trying", "registered", "failed", "ending", "ended"]
FIRST_DELAY_S, LONGEST_DELAY_S = 15.0, 1800.0
_LONGEST_INTERVAL_S = 86400
_SOON_S = 2.0  # after a lost connection, so that not all come back in the same instant
_PING_S = {"udp": 25.0}
_PING_STREAM_S = 90.0
_PING = b"\r\n\r\n"


class Owner(Protocol):
    """The endpoint, as its registrations see it."""

    layer: TransactionLayer
    standing: Timers
    config: EndpointConfig

    def emit(self, event: Event) -> None: ...


class Registration:
    """Made by the endpoint. `state`, `status` and `text` are for reading; `move` and `stop` are commands."""

    __slots__ = (
        "_behind_nat", "_delay", "_interval", "_line", "_owner", "_ping", "_refused_interval", "_sending", "_stopped",
        "_taking_back", "_target", "_timer", "_user", "aor", "expires_at", "flow", "on_ended", "state", "status", "text",
    )  # fmt: skip

    def __init__(
        self, owner: Owner, aor: str, target: str, flow: Flow, credentials: Credentials | None, user: str, expires: int, now: float
    ) -> None:
        self._owner = owner
        self._line = Line(owner.layer, aor, aor, flow, credentials)
        self._target = target
        self._user = user
        self._interval = expires
        self._refused_interval = False
        self._delay = FIRST_DELAY_S
        self._timer: Timer | None = None
        self._ping: Timer | None = None
        self._sending = False
        self._stopped = False
        self._taking_back = False
        self._behind_nat = False
        self.aor = aor
        self.flow = flow
        self.state: State = "trying"
        self.status = 0
        self.text = ""
        self.expires_at = 0.0  # of the registration that stands
        self.on_ended: Callable[[Registration], None] = lambda registration: None
        self._send(now)

    # ---- commands

    def move(self, flow: Flow, now: float) -> None:
        """The server is elsewhere: register there, at once."""
        if self._stopped:
            return
        self.flow = flow
        self._try_now(now)

    def stop(self, now: float) -> None:
        """Take the registration back. `RegistrationChanged` says "ended" when that was answered, or was of no use."""
        if self._stopped:
            return
        self._stopped = True
        self._quiet()
        self.state = "ending"
        if self._sending:
            return  # what is under way comes first
        if self.expires_at > now:
            self._take_back(now)
        else:
            self._end(0, "")

    def lost(self, flow: Flow, now: float) -> None:
        """A connection was closed. For the endpoint."""
        if flow == self.flow and self.state == "registered" and not self._sending:
            self._start(now + _SOON_S * self._owner.layer.fraction())

    # ---- what goes out

    def _contact(self) -> str:
        user = f"{self._user}@" if self._user else ""
        transport = "" if self.flow.transport == "udp" else f";transport={self.flow.transport}"
        return f"sip:{user}{host_port(*self._owner.config.address(self.flow))}{transport}"

    def _take_back(self, now: float) -> None:
        self._taking_back = True
        self._send(now)

    def _send(self, now: float) -> None:
        self._sending = True
        expires = 0 if self._taking_back else self._interval
        fields: list[Field] = [("Contact", f"<{self._contact()}>;expires={expires}"), ("Expires", str(expires))]
        fields.append(("Allow", ", ".join(self._owner.config.allow)))
        self._line.send("REGISTER", self._target, self.flow, self._on_outcome, now, fields)

    def _start(self, deadline: float) -> None:
        self._owner.standing.cancel(self._timer)
        self._timer = self._owner.standing.start(deadline, self, "register")

    def _try_now(self, now: float) -> None:
        self._owner.standing.cancel(self._timer)
        self._timer = None
        if not self._sending:
            self._send(now)

    def on_timer(self, name: str, now: float) -> None:
        if name == "register":
            self._timer = None
            self._try_now(now)
        else:
            self._owner.layer.transmit(_PING, self.flow, None, now)
            self._keep_open(now)

    def _keep_open(self, now: float) -> None:
        self._owner.standing.cancel(self._ping)
        self._ping = None
        if self._behind_nat and self.state == "registered":
            self._ping = self._owner.standing.start(now + _PING_S.get(self.flow.transport, _PING_STREAM_S), self, "ping")

    # ---- what comes back

    def _on_outcome(self, outcome: Outcome, now: float) -> None:
        self._sending = False
        if self._stopped and (self._taking_back or outcome.status >= 300):
            self._end(outcome.status, outcome.text)
        elif self._stopped:
            self._take_back(now)
        elif 200 <= outcome.status < 300 and outcome.response is not None:
            self._stands(outcome, outcome.response, now)
        elif outcome.status == 423 and outcome.response is not None and self._longer(outcome.response):
            self._send(now)
        else:
            self._failed(outcome, now)

    def _stands(self, outcome: Outcome, response: Response, now: float) -> None:
        layer = self._owner.layer
        granted = self._granted(response)
        self.expires_at = now + granted
        self._delay = FIRST_DELAY_S
        self._refused_interval = False
        self._start(now + granted * (0.7 + 0.15 * layer.fraction()))
        self._behind_nat = _seen_elsewhere(response, self._owner.config.address(self.flow))
        self._tell("registered", outcome)
        self._keep_open(now)

    def _granted(self, response: Response) -> int:
        """For how long, in seconds: our own Contact in the answer says it, else its Expires, else what we asked for."""
        ours = self._contact()
        found: str | None = response.get("expires")
        with contextlib.suppress(MalformedMessage):  # what cannot be read says nothing
            for value in response.items("contact"):
                contact = parse_name_addr(value)
                if contact.uri_text == ours and contact.parameters.get("expires"):
                    found = contact.parameters["expires"]
        granted = _seconds(found)
        return min(granted, self._interval) if granted else self._interval

    def _longer(self, response: Response) -> bool:
        """Whether 423 names an interval that we can try, once."""
        wanted = _seconds(response.get("min-expires"))
        if self._refused_interval or not self._interval < wanted <= _LONGEST_INTERVAL_S:
            return False
        self._refused_interval = True
        self._interval = wanted
        return True

    def _failed(self, outcome: Outcome, now: float) -> None:
        wait = self._delay * (0.5 + 0.5 * self._owner.layer.fraction())
        self._delay = min(self._delay * 2, LONGEST_DELAY_S)
        if outcome.response is not None:
            asked = _seconds((outcome.response.get("retry-after") or "").partition(";")[0].partition("(")[0])
            wait = max(wait, min(float(asked), LONGEST_DELAY_S))
        self._refused_interval = False
        self._start(now + wait)
        self._tell("failed", outcome)
        self._keep_open(now)

    def _tell(self, state: Literal["registered", "failed"], outcome: Outcome) -> None:
        changed = state != self.state or state == "failed"  # a refresh is not told, each failure is
        self.state, self.status, self.text = state, outcome.status, outcome.text
        if changed:
            self._owner.emit(RegistrationChanged(self, state, outcome.status, outcome.text))

    # ---- the end

    def _quiet(self) -> None:
        self._owner.standing.cancel(self._timer)
        self._owner.standing.cancel(self._ping)
        self._timer = self._ping = None

    def _end(self, status: int, text: str) -> None:
        self._quiet()
        self.state, self.status, self.text = "ended", status, text
        self.on_ended(self)
        self._owner.emit(RegistrationChanged(self, "ended", status, text))


def _seconds(text: str | None) -> int:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _seen_elsewhere(response: Response, own: tuple[str, int]) -> bool:
    """Whether the server saw our request come from another place than we think we are at."""
    try:
        parameters = response.via.parameters
    except MalformedMessage:
        return False
    host, port = parameters.get("received"), parameters.get("rport")
    return (host is not None and host != own[0]) or (port is not None and port != str(own[1]))
