"""The switch: takes calls in, gives each its leg and its script, and passes on what signalling and media tell.

It knows which calls are up on this node, and nothing of what any of them does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import structlog

from tapeline import flow, rtp, sip
from tapeline.calls.conference.loops import Loops
from tapeline.calls.dialer import Dialer
from tapeline.calls.equipment import Equipment
from tapeline.calls.kazoo.metaflows import Actions, Metaflows
from tapeline.calls.kazoo.parking import Parking
from tapeline.calls.media import Media, own_media, usable
from tapeline.calls.outgoing import Outgoing
from tapeline.calls.parties import Binding, Parties
from tapeline.calls.registration import Registrations
from tapeline.calls.routing import Route, Routes
from tapeline.calls.script import scripted
from tapeline.calls.session import Call, Facts
from tapeline.calls.sockets import Sockets
from tapeline.calls.transfer import Transfers
from tapeline.calls.trunks import Trunks
from tapeline.calls.views import Address, CallView
from tapeline.calls.vonage.answering import answer
from tapeline.calls.vonage.webhooks import Webhooks
from tapeline.core.errors import Exhausted
from tapeline.core.ids import new_id
from tapeline.sip.transports.shell import Shell

__all__ = ["Switch"]

log = structlog.get_logger(__name__)

RELEASE_S = 10.0  # how long recordings may take to reach the disk once their calls have ended
REMEMBER_TRACES = 100  # of ended calls; each is at most half a megabyte
REMEMBER_S = 5.0  # an ended call is still told of from memory until its row is surely written


class Switch:
    """All calls of this node."""

    def __init__(
        self,
        equipment: Equipment,
        endpoint: sip.Endpoint,
        shell: Shell,
        routes: Routes,
        accounts: dict[str, str],
        advertise: str,
    ) -> None:
        self._kit = equipment
        self._endpoint = endpoint
        self._shell = shell
        self._routes = routes
        self._accounts = accounts  # name -> id
        self._advertise = advertise
        trunks = Trunks(equipment.settings.trunks)
        self.registrations = Registrations(endpoint, shell, equipment.clock, trunks)
        self._parties = Parties(shell, equipment.clock, equipment.settings.users, trunks, self._registered, advertise)
        outgoing = Outgoing(equipment, endpoint, shell, advertise, self._add, self._released)
        equipment.reason_of = self._reason_of
        equipment.webhooks = Webhooks(equipment)
        equipment.program_of = self._program_of
        equipment.conversation = self._conversation
        equipment.dialer = Dialer(equipment, outgoing, self._parties, trunks, advertise, equipment.automatic.answered)
        equipment.sockets = Sockets(equipment, self._add, self._released)
        equipment.loops = Loops(equipment, self._add, self._released)
        self._calls: dict[str, Call] = {}
        self._by_session: dict[str, Call] = {}
        self._by_leg: dict[int, Call] = {}
        self._ended: OrderedDict[str, tuple[float, CallView]] = OrderedDict()
        self._traces: OrderedDict[str, sip.Trace] = OrderedDict()
        self.transfers = Transfers(equipment, endpoint, shell.pump, self._by_session.get, self._flow_of)
        self.actions = Actions(equipment, self.transfers)
        equipment.parking = Parking(equipment)
        equipment.metaflows = Metaflows(equipment, self.actions)
        equipment.pressed = equipment.metaflows.pressed
        self.totals = {"calls_total": 0, "calls_refused_total": 0, "recordings_total": 0}

    # -- who is here ---------------------------------------------------------------------------------------------------

    def call(self, call_id: str) -> Call | None:
        return self._calls.get(call_id)

    @property
    def calls(self) -> list[Call]:
        return list(self._calls.values())

    @property
    def busy(self) -> bool:
        """Whether a call is up, or signalling still remembers one."""
        return bool(self._calls) or not self._endpoint.idle

    def signalling(self) -> dict[str, float]:
        """What signalling has counted, for /metrics."""
        counters, registrar = self._endpoint.counters, self._endpoint.registrar
        totals = {key: float(value) for key, value in asdict(counters).items() if key != "dropped"}
        totals["keep_alives"] = float(counters.dropped.get("keep-alive", 0))
        totals["dropped"] = float(sum(counters.dropped.values())) - totals["keep_alives"]
        return {
            "sip_pending": float(self._endpoint.pending),
            "sip_bindings": float(registrar.registered if registrar is not None else 0),
            "sip_slow_inputs_total": float(self._shell.slow),
            **{f"sip_{key}_total": value for key, value in totals.items()},
        }

    def ended_view(self, call_id: str) -> CallView | None:
        """What a call that ended a moment ago was like."""
        self._forget()
        found = self._ended.get(call_id)
        return found[1] if found else None

    def deleted(self, call_id: str, wall: float) -> None:
        """A call that has ended was deleted, at `wall`."""
        if (found := self._ended.get(call_id)) is not None:
            self._ended[call_id] = (found[0], replace(found[1], deleted=wall))

    @property
    def accepting(self) -> bool:
        """Whether new calls are taken and placed."""
        return self._endpoint.accepting

    def ended_trace(self, call_id: str) -> sip.Trace | None:
        """The messages of a call that has ended, of the last ones for which they were kept."""
        return self._traces.get(call_id)

    def _reason_of(self, call_id: str, account: str) -> str:
        """How a call of this node and `account` ended: its hangup_reason, while it is remembered; else ""."""
        call = self._calls.get(call_id)
        view = call.view() if call is not None else self.ended_view(call_id)
        return view.hangup_reason if view is not None and view.account == account else ""

    def _forget(self) -> None:
        old = self._kit.clock.now() - REMEMBER_S
        while self._ended and next(iter(self._ended.values()))[0] < old:
            self._ended.popitem(last=False)

    # -- signalling ----------------------------------------------------------------------------------------------------

    def on_signal(self, event: sip.Event) -> None:
        if isinstance(event, sip.Incoming):
            self._take(event)
            return
        if not isinstance(event, sip.SessionEvent):
            self.registrations.on_signal(event)
            return
        call = self._by_session.get(event.session.id)
        if call is None:
            return
        if isinstance(event, sip.Referred):
            self.transfers.referred(call, event.refer)
        else:
            call.on_signal(event)

    def _take(self, event: sip.Incoming) -> None:
        """Take a call in. Whatever defect of ours it meets, the caller gets a final answer and the port is given back."""
        try:
            self._incoming(event)
        except Exception as error:
            log.exception("a call could not be taken in", sip_call_id=event.session.call_id, error=repr(error))
            call = self._by_session.get(event.session.id)
            if call is not None:
                call.hang_up("failed", "internal error")
            else:
                self._refuse(event.session, 500)

    def _incoming(self, event: sip.Incoming) -> None:
        session = event.session
        if event.replaces is not None:
            self._replacing(event, self._by_session.get(event.replaces.id))
            return
        number = user_of(session.request_uri)
        route = self._routes.find(number, self._account_of(event.user))
        if route is None:
            log.info("call refused: no flow for the number", number=number)
            self._refuse(session, 404)
            return
        application = self._kit.applications.get(route.application) if route.application else None
        account = application.account if application is not None else route.account_id or self._accounts[route.account]
        call = self._open(session, account, event.user, application_id=route.application, flow_id=route.flow_id)
        if call is None:
            return
        log.info("call", call_id=call.facts.id, sip_call_id=session.call_id, flow=route.source)
        if route.program is None:
            self._ask(event, call, route)
            return
        script = scripted(route.program, call, self._kit, route.captures)
        call.follow(script)
        if call.offered(event.body):
            session.ring(self._kit.clock.now())
            offnet = route.no_match or (not route.flow_id and route.program.no_match)
            self._kit.automatic.arrived(call, route.program.metaflow, offnet=offnet)
            script.start()

    def _ask(self, event: sip.Incoming, call: Call, route: Route) -> None:
        """The number has no document of its own: its application says what is to be done."""
        address = self._answer_address(route)
        if not address[0]:
            log.warning("call refused: its application has no answer URL", call_id=call.facts.id, application_id=route.application)
            call.hang_up("failed", "the application has no answer URL")
        elif call.offered(event.body):
            event.session.ring(self._kit.clock.now())
            self._kit.automatic.arrived(call, {}, offnet=False)
            answer(call, *address, self._kit)

    def _answer_address(self, route: Route) -> tuple[str, str]:
        application = self._kit.applications.get(route.application)
        if route.answer_url or application is None:
            return route.answer_url, "GET"
        return application.answer_url, application.answer_method

    def _account_of(self, user: str) -> str:
        """The id of the account of a user of ours; "" for somebody else."""
        found = self._parties.user(user) if user else None
        return self._accounts[found.account] if found is not None else ""

    def _flow_of(self, number: str, account: str) -> Callable[[Call], None] | None:
        """What runs the flow of a number of ours on a call that is up. None where there is none, or a user has that name."""
        route = self._routes.find(number, account)
        if route is None or self._parties.user(number) is not None:
            return None

        def run(call: Call) -> None:
            if route.program is None:
                answer(call, *self._answer_address(route), self._kit, leading=True)
                return
            script = scripted(route.program, call, self._kit, route.captures)
            call.lead(script)
            script.start()

        return run

    def _conversation(self, activeflow_id: str) -> Call | None:
        """A call that is up in that conversation, before others who has begun it."""
        found = [call for call in self._calls.values() if call.facts.activeflow_id == activeflow_id and call.status == "progressing"]
        return min(found, key=lambda call: (bool(call.facts.master_call_id), call.facts.created), default=None)

    def _program_of(self, number: str, account: str) -> flow.Program | None:
        """What a call to a number or user of ours would run."""
        route = self._routes.find(number, account)
        return route.program if route is not None else None

    def _replacing(self, event: sip.Incoming, old: Call | None) -> None:
        """Somebody wants to take the place of `old`: it is answered, and no flow is asked."""
        if old is None or not self.transfers.may_replace(old, event.user):
            self._refuse(event.session, 603)
            return
        call = self._open(event.session, old.facts.account, event.user, beside=old)
        if call is None:
            return
        log.info("call in place of another", call_id=call.facts.id, sip_call_id=event.session.call_id, replaces=old.facts.id)
        self.transfers.replace(old, call)
        if call.offered(event.body):
            call.answer()

    def _open(
        self, session: sip.Session, account: str, user: str, beside: Call | None = None, *, application_id: str = "", flow_id: str = ""
    ) -> Call | None:
        """A call of ours for an INVITE, with a port for its media. None: there is no port, and the caller has been told."""
        local = self._local_address(session)
        try:
            leg = self._kit.engine.open_leg("::" if ":" in local else None, beside=beside.leg if beside is not None else None)
        except Exhausted as error:
            log.error("call refused: no media port", error=str(error))
            self._refuse(session, 503)
            return None
        facts = Facts(
            id=new_id(),
            account=account,
            activeflow_id=beside.facts.activeflow_id if beside is not None else new_id(),
            source=_party(session.remote_uri, session.remote_name),
            destination=_party(session.request_uri, ""),
            created=round(self._kit.clock.wall(), 6),
            flow_id=flow_id,
            user=user,
            application_id=beside.facts.application_id if beside is not None else application_id,
        )
        media = own_media(self._kit.settings.server.srtp, self._codecs(), local, leg.port, round(facts.created * 1000))
        call = Call(facts, session, Media(leg, media, self._kit), self._kit, self._shell.pump, self._released)
        self._add(call)
        return call

    def _add(self, call: Call) -> None:
        self._calls[call.facts.id] = self._by_session[call.session.id] = self._by_leg[call.leg.id] = call
        self.totals["calls_total"] += 1
        call.announce()

    def _registered(self, username: str, now: float) -> Sequence[Binding]:
        registrar = self._endpoint.registrar
        return registrar.contacts(username, now) if registrar is not None else ()

    def _refuse(self, session: sip.Session, status: int) -> None:
        self.totals["calls_refused_total"] += 1
        headers = [("Retry-After", "10")] if status == 503 else []
        session.reject(status, self._kit.clock.now(), headers=headers)
        self._shell.pump()

    def _codecs(self) -> list[str]:
        return usable(self._kit.settings.server.codecs)

    def _local_address(self, session: sip.Session) -> str:
        """The address that the peer can send media to: the setting, or the one its INVITE arrived at."""
        return self._advertise or session.dialog.flow.local[0]

    # -- media ---------------------------------------------------------------------------------------------------------

    def on_media(self, event: rtp.Event) -> None:
        match event:
            case rtp.PlayerEnded(player=player, stopped=stopped):
                self._kit.on_player_ended(player, stopped)
            case rtp.TapProgress(tap=tap):
                if (recorder := self._kit.taps.get(tap.id)) is not None:
                    recorder.on_progress(event)
            case rtp.TapEnded(tap=tap):
                if (recorder := self._kit.taps.get(tap.id)) is not None:
                    recorder.on_tap_ended(event)
            case _:
                if (call := self._by_leg.get(event.leg.id)) is not None:
                    call.on_media(event)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _released(self, call: Call) -> None:
        self._calls.pop(call.facts.id, None)
        self._by_session.pop(call.session.id, None)
        self._by_leg.pop(call.leg.id, None)
        if call.session.trace is not None:
            self._traces[call.facts.id] = call.session.trace
            if len(self._traces) > REMEMBER_TRACES:
                self._traces.popitem(last=False)
        self._forget()
        self._ended[call.facts.id] = (self._kit.clock.now(), call.view())

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Take no more calls; let those that are up go on for `seconds` or until `hurry` is set, then hang them up, and wait
        until all their recordings are on disk, as long as a disk that works may take."""
        self._endpoint.accepting = False
        log.info("draining", calls=len(self._calls), seconds=seconds)
        deadline = self._kit.clock.now() + seconds
        while self._calls and self._kit.clock.now() < deadline and not hurry.is_set():
            await asyncio.sleep(0.05)
        for call in self.calls:
            call.hang_up("normal", "server shutting down")
        deadline = self._kit.clock.now() + RELEASE_S
        while self._calls and self._kit.clock.now() < deadline:
            await asyncio.sleep(0.02)
        if self._calls:
            log.error("calls whose recordings cannot be completed are left to the next start", calls=len(self._calls))


def user_of(uri: str) -> str:
    """The user part of a SIP URI, the number of a tel URI, "" where there is none."""
    try:
        return sip.parse_uri(uri).plain_user
    except sip.MalformedUri:
        return ""


def _party(uri: str, name: str) -> Address:
    user = user_of(uri)
    if user.startswith("+") and user[1:].isdigit():
        return Address("tel", user, name)
    return Address("sip", uri.removeprefix("sip:").removeprefix("sips:").partition(";")[0], name)
