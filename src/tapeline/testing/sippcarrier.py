"""SIPp as a carrier: it takes calls, and does with them what carriers do.

A behaviour is a SIPp scenario, put together here from steps; whichever it is, the carrier answers CANCEL while it rings, and BYE and
re-INVITE while it talks, unless not doing so is the point. It says what a plan holds (as root only: SIPp sends pcap files from a port of
each call's own), and `Ears` on those ports hear what is said to it. Blocking.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tapeline.testing.ear import Ears
from tapeline.testing.listening import Heard
from tapeline.testing.plan import Plan
from tapeline.testing.process import Child, free_port, free_port_range, until
from tapeline.testing.rtpsource import RtpVoice, write_pcap
from tapeline.testing.sipp import SippResult, choice, sipp_missing, sipp_result
from tapeline.testing.waveforms import silence

__all__ = ["Behaviour", "SippCarrier", "carrier_missing"]

Kind = Literal["answer", "refuse", "redirect", "never", "answer_cancelled", "challenge"]
_STEP = 4  # SIPp's [auto_media_port] of the next call


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the carrier does with each call. Times in seconds.

    `answer`: rings for `ring_s`, and answers. `refuse`: rings as long, then says `status`. `redirect`: 302 to `contact`, or to itself.
    `never`: rings until the caller gives up. `answer_cancelled`: as `never`, but its 200 crosses the CANCEL. `challenge`: 401 to whoever
    comes without `username` and `password`, then as `answer`.
    """

    kind: Kind = "answer"
    ring_s: float = 0.0
    early: bool = False  # 183 with media (the plan of `early` is heard) in place of 180
    status: int = 486
    contact: str = ""
    username: str = ""
    password: str = ""
    hang_up_s: float = 0.0  # ends the call so long after the answer; 0: leaves that to the other side
    hold_s: tuple[float, float] | None = None  # puts the other side on hold after so long, takes it back after so long again
    refer_s: tuple[float, str] | None = None  # transfers the other side after so long, to this URI
    ignore_bye: bool = False  # is told that the call is over, and says nothing


def carrier_missing() -> str:
    """Why a carrier that speaks cannot be had here, or nothing."""
    return sipp_missing() or ("" if os.geteuid() == 0 else "a carrier that speaks needs raw sockets, hence root")


class SippCarrier:
    """A carrier at `address` (UDP). Call n, counted from 0, says `plans[n]`, or the only plan there is.

    With `by_caller` a call says the plan of the one who calls: `plans[7]` for a From that holds `caller7`.
    """

    def __init__(
        self,
        folder: Path,
        plans: Sequence[Plan] = (),
        behaviour: Behaviour | None = None,
        *,
        early: Plan | None = None,
        by_caller: bool = False,
        port: int = 0,
        voice: RtpVoice | None = None,
        calls: int = 10,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.address = ("127.0.0.1", port or free_port(socket.SOCK_DGRAM))
        self._folder = folder
        self._plans = list(plans) or [Plan.of()]
        self._by_caller = by_caller
        self._voice = voice or RtpVoice()
        folder.mkdir(parents=True, exist_ok=True)
        self._early = write_pcap(folder / "early.pcap", list(self._voice.packets(early.voice()))) if early else None
        media, _ = free_port_range(_STEP * calls + 8)
        self.ears = Ears(media + _STEP, calls, _STEP)  # at `media` SIPp listens itself
        (folder / "carrier.xml").write_text(self._scenario())
        command = [
            *("sipp", "-sf", "carrier.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(self.address[1]), "-mp", str(media)),
            *("-t", "u1", "-nostdin", "-aa", "-trace_err", "-error_file", "errors.txt", "-trace_msg", "-message_file", "messages.txt"),
            *("-trace_stat", "-stf", "statistics.csv", "-fd", "1"),
        ]
        self.child = Child("carrier", command, folder, urgent=True)

    def __enter__(self) -> Self:
        try:
            self.ears.open()
            self.child.start()
            until(self._listens, "the carrier to listen")
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.child.end()
        self.ears.close()
        if error is not None:
            error.add_note(f"the carrier: {self.child.tail(10)}\n{self.messages()[-6000:]}")

    def uri(self, number: str = "carrier") -> str:
        return f"sip:{number}@{self.address[0]}:{self.address[1]}"

    def vanish(self) -> None:
        """Be gone at once, without a word."""
        self.child.kill()

    def result(self) -> SippResult:
        """What SIPp counted so far; calls that go on are in neither count."""
        return sipp_result(self._folder, self.child)

    def messages(self) -> str:
        """Every SIP message so far, as SIPp wrote it down."""
        path = self._folder / "messages.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def received(self, method: str) -> list[str]:
        """The requests of this method that arrived, retransmissions included."""
        parts = re.split(r"-{20,}[^\n]*\n", self.messages())
        return [part for part in parts if re.search(rf"message received \[\d+\] bytes ?:\s*{method} ", part)]

    def heard(self, call: int = 0) -> Heard:
        """What was said to the carrier in a call. Raises AssertionError where that is nothing."""
        return self.ears.heard(call)

    def keys(self, call: int = 0) -> str:
        """The keys that were pressed in a call."""
        return self.ears.keys(call)

    def _listens(self) -> bool:
        self.child.check()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(self.address)
            except OSError:
                return True
        return False

    def _scenario(self) -> str:
        steps = _Steps(self._voice)
        behaviour = self.behaviour
        steps.add(_INVITE)
        if behaviour.kind == "challenge":
            steps.challenge(behaviour.username, behaviour.password)
        if behaviour.kind == "redirect":
            steps.refuse("302 Moved Temporarily", contact=behaviour.contact or self.uri())
        else:
            steps.ring(behaviour, self._early)
        if behaviour.kind == "refuse":
            steps.refuse(f"{behaviour.status} Refused")
        elif behaviour.kind not in ("redirect", "never"):
            steps.talk(behaviour, self._speaks(), self._by_caller)
        steps.add('  <label id="end"/>', '  <pause milliseconds="100"/>')
        return steps.scenario()

    def _speaks(self) -> list[str]:
        """For each plan the attribute that plays it."""
        played = []
        for number, plan in enumerate(self._plans):
            voice = plan.voice() if plan.channels else silence(0.02)
            path = write_pcap(self._folder / f"{number}.pcap", list(self._voice.packets(voice)))
            played.append(f'play_pcap_audio="{path.absolute()}"')
        return played


# What is remembered of the INVITE, for requests of our own and for a late 487. `rrs` keeps the route.
_INVITE = """
  <recv request="INVITE" rrs="true"><action>
    <ereg regexp=".*" search_in="hdr" header="From:" assign_to="theirs"/>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="ours"/>
    <ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="cseq"/>
  </action></recv>
"""

_RESPONSE = """
  <send{attributes}><![CDATA[

      SIP/2.0 {line}
      [last_Via:]
      [last_Record-Route:]
      [last_From:]
      {to}
      [last_Call-ID:]
      {cseq}
      Contact: <{contact}>
{extra}{body}
  ]]></send>
"""

_REQUEST = """
  <send retrans="500"><![CDATA[

      {method} [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From:[$ours]{tag}
      To:[$theirs]
      Call-ID: [call_id]
      CSeq: {number} {method}
      Max-Forwards: 70
      Contact: <{contact}>
{extra}{body}
  ]]></send>
"""

_ACK = """
  <send><![CDATA[

      ACK [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From:[$ours]{tag}
      To:[$theirs]
      Call-ID: [call_id]
      CSeq: {number} ACK
      Max-Forwards: 70
      Content-Length: 0

  ]]></send>
"""

_SDP = """\
      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=- 1 [clock_tick] IN IP[local_ip_type] [local_ip]
      s=-
      c=IN IP[media_ip_type] [media_ip]
      t=0 0
      m=audio [auto_media_port+4] RTP/AVP {payload_type} 101
      a=rtpmap:{payload_type} {codec}/8000
      a=rtpmap:101 telephone-event/8000
      a={direction}
"""

# Until `{ontimeout}`: BYE ends the call, and a re-INVITE is answered as RFC 3264 section 6.1 wants.
_WAIT = """
  <label id="wait{stage}"/>
  <recv request="INVITE" optional="true" next="reinvite{stage}"{timeout}><action>
    <ereg regexp="a=sendonly" search_in="body" assign_to="sendonly"/>
    <ereg regexp="a=inactive" search_in="body" assign_to="inactive"/>
  </action></recv>
  <recv request="BYE" next="bye"{timeout}/>
  <label id="reinvite{stage}"/>
  <nop test="sendonly" next="sendonly{stage}"/>
  <nop test="inactive" next="inactive{stage}"/>
"""

_CONTACT = "sip:carrier@[local_ip]:[local_port]"
_NO_BODY = "      Content-Length: 0\n"
_OUR_TAG = ";tag=[pid]c[call_number]"


# Which plan a call says: a number counted from 0 in `text`.
_BY_CALLER = '<ereg regexp="caller([0-9]+)" search_in="var" variable="theirs" assign_to="whole,text"/>'
_BY_ORDER = '<assignstr assign_to="text" value="[call_number]"/>'


class _Steps:
    """A scenario in the making."""

    def __init__(self, voice: RtpVoice) -> None:
        self._words = {"payload_type": voice.payload_type, "codec": {0: "PCMU", 8: "PCMA"}[voice.payload_type]}
        self._text: list[str] = []
        self._requests = 0
        self._stages = 0

    def add(self, *steps: str) -> None:
        self._text += [step.strip("\n") for step in steps]

    def scenario(self) -> str:
        text = "\n".join(self._text)
        # SIPp refuses variables that are assigned and not used, unless told that this is meant.
        assigned = sorted({name for names in re.findall(r'assign_to="([^"]+)"', text) for name in names.split(",")})
        end = f'  <Reference variables="{",".join(assigned)}"/>\n</scenario>\n'
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="carrier">\n{text}\n{end}'

    def _sdp(self, direction: str = "sendrecv") -> str:
        return _SDP.format(direction=direction, **self._words)

    def respond(
        self,
        line: str,
        *,
        attributes: str = "",
        contact: str = _CONTACT,
        extra: str = "",
        body: str = _NO_BODY,
        cseq: str = "[last_CSeq:]",
        inside: bool = False,
    ) -> None:
        """An answer to the newest request, or to the one that `cseq` names; `inside` the call the request has our tag already."""
        words = {"line": line, "attributes": attributes, "contact": contact, "extra": extra, "body": body, "cseq": cseq}
        self.add(_RESPONSE.format(to="[last_To:]" if inside else f"To:[$ours]{_OUR_TAG}", **words))

    def request(self, method: str, *, extra: str = "", body: str = _NO_BODY) -> None:
        """A request within the call."""
        self._requests += 1
        self.add(_REQUEST.format(method=method, tag=_OUR_TAG, contact=_CONTACT, number=self._requests, extra=extra, body=body))

    def refuse(self, line: str, contact: str = _CONTACT) -> None:
        """A final answer that ends the call."""
        self.respond(line, attributes=' retrans="500"', contact=contact)
        self.add('  <recv request="ACK" next="end"/>')

    def challenge(self, username: str, password: str) -> None:
        """401 until the INVITE brings what was agreed (RFC 3261 section 22.2); of 407 SIPp cannot read the answer."""
        header = '      WWW-Authenticate: Digest realm="carrier", nonce="5ca1ab1e", algorithm=MD5\n'
        self.respond("401 Unauthorized", attributes=' retrans="500"', extra=header)
        verify = f'    <verifyauth assign_to="known" username="{username}" password="{password}"/>\n'
        self.add('  <recv request="ACK"/>', _INVITE.replace("  </action>", f"{verify}  </action>"), '  <nop test="known" next="known"/>')
        self.refuse("403 Forbidden")
        self.add('  <label id="known"/>')

    def ring(self, behaviour: Behaviour, early: Path | None) -> None:
        """180 or 183, and the wait for CANCEL."""
        if behaviour.early:
            self.respond("183 Session Progress", body=self._sdp())
        else:
            self.respond("180 Ringing")
        if early is not None:
            self.add(f'  <nop><action><exec play_pcap_audio="{early.absolute()}"/></action></nop>')
        if behaviour.kind == "answer_cancelled":
            self.add('  <recv request="CANCEL"/>')
            self.respond("200 OK", body=self._sdp(), cseq="CSeq:[$cseq]")
            self.respond("200 OK")
            self.add('  <recv request="ACK"/>')
            return
        forever = behaviour.kind == "never"
        timeout = "" if forever else f' timeout="{max(1, round(behaviour.ring_s * 1000))}" ontimeout="final"'
        self.add(f'  <recv request="CANCEL"{timeout}/>')
        self.respond("200 OK")
        self.respond("487 Request Terminated", attributes=' retrans="500"', cseq="CSeq:[$cseq]")
        self.add('  <recv request="ACK" next="end"/>', '  <label id="final"/>')

    def talk(self, behaviour: Behaviour, plays: Sequence[str], by_caller: bool) -> None:
        """From the answer to the end of the call."""
        if behaviour.kind != "answer_cancelled":
            self.respond("200 OK", attributes=' retrans="500"', body=self._sdp(), cseq="CSeq:[$cseq]")
            self.add('  <recv request="ACK"/>')
        if len(plays) == 1:
            self.add(f"  <nop><action><exec {plays[0]}/></action></nop>")
        else:
            self.add(choice(self._text, _BY_CALLER if by_caller else _BY_ORDER, plays, least=0 if by_caller else 1))
        if behaviour.hold_s is not None:
            for seconds, direction in zip(behaviour.hold_s, ("sendonly", "sendrecv"), strict=True):
                self._wait(seconds)
                self.request("INVITE", body=self._sdp(direction))
                self.add('  <recv response="100" optional="true"/>', '  <recv response="200"/>')
                self.add(_ACK.format(number=self._requests, tag=_OUR_TAG))
        if behaviour.refer_s is not None:
            self._wait(behaviour.refer_s[0])
            self.request("REFER", extra=f"      Refer-To: <{behaviour.refer_s[1]}>\n")
            self.add('  <recv response="202"/>')
        self._wait(behaviour.hang_up_s)
        self.request("BYE")
        self.add('  <recv response="200" next="end"/>', '  <label id="bye"/>')
        if behaviour.ignore_bye:
            self.add('  <pause milliseconds="60000"/>')
        else:
            self.respond("200 OK", inside=True)

    def _wait(self, seconds: float) -> None:
        """Talk on for so long, or for as long as the other side likes where that is 0."""
        stage = self._stages
        self._stages += 1
        timeout = f' timeout="{round(seconds * 1000)}" ontimeout="after{stage}"' if seconds else ""
        self.add(_WAIT.format(stage=stage, timeout=timeout))
        for label, direction in (("", "sendrecv"), ("sendonly", "recvonly"), ("inactive", "inactive")):
            if label:
                self.add(f'  <label id="{label}{stage}"/>')
            self.respond("200 OK", attributes=' retrans="500"', body=self._sdp(direction), inside=True)
            self.add(f'  <recv request="ACK" next="wait{stage}"/>')
        self.add(f'  <label id="after{stage}"/>')
