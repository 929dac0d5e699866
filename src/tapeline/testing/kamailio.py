"""Kamailio as a stateful proxy that stays in the path of each call (Record-Route), on UDP and TCP of one loopback port.

What comes from the server it stands in front of (by its UDP port) goes where its request URI says, in branches for the users of `forks`;
all else goes to the server. Blocking. Knows nothing of what the server is.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tapeline.testing.process import Child, Daemon, free_port

__all__ = ["Kamailio", "kamailio_missing"]

_CONFIG = """\
#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "corex.so"
modparam("tm", "fr_inv_timer", 60000)

request_route {{
    if (!mf_process_maxfwd_header("20")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (!loose_route()) {{
            if (!is_method("ACK")) sl_send_reply("404", "Not Here");
            else if (t_check_trans()) t_relay();
            exit;
        }}
        t_relay();
        exit;
    }}
    t_check_trans();
    remove_hf("Route");
    if (is_method("INVITE")) record_route();
    if ($sp != {target_port}) $du = "sip:{target}:{target_port}";
{forks}
    t_relay();
}}
"""


def kamailio_missing() -> str:
    """Why Kamailio cannot be used here, or nothing."""
    return "" if shutil.which("kamailio") else "Kamailio is not installed (Debian package kamailio); run scripts/peers"


class Kamailio(Daemon):
    """A proxy at `address`, in front of the server at `target`. `forks` names, for a user, the URIs at which it is sought at once."""

    def __init__(
        self, folder: Path, target: tuple[str, int], forks: Mapping[str, Sequence[str]] | None = None, *, port: int = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", port or free_port())
        branches = ""
        for user, uris in (forks or {}).items():
            first, *others = uris
            appended = "".join(f' append_branch("{uri}");' for uri in others)
            branches += f'    if ($sp == {target[1]} && $rU == "{user}") {{ $ru = "{first}";{appended} }}\n'
        config = folder / "kamailio.cfg"
        config.write_text(_CONFIG.format(port=self.address[1], target=target[0], target_port=target[1], forks=branches))
        command = ["kamailio", "-f", str(config.absolute()), "-DD", "-E", "-Y", str(folder.absolute()), "-m", "32", "-M", "4"]
        self.child = Child("kamailio", command, folder)

    def uri(self, number: str) -> str:
        return f"sip:{number}@{self.address[0]}:{self.address[1]}"
