"""Session descriptions, and offer and answer: early and delayed, hold, refusals, vendors' habits."""

from __future__ import annotations

import pytest

from tapeline.sip import MalformedSdp, NoCommonMedia
from tapeline.sip.offer_answer import CODECS, Agreed, AudioFormat, LocalMedia, answer_offer, make_offer, read_answer
from tapeline.sip.sdp import build, parse

US = LocalMedia("192.0.2.1", 4000, ("PCMU", "PCMA", "L16"), session_id=7, version=3)


def offer(*media: str, address: str = "192.0.2.9", session: str = "") -> bytes:
    kind = "IP6" if ":" in address else "IP4"
    return f"v=0\r\no=x 1 1 IN {kind} {address}\r\ns=-\r\nc=IN {kind} {address}\r\nt=5 6\r\n{session}{''.join(media)}".encode()


def audio(formats: str = "0", *lines: str, port: int = 6000, protocol: str = "RTP/AVP") -> str:
    return f"m=audio {port} {protocol} {formats}\r\n" + "".join(f"{line}\r\n" for line in lines)


def lines(sdp: bytes) -> list[str]:
    return sdp.decode().split("\r\n")


def test_a_description_is_built_as_it_was_parsed() -> None:
    data = offer(
        audio("0 96", "i=title", "b=AS:64", "k=prompt", "a=x-odd:caf\u00e9 = ;", "a=rtpmap:96 opus/48000/2", "z=what"),
        "m=video 0 RTP/AVP 31\r\n",
    )
    assert build(parse(data)) == data


def test_descriptions_of_careless_phones() -> None:
    description = parse(b"v=0\n\no=x 1 1 IN IP4 1.2.3.4\nnonsense\ns=-\nm=audio 6000/2 RTP/AVP 0 x 200\n  \na = ptime:30\n")
    (media,) = description.media
    assert media.count == 2 and media.formats == ["0", "x", "200"] and media.payload_types == [0]
    assert description.address_of(media) is None and description.direction_of(media) == "sendrecv"


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"v=1\r\n", b"s=-\r\nv=0\r\n", offer("m=audio\r\n"),
     offer("m=audio x RTP/AVP 0\r\n"), offer("m=audio 70000 RTP/AVP 0\r\n"),
     b"v=0\r\nc=IN IP4\r\nm=audio 1 RTP/AVP 0\r\n",
     b"v=0\r\nc=IN IP4 no/such address\r\nm=audio 1 RTP/AVP 0\r\n", b"v=0\r\n" + b"a=x\r\n" * 2001,
     offer(*["m=audio 1 RTP/AVP 0\r\n"] * 65), offer(audio("96", "a=rtpmap:96 nothing")), offer(audio("96", "a=rtpmap:x PCMU/8000")),
     offer(audio("96", "a=rtpmap:96 PCMU/fast"))],
)  # fmt: skip
def test_what_is_no_description(data: bytes) -> None:
    with pytest.raises(MalformedSdp):
        answer_offer(data, US)


# ---- answering


def test_an_answer_says_what_was_agreed() -> None:
    formats = ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:30", "a=rtcp:6055 IN IP4 192.0.2.99")
    agreed = answer_offer(offer(audio("8 0 13 101", *formats)), US)
    assert agreed == Agreed(
        codec="PCMA", payload_type=8, rate=8000, channels=1, fmtp="", ptime=30, dtmf_payload_type=101, dtmf_rate=8000,
        comfort_noise_payload_type=13, remote_address="192.0.2.9", remote_port=6000, remote_rtcp=("192.0.2.99", 6055),
        rtcp_mux=False, direction="sendrecv", sdp=agreed.sdp,
    )  # fmt: skip
    assert lines(agreed.sdp) == [
        "v=0", "o=- 7 3 IN IP4 192.0.2.1", "s=tapeline", "c=IN IP4 192.0.2.1", "t=5 6", "m=audio 4000 RTP/AVP 8 13 101",
        "a=rtpmap:8 PCMA/8000", "a=rtpmap:13 CN/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15",
        "a=ptime:30", "a=sendrecv", "",
    ]  # fmt: skip


def test_the_payload_types_of_the_offer_are_kept() -> None:
    maps = ("a=rtpmap:97 L16/16000", "a=rtpmap:98 telephone-event/8000", "a=rtpmap:99 telephone-event/16000", "a=rtpmap:96 opus/48000/2")
    agreed = answer_offer(offer(audio("96 97 98 99", *maps)), US)
    assert (agreed.codec, agreed.payload_type, agreed.rate, agreed.dtmf_payload_type, agreed.dtmf_rate) == ("L16", 97, 16000, 99, 16000)
    assert "m=audio 4000 RTP/AVP 97 99" in lines(agreed.sdp)


def test_g722_is_known_by_its_number_alone() -> None:
    agreed = answer_offer(offer(audio("9 0")), LocalMedia("192.0.2.1", 4000, ("PCMU", "G722")))
    assert (agreed.codec, agreed.rate, agreed.payload_type, agreed.channels) == ("G722", 8000, 9, 1)
    assert "a=rtpmap:9 G722/8000" in lines(agreed.sdp)


def test_opus_is_agreed_with_what_each_side_asks_for() -> None:
    wish = "a=fmtp:96 useinbandfec=1; maxaveragebitrate=20000"
    theirs = offer(audio("96 0", "a=rtpmap:96 OPUS/48000/2", wish, "a=fmtp:0 x=1"))
    agreed = answer_offer(theirs, LocalMedia("192.0.2.1", 4000, ("opus",)))
    assert (agreed.codec, agreed.rate, agreed.channels, agreed.payload_type) == ("opus", 48000, 2, 96)
    assert agreed.fmtp == "useinbandfec=1; maxaveragebitrate=20000"
    assert lines(agreed.sdp)[6:8] == ["a=rtpmap:96 opus/48000/2", "a=fmtp:96 stereo=0"]  # RFC 7587 section 7.1: each states its own
    ours = make_offer(LocalMedia("192.0.2.1", 4000, ("G722", "opus")))
    assert "m=audio 4000 RTP/AVP 9 111 13 101 112" in lines(ours)
    assert read_answer(ours, offer(audio("111", "a=rtpmap:111 opus/48000/2")), LocalMedia("192.0.2.1", 4000, ("opus",))).fmtp == ""


def test_a_static_type_that_was_given_another_meaning() -> None:
    agreed = answer_offer(offer(audio("0 8", "a=rtpmap:0 opus/48000/2")), US)
    assert agreed.codec == "PCMA"


def test_stereo_is_not_mono() -> None:
    with pytest.raises(NoCommonMedia):
        answer_offer(offer(audio("96", "a=rtpmap:96 L16/16000/2")), US)


def test_names_compare_without_regard_to_case() -> None:
    assert answer_offer(offer(audio("96", "a=rtpmap:96 pcmu/8000")), US).codec == "PCMU"


def test_what_is_refused_has_port_0_in_its_place() -> None:
    agreed = answer_offer(offer("m=video 7000 RTP/AVP 31 32\r\n", audio("18"), audio("8"), audio("0"), "m=image 9 udptl t38\r\n"), US)
    assert [line for line in lines(agreed.sdp) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31", "m=audio 0 RTP/AVP 18", "m=audio 4000 RTP/AVP 8", "m=audio 0 RTP/AVP 0", "m=image 0 udptl t38",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [offer(), offer(audio("18")), offer(audio("0", port=0)), offer(audio("0", protocol="RTP/SAVP")), offer("m=video 7000 RTP/AVP 0\r\n"),
     offer(audio("0"), address="2001:db8::9"), offer(audio("0", "c=IN IP6 ::1"))],
)  # fmt: skip
def test_nothing_in_common(data: bytes) -> None:
    with pytest.raises(NoCommonMedia) as refused:
        answer_offer(data, US)
    assert refused.value.status == 488


@pytest.mark.parametrize(
    ("theirs", "local", "ours"),
    [
        ("sendrecv", "sendrecv", "sendrecv"), ("sendonly", "sendrecv", "recvonly"), ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"), ("sendrecv", "recvonly", "recvonly"), ("sendonly", "sendonly", "inactive"),
    ],
)  # fmt: skip
def test_directions(theirs: str, local: str, ours: str) -> None:
    own = LocalMedia("192.0.2.1", 4000, direction=local)
    for data in (offer(audio("0", f"a={theirs}")), offer(audio("0"), session=f"a={theirs}\r\n")):
        agreed = answer_offer(data, own)
        assert agreed.direction == ours and f"a={ours}" in lines(agreed.sdp)


def test_hold_as_rfc_2543_had_it() -> None:
    agreed = answer_offer(offer(audio("0", "c=IN IP4 0.0.0.0")), US)
    assert (agreed.remote_address, agreed.remote_rtcp, agreed.direction) == (None, None, "recvonly")


def test_the_address_of_the_media_counts() -> None:
    agreed = answer_offer(offer(audio("0", "c=IN IP4 192.0.2.77/127")), US)
    assert agreed.remote_address == "192.0.2.77" and agreed.remote_rtcp == ("192.0.2.77", 6001)


def test_an_address_that_is_a_name_is_learnt_from_packets() -> None:
    agreed = answer_offer(offer(audio("0"), address="media.example.com"), US)
    assert (agreed.remote_address, agreed.remote_port, agreed.remote_rtcp) == (None, 6000, None)


def test_ipv6() -> None:
    agreed = answer_offer(offer(audio("0"), address="2001:db8::9"), LocalMedia("2001:db8::1", 4000))
    assert agreed.remote_address == "2001:db8::9" and "c=IN IP6 2001:db8::1" in lines(agreed.sdp)


@pytest.mark.parametrize(
    ("stated", "ptime"), [((), 20), (("a=ptime:40",), 40), (("a=ptime:5",), 20), (("a=ptime:25",), 20), (("a=ptime:300",), 20),
                          (("a=ptime:x",), 20),
                          (("a=maxptime:10",), 10), (("a=ptime:60", "a=maxptime:45"), 40), (("a=ptime:20.5",), 20)],
)  # fmt: skip
def test_ptime(stated: tuple[str, ...], ptime: int) -> None:
    assert answer_offer(offer(audio("0", *stated)), US).ptime == ptime


def test_reports_on_the_port_of_the_media() -> None:
    agreed = answer_offer(offer(audio("0", "a=rtcp-mux", "a=rtcp:9")), US)
    assert agreed.rtcp_mux and agreed.remote_rtcp == ("192.0.2.9", 6000) and "a=rtcp-mux" in lines(agreed.sdp)
    assert answer_offer(offer(audio("0", "a=rtcp:99999")), US).remote_rtcp == ("192.0.2.9", 6001)


# ---- offering


def test_our_offer_and_what_became_of_it() -> None:
    ours = make_offer(US)
    assert "m=audio 4000 RTP/AVP 0 8 119 118 13 101 110" in lines(ours)
    theirs = answer_offer(ours, LocalMedia("192.0.2.9", 6000, ("L16/8000", "PCMA")))
    assert (theirs.codec, theirs.rate, theirs.payload_type) == ("PCMA", 8000, 8)  # the order of the offer
    agreed = read_answer(ours, theirs.sdp, US)
    assert (agreed.codec, agreed.payload_type, agreed.remote_address, agreed.remote_port) == ("PCMA", 8, "192.0.2.9", 6000)
    assert (agreed.dtmf_payload_type, agreed.comfort_noise_payload_type, agreed.rtcp_mux) == (101, 13, True)
    assert agreed.sdp == theirs.sdp


def test_a_single_rate_of_a_codec() -> None:
    ours = make_offer(LocalMedia("192.0.2.1", 4000, ("L16/16000",)))
    assert "m=audio 4000 RTP/AVP 119 101 110" in lines(ours)


def test_events_that_we_did_not_offer_are_not_sent() -> None:
    silent = LocalMedia("192.0.2.1", 4000, ("PCMU",), dtmf=False, comfort_noise=False)
    ours = make_offer(silent)
    assert "m=audio 4000 RTP/AVP 0" in lines(ours)
    answer = offer(audio("0 101 13", "a=rtpmap:101 telephone-event/8000"))
    agreed = read_answer(ours, answer, silent)
    assert agreed.dtmf_payload_type is None and agreed.comfort_noise_payload_type is None


def test_codecs_that_nobody_knows_are_passed_over() -> None:
    assert make_offer(LocalMedia("192.0.2.1", 4000, ("opus-next", "PCMU"))) == make_offer(LocalMedia("192.0.2.1", 4000, ("PCMU",)))
    with pytest.raises(NoCommonMedia):
        make_offer(LocalMedia("192.0.2.1", 4000, ("opus-next",)))


def test_the_registry_takes_more_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "G726-32", (AudioFormat("G726-32", 8000, 120),))
    agreed = answer_offer(offer(audio("97 0", "a=rtpmap:97 G726-32/8000")), LocalMedia("192.0.2.1", 4000, ("PCMU", "G726-32")))
    assert agreed.codec == "G726-32"


@pytest.mark.parametrize("answer", [offer(), offer(audio("0", port=0)), offer(audio("18"))])
def test_an_answer_that_leaves_nothing(answer: bytes) -> None:
    with pytest.raises(NoCommonMedia):
        read_answer(make_offer(US), answer, US)


def test_each_new_version_is_a_higher_one() -> None:
    assert lines(make_offer(US.next_version()))[1] == "o=- 7 4 IN IP4 192.0.2.1"
