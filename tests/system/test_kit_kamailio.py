"""Kamailio stands between peers: it stays in the path, and it forks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeline.testing import Plan, spoken
from tapeline.testing.kamailio import Kamailio, kamailio_missing
from tapeline.testing.process import until
from tapeline.testing.sipp import SippCallers
from tapeline.testing.sippcarrier import Behaviour, SippCarrier, carrier_missing

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(carrier_missing() or kamailio_missing()), reason=carrier_missing() or kamailio_missing()),
]


def test_a_call_goes_through_it_from_end_to_end(tmp_path: Path) -> None:
    with SippCarrier(tmp_path / "c", [Plan.of(spoken(1, 1))], Behaviour(hang_up_s=0.5)) as carrier:
        with Kamailio(tmp_path / "k", carrier.address) as proxy:
            result = SippCallers(tmp_path / "s", proxy.address, [Plan.of(spoken(2, 1))], seconds=5).run()
            assert (result.successful, result.failed) == (1, 0), result.errors
            until(lambda: carrier.result().successful == 1, "the call to be counted")
        route = f"Record-Route: <sip:127.0.0.1:{proxy.address[1]}"
        assert route in carrier.received("INVITE")[0]
        assert "Route: <sip:127.0.0.1" in carrier.messages().split("BYE sip:", 1)[1], "the BYE takes the route that the INVITE came"
