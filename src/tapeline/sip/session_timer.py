"""Session timers (RFC 4028): a call whose peer has vanished without a word ends, since one side has to say now and then that it is there.

Both sides agree with INVITE and its 2xx on an interval and on who refreshes: by UPDATE where the peer takes it, else by a re-INVITE that
repeats what was last agreed on. The one who refreshes does so after half of the interval; whoever sees none before it is nearly over says
BYE (section 10). An interval below what is allowed gets 422 with Min-SE, and so may ours: then we ask again. Where the setting is 0 nothing
of this is said or understood. This module knows when; the session knows how.
"""

from __future__ import annotations

from typing import Literal, Protocol

from tapeline.sip.config import EndpointConfig
from tapeline.sip.errors import MalformedMessage
from tapeline.sip.headers import parse_parameters
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import Field, Request, Response
from tapeline.sip.timers import Timer

__all__ = ["SessionTimer", "parse_min_se", "parse_session_expires", "smallest_interval"]

_LEAST = 90  # seconds, RFC 4028 section 4
_MOST = 86_400  # of a Min-SE that we follow
_MOST_RETRIES = 2  # after 422
_SAFETY = 32.0  # seconds before the end that the BYE is sent, or a third of the interval


def _seconds(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise MalformedMessage("a session interval that is none")
    return int(text)


def parse_session_expires(text: str) -> tuple[int, str]:
    """The interval and who refreshes: "uac", "uas", or "" where that is left open. Raises MalformedMessage."""
    seconds, semicolon, rest = text.partition(";")
    who = (parse_parameters(semicolon + rest).get("refresher") or "").lower()
    return _seconds(seconds), who if who in ("uac", "uas") else ""


def parse_min_se(text: str | None) -> int:
    """The smallest interval that a message allows, 90 where it names none (section 5). Raises MalformedMessage."""
    return max(_LEAST, _seconds(text.partition(";")[0])) if text is not None else _LEAST


def _knows_timer(request: Request) -> bool:
    return "timer" in request.tokens("supported") or "timer" in request.tokens("require")


def smallest_interval(request: Request, config: EndpointConfig) -> int:
    """What a 422 is to name, 0 where the request's interval will do (section 9). Raises MalformedMessage."""
    wanted = request.get("session-expires") if config.session_expires else None
    if wanted is None:
        return 0
    parse_min_se(request.get("min-se"))
    return config.min_se if parse_session_expires(wanted)[0] < config.min_se and _knows_timer(request) else 0


class Timed(Protocol):
    """The session."""

    state: Literal["calling", "proceeding", "early", "confirmed", "terminated"]

    @property
    def layer(self) -> TransactionLayer: ...
    @property
    def config(self) -> EndpointConfig: ...
    def refresh(self, now: float) -> bool: ...
    def on_expired(self, now: float) -> None: ...


class SessionTimer:
    """`interval` is 0 while nothing is agreed on; `ours`: it is we who refresh. Where the setting is 0 nothing of all this happens."""

    __slots__ = ("_alone", "_expiry", "_min_se", "_refresh", "_retries", "_session", "interval", "ours")

    def __init__(self, session: Timed) -> None:
        self._session = session
        self.interval = 0
        self.ours = False
        self._min_se = session.config.min_se
        self._retries = 0
        self._alone = False  # the peer does not know session timers; we keep one all the same
        self._refresh: Timer | None = None
        self._expiry: Timer | None = None

    def wish(self) -> list[Field]:
        """What an INVITE or UPDATE of ours says."""
        if not self._session.config.session_expires:
            return []
        seconds = max(self.interval or self._session.config.session_expires, self._min_se)
        who = "" if not self.interval else ";refresher=uac" if self.ours else ";refresher=uas"
        fields = [("Session-Expires", f"{seconds}{who}")]
        return [*fields, ("Min-SE", str(self._min_se))] if self._min_se > _LEAST else fields

    def accepted(self, response: Response, now: float) -> None:
        """A 2xx to an INVITE or UPDATE of ours: what it says holds; where it says nothing, nothing ends by time (section 7.2)."""
        if not self._session.config.session_expires or self._session.state != "confirmed":
            return
        self._retries = 0
        told = response.get("session-expires")
        try:
            seconds, who = parse_session_expires(told) if told is not None else (0, "")
        except MalformedMessage:
            seconds, who = 0, ""
        if seconds:
            self._alone = False
            self._start(max(seconds, self._session.config.min_se), who != "uas", now)
        else:
            self.stop()

    def refused(self, response: Response) -> bool:
        """A 422: whether to ask again, with what it wants (section 7.4)."""
        try:
            least = parse_min_se(response.get("min-se"))
        except MalformedMessage:
            return False
        if not self._session.config.session_expires or self._retries >= _MOST_RETRIES or least > _MOST:
            return False
        self._retries += 1
        self._min_se = max(self._min_se, least)
        return True

    def answer(self, request: Request, now: float) -> list[Field]:
        """What our 2xx to an INVITE or UPDATE says (section 9, table 2), from which the time runs."""
        config = self._session.config
        if not config.session_expires or self._session.state != "confirmed":
            return []
        known = _knows_timer(request)
        told = request.get("session-expires")
        seconds, who = max(config.session_expires, self._min_se), ""
        if told is not None:
            # Both have been read before. Ours may be shorter than what was asked for, but not than what is allowed.
            wanted, who = parse_session_expires(told)
            seconds = min(wanted, max(seconds, parse_min_se(request.get("min-se"))))
        who = (who or "uac") if known else "uas"
        self._alone = not known
        self._start(max(seconds, config.min_se), who == "uas", now)
        fields = [("Session-Expires", f"{self.interval};refresher={who}")]
        return [*fields, ("Require", "timer")] if who == "uac" else fields

    def _start(self, seconds: int, ours: bool, now: float) -> None:
        self.stop()
        self.interval = seconds
        self.ours = ours
        timers = self._session.layer.timers
        if ours:
            self._refresh = timers.start(now + seconds / 2, self, "refresh")
        self._expiry = timers.start(now + seconds - min(_SAFETY, seconds / 3), self, "expired")

    def rebuffed(self, now: float) -> None:
        """A refresh was refused. A peer that knows nothing of timers has shown by that that it is there, which is all that was asked."""
        if self._alone and self.interval:
            self._start(self.interval, True, now)
        else:
            self.put_off(now)

    def put_off(self, now: float) -> None:
        """A refresh could not be sent, or was refused: once more, while there is time."""
        if self._expiry is not None:
            self._session.layer.timers.cancel(self._refresh)
            later = now + max(self._session.layer.times.t2, (self._expiry[0] - now) / 4)
            self._refresh = self._session.layer.timers.start(later, self, "refresh")

    def stop(self) -> None:
        if self.interval:
            self.interval = 0
            timers = self._session.layer.timers
            timers.cancel(self._refresh)
            timers.cancel(self._expiry)
            self._refresh = self._expiry = None

    def on_timer(self, name: str, now: float) -> None:
        if name == "expired":
            self.stop()
            self._session.on_expired(now)
            return
        self._refresh = None
        if not self._session.refresh(now):
            self.put_off(now)
