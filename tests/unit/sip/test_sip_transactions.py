"""The four transactions and the dialog: each cell of their tables, empty ones included, and the timers of RFC 3261 in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sip_rig import ANSWER, CONTACT, FLOW, PEER, SDP, TCP, US, Rig, counting_entropy, invite, request, response_to

import tapeline.sip
from tapeline.sip import Ended, EndpointConfig, Flow, ImpossibleInput, Request, Response, parse_message
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.tables import DIALOG, INVITE_CLIENT, INVITE_SERVER, NON_INVITE_CLIENT, NON_INVITE_SERVER, TABLES, Table, mermaid
from tapeline.sip.transactions import ClientTransaction, InviteServer, NonInviteServer, Transaction


class Listener:
    """A transaction user that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.trace = None

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        self.told.append(str(response.status))

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        self.told.append(what)


def read(data: bytes) -> Any:
    return parse_message(data)


def make(table: Table, flow: Flow = FLOW) -> tuple[TransactionLayer, Transaction, Any]:
    """A fresh transaction of that table, and a message for its inputs."""
    layer = TransactionLayer(EndpointConfig(), counting_entropy())
    if table in (INVITE_SERVER, NON_INVITE_SERVER):
        method = "INVITE" if table is INVITE_SERVER else "OPTIONS"
        message: Request = read(request(method))
        return layer, layer.serve(message, flow, 0.0), Response(200, "OK", [("To", "<sip:x@y>;tag=z")])
    method = "INVITE" if table is INVITE_CLIENT else "OPTIONS"
    plain: Request = read(request(method))
    asked = Request(method, "sip:x@192.0.2.9", plain.fields[1:])
    made = layer.request(asked, flow, Listener(), 0.0)
    return layer, made, read(response_to(made.request, 200))


RUNNING = {name: table for name, table in TABLES.items() if table is not DIALOG}


def cells(table: Table) -> list[tuple[str, str]]:
    states = sorted({state for state, _ in table})
    inputs = sorted({what for _, what in table})
    return [(state, what) for state in states for what in inputs]


@pytest.mark.parametrize(("name", "state", "what"), [(name, *cell) for name, table in RUNNING.items() for cell in cells(table)])
def test_every_cell(name: str, state: str, what: str) -> None:
    table = RUNNING[name]
    layer, transaction, message = make(table)
    transaction.state = state
    transaction.data = transaction.data or b"answer"
    if (state, what) not in table:
        with pytest.raises(ImpossibleInput):
            transaction.step(what, 1.0, message)
        assert transaction.state == state
        return
    transaction.step(what, 1.0, message)
    after, actions = table[state, what]
    assert transaction.state == after
    gone = transaction not in layer.clients.values() and transaction not in layer.servers.values()
    assert gone == (after == "terminated")
    told = {"deliver": "200", "report_timeout": "timeout", "report_lost": "lost"}
    expected = [told[action] for action in actions if action in told]
    assert getattr(transaction.user, "told", []) == expected


@pytest.mark.parametrize(("state", "what"), cells(DIALOG))
def test_every_cell_of_the_dialog(state: str, what: str) -> None:
    rig = Rig()
    session, _ = rig.call()
    session.state = state  # type: ignore[assignment]  # from the table
    if (state, what) not in DIALOG:
        with pytest.raises(ImpossibleInput):
            session.step(what)
        return
    assert session.step(what) == DIALOG[state, what][1]
    assert session.state == DIALOG[state, what][0]
    assert ("end" in DIALOG[state, what][1]) == (session.state == "terminated" and state != "terminated")


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_state_leads_to_its_end(table: Table) -> None:
    reached = {"terminated"}
    while more := {state for (state, _), (after, _) in table.items() if after in reached} - reached:
        reached |= more
    assert {state for state, _ in table} <= reached


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_a_picture_can_be_drawn(table: Table) -> None:
    picture = mermaid(table).splitlines()
    assert picture[0] == "stateDiagram-v2"
    assert len(picture) == 1 + sum(1 for (state, _), (after, actions) in table.items() if state != after or actions)


def test_over_a_stream_nothing_lingers() -> None:
    for table, final in ((NON_INVITE_CLIENT, "final"), (NON_INVITE_SERVER, "send final")):
        layer, transaction, message = make(table, TCP)
        transaction.step(final, 1.0, message)
        assert transaction.state == "terminated"
        assert not layer.clients and not layer.servers


def times(rig: Rig, until: float) -> list[float]:
    """When something was sent, up to `until`."""
    found = []
    while (deadline := rig.endpoint.next_deadline()) is not None and deadline <= until:
        rig.endpoint.tick(deadline)
        rig.drain()
        found += [deadline] * len(rig.raw)
    return found


def test_an_invite_without_answer_is_repeated_and_given_up() -> None:
    rig = Rig()
    session, _ = rig.call()
    sent = []
    while (deadline := rig.endpoint.next_deadline()) is not None and deadline <= 33:
        rig.endpoint.tick(deadline)
        rig.drain()
        sent += [deadline] * len(rig.raw)
        if rig.events:
            break
    assert sent == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    (event,) = rig.events
    assert deadline == 32.0
    assert isinstance(event, Ended) and (event.cause, event.by, event.status) == ("timeout", "local", 408)
    assert session.state == "terminated" and not rig.endpoint.sessions
    rig.at(64.0)  # what comes late still finds its transaction
    assert rig.endpoint.idle


def test_an_invite_over_a_stream_is_not_repeated() -> None:
    rig = Rig()
    rig.call(flow=TCP._replace(id=0))
    assert times(rig, 31.9) == []


def test_a_bye_without_answer_is_repeated_up_to_t2() -> None:
    rig = Rig()
    session = rig.established()
    session.hangup(0.0)
    rig.drain()
    assert times(rig, 100.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert rig.endpoint.idle


def test_a_provisional_answer_slows_a_bye_to_t2() -> None:
    rig = Rig()
    session = rig.established()
    session.hangup(0.0)
    rig.drain()
    rig.give(response_to(rig.request, 100, tag=""))
    assert times(rig, 20.0) == [0.5, 4.5, 8.5, 12.5, 16.5]


def test_an_invite_not_answered_in_200_ms_gets_100_once() -> None:
    rig = Rig()
    rig.incoming()
    assert times(rig, 0.19) == []
    assert times(rig, 10.0) == [0.2]
    assert rig.give(invite()) == [100]


def test_a_refusal_is_repeated_until_its_ack() -> None:
    rig = Rig()
    session = rig.incoming()
    session.reject(486, 0.0)
    rig.drain()
    assert rig.statuses == [486]
    assert times(rig, 4.0) == [0.5, 1.5, 3.5]
    rig.give(request("ACK", branch="z9hG4bK-INVITE-1", to_tag=session.local_tag))
    assert times(rig, 100.0) == []
    assert rig.endpoint.idle


def test_a_refusal_without_ack_is_given_up() -> None:
    rig = Rig()
    rig.incoming().reject(603, 0.0)
    rig.drain()
    assert times(rig, 100.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert rig.endpoint.idle


def test_a_2xx_is_repeated_until_its_ack_over_a_stream_too() -> None:
    rig = Rig()
    rig.give(invite(via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKt"), TCP)
    session = rig.events[0].session
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert times(rig, 8.0) == [0.5, 1.5, 3.5, 7.5]
    rig.give(request("ACK", to_tag=session.local_tag, via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKa"), TCP)
    assert rig.names == ["Established"]
    assert times(rig, 100.0) == []


def test_an_rfc_2543_peer_is_matched_by_the_old_rules() -> None:
    rig = Rig()
    old = "SIP/2.0/UDP 192.0.2.9:5060"
    data = invite(via=old)
    rig.give(data)
    session = rig.events[0].session
    session.reject(486, 0.0)
    rig.drain()
    first = rig.raw
    rig.give(data)
    assert rig.raw == first and rig.events == []
    rig.give(request("ACK", via=old, to_tag=session.local_tag))
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_connection_that_cannot_be_made_ends_the_call() -> None:
    rig = Rig()
    session, _ = rig.call(flow=Flow("tcp", US, PEER))
    rig.endpoint.connection_lost(rig.flows[0], 0.1)
    rig.drain()
    (event,) = rig.events
    assert isinstance(event, Ended) and (event.cause, event.status) == ("unreachable", 503)
    assert session.state == "terminated" and rig.endpoint.idle


def test_an_answer_whose_connection_is_gone_goes_where_via_says() -> None:
    rig = Rig()
    rig.give(invite(via="SIP/2.0/TCP 192.0.2.9:5075;branch=z9hG4bKt"), TCP)
    session = rig.events[0].session
    rig.endpoint.connection_lost(TCP, 0.1)
    session.accept(ANSWER, 0.2)
    rig.drain()
    assert rig.flows == [Flow("tcp", US, ("192.0.2.9", 5075), 0)]


def test_an_answer_to_nothing_is_dropped_and_counted() -> None:
    rig = Rig()
    _, sent = rig.call()
    stray = response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER).replace(b"branch=z9hG4bK", b"branch=z9hG4bKother")
    rig.give(stray)
    assert rig.raw == [] and rig.events == []
    assert rig.endpoint.counters.dropped == {"response without transaction": 1}


def test_two_kinds_of_server_transaction() -> None:
    layer = TransactionLayer(EndpointConfig(), counting_entropy())
    assert isinstance(layer.serve(read(request("INVITE")), FLOW, 0.0), InviteServer)
    assert isinstance(layer.serve(read(request("BYE")), FLOW, 0.0), NonInviteServer)


@pytest.mark.parametrize("name", TABLES)
def test_the_pictures_are_those_of_the_tables(name: str) -> None:
    readme = (Path(tapeline.sip.__file__).parent / "README.md").read_text()
    assert f"### {name.capitalize()}\n\n```mermaid\n{mermaid(TABLES[name])}```\n" in readme
