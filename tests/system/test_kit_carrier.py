"""SIPp as a carrier does what its behaviour says: a telephone (baresip) calls it, without tapeline between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeline.testing import Plan, Tolerance, assert_heard, spoken
from tapeline.testing.baresip import Baresip, baresip_missing
from tapeline.testing.process import ChildFailed, until
from tapeline.testing.sipp import SippCallers
from tapeline.testing.sippcarrier import Behaviour, SippCarrier, carrier_missing

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(carrier_missing() or baresip_missing()), reason=carrier_missing() or baresip_missing()),
]
# Two peers without a recorder between them: what one drops on a busy machine is gone.
AS_HEARD = Tolerance(start_s=0.3, duration_s=0.4, edge_s=0.045, holes_s=0.1, slip_s=0.00013)


def test_it_speaks_hears_and_is_told_keys(tmp_path: Path) -> None:
    here, there = Plan.of(spoken(11, 3)), Plan.of(spoken(12, 3))
    with SippCarrier(tmp_path / "c", [there]) as carrier, Baresip(tmp_path / "a", here) as caller:
        caller.dial(carrier.uri())
        caller.listen_for(1.0)
        caller.press("7#")
        caller.listen_for(1.0)
        caller.hang_up()
        caller.listen_for(0.3)
        until(lambda: carrier.result().successful == 1, "the call to be counted")
        assert carrier.keys() == "7#"
        said, heard = carrier.heard(), caller.heard()
    assert said.seconds > 2.0
    assert_heard(heard, there.between(0, heard.seconds), AS_HEARD)


def test_early_media_comes_before_the_answer(tmp_path: Path) -> None:
    early, there = Plan.of(spoken(13, 1)), Plan.of(spoken(14, 2))
    behaviour = Behaviour(early=True, ring_s=1.0, hang_up_s=2.0)
    with SippCarrier(tmp_path / "c", [there], behaviour, early=early) as carrier, Baresip(tmp_path / "a") as caller:
        caller.ring(carrier.uri())
        caller.wait_for("CALL_PROGRESS")
        caller.wait_for("CALL_ESTABLISHED")
        caller.wait_for("CALL_CLOSED")
        heard = caller.heard()
    both = Plan.of((*early.channels[0], *there.channels[0]))
    assert_heard(heard, both.between(0, heard.seconds), AS_HEARD)


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (Behaviour("refuse"), "486"),
        (Behaviour("refuse", status=603, early=True, ring_s=0.2), "603"),
        (Behaviour("challenge", username="other", password="secret"), "403"),
    ],
)
def test_it_refuses(tmp_path: Path, behaviour: Behaviour, why: str) -> None:
    with (
        SippCarrier(tmp_path / "c", behaviour=behaviour) as carrier,
        Baresip(tmp_path / "a") as caller,
        pytest.raises(ChildFailed, match=f"was not answered: .*{why}"),
    ):
        caller.dial(carrier.uri())


def test_it_sends_the_caller_elsewhere(tmp_path: Path) -> None:
    with (
        SippCarrier(tmp_path / "d", behaviour=Behaviour("refuse", status=603)) as other,
        SippCarrier(tmp_path / "c", behaviour=Behaviour("redirect", contact=other.uri("there"))) as carrier,
        Baresip(tmp_path / "a") as caller,
    ):
        with pytest.raises(ChildFailed, match="was not answered: 603"):
            caller.dial(carrier.uri())
        assert len(carrier.received("INVITE")) == len(other.received("INVITE")) == 1


@pytest.mark.parametrize("kind", ["never", "answer_cancelled"])
def test_it_is_cancelled(tmp_path: Path, kind: str) -> None:
    with SippCarrier(tmp_path / "c", behaviour=Behaviour(kind)) as carrier:  # type: ignore[arg-type]
        callers = SippCallers(tmp_path / "s", carrier.address, [Plan.of(spoken(1, 1))], seconds=0.5, ends="cancel")
        result = callers.run()
        if kind == "never":
            assert (result.successful, result.failed) == (1, 0), result.errors
            until(lambda: carrier.result().successful == 1, "the call to be counted")
        else:
            assert "200 OK" in result.errors, "a 200 where 487 was expected"
        assert len(carrier.received("CANCEL")) == 1


def test_a_caller_who_never_acknowledges_is_sent_the_answer_again(tmp_path: Path) -> None:
    with SippCarrier(tmp_path / "c", behaviour=Behaviour()) as carrier:
        callers = SippCallers(tmp_path / "s", carrier.address, [Plan.of(spoken(1, 1))], seconds=2.0, ends="never_acks")
        assert callers.run().failed == 1
        assert carrier.messages().count("SIP/2.0 200 OK") >= 2


def test_it_holds_takes_back_and_transfers(tmp_path: Path) -> None:
    behaviour = Behaviour(hold_s=(0.7, 0.7), refer_s=(0.5, "sip:else@127.0.0.1:9"), hang_up_s=0.5)
    with SippCarrier(tmp_path / "c", [Plan.of(spoken(15, 4))], behaviour) as carrier, Baresip(tmp_path / "a") as caller:
        caller.dial(carrier.uri())
        caller.listen_for(3.5)
        assert "a=sendonly" in carrier.messages()
        assert "SIP/2.0 202" in carrier.messages()
        text = caller.child.output()
    assert "else@127.0.0.1:9" in text


def test_it_is_held_and_taken_back(tmp_path: Path) -> None:
    with SippCarrier(tmp_path / "c", [Plan.of(spoken(16, 4))]) as carrier, Baresip(tmp_path / "a") as caller:
        caller.dial(carrier.uri())
        caller.hold()
        until(lambda: len(carrier.received("ACK")) == 2, "the hold to be acknowledged")
        caller.resume()
        until(lambda: len(carrier.received("ACK")) == 3, "the way back to be acknowledged")
        assert "a=recvonly" in carrier.messages()
        caller.hang_up()
        until(lambda: carrier.result().successful == 1, "the call to be counted")


def test_it_vanishes(tmp_path: Path) -> None:
    with SippCarrier(tmp_path / "c", [Plan.of(spoken(17, 4))]) as carrier, Baresip(tmp_path / "a") as caller:
        caller.dial(carrier.uri())
        carrier.vanish()
        assert not carrier.child.running
