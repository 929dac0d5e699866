"""SIPp as a crowd of callers, each of whom says what its own plan holds.

SIPp takes one scenario for all calls and the name of a media file only as a constant. So the scenario is written for the run: each call
takes its number from the injection file and jumps to the one step that plays its file. As root the files are pcap, sent from a port of
each call's own, with the RTP numbers and faults we choose; else SIPp streams headerless mu-law, from one port for all. The statistics
that SIPp writes are the result.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tapeline.testing.plan import Plan
from tapeline.testing.process import Child, ChildFailed, free_port, free_port_range
from tapeline.testing.rtpsource import RtpVoice, write_pcap

__all__ = ["SippCallers", "SippResult", "caller_number", "choice", "sipp_missing", "sipp_result"]

Ends = Literal["caller", "callee", "cancel", "never_acks"]

_HEAD = """\
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:caller[field0]@[local_ip]:[local_port]>;tag=[pid]x[call_number]
      Call-ID: [call_id]
      Max-Forwards: 70
      Contact: <sip:caller[field0]@[local_ip]:[local_port]>
"""

_INVITE = """
  <send retrans="500" start_rtd="1"><![CDATA[

      INVITE sip:{number}@[remote_ip]:[remote_port] SIP/2.0
{head}      To: <sip:{number}@[remote_ip]:[remote_port]>
      CSeq: 1 INVITE
      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=- 1 1 IN IP[local_ip_type] [local_ip]
      s=-
      c=IN IP[media_ip_type] [media_ip]
      t=0 0
      m=audio [{port}] RTP/AVP {payload_type}
      a=rtpmap:{payload_type} {codec}/8000

  ]]></send>
"""

_ANSWERED = """
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rtd="1" rrs="true"/>
  <send><![CDATA[

      ACK [next_url] SIP/2.0
      [routes]
{head}      To: <sip:{number}@[remote_ip]:[remote_port]>[peer_tag_param]
      CSeq: 1 ACK
      Content-Length: 0

  ]]></send>
"""

_CANCELS = """
  <label id="ringing"/>
  <recv response="100" optional="true" timeout="{milliseconds}" ontimeout="cancel" next="ringing"/>
  <recv response="180" optional="true" timeout="{milliseconds}" ontimeout="cancel" next="ringing"/>
  <recv response="183" optional="true" timeout="{milliseconds}" ontimeout="cancel" next="ringing"/>
  <recv response="487" rtd="1" timeout="{milliseconds}" ontimeout="cancel"/>
  <label id="cancel"/>
  <send retrans="500"><![CDATA[

      CANCEL sip:{number}@[remote_ip]:[remote_port] SIP/2.0
{head_of_cancel}      To: <sip:{number}@[remote_ip]:[remote_port]>
      CSeq: 1 CANCEL
      Content-Length: 0

  ]]></send>
  <recv response="200"/>
  <recv response="487"/>
  <send><![CDATA[

      ACK sip:{number}@[remote_ip]:[remote_port] SIP/2.0
{head_of_ack}      To: <sip:{number}@[remote_ip]:[remote_port]>[peer_tag_param]
      CSeq: 1 ACK
      Content-Length: 0

  ]]></send>
"""

_NEVER_ACKS = """
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rtd="1"/>
  <recv request="BYE" timeout="{milliseconds}"/>
"""

_CHOICE = """
  <nop><action>
    {number}
    <todouble assign_to="step" variable="text"/>
    <multiply assign_to="step" value="2"/>
    <add assign_to="step" value="{first}"/>
    <jump variable="step"/>
  </action></nop>
{plays}
  <label id="chosen"/>
"""

_CALLER_ENDS = """
  <pause milliseconds="{milliseconds}"/>
  <send retrans="500"><![CDATA[

      BYE [next_url] SIP/2.0
      [routes]
{head}      To: <sip:{number}@[remote_ip]:[remote_port]>[peer_tag_param]
      CSeq: 2 BYE
      Content-Length: 0

  ]]></send>
  <recv response="200"/>
"""

_CALLEE_ENDS = """
  <recv request="BYE" timeout="{milliseconds}"/>
  <send><![CDATA[

      SIP/2.0 200 OK
      [last_Via:]
      [last_From:]
      [last_To:]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

  ]]></send>
"""


# Ways to end a call that is not talked in.
_UNANSWERED: Mapping[Ends, str] = {"cancel": _CANCELS, "never_acks": _NEVER_ACKS}


def sipp_missing() -> str:
    """Why SIPp cannot be used here, or nothing."""
    return "" if shutil.which("sipp") else "SIPp is not installed (Debian package sip-tester); run scripts/peers"


def caller_number(uri: str) -> int:
    """The n of a caller by its address, such as `sip:caller7@127.0.0.1`: whose plan it spoke. Raises ValueError for others."""
    found = re.search(r"caller(\d+)", uri)
    if found is None:
        raise ValueError(f"{uri!r} is none of SIPp's callers")
    return int(found[1])


@dataclass(frozen=True, slots=True)
class SippResult:
    """What SIPp counted."""

    successful: int
    failed: int
    retransmissions: int
    response_time_s: float  # from INVITE to its 200, mean
    errors: str  # what SIPp found unexpected, as it wrote it


def sipp_result(folder: Path, child: Child) -> SippResult:
    """The counts of a SIPp told to write `statistics.csv` and `errors.txt`. Raises ChildFailed where it wrote none."""
    statistics, errors = folder / "statistics.csv", folder / "errors.txt"
    whole = [line for line in statistics.read_text().split("\n")[:-1] if line] if statistics.exists() else []
    rows = list(csv.DictReader(whole, delimiter=";"))
    if not rows:
        raise ChildFailed(f"SIPp wrote no statistics\n{child.tail()}")
    hours, minutes, seconds, *micro = rows[-1]["ResponseTime1(C)"].split(":") if "ResponseTime1(C)" in rows[-1] else ("0", "0", "0")
    return SippResult(
        successful=int(rows[-1]["SuccessfulCall(C)"]),
        failed=int(rows[-1]["FailedCall(C)"]),
        retransmissions=int(rows[-1]["Retransmissions(C)"]),
        response_time_s=int(hours) * 3600 + int(minutes) * 60 + float(seconds) + (int(micro[0]) / 1e6 if micro else 0.0),
        errors=errors.read_text(errors="replace")[-4000:] if errors.exists() else "",
    )


def choice(before: Sequence[str], number: str, plays: Sequence[str], least: int = 0) -> str:
    """The step of a scenario, behind those `before`, that plays the file of this call: `plays[n]` of call n.

    `number` is the action that assigns the call's number, counted from `least`, to the variable `text`.

    `jump` goes to the step before its target and takes the way out of that one; so a step without `next` stands before each target.
    """
    first = len(re.findall(r"<(?:send|recv|pause|nop)\b", "\n".join(before))) + 2 - 2 * least
    played = "\n".join(f'  <nop/><nop next="chosen"><action><exec {play}/></action></nop>' for play in plays)
    return _CHOICE.format(number=number, first=first, plays=played)


class SippCallers:
    """A number of calls, `rate` of them started each second, to `number` at `target`.

    Call n says `plans[n]` (its channel 0) from the moment it is answered. `ends` says who hangs up: the caller `seconds` after the
    answer, or the callee, for whose BYE each caller waits as long; or each caller cancels after `seconds` of ringing; or it is answered,
    never sends its ACK, and waits as long for the BYE that this must bring.
    """

    def __init__(
        self,
        folder: Path,
        target: tuple[str, int],
        plans: Sequence[Plan],
        *,
        number: str = "1000",
        rate: float = 20.0,
        seconds: float = 10.0,
        ends: Ends = "callee",
        voice: RtpVoice | None = None,
        raw_sockets: bool | None = None,
        transport: Literal["udp", "tcp"] = "udp",
    ) -> None:
        self._plans = plans
        self._folder = folder
        self._voice = voice or RtpVoice()
        self._raw = os.geteuid() == 0 if raw_sockets is None else raw_sockets
        self._seconds = seconds
        self._rate = rate
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "callers.csv").write_text("SEQUENTIAL\n" + "".join(f"{index};\n" for index in range(len(plans))))
        (folder / "callers.xml").write_text(self._scenario(number, ends))
        media, _ = free_port_range(4 * len(plans) + 8)
        command = [
            *("sipp", f"{target[0]}:{target[1]}", "-sf", "callers.xml", "-inf", "callers.csv"),
            *("-m", str(len(plans)), "-l", str(max(1, len(plans))), "-r", f"{rate:g}", "-i", "127.0.0.1", "-mi", "127.0.0.1"),
            *("-p", str(free_port(socket.SOCK_DGRAM)), "-mp", str(media), "-t", "u1" if transport == "udp" else "t1", "-nostdin"),
            *("-trace_err", "-error_file", "errors.txt", "-trace_stat", "-stf", "statistics.csv", "-fd", "1"),
        ]
        self.child = Child("sipp", command, folder, urgent=True)

    def start(self) -> None:
        self.child.start()

    def finish(self, timeout_s: float | None = None) -> SippResult:
        """Wait for the last call and give the counts. Raises ChildFailed where it takes longer than the calls can."""
        longest = len(self._plans) / self._rate + self._seconds + 40
        try:
            self.child.wait(timeout_s or longest)
        finally:
            self.child.end()
        return self.result()

    def run(self) -> SippResult:
        """All of it: start, wait, count."""
        self.start()
        return self.finish()

    def result(self) -> SippResult:
        """What SIPp counted so far. Raises ChildFailed where it wrote nothing."""
        return sipp_result(self._folder, self.child)

    def _scenario(self, number: str, ends: Ends) -> str:
        codec = {0: "PCMU", 8: "PCMA"}[self._voice.payload_type]
        words = {
            "number": number,
            "head": _HEAD,
            "head_of_cancel": _HEAD.replace("[branch]", "[branch-5]"),  # the INVITE's: so many messages before
            "head_of_ack": _HEAD.replace("[branch]", "[branch-8]"),
            "codec": codec,
            "payload_type": self._voice.payload_type,
            "port": "auto_media_port" if self._raw else "rtpstream_audio_port",
            "milliseconds": round(self._seconds * 1000),
        }
        head = '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="callers">'
        invite = _INVITE.format(**words)
        if ends in _UNANSWERED:
            return f"{head}{invite}{_UNANSWERED[ends].format(**words)}</scenario>\n"
        answered = [invite, _ANSWERED.format(**words)]
        plays = [self._play(index) for index in range(len(self._plans))]
        chosen = choice(answered, '<assignstr assign_to="text" value="[field0]"/>', plays)
        ending = (_CALLER_ENDS if ends == "caller" else _CALLEE_ENDS).format(**words)
        return "".join([head, *answered, chosen, ending, "</scenario>\n"])

    def _play(self, index: int) -> str:
        """Write the file of one call; the attribute that plays it."""
        voice = self._plans[index].voice()
        if self._raw:
            path = write_pcap(self._folder / f"{index}.pcap", list(self._voice.packets(voice)))
            return f'play_pcap_audio="{path.absolute()}"'
        if self._voice != RtpVoice():
            raise ValueError("without raw sockets SIPp makes its own RTP; a sender's faults need root")
        path = self._plans[index].write_ulaw(self._folder / f"{index}.ulaw")
        return f'rtp_stream="{path.absolute()},1,0"'
