"""A hundred bridged calls at once, SIPp at both ends: nothing is lost, and each recording holds what each side said, where it was said.

Fifteen seconds in `make test`, sixty in `make crowd`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from spoken_calls import voices

from tapeline.testing import LIVE, Heard, Plan, anything, decode, listen
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, caller_number
from tapeline.testing.sippcarrier import SippCarrier, carrier_missing

pytestmark = [pytest.mark.peer, pytest.mark.crowd, pytest.mark.slow, pytest.mark.skipif(bool(carrier_missing()), reason=carrier_missing())]

CALLS, RATE = 100, 20.0
SECONDS = float(os.environ.get("TAPELINE_CROWD_SECONDS", "15"))
OFF_AT_MOST_S = 0.04
# What a call's own packets suffered on a busy machine is its peers' doing; what is judged is that all of it is there, and in its place.
IN_PLACE = replace(LIVE, edge_s=OFF_AT_MOST_S, start_s=0.9, slip_s=0.00013)
ENDS_WITHIN_S = 0.3  # how promptly a BYE is acted on is not the question here
LOST = ("late", "malformed", "unsettled", "implausible", "overloaded", "unsent", "skipped")


def unsure_of_its_beginning(plan: Plan) -> Plan:
    """A callee may speak before tapeline has its answer and ends the ringing."""
    return Plan.of((anything(0.5), *plan.between(0.5, plan.seconds).channels[0]))


@pytest.mark.timeout(60 + 4 * SECONDS)
def test_a_hundred_calls_at_once(tmp_path: Path) -> None:
    both = voices(2 * CALLS, round(SECONDS) + 2)
    callers_say, callees_say = both[:CALLS], both[CALLS:]
    carrier = SippCarrier(tmp_path / "carrier", callees_say, by_caller=True, calls=CALLS)
    flow = {
        "actions": [
            {"type": "answer"},
            {"type": "recording_start", "option": {"split": True}},
            {"type": "connect", "option": {"destinations": [{"type": "sip", "target": carrier.uri()}]}},
            {"type": "hangup"},
        ]
    }
    with Server(tmp_path / "server", {"1000": flow}) as server, carrier:
        callers = SippCallers(tmp_path / "sipp", server.sip, callers_say, rate=RATE, seconds=SECONDS, ends="caller")
        result = callers.run()
        assert (result.successful, result.failed) == (CALLS, 0), result.errors
        server.api.wait_for_recordings(CALLS, timeout_s=60)
        until(lambda: server.metrics()["tapeline_rtp_legs"] == 0, "every leg to be closed")
        counted = server.metrics()
        lost = {name: count for name in LOST if (count := counted[f"tapeline_rtp_packets_{name}_total"])}
        assert not lost, f"of {counted['tapeline_rtp_packets_packets_total']:.0f} packets"
        relayed = counted["tapeline_rtp_packets_relayed_total"]
        assert relayed > 2 * CALLS * SECONDS * 50 * 0.9, f"both speak the same, so nothing is mixed; {relayed:.0f} packets were relayed"
        assert counted["tapeline_calls"] == 0
        heard = {caller_number(source): decode(server.api.file(row["id"])) for source, row in server.api.recordings_by_source().items()}
    wrong = {}
    for number, file in heard.items():
        for channel, plan in enumerate((callers_say[number], unsure_of_its_beginning(callees_say[number]))):
            said = plan.between(0.0, SECONDS - ENDS_WITHIN_S)
            report = listen(Heard(file.samples[:, [channel]], file.rate), said, IN_PLACE, seconds=file.seconds)
            # Each says its first word when the call is up, and the caller hangs up so long after it.
            if not report.ok or (channel == 0 and abs(file.seconds - report.offset - SECONDS) > ENDS_WITHIN_S):
                wrong[number, channel] = report
    shown = "\n".join(f"call {number}, channel {channel}: {report}" for (number, channel), report in list(wrong.items())[:3])
    assert not wrong, f"{len(wrong)} of {2 * CALLS} voices are not as planned, such as\n{shown}"
