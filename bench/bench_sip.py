"""What one call costs the SIP endpoint: INVITE, 180, 200, ACK, BYE, 200 as a UAS, everything but the sockets.

The caller's messages are written beforehand, so that only our side is measured: parsing, transactions, timers (those of the calls before
fire as virtual time goes on, 32 s later), answers. Run: python bench/bench_sip.py [--calls N] [--json] [--profile]
"""

from __future__ import annotations

import cProfile
import gc
import json
import os
import pstats
import resource
import time

import figures
from tapeline.sip import Endpoint, EndpointConfig, Flow, Incoming
from tapeline.sip.offer_answer import LocalMedia, answer_offer

GOAL_MS = 0.5
FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))
OFFER = (
    "v=0\r\no=user1 53655765 2353687637 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    "m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)


def request(method: str, number: int, seq: int, to_tag: str, extra: str = "", body: str = "") -> bytes:
    branch = f"z9hG4bK-{number}-{method}" if method != "ACK" else f"z9hG4bK-{number}-a"
    return (
        f"{method} sip:1000@192.0.2.1:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.9:5060;branch={branch};rport\r\n"
        f'From: "Caller {number}" <sip:caller@192.0.2.9:5060>;tag=c{number}\r\n'
        f"To: <sip:1000@192.0.2.1:5060>{to_tag}\r\n"
        f"Call-ID: {number}-bench@192.0.2.9\r\n"
        f"CSeq: {seq} {method}\r\n"
        f"Contact: <sip:caller@192.0.2.9:5060>\r\n"
        "Max-Forwards: 70\r\nUser-Agent: bench\r\nSubject: Performance\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def run(calls: int, rate: float, sdp: bool) -> float:
    """CPU seconds for `calls` calls that come at `rate` a second of virtual time."""
    endpoint = Endpoint(EndpointConfig(), os.urandom)
    extra = "Content-Type: application/sdp\r\nAllow: INVITE, ACK, BYE, CANCEL\r\n"
    invites = [request("INVITE", number, 1, "", extra, OFFER) for number in range(calls)]
    media = LocalMedia("192.0.2.1", 4000)
    fixed = answer_offer(OFFER.encode(), media).sdp
    spent = 0.0
    for number in range(calls):
        now = number / rate
        began = time.process_time()
        deadline = endpoint.next_deadline()
        if deadline is not None and deadline <= now:
            endpoint.tick(now)
            endpoint.outgoing()
        endpoint.receive(invites[number], FLOW, now)
        (event,) = endpoint.events()
        assert isinstance(event, Incoming)
        session = event.session
        session.ring(now)
        session.accept(answer_offer(event.body or b"", media).sdp if sdp else fixed, now)
        endpoint.outgoing()
        spent += time.process_time() - began
        tag = f";tag={session.local_tag}"
        ack, bye = request("ACK", number, 1, tag), request("BYE", number, 2, tag)
        began = time.process_time()
        endpoint.receive(ack, FLOW, now + 0.001)
        endpoint.events()
        endpoint.receive(bye, FLOW, now + 0.002)
        endpoint.events()
        endpoint.outgoing()
        spent += time.process_time() - began
    assert not endpoint.sessions
    return spent


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--calls", type=int, default=20000)
    parser.add_argument("--rate", type=float, default=1000.0, help="calls for each second of virtual time")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(run, options.calls, options.rate, True)
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        return
    run(500, options.rate, True)
    signalling = run(options.calls, options.rate, False) / options.calls
    whole = run(options.calls, options.rate, True) / options.calls
    result = {
        "calls": options.calls,
        "cpu_ms_per_call": round(whole * 1000, 4),
        "cpu_ms_per_call_without_sdp": round(signalling * 1000, 4),
        "calls_per_second": round(1 / whole),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "goal_ms": GOAL_MS,
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:30} {value}")


if __name__ == "__main__":
    main()
