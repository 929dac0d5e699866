"""Offer and answer (RFC 3264): which codec, which payload types, where to, in which direction.

`make_offer` offers what `LocalMedia` has; `answer_offer` answers the first audio line that can be used and refuses every other line with
port 0; `read_answer` reads what became of our offer. Each gives bytes or an `Agreed`, whose directions and addresses are told from our
side. Codecs are known by the registry `CODECS`; one that is asked for and is not in it is passed over. This module knows nothing of SIP
messages or of how media flow.

SRTP is agreed on by keys in the description (RFC 4568), as `LocalMedia.srtp` says. off: never. required: nothing else (488). optional:
where the peer offers keys; our own offers are plain, unless `keyed` says that this call has had keys before. Keys in a line that is
plain otherwise (RTP/AVP, as some phones write it to leave the choice) are taken too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tapeline.sip.errors import NoCommonMedia
from tapeline.sip.sdes import KEY_OCTETS, KEYED_PROTOCOLS, Crypto, SrtpAgreed, answer_line, offer_lines, usable_lines
from tapeline.sip.sdp import Description, Line, Media, RtpMap, build, parse

__all__ = ["CODECS", "Agreed", "AudioFormat", "LocalMedia", "answer_offer", "make_offer", "read_answer"]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """One line of a codec in an offer. `payload_type` is the static one (RFC 3551 table 4), or the dynamic one that we offer it under."""

    name: str
    rate: int
    payload_type: int
    channels: int = 1
    static: bool = False
    fmtp: str = ""


CODECS: dict[str, tuple[AudioFormat, ...]] = {
    "PCMU": (AudioFormat("PCMU", 8000, 0, static=True),),
    "PCMA": (AudioFormat("PCMA", 8000, 8, static=True),),
    "G722": (AudioFormat("G722", 8000, 9, static=True),),  # RFC 3551 section 4.5.2: 16 kHz under a clock of 8000
    "opus": (AudioFormat("opus", 48000, 111, channels=2, fmtp="stereo=0"),),  # RFC 7587 section 7: always named so; we like it mono
    "L16": (AudioFormat("L16", 16000, 119), AudioFormat("L16", 8000, 118)),
}
_DTMF = AudioFormat("telephone-event", 8000, 101, fmtp="0-15")
_DTMF_WIDE = AudioFormat("telephone-event", 16000, 110, fmtp="0-15")
_DTMF_FULL = AudioFormat("telephone-event", 48000, 112, fmtp="0-15")
_EVENTS = (_DTMF, _DTMF_WIDE, _DTMF_FULL)
_COMFORT_NOISE = AudioFormat("CN", 8000, 13, static=True)
_STATIC = {
    item.payload_type: RtpMap(item.payload_type, item.name, item.rate) for formats in CODECS.values() for item in formats if item.static
}
_STATIC[13] = RtpMap(13, "CN", 8000)

_REVERSE = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_PROTOCOLS = ("RTP/AVP", "RTP/AVPF")  # RFC 3551, RFC 4585; those with keys are in `sdes`
_SHORTEST_PTIME, _LONGEST_PTIME = 10, 60


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Our side. `codecs` by name in order of preference, `L16/8000` for a single rate. `version` grows with each offer or answer that
    differs from the one before (RFC 3264 section 8)."""

    address: str
    port: int
    codecs: Sequence[str] = ("PCMU", "PCMA")
    ptime: int = 20
    session_id: int = 1
    version: int = 1
    direction: str = "sendrecv"
    dtmf: bool = True
    comfort_noise: bool = True
    label: str = field(default="tapeline")
    srtp: Literal["off", "optional", "required"] = "off"
    srtp_key: bytes = field(default=b"", repr=False)  # 30 octets, random for each call; none while `srtp` is off
    keyed: str = ""  # the protocol of the line that keys were agreed on in, for the offers after that

    def __post_init__(self) -> None:
        if self.srtp != "off" and len(self.srtp_key) != KEY_OCTETS:
            raise ValueError(f"a key for SRTP has {KEY_OCTETS} octets: master key and salt")

    def next_version(self) -> LocalMedia:
        return replace(self, version=self.version + 1)

    def formats(self) -> list[AudioFormat]:
        """What our codecs stand for, in order."""
        found = []
        for wanted in self.codecs:
            name, _, rate = wanted.partition("/")
            known = next((formats for key, formats in CODECS.items() if key.lower() == name.lower()), ())
            found += [item for item in known if not rate or str(item.rate) == rate]
        return found


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides settled on. `direction` is ours: `sendonly` means that we send and do not receive."""

    codec: str
    payload_type: int  # that we send; and receive, where we made the answer
    rate: int
    channels: int
    fmtp: str  # what the peer asks for of this codec, as it wrote it
    ptime: int  # milliseconds, of what we send
    dtmf_payload_type: int | None
    dtmf_rate: int
    comfort_noise_payload_type: int | None
    remote_address: str | None  # None: unknown until packets come (the description holds a name), or an old-style hold (RFC 2543)
    remote_port: int
    remote_rtcp: tuple[str, int] | None
    rtcp_mux: bool
    direction: str
    sdp: bytes  # the answer to send; what we were answered, where we made the offer
    protocol: str = "RTP/AVP"
    srtp: SrtpAgreed | None = None  # None: in the clear


def _origin(local: LocalMedia) -> list[Line]:
    kind = "IP6" if ":" in local.address else "IP4"
    return [
        ("v", "0"),
        ("o", f"- {local.session_id} {local.version} IN {kind} {local.address}"),
        ("s", local.label),
        ("c", f"IN {kind} {local.address}"),
    ]


def _format_lines(formats: Sequence[AudioFormat]) -> list[Line]:
    lines = []
    for item in formats:
        channels = f"/{item.channels}" if item.channels > 1 else ""
        lines.append(("a", f"rtpmap:{item.payload_type} {item.name}/{item.rate}{channels}"))
        if item.fmtp:
            lines.append(("a", f"fmtp:{item.payload_type} {item.fmtp}"))
    return lines


def make_offer(local: LocalMedia) -> bytes:
    """Our offer. Raises NoCommonMedia where none of the codecs is known."""
    formats = local.formats()
    if not formats:
        raise NoCommonMedia("none of our codecs is known", hint=f"known are {', '.join(CODECS)}")
    rates = {item.rate for item in formats}
    if local.comfort_noise and 8000 in rates:
        formats.append(_COMFORT_NOISE)
    if local.dtmf:
        formats += [item for item in _EVENTS if item.rate in rates or item.rate == 8000]
    lines = [*_format_lines(formats), ("a", f"ptime:{local.ptime}"), ("a", "rtcp-mux"), ("a", local.direction)]
    keyed = local.srtp == "required" or (local.srtp == "optional" and bool(local.keyed))
    if keyed:
        lines += offer_lines(local.srtp_key)
    protocol = (local.keyed or "RTP/SAVP") if keyed else "RTP/AVP"
    media = Media("audio", local.port, protocol, [str(item.payload_type) for item in formats], lines=lines)
    return build(Description([*_origin(local), ("t", "0 0")], [media]))


def answer_offer(offer: bytes, local: LocalMedia) -> Agreed:
    """Answer with the first audio line that can be used. Raises NoCommonMedia or MalformedSdp."""
    offered = parse(offer)
    possible = [(media, found) for media in offered.media if (found := _usable(offered, media, local)) is not None]
    chosen = next((media for media, _ in possible if _crypto(media, local)), possible[0][0] if possible else None)
    answers: list[Media] = []
    agreed: Agreed | None = None
    for media in offered.media:
        if media is not chosen:
            answers.append(Media(media.kind, 0, media.protocol, media.formats[:1]))
            continue
        crypto = _crypto(media, local)
        agreed = _agree(offered, media, next(found for line, found in possible if line is media), local)
        if crypto is not None:
            agreed = replace(agreed, srtp=SrtpAgreed(crypto.suite, local.srtp_key, crypto.key))
        answers.append(_answer_media(media, agreed, local))
        if crypto is not None:
            answers[-1].lines.append(answer_line(crypto, local.srtp_key))
    if agreed is None:
        raise NoCommonMedia("no audio in the offer that we can take")
    times = [line for line in offered.lines if line[0] == "t"][:1] or [("t", "0 0")]  # RFC 3264 section 6: as in the offer
    return replace(agreed, sdp=build(Description([*_origin(local), *times], answers)))


def read_answer(offer: bytes, answer: bytes, local: LocalMedia) -> Agreed:
    """What the answer to our `offer` settled. Raises NoCommonMedia or MalformedSdp."""
    offered = parse(offer).media[0]
    ours = {int(item) for item in offered.formats}
    suites = {line.tag: line.suite for line in usable_lines(offered)}
    answered = parse(answer)
    for media in answered.media:
        found = _usable(answered, media, local)
        crypto = next((line for line in usable_lines(media) if suites.get(line.tag) == line.suite), None)
        if crypto is None and (local.srtp == "required" or offered.protocol in KEYED_PROTOCOLS):
            continue
        if found is not None and media.kind == "audio":
            agreed = _agree(answered, media, found, local)
            if crypto is not None:
                agreed = replace(agreed, srtp=SrtpAgreed(crypto.suite, local.srtp_key, crypto.key))
            # RFC 3264 section 6.1: events and noise go out only under what both sides have named.
            if agreed.dtmf_payload_type is not None and not (local.dtmf and ours & {item.payload_type for item in _EVENTS}):
                agreed = replace(agreed, dtmf_payload_type=None)
            return replace(agreed, sdp=answer)
    raise NoCommonMedia("the answer leaves nothing to talk with")


def _rtpmaps(media: Media) -> dict[int, RtpMap]:
    stated = media.rtpmaps()
    return {number: stated.get(number) or _STATIC[number] for number in media.payload_types if number in stated or number in _STATIC}


def _usable(description: Description, media: Media, local: LocalMedia) -> RtpMap | None:
    """The first format of the line that we have too; None where the line cannot be used. The peer's order counts (RFC 3264 section 6.1)."""
    if media.kind != "audio" or media.port == 0 or not _protected_as_agreed(media, local):
        return None
    address = description.address_of(media)
    if address is None or (":" in address) != (":" in local.address):
        return None
    ours = {(item.name.lower(), item.rate, item.channels) for item in local.formats()}
    for found in _rtpmaps(media).values():
        if (found.name.lower(), found.rate, found.channels) in ours:
            return found
    return None


def _crypto(media: Media, local: LocalMedia) -> Crypto | None:
    """The keys that we take of a line: the first that we can serve, in the peer's order (RFC 4568 section 5.1.2)."""
    return next(iter(usable_lines(media)), None) if local.srtp != "off" else None


def _protected_as_agreed(media: Media, local: LocalMedia) -> bool:
    """Whether the line's protocol and keys are such as we want."""
    protocol = media.protocol.upper()
    if protocol not in _PROTOCOLS and protocol not in KEYED_PROTOCOLS:
        return False
    return _crypto(media, local) is not None or (protocol in _PROTOCOLS and local.srtp != "required")


def _agree(description: Description, media: Media, codec: RtpMap, local: LocalMedia) -> Agreed:
    maps = _rtpmaps(media)
    events = [item for item in maps.values() if item.name.lower() == "telephone-event"]
    event = next((item for item in events if item.rate == codec.rate), events[0] if events else None) if local.dtmf else None
    noise = next((item for item in maps.values() if item.name.upper() == "CN" and item.rate == codec.rate), None)
    address = description.address_of(media)
    held = address in ("0.0.0.0", "::")  # RFC 3264 section 8.4: hold as RFC 2543 had it
    theirs = description.direction_of(media)
    direction = _meet(_REVERSE[theirs], local.direction)
    if held:
        direction = _meet(direction, "recvonly")
    if held or address is None or not _is_literal(address):
        address = None  # a name is not looked up: where the peer's packets come from will show
    mux = media.attribute("rtcp-mux") is not None
    return Agreed(
        codec=next(item.name for item in local.formats() if item.name.lower() == codec.name.lower()),
        payload_type=codec.payload_type,
        rate=codec.rate,
        channels=codec.channels,
        fmtp=_fmtp(media, codec.payload_type),
        ptime=_ptime(media, local),
        dtmf_payload_type=event.payload_type if event else None,
        dtmf_rate=event.rate if event else 8000,
        comfort_noise_payload_type=noise.payload_type if noise and local.comfort_noise else None,
        remote_address=address,
        remote_port=media.port,
        remote_rtcp=None if address is None else _rtcp(media, address, mux),
        rtcp_mux=mux,
        direction=direction,
        sdp=b"",
        protocol=media.protocol.upper(),
    )


def _fmtp(media: Media, payload_type: int) -> str:
    for value in media.attributes("fmtp"):
        number, _, parameters = value.partition(" ")
        if number == str(payload_type):
            return parameters.strip()
    return ""


def _is_literal(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _meet(one: str, other: str) -> str:
    """The direction that both allow."""
    send = one in ("sendrecv", "sendonly") and other in ("sendrecv", "sendonly")
    receive = one in ("sendrecv", "recvonly") and other in ("sendrecv", "recvonly")
    return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly", (False, False): "inactive"}[send, receive]


def _ptime(media: Media, local: LocalMedia) -> int:
    """The peer's wish where it is one that we can pace, else ours; never more than it takes (RFC 8866 sections 6.4 and 6.5)."""
    wish = _milliseconds(media.attribute("ptime"))
    most = _milliseconds(media.attribute("maxptime")) or _LONGEST_PTIME
    ptime = wish if wish and _SHORTEST_PTIME <= wish <= _LONGEST_PTIME and wish % 10 == 0 else local.ptime
    return max(_SHORTEST_PTIME, min(ptime, most // 10 * 10))


def _milliseconds(text: str | None) -> int:
    whole = (text or "").partition(".")[0]
    return int(whole) if whole.isascii() and whole.isdigit() and len(whole) < 6 else 0


def _rtcp(media: Media, address: str, mux: bool) -> tuple[str, int]:
    """RFC 3605: the next port up, unless `a=rtcp` says another, or media and reports share one (RFC 5761)."""
    if mux:
        return address, media.port
    stated = (media.attribute("rtcp") or "").split()
    if not stated or not (stated[0].isascii() and stated[0].isdigit()) or not 0 < int(stated[0][:6]) < 65536:
        return address, min(media.port + 1, 65535)
    if len(stated) == 4 and _is_literal(stated[3]):
        address = stated[3]
    return address, int(stated[0])


def _answer_media(media: Media, agreed: Agreed, local: LocalMedia) -> Media:
    """RFC 3264 section 6.1: under the payload types of the offer."""
    ours = next(item for item in local.formats() if (item.name, item.rate) == (agreed.codec, agreed.rate))
    formats = [replace(ours, payload_type=agreed.payload_type)]
    if agreed.comfort_noise_payload_type is not None:
        formats.append(replace(_COMFORT_NOISE, payload_type=agreed.comfort_noise_payload_type))
    if agreed.dtmf_payload_type is not None:
        formats.append(replace(_DTMF, payload_type=agreed.dtmf_payload_type, rate=agreed.dtmf_rate))
    lines = [*_format_lines(formats), ("a", f"ptime:{agreed.ptime}")]
    if agreed.rtcp_mux:
        lines.append(("a", "rtcp-mux"))
    lines.append(("a", agreed.direction))
    return Media("audio", local.port, media.protocol, [str(item.payload_type) for item in formats], lines=lines)
