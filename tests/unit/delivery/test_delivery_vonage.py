"""Messages to Vonage's applications as the worker sends them: tried twice where that may help, signed with the application's secret."""

from __future__ import annotations

import hashlib
import time

import jwt
import pytest
from vonage_jwt import verify_signature

from tapeline.core.ids import new_id
from tapeline.delivery.policies import policy_of
from tapeline.delivery.signing import SCHEMES, Signer, vonage
from tapeline.store import Application, CallFilter, CallRow, Database, DeliveryRow

SECRET = "s" * 32
PARTIES = {"source": {"kind": "tel"}, "destination": {"kind": "tel"}}


def row(application: str, **fields: str) -> DeliveryRow:
    return DeliveryRow(new_id(), "a", "webhook", "c", "https://app.test/e?x=1", 0.0, 9e9, signing=f"vonage:{application}", **fields)  # type: ignore[arg-type]


def test_event_retry() -> None:
    """One more try on no answer, 429, 502, 503 and 504; every other answer is final."""
    policy = policy_of("vonage")
    assert policy.most == 2
    assert {status for status in range(200, 600) if policy.meaning(status) == "again"} == {429, 502, 503, 504}
    assert {policy.meaning(status) for status in range(200, 300)} == {"taken"}


async def test_signed_as_it_is_sent(database: Database) -> None:
    """By the secret of its row or of the settings; a new secret holds within a second, and without one nothing is signed."""
    application = Application(new_id(), "account", signature_secret=SECRET)
    await database.applications.put(application)
    declared = new_id()
    now = [0.0]
    signer = Signer(database, {**SCHEMES, "vonage": vonage({declared: ("default", "t" * 32)})}, lambda: now[0])
    for owner, secret in ((application.id, SECRET), (declared, "t" * 32)):
        for method, body, payload in (("POST", b"{}", b"{}"), ("GET", b"", b'{"x":"1"}')):
            ((name, value),) = await signer.headers(row(owner, method=method), body)
            token = value.removeprefix("Bearer ")
            assert name == "Authorization" and verify_signature(token, secret) is True
            claims = jwt.decode(token, options={"verify_signature": False})
            assert claims["payload_hash"] == hashlib.sha256(payload).hexdigest() and claims["application_id"] == owner
            assert claims["iat"] <= time.time()
    await database.applications.put(Application(application.id, "account", signature_secret="u" * 32))
    now[0] += 1.0
    ((_, value),) = await signer.headers(row(application.id, method="POST"), b"{}")
    assert verify_signature(value.removeprefix("Bearer "), "u" * 32) is True
    await database.applications.put(Application(application.id, "account"))
    now[0] += 1.0
    assert await signer.headers(row(application.id), b"{}") == [] and await signer.headers(row(new_id()), b"{}") == []


ENDS = [
    ("busy", "486 Busy", "remote"), ("failed", "603 Decline", "remote"), ("failed", "404", "remote"), ("noanswer", "480 x", "remote"),
    ("noanswer", "487 x", "remote"), ("noanswer", "", "local"), ("timeout", "", "local"), ("dialout", "no answer in time", "local"),
    ("cancel", "", "remote"), ("normal", "", "local"), ("failed", "503 x", "remote"), ("failed", "4 words", "local"),
]  # fmt: skip


@pytest.mark.parametrize("answered", [False, True])
async def test_calls_are_found_by_how_they_ended(database: Database, answered: bool) -> None:
    """The word that a list is filtered by is the word that is told of each."""
    from tapeline.api.vonage.webhooks import status_of
    from tapeline.calls.rows import call_view

    application = new_id()
    rows = [
        CallRow(new_id(), "a", "outgoing", "hangup", float(number), **PARTIES, hangup_by=by,
                hangup_reason=reason, hangup_cause=cause, progressing=5.0 if answered else None, application_id=application,
                activeflow_id=f"f{number % 2}")
        for number, (reason, cause, by) in enumerate(ENDS)
    ]  # fmt: skip
    statuses = ("dialing", "ringing", "progressing", "terminating")
    rows += [
        CallRow(new_id(), "a", "outgoing", status, 50.0, **PARTIES, application_id=application)
        for status in statuses
    ]
    await database.calls.upsert(*rows, CallRow(new_id(), "a", "incoming", "hangup", 1.0, application_id=new_id()))
    expected: dict[str, set[str]] = {}
    for each in rows:
        expected.setdefault(status_of(call_view(each)), set()).add(each.id)
    for word, ids in expected.items():
        total, found = await database.calls.of_application(application, CallFilter(outcome=word, limit=100))
        assert ({each.id for each in found}, total) == (ids, len(ids)), word
    total, page = await database.calls.of_application(application, CallFilter(since=3.0, until=8.0, ascending=False, offset=1, limit=2))
    assert total == 6 and [each.created for each in page] == [7.0, 6.0]
    assert (await database.calls.of_application(application, CallFilter(activeflow_id="f1")))[0] == len(ENDS) // 2
    for ascending in (True, False):
        listed = [each.id for each in (await database.calls.of_application(application, CallFilter(limit=100, ascending=ascending)))[1]]
        for offset in range(len(rows) + 2):  # from either end
            wanted = CallFilter(offset=offset, limit=3, ascending=ascending)
            total, page = await database.calls.of_application(application, wanted)
            assert total == len(rows) and [each.id for each in page] == listed[offset : offset + 3]
    late = CallRow(new_id(), "a", "outgoing", "hangup", time.time(), **PARTIES, application_id=application)
    await database.calls.upsert(late)
    assert (await database.calls.of_application(application, CallFilter(limit=1)))[0] == len(rows) + 1
    await database.calls.delete(rows[0].id)
    assert (await database.calls.of_application(application, CallFilter(limit=1)))[0] == len(rows)
