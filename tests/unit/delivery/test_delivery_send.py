"""One try after the other at a receiver that does everything a receiver can do wrong, over a real database, store and HTTP server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sending_bench import AUDIO, Bench

from tapeline.core.ids import new_id
from tapeline.delivery import send
from tapeline.delivery.carry import Carrier
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.pauses import pause_after
from tapeline.delivery.policies import KEEP_TRYING_S, LONGEST_PAUSE_S, POLICIES
from tapeline.delivery.send import Sender
from tapeline.store import DatabaseUnavailable, DeliveryRow


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_the_file_itself_is_the_body_and_2xx_is_success(bench: Bench, method: str) -> None:
    delivery = await bench.upload(method=method)
    bench.receiver.serve("/in/file.mp3", b"", status=201)
    assert await bench.run(delivery) == 1
    (request,) = bench.receiver.received("/in/file.mp3")
    assert (request.method, request.body) == (method, AUDIO)
    assert request.headers["content-type"] == "audio/mpeg" and request.headers["content-length"] == str(len(AUDIO))
    row = await bench.row(delivery)
    assert (row.state, row.status, row.tries, row.done, row.due) == ("delivered", 201, 1, 1000.0, None)
    assert [(found.outcome, found.status, found.target) for found in await bench.attempts(delivery)] == [("ok", 201, delivery.url)]
    assert bench.said[-1]["state"] == "delivered"


async def test_whatever_a_receiver_answers_or_does_not_is_tried_again_and_each_try_is_a_row(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "upload", replace(POLICIES["upload"], idle_s=0.3, answer_s=0.3))
    delivery = await bench.upload()
    bench.receiver.fail("/in/file.mp3", 500, 404, 403, "close", "hang", "half", "stall", "cut")
    assert await bench.run(delivery) == 9
    found = await bench.attempts(delivery)
    assert [attempt.status for attempt in found] == [500, 404, 403, 0, 0, 0, 0, 0, 200]
    assert [attempt.outcome for attempt in found] == ["failed"] * 8 + ["ok"]
    assert [attempt.time - 1000 for attempt in found] == [0, 1, 3, 7, 15, 31, 63, 127, 255]
    assert all(attempt.reason and attempt.fault == "destination" for attempt in found[:-1])
    assert (await bench.row(delivery)).state == "delivered"


async def test_redirects_keep_the_verb_and_the_body_and_a_circle_is_a_failure(bench: Bench) -> None:
    delivery = await bench.upload()
    bench.receiver.redirect("/in/file.mp3", "/elsewhere", 301)
    bench.receiver.redirect("/elsewhere", "/there", 307)
    assert await bench.run(delivery) == 1
    (request,) = bench.receiver.received("/there")
    assert (request.method, request.body) == ("PUT", AUDIO)
    circle = await bench.upload("/a")
    bench.receiver.redirect("/a", "/b", 302)
    bench.receiver.redirect("/b", "/a", 302)
    assert await bench.sender.attempt(circle.id, 0) == 1.0
    assert "circle" in (await bench.row(circle)).reason


async def test_a_receiver_that_is_down_for_a_day_gets_the_file_in_the_end(bench: Bench) -> None:
    bench.audio = AUDIO[:10_000]  # it is sent again and again
    delivery = await bench.upload()
    up = bench.now + 86400.0
    tries = 0
    while bench.now < up:
        bench.receiver.fail("/in/file.mp3", 500)
        pause = await bench.sender.attempt(delivery.id, 0)
        assert pause is not None
        bench.now += pause
        tries += 1
    assert await bench.run(delivery) == 1
    assert (await bench.row(delivery)).state == "delivered"
    assert tries == len(await bench.attempts(delivery)) - 1 < 50


async def test_after_three_days_it_is_given_up_and_says_why_and_a_replay_sends_it(bench: Bench) -> None:
    bench.audio = AUDIO[:10_000]  # it is sent again and again
    delivery = await bench.upload()
    bench.receiver.serve("/in/file.mp3", b"", status=500)
    tries = await bench.run(delivery)
    row = await bench.row(delivery)
    assert (row.state, row.status, row.reason, row.tries) == ("failed", 500, "answered 500", tries)
    assert 60 < tries < 100 and bench.now - 1000 > KEEP_TRYING_S - 2 * 3600
    assert await bench.sender.attempt(delivery.id, 0) is None
    bench.receiver.serve("/in/file.mp3", b"", status=200)
    again = await bench.database.deliveries.replay(delivery.id, bench.now)
    assert again is not None and (again.state, again.round, again.tries) == ("waiting", 1, 0)
    assert await bench.sender.attempt(delivery.id, 0) is None  # the old round's workflow does nothing more
    assert await bench.sender.attempt(delivery.id, 1) is None
    assert (await bench.row(delivery)).state == "delivered"


async def test_an_address_that_is_not_talked_to_is_refused_at_once_with_the_setting_to_change(bench: Bench) -> None:
    async with GuardedClient() as guarded:
        sender = Sender(bench.database, Carrier(bench.objects, guarded), bench.said.append, wall=lambda: bench.now)
        delivery = await bench.upload()
        assert await sender.attempt(delivery.id, 0) is None
    row = await bench.row(delivery)
    assert row.state == "failed" and "delivery.allow_private_addresses" in row.reason
    assert bench.receiver.requests == []
    for url in ("gopher://x/y", "http://", "file:///etc/passwd", "ftp://127.0.0.1/"):
        odd = await bench.upload(url=url)
        assert await bench.sender.attempt(odd.id, 0) is None
        assert (await bench.row(odd)).state == "failed"


async def test_a_message_to_one_who_refuses_it_is_not_repeated(bench: Bench) -> None:
    rows = [
        DeliveryRow(new_id(), new_id(), "webhook", new_id(), bench.receiver.url + path, 1000.0, 9e9, "POST", {}, '{"a":1}', policy="server")
        for path in ("/refused", "/broken")
    ]
    await bench.database.deliveries.add(*rows)
    bench.receiver.fail("/refused", 410)
    bench.receiver.fail("/broken", 503)
    assert await bench.sender.attempt(rows[0].id, 0) is None
    assert await bench.sender.attempt(rows[1].id, 0) == 1.0
    assert ((await bench.row(rows[0])).state, (await bench.row(rows[1])).state) == ("failed", "waiting")
    assert bench.receiver.received("/broken")[0].body == b'{"a":1}'


async def test_audio_that_was_deleted_is_not_sent_and_not_tried_again(bench: Bench) -> None:
    delivery = await bench.upload()
    await bench.objects.delete(delivery.object_key)
    assert await bench.sender.attempt(delivery.id, 0) is None
    assert (await bench.row(delivery)).reason == "the recording's audio has been deleted"


async def test_a_success_is_noted_once_the_database_is_back_and_the_file_is_not_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = await bench.upload()
    real, failures = bench.database.deliveries.note, 2

    async def note(*args: Any, **kwargs: Any) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise DatabaseUnavailable("away")
        await real(*args, **kwargs)

    async def at_once(seconds: float) -> None: ...

    monkeypatch.setattr(bench.database.deliveries, "note", note)
    monkeypatch.setattr(send.asyncio, "sleep", at_once)
    assert await bench.sender.attempt(delivery.id, 0) is None
    assert (await bench.row(delivery)).state == "delivered"
    assert len(bench.receiver.received("/in/file.mp3")) == 1


async def test_a_password_in_the_address_stays_out_of_the_attempts(bench: Bench) -> None:
    url = bench.receiver.url.replace("://", "://user:secret@") + "/in/file.mp3"
    delivery = await bench.upload(url=url)
    assert await bench.run(delivery) == 1
    assert all("secret" not in repr(found) for found in await bench.attempts(delivery))


async def test_begun_anew_in_the_middle_of_a_pause_it_waits_for_the_rest(bench: Bench) -> None:
    delivery = await bench.upload()
    bench.receiver.fail("/in/file.mp3", *[500] * 5)
    for _ in range(5):
        pause = await bench.sender.attempt(delivery.id, 0)
        assert pause is not None
        bench.now += pause
    bench.now -= 10.0
    assert await bench.sender.attempt(delivery.id, 0) == pytest.approx(10.0)
    assert len(await bench.attempts(delivery)) == 5


def test_pauses_grow_to_an_hour() -> None:
    assert [pause_after(failures, LONGEST_PAUSE_S) for failures in (1, 2, 3, 12, 13, 1000)] == [1.0, 2.0, 4.0, 2048.0, 3600.0, 3600.0]


async def test_rows_that_are_added_twice_are_there_once(bench: Bench) -> None:
    delivery = await bench.upload()
    await bench.database.deliveries.add(replace(delivery, url="http://other"))
    assert (await bench.row(delivery)).url == delivery.url
    assert [(due.id, due.round) for due in await bench.database.deliveries.due("", bench.now, files=True)] == [(delivery.id, 0)]
    assert [found.id for found in await bench.database.deliveries.list(ref=delivery.ref)] == [delivery.id]
