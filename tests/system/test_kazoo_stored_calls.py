"""What KAZOO's callflows find in stored documents, by telephone: rules of time that are switched, a menu, a box that is listened to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from test_kazoo_api import Crossbar, action

from tapeline.calls.phone import Phone, PhoneCall, PhoneConfig, resolve
from tapeline.core.errors import Unavailable
from tapeline.testing import spoken
from tapeline.testing.plan import Plan
from tapeline.testing.process import until
from tapeline.testing.server import Server

PATIENCE_S = 40.0
BOX, RULE, MENU = "b0" * 16, "a0" * 16, "c0" * 16
DOCUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("/temporal_rules", {"id": RULE, "name": "closed", "cycle": "date", "start_date": 63_000_000_000}),  # a day long ago
    ("/menus", {"id": MENU, "name": "main", "hunt": False, "max_extension_length": 1, "media": {"greeting": "tone:440/300"}}),
    ("/vmboxes", {"id": BOX, "name": "box", "mailbox": "7001", "pin": "1234"}),
    ("/callflows", {"numbers": ["*21"], "flow": action("temporal_route", {"action": "enable", "rules": [RULE]})}),
    ("/callflows", {"numbers": ["*97"], "flow": action("voicemail", {"action": "check", "id": BOX})}),
]


def posted(crossbar: Crossbar) -> None:
    for path, document in DOCUMENTS:
        crossbar.ask("PUT", path, document)
    leave = action("voicemail", {"id": BOX, "greeting": "Hello."})
    menu = {"module": "menu", "data": {"id": MENU}, "children": {"1": leave, "_": action("hangup")}}
    children = {RULE: menu, "_": action("response", {"code": 480})}
    crossbar.ask("PUT", "/callflows", {"numbers": ["2000"], "flow": {"module": "temporal_route", "data": {}, "children": children}})


async def test_rules_are_switched_a_menu_leads_to_a_box_and_the_box_is_listened_to(tmp_path: Path) -> None:
    phone = Phone(PhoneConfig(user="ann", rtp_ports=(30200, 30299)))
    await phone.start()
    with Server(tmp_path / "server", {"1": action("hangup")}) as server:
        crossbar = await asyncio.to_thread(Crossbar, server)
        await asyncio.to_thread(posted, crossbar)
        path = f"/vmboxes/{BOX}/messages"

        async def wait_for(what: str, found: Callable[[], bool]) -> None:
            await asyncio.to_thread(until, found, what, PATIENCE_S)

        async def called(number: str, keys: str) -> PhoneCall:
            call = phone.call(await resolve(server.uri(number)))
            await call.answered()
            await call.press(keys)
            return call

        async with asyncio.timeout(3 * PATIENCE_S):
            assert (await phone.call(await resolve(server.uri("2000"))).over()).status == 480
            switching = await called("*21", "")
            await wait_for("a rule that holds", lambda: crossbar.ask("GET", f"/temporal_rules/{RULE}").get("enabled") is True)
            switching.hang_up()
            leaving = None
            while leaving is None:  # what is in the database comes into force a moment later
                with suppress(Unavailable):
                    leaving = await called("2000", "1")
            await wait_for("a message that is being left", lambda: [one["status"] for one in server.api.recordings()] == ["recording"])
            await leaving.play(Plan.of(spoken(7, 1.5)).voice(rate=leaving.rate))
            leaving.hang_up()
            await wait_for("a message", lambda: bool(crossbar.ask("GET", path)))
            hearing = await called("*97", "1234#1")
            while (await asyncio.to_thread(crossbar.ask, "GET", path))[0]["folder"] == "new":
                await hearing.press("1")  # save it
                await asyncio.sleep(0.3)
            hearing.hang_up()
        (told,) = await asyncio.to_thread(crossbar.ask, "GET", path)
        assert told["folder"] == "saved" and told["length"] > 1000
        assert await asyncio.to_thread(server.stop) == 0
    await phone.stop()
