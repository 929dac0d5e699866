"""The test kit, part of the package so that those who build on tapeline can test with it too.

    clock          FakeClock: time that moves when told
    network        LossyNetwork, run: datagrams in virtual time, lost and late on purpose
    waveforms      sines, clicks, silence, G.711
    plan           Plan: which tone each channel carries, and when
    rtpsource      RtpVoice: a plan as RTP packets, with a sender's faults
    listening      listen, assert_heard: a recording held against its plan
    presence       stretches, sounding: where a tone sounds in a mix
    alignment      offset_between two channels
    leaks          Snapshot: what a test leaves behind
    stalls         StallWatch: whether the machine let its processes run
    process        Child: a process that ends for certain; free ports
    sipp, baresip  drivers of real peers: SIPp as callers, baresip as a telephone
    sippcarrier    SippCarrier: SIPp as the one who is called, well-behaved or not
    kamailio       Kamailio: a proxy in front, in the path of each call
    authority      Authority: certificates of a test's own making
    nameserver     NameServer: a zone of a few records, for who looks names up
    ear            Ears: what is said to a peer that does not listen itself
    server, api    Server: a real `tapeline serve`; Api: a client of it
    receiver       Receiver: an HTTP server that takes webhooks, and misbehaves when asked

The drivers are imported from their modules; what needs no process and no socket is here.
"""

from __future__ import annotations

from tapeline.testing.alignment import offset_between
from tapeline.testing.clock import FakeClock
from tapeline.testing.listening import LIVE, Heard, Problem, Report, Tolerance, assert_heard, decode, listen
from tapeline.testing.network import Datagram, Impairment, LossyNetwork, Node, run
from tapeline.testing.plan import Plan, Segment, anything, quiet, spoken, tone
from tapeline.testing.rtpsource import RtpVoice, write_pcap
from tapeline.testing.waveforms import Samples, alaw_decode, alaw_encode, clicks, silence, sine, ulaw_decode, ulaw_encode

__all__ = [
    "LIVE",
    "Datagram",
    "FakeClock",
    "Heard",
    "Impairment",
    "LossyNetwork",
    "Node",
    "Plan",
    "Problem",
    "Report",
    "RtpVoice",
    "Samples",
    "Segment",
    "Tolerance",
    "alaw_decode",
    "alaw_encode",
    "anything",
    "assert_heard",
    "clicks",
    "decode",
    "listen",
    "offset_between",
    "quiet",
    "run",
    "silence",
    "sine",
    "spoken",
    "tone",
    "ulaw_decode",
    "ulaw_encode",
    "write_pcap",
]
