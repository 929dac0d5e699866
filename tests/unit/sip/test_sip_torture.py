"""The messages of RFC 4475, each treated as the RFC says a UAS without registrar should treat it.

The table names the section and the treatment: a status, "call" (a new call), or "drop" (no answer, nothing done). Files are found by
listing the folder; one that is not in the table fails.
"""

from __future__ import annotations

import pytest
from sip_rig import Rig

from beside import VECTORS
from tapeline.sip import Incoming

FOLDER = VECTORS / "sip-torture"
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.dat"))

TREATMENT: dict[str, int | str] = {
    # 3.1.1 valid messages
    "valid/wsinv.dat": 481,  # 3.1.1.1: read in full; its To has the tag of a dialog that is not ours
    "valid/intmeth.dat": 501,  # 3.1.1.2: a method of odd characters is a method nobody knows
    "valid/esc01.dat": "call",  # 3.1.1.3
    "valid/escnull.dat": 405,  # 3.1.1.4: REGISTER
    "valid/esc02.dat": 501,  # 3.1.1.5: % is not an escape in a method, so this is not REGISTER
    "valid/lwsdisp.dat": 200,  # 3.1.1.6
    "valid/longreq.dat": "call",  # 3.1.1.7
    "valid/dblreq.dat": 405,  # 3.1.1.8: REGISTER; the octets after it are not a message
    "valid/semiuri.dat": 200,  # 3.1.1.9
    "valid/transports.dat": 200,  # 3.1.1.10
    "valid/mpart01.dat": 405,  # 3.1.1.11: MESSAGE
    "valid/unreason.dat": "drop",  # 3.1.1.12: a response, to no request of ours
    "valid/noreason.dat": "drop",  # 3.1.1.13: likewise
    # 3.1.2 invalid messages
    "invalid/badinv01.dat": 400,  # 3.1.2.1
    "invalid/clerr.dat": 400,  # 3.1.2.2
    "invalid/ncl.dat": 400,  # 3.1.2.3
    "invalid/scalar02.dat": 400,  # 3.1.2.4
    "invalid/scalarlg.dat": "drop",  # 3.1.2.5
    "invalid/quotbal.dat": 400,  # 3.1.2.6
    "invalid/ltgtruri.dat": 400,  # 3.1.2.7
    "invalid/lwsruri.dat": 400,  # 3.1.2.8
    "invalid/lwsstart.dat": 400,  # 3.1.2.9
    "invalid/trws.dat": 400,  # 3.1.2.10
    "invalid/escruri.dat": 400,  # 3.1.2.11
    "invalid/baddate.dat": "call",  # 3.1.2.12: a Date may be ignored by who has no use for it
    "invalid/regbadct.dat": 405,  # 3.1.2.13: REGISTER
    "invalid/badaspec.dat": 400,  # 3.1.2.14
    "invalid/baddn.dat": 200,  # 3.1.2.15: "may attempt to be liberal": a name without quotes is read up to its bracket
    "invalid/badvers.dat": 505,  # 3.1.2.16
    "invalid/mismatch01.dat": 400,  # 3.1.2.17
    "invalid/mismatch02.dat": 400,  # 3.1.2.18: 501 or 400
    "invalid/bigcode.dat": "drop",  # 3.1.2.19
    # 3.2 transaction layer
    "invalid/badbranch.dat": 200,  # 3.2.1: matched as RFC 2543 has it
    # 3.3 application layer
    "invalid/insuf.dat": 400,  # 3.3.1
    "invalid/unkscm.dat": 416,  # 3.3.2
    "invalid/novelsc.dat": 416,  # 3.3.3
    "invalid/unksm2.dat": 405,  # 3.3.4: REGISTER
    "invalid/bext01.dat": 420,  # 3.3.5
    "invalid/invut.dat": 415,  # 3.3.6
    "invalid/regaut01.dat": 405,  # 3.3.7: REGISTER
    "invalid/multi01.dat": 400,  # 3.3.8
    "invalid/mcl01.dat": 400,  # 3.3.9
    "invalid/bcast.dat": "drop",  # 3.3.10
    "invalid/zeromf.dat": 200,  # 3.3.11: only who forwards may refuse
    "invalid/cparam01.dat": 405,  # 3.3.12: REGISTER
    "invalid/cparam02.dat": 405,  # 3.3.13: REGISTER
    "invalid/regescrt.dat": 405,  # 3.3.14: REGISTER
    "invalid/sdp01.dat": 406,  # 3.3.15
    # 3.4 backward compatibility
    "invalid/inv2543.dat": "call",  # 3.4.1
    # not of the RFC: a start line without version, no Via, no CSeq
    "invalid/test.dat": "drop",
}


@pytest.mark.skipif(not FILES, reason=f"the torture messages are missing: no files in {FOLDER}")
def test_every_file_has_a_treatment() -> None:
    assert set(FILES) == set(TREATMENT)


@pytest.mark.parametrize("name", FILES)
def test_treated_as_the_rfc_says(name: str) -> None:
    rig = Rig()
    statuses = rig.give((FOLDER / name).read_bytes())
    expected = TREATMENT[name]
    if expected == "call":
        (event,) = rig.events
        assert isinstance(event, Incoming)
        assert statuses == []
    elif expected == "drop":
        assert rig.raw == [] and rig.events == []
        assert sum(rig.endpoint.counters.dropped.values()) == 1
    else:
        assert statuses == [expected]
        assert rig.events == []


@pytest.mark.skipif(not FILES, reason=f"the torture messages are missing: no files in {FOLDER}")
def test_refusals_say_what_would_have_been_taken() -> None:
    refused = {name: Rig() for name in ("bext01", "invut", "regaut01")}
    for name, rig in refused.items():
        rig.give((FOLDER / "invalid" / f"{name}.dat").read_bytes())
    assert refused["bext01"].response.get("unsupported") == "nothingSupportsThis, nothingSupportsThisEither"
    assert "application/sdp" in (refused["invut"].response.get("accept") or "")
    assert "INVITE" in (refused["regaut01"].response.get("allow") or "")
