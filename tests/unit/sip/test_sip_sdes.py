"""Keys for SRTP in offers and answers: which are taken, which are passed over, and what becomes of a call without them."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from tapeline.sip import NoCommonMedia
from tapeline.sip.offer_answer import Agreed, LocalMedia, answer_offer, make_offer, read_answer
from tapeline.sip.sdes import SUITES, SrtpAgreed, usable_lines
from tapeline.sip.sdp import Media, parse

OURS, THEIRS = bytes(range(30)), bytes(range(100, 130))
PLAIN = LocalMedia("192.0.2.1", 4000, ("PCMU",))
OPTIONAL = replace(PLAIN, srtp="optional", srtp_key=OURS)
REQUIRED = replace(PLAIN, srtp="required", srtp_key=OURS)
INLINE = base64.b64encode(THEIRS).decode()
LONG, SHORT = (f"{suite} inline:{INLINE}" for suite in SUITES)


def offer(*media: str) -> bytes:
    return f"v=0\r\no=x 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{''.join(media)}".encode()


def audio(protocol: str = "RTP/SAVP", *crypto: str, port: int = 6000) -> str:
    return f"m=audio {port} {protocol} 0\r\n" + "".join(f"a=crypto:{line}\r\n" for line in crypto)


def answered(agreed: Agreed) -> Media:
    return next(media for media in parse(agreed.sdp).media if media.port)


@pytest.mark.parametrize("local", [OPTIONAL, REQUIRED])
@pytest.mark.parametrize("protocol", ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP", "rtp/savp"])
def test_keys_are_answered_with_keys_under_tag_suite_and_protocol_of_the_offer(local: LocalMedia, protocol: str) -> None:
    agreed = answer_offer(offer(audio(protocol, f"7 {SHORT}", f"8 {LONG}")), local)
    assert agreed.srtp == SrtpAgreed("AES_CM_128_HMAC_SHA1_32", OURS, THEIRS) and agreed.protocol == protocol.upper()
    media = answered(agreed)
    assert media.protocol == protocol
    assert media.attributes("crypto") == [f"7 AES_CM_128_HMAC_SHA1_32 inline:{base64.b64encode(OURS).decode()}"]


def test_without_keys_of_ours_a_keyed_line_is_refused_and_keys_in_a_plain_one_are_passed_over() -> None:
    with pytest.raises(NoCommonMedia):
        answer_offer(offer(audio("RTP/SAVP", f"1 {LONG}")), PLAIN)
    agreed = answer_offer(offer(audio("RTP/AVP", f"1 {LONG}")), PLAIN)
    assert agreed.srtp is None and answered(agreed).attributes("crypto") == []


def test_where_keys_are_required_a_plain_offer_is_refused() -> None:
    with pytest.raises(NoCommonMedia) as refused:
        answer_offer(offer(audio("RTP/AVP")), REQUIRED)
    assert refused.value.status == 488


def test_a_keyed_line_is_preferred_to_a_plain_one() -> None:
    both = offer(audio("RTP/AVP"), audio("RTP/SAVP", f"1 {LONG}", port=7000))
    for local in (OPTIONAL, REQUIRED):
        agreed = answer_offer(both, local)
        assert agreed.srtp is not None and agreed.remote_port == 7000
        assert [media.port for media in parse(agreed.sdp).media] == [0, 4000]
    assert answer_offer(both, PLAIN).remote_port == 6000


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        "x " + LONG,
        f"1 AES_CM_256_HMAC_SHA1_80 inline:{INLINE}",
        f"1 F8_128_HMAC_SHA1_80 inline:{INLINE}",
        f"1 {LONG}|2^20|1:4",
        f"1 {LONG}|1:4",
        f"1 {LONG};inline:{INLINE}|1:4",
        f"1 {LONG[:-4]}",
        f"1 {SUITES[0]} inline:{INLINE[:-1]}!",
        f"1 {SUITES[0]} inline:===",
        f"1 {LONG} UNENCRYPTED_SRTP",
        f"1 {LONG} KDR=1",
        f"1 {LONG}|{'9' * 21}",
        f"1 {LONG} {'-x ' * 400}",
    ],
)
def test_a_line_that_we_cannot_serve_is_passed_over(line: str) -> None:
    assert usable_lines(Media("audio", 1, "RTP/SAVP", ["0"], lines=[("a", f"crypto:{line}")])) == []
    agreed = answer_offer(offer(audio("RTP/SAVP", line, f"2 {LONG}")), OPTIONAL)
    assert answered(agreed).attributes("crypto")[0].startswith("2 ")
    with pytest.raises(NoCommonMedia):
        answer_offer(offer(audio("RTP/SAVP", line)), OPTIONAL)
    assert answer_offer(offer(audio("RTP/AVP", line)), OPTIONAL).srtp is None


@pytest.mark.parametrize("line", [f"1 {LONG}|2^31", f"1 {LONG}|1048576", f"1 {LONG} WSH=64 -what", f"1  {LONG.lower()[:23]}{LONG[23:]} "])
def test_lifetimes_windows_and_what_may_be_ignored(line: str) -> None:
    agreed = answer_offer(offer(audio("RTP/SAVP", line)), OPTIONAL)
    assert agreed.srtp == SrtpAgreed(SUITES[0], OURS, THEIRS)


# ---- offering


def test_our_offer_has_both_suites_where_keys_are_required() -> None:
    ours = make_offer(REQUIRED)
    media = parse(ours).media[0]
    assert media.protocol == "RTP/SAVP"
    assert [line.split()[1] for line in media.attributes("crypto")] == list(SUITES)
    theirs = answer_offer(ours, replace(OPTIONAL, address="192.0.2.9", srtp_key=THEIRS))
    assert read_answer(ours, theirs.sdp, REQUIRED).srtp == SrtpAgreed(SUITES[0], OURS, THEIRS)
    assert theirs.srtp == SrtpAgreed(SUITES[0], THEIRS, OURS)


def test_an_optional_offer_is_plain_until_the_call_had_keys() -> None:
    assert parse(make_offer(OPTIONAL)).media[0].protocol == "RTP/AVP" and b"crypto" not in make_offer(OPTIONAL)
    media = parse(make_offer(replace(OPTIONAL, keyed="RTP/SAVPF"))).media[0]
    assert media.protocol == "RTP/SAVPF" and len(media.attributes("crypto")) == 2


def test_an_answer_without_keys_or_with_others_than_we_offered_leaves_nothing() -> None:
    ours = make_offer(REQUIRED)
    for answer in (audio("RTP/SAVP"), audio("RTP/AVP"), audio("RTP/SAVP", f"2 {LONG}"), audio("RTP/SAVP", f"3 {SHORT}")):
        with pytest.raises(NoCommonMedia):
            read_answer(ours, offer(answer), REQUIRED)
    assert read_answer(ours, offer(audio("RTP/SAVP", f"2 {SHORT}")), REQUIRED).srtp == SrtpAgreed(SUITES[1], OURS, THEIRS)


def test_keys_in_an_answer_to_a_plain_offer_are_not_believed() -> None:
    assert read_answer(make_offer(PLAIN), offer(audio("RTP/AVP", f"1 {LONG}")), PLAIN).srtp is None
    assert read_answer(make_offer(OPTIONAL), offer(audio("RTP/AVP", f"1 {LONG}")), OPTIONAL).srtp is None


def test_a_peer_may_give_up_keys_that_were_left_to_its_choice() -> None:
    choice = replace(OPTIONAL, keyed="RTP/AVP")
    assert read_answer(make_offer(choice), offer(audio("RTP/AVP")), choice).srtp is None
    with pytest.raises(NoCommonMedia):
        read_answer(make_offer(replace(choice, keyed="RTP/SAVP")), offer(audio("RTP/AVP")), choice)


def test_keys_are_never_shown_and_have_their_length() -> None:
    agreed = answer_offer(offer(audio("RTP/SAVP", f"1 {LONG}")), OPTIONAL)
    assert repr(OURS)[2:10] not in repr(OPTIONAL) and repr(THEIRS)[2:10] not in repr(agreed.srtp)
    with pytest.raises(ValueError, match="30"):
        LocalMedia("192.0.2.1", 4000, srtp="optional", srtp_key=b"short")
