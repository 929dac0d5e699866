"""The four transactions and the INVITE usage of a dialog as tables: (state, input) to (next state, actions).

RFC 3261 section 17 with the corrections of RFC 6026, which adds the Accepted state to both INVITE transactions so that retransmitted
requests and repeated 2xx are told from new ones. A pair that stands in no table cannot happen unless we are wrong, and raises
ImpossibleInput; what a peer may do at any time stands here, with no action where it changes nothing. The pictures in
README.md are made from these tables. This module knows the names of actions, not what they do.
"""

from __future__ import annotations

__all__ = ["DIALOG", "INVITE_CLIENT", "INVITE_SERVER", "NON_INVITE_CLIENT", "NON_INVITE_SERVER", "TABLES", "Table", "mermaid"]

Table = dict[tuple[str, str], tuple[str, tuple[str, ...]]]

# RFC 3261 figure 5, RFC 6026 section 7.2. Inputs: answers by class, timers, "lost" (the transport failed), "give up" (cancelled).
INVITE_CLIENT: Table = {
    ("calling", "timer A"): ("calling", ("resend", "restart_a")),
    ("calling", "timer B"): ("completed", ("report_timeout", "start_d")),  # a 2xx that comes too late still wants its ACK and BYE
    ("calling", "lost"): ("terminated", ("report_lost",)),
    ("calling", "give up"): ("completed", ("stop", "start_d")),
    ("calling", "1xx"): ("proceeding", ("stop", "deliver")),
    ("calling", "2xx"): ("accepted", ("stop", "start_m", "deliver")),
    ("calling", "failure"): ("completed", ("stop", "acknowledge", "start_d", "deliver")),
    ("proceeding", "1xx"): ("proceeding", ("deliver",)),
    ("proceeding", "2xx"): ("accepted", ("start_m", "deliver")),
    ("proceeding", "failure"): ("completed", ("acknowledge", "start_d", "deliver")),
    ("proceeding", "give up"): ("completed", ("stop", "start_d")),
    ("proceeding", "lost"): ("proceeding", ()),  # the answer may come over another connection, RFC 3261 section 18.2.2
    ("completed", "1xx"): ("completed", ()),
    ("completed", "2xx"): ("completed", ("deliver",)),  # another branch of a fork, which wants its ACK all the same
    ("completed", "failure"): ("completed", ("acknowledge",)),
    ("completed", "timer D"): ("terminated", ()),
    ("completed", "lost"): ("terminated", ("stop",)),
    ("completed", "give up"): ("completed", ()),
    ("accepted", "1xx"): ("accepted", ()),
    ("accepted", "2xx"): ("accepted", ("deliver",)),
    ("accepted", "failure"): ("accepted", ()),
    ("accepted", "timer M"): ("terminated", ()),
    ("accepted", "lost"): ("accepted", ()),
    ("accepted", "give up"): ("accepted", ()),
}

# RFC 3261 figure 6.
NON_INVITE_CLIENT: Table = {
    ("trying", "timer E"): ("trying", ("resend", "restart_e")),
    ("trying", "timer F"): ("terminated", ("stop", "report_timeout")),
    ("trying", "lost"): ("terminated", ("stop", "report_lost")),
    ("trying", "1xx"): ("proceeding", ("deliver",)),
    ("trying", "final"): ("completed", ("stop", "start_k", "deliver")),
    ("proceeding", "timer E"): ("proceeding", ("resend", "restart_e_slowly")),
    ("proceeding", "timer F"): ("terminated", ("stop", "report_timeout")),
    ("proceeding", "lost"): ("terminated", ("stop", "report_lost")),
    ("proceeding", "1xx"): ("proceeding", ("deliver",)),
    ("proceeding", "final"): ("completed", ("stop", "start_k", "deliver")),
    ("completed", "1xx"): ("completed", ()),
    ("completed", "final"): ("completed", ()),
    ("completed", "timer K"): ("terminated", ()),
    ("completed", "lost"): ("terminated", ("stop",)),
}

# RFC 3261 figure 7, RFC 6026 section 7.1. Inputs: the request again, its ACK, what we send, timers, "lost".
INVITE_SERVER: Table = {
    ("proceeding", "request"): ("proceeding", ("resend_or_trying",)),
    ("proceeding", "timer trying"): ("proceeding", ("send_trying",)),
    ("proceeding", "send 1xx"): ("proceeding", ("stop", "transmit")),
    ("proceeding", "send 2xx"): ("accepted", ("stop", "transmit", "start_l")),
    ("proceeding", "send failure"): ("completed", ("stop", "transmit", "start_g", "start_h")),
    ("proceeding", "ack"): ("proceeding", ()),
    ("proceeding", "lost"): ("proceeding", ()),
    ("completed", "request"): ("completed", ("resend",)),
    ("completed", "timer G"): ("completed", ("resend", "restart_g")),
    ("completed", "ack"): ("confirmed", ("stop", "start_i")),
    ("completed", "timer H"): ("terminated", ("stop",)),
    ("completed", "lost"): ("completed", ()),
    ("confirmed", "request"): ("confirmed", ()),
    ("confirmed", "ack"): ("confirmed", ()),
    ("confirmed", "timer I"): ("terminated", ()),
    ("confirmed", "lost"): ("confirmed", ()),
    ("accepted", "request"): ("accepted", ()),  # the session repeats its 2xx until the ACK comes
    ("accepted", "send 2xx"): ("accepted", ("transmit",)),
    ("accepted", "timer L"): ("terminated", ()),
    ("accepted", "lost"): ("accepted", ()),
}

# RFC 3261 figure 8.
NON_INVITE_SERVER: Table = {
    ("trying", "request"): ("trying", ()),
    ("trying", "send final"): ("completed", ("transmit", "start_j")),
    ("trying", "lost"): ("trying", ()),
    ("completed", "request"): ("completed", ("resend",)),
    ("completed", "timer J"): ("terminated", ()),
    ("completed", "lost"): ("completed", ()),
}

# The INVITE usage. UAC: calling, proceeding, early; UAS: proceeding, early. "success" is the 2xx, sent or received; "abandon" is our own
# side hanging up; "lost" is a transport that failed. Whatever leads to "terminated" makes the one Ended of the session.
DIALOG: Table = {
    ("calling", "trying"): ("proceeding", ()),
    ("calling", "progress"): ("early", ()),
    ("proceeding", "trying"): ("proceeding", ()),
    ("proceeding", "progress"): ("early", ()),
    ("early", "trying"): ("early", ()),
    ("early", "progress"): ("early", ()),
    ("confirmed", "trying"): ("confirmed", ()),
    ("confirmed", "progress"): ("confirmed", ()),
    ("confirmed", "bye"): ("terminated", ("end",)),
    ("confirmed", "abandon"): ("terminated", ("end",)),
    ("confirmed", "timeout"): ("terminated", ("end",)),
    ("confirmed", "lost"): ("terminated", ("end",)),
    ("confirmed", "failure"): ("terminated", ("end",)),
}
for _state in ("calling", "proceeding", "early"):
    DIALOG[_state, "success"] = ("confirmed", ())
    for _input in ("failure", "cancel", "bye", "abandon", "timeout", "lost"):
        DIALOG[_state, _input] = ("terminated", ("end",))
for _input in ("trying", "progress", "success", "failure", "cancel", "bye", "abandon", "timeout", "lost"):
    DIALOG["terminated", _input] = ("terminated", ())  # what comes late changes nothing

TABLES = {
    "invite client": INVITE_CLIENT,
    "non-invite client": NON_INVITE_CLIENT,
    "invite server": INVITE_SERVER,
    "non-invite server": NON_INVITE_SERVER,
    "dialog": DIALOG,
}


def mermaid(table: Table) -> str:
    """The table as a Mermaid state diagram; inputs that change nothing are left out."""
    lines = ["stateDiagram-v2"]
    for (state, what), (after, actions) in table.items():
        if state != after or actions:
            done = f" / {', '.join(action.replace('_', ' ') for action in actions)}" if actions else ""
            lines.append(f"    {state} --> {after}: {what}{done}")
    return "\n".join(lines) + "\n"
