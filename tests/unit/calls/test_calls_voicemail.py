"""A message that was left is told of once its file is there, and with the same id however often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tapeline.calls.kazoo.voicemail import message_left
from tapeline.calls.views import RecordingView
from tapeline.core.happening import Happening


def happening(kind: str = "recording_finished", origin: str = "voicemail", **more: Any) -> Happening:
    view = RecordingView(id="r1", account="a", state="available", created=1.0, origin=origin, custom={"voicemail_box": "b1"})
    return Happening(kind, "a", "r1", 2.0, more.get("data", view), "h1")


async def told(what: Happening, listener: Any = None) -> list[Happening]:
    heard: list[Happening] = []

    def tell(derived: Happening) -> list[Any]:
        heard.append(derived)
        return [listener()] if listener is not None else []

    work = message_left(SimpleNamespace(tell=tell), what)  # type: ignore[arg-type]
    if work is not None:
        await work
    return heard


async def test_a_finished_message_is_told_as_left() -> None:
    (first,), (again,) = await told(happening()), await told(happening())
    assert (first.kind, first.subject, first.account, first.time) == ("voicemail_left", "r1", "a", 2.0)
    assert first.id == again.id != "h1"


OTHERS = [happening("recording_started"), happening(origin="flow"), happening("recording_failed"), happening(data={})]


@pytest.mark.parametrize("what", OTHERS)
async def test_nothing_else_is(what: Happening) -> None:
    assert await told(what) == []


async def test_what_a_listener_raises_comes_out_so_that_it_is_told_again() -> None:
    async def broken() -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        await told(happening(), broken)
