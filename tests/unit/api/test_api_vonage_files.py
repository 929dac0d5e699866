"""Vonage's face: tokens of applications, and the files of recordings. Tests named after lines of the platform's checklist say so."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from typing import Any

import httpx2
import pytest
from api_world import World
from vonage_world import add_application, client_of, key_pair, token

from tapeline.api.vonage.auth import allowed
from tapeline.api.vonage.words import file_id, recording_of, stamp, whole_stamp
from tapeline.core.errors import NotFound
from tapeline.core.ids import is_id, new_id
from tapeline.store import Application

AUDIO = b"ID3" + bytes(range(256)) * 30


@pytest.fixture
def application(world: World) -> Application:
    return add_application(world)


@pytest.fixture
def url(world: World, application: Application) -> str:
    """The address of a recording of the application."""
    return "/v1/files/" + file_id(world.service.recording(world.account, audio=AUDIO, application_id=application.id))


async def status(world: World, url: str, secret: str, **headers: str) -> int:
    async with world.client(secret, **headers) as client:
        answer = await client.get(url)
        if answer.status_code == 401:
            _well_formed(answer, 401, secret)
        return answer.status_code


def _well_formed(answer: httpx2.Response, code: int, secret: str = "") -> None:
    body = answer.json()
    assert answer.status_code == code and {"type", "title", "detail", "instance", "error_title"} <= set(body)
    assert not secret or secret not in answer.text


# --- checklist: downloads


async def test_download_auth(world: World, application: Application, url: str) -> None:
    """The owning application 200; none or a bad token 401; another application 404, as an id that nobody has."""
    async with client_of(world, application) as client:
        answer = await client.get(url)
        assert (answer.status_code, answer.content) == (200, AUDIO)
        _well_formed(await client.get(f"/v1/files/{new_id()}"), 404)
        _well_formed(await client.get("/v1/files/not-an-id"), 404)
    assert await status(world, url, "") == 401
    assert await status(world, url, "not.a.token") == 401
    other = add_application(world, 1)
    foreign = add_application(world, 2, account=world.other_account)
    for number, who in ((1, other), (2, foreign)):
        async with client_of(world, who, number) as client:
            refused = await client.get(url)
            unknown = await client.get(f"/v1/files/{new_id()}")
            _well_formed(refused, 404)
            assert refused.json()["detail"] == unknown.json()["detail"]


async def test_jwt_without_exp_iat_as_string(world: World, application: Application, url: str) -> None:
    """The token of the platform's old command line is valid for 15 minutes from `iat`."""
    secret = token(application, now=0, iat=str(int(world.clock.wall())))
    assert await status(world, url, secret) == 200
    world.clock.advance(890)
    assert await status(world, url, secret) == 200
    world.clock.advance(10)
    assert await status(world, url, secret) == 401


async def test_jwt_limits(world: World, application: Application, url: str) -> None:
    """Expired, or valid for less than half a minute, or for more than a day: 401. So is each wrong algorithm."""
    now = world.clock.wall()
    private, public = key_pair()
    good = {"application_id": application.id, "iat": int(now), "jti": new_id()}
    assert await status(world, url, token(application, now=now, exp=int(now) + 86400)) == 200
    assert await status(world, url, token(application, now=now, exp=str(int(now) + 60))) == 200
    assert await status(world, url, token(application, now=now, exp=int(now) + 86401)) == 401
    lengths = {30: 200, 29: 401, 5: 401, 0: 401, -10: 401, "29": 401}
    for seconds, expected in lengths.items():
        exp = str(int(now) + 29) if isinstance(seconds, str) else int(now) + seconds
        assert await status(world, url, token(application, now=now, exp=exp)) == expected, seconds
    assert await status(world, url, token(application, now=now - 7200, exp=int(now) - 3600)) == 401
    assert await status(world, url, token(application, now=now - 900, exp=int(now) - 1)) == 401
    assert await status(world, url, _sign(good, {"alg": "none"}, b"")) == 401
    digest = hmac.digest(public.encode(), _signed_part(good, {"alg": "HS256", "typ": "JWT"}), hashlib.sha256)
    assert await status(world, url, _sign(good, {"alg": "HS256", "typ": "JWT"}, digest)) == 401
    assert await status(world, url, token(application, now=now, algorithm="RS512", key=private)) == 401


def _part(value: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def _signed_part(claims: Any, header: Any) -> bytes:
    return _part(header) + b"." + _part(claims)


def _sign(claims: Any, header: Any, signature: bytes) -> str:
    return (_signed_part(claims, header) + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def test_get_with_content_type_header(world: World, application: Application, url: str) -> None:
    assert await status(world, url, token(application, now=world.clock.wall()), **{"Content-Type": "application/json"}) == 200


async def test_url_shapes(world: World, application: Application, url: str) -> None:
    file = url.rpartition("/")[2]
    async with client_of(world, application) as client:
        for path in (url, f"/v3/files/{file}", f"/media/download?id={file}"):
            answer = await client.get(path)
            assert (answer.status_code, answer.content) == (200, AUDIO)
            assert int(answer.headers["content-length"]) == len(AUDIO)
        _well_formed(await client.get("/media/download"), 404)
        _well_formed(await client.get("/v1/nothing"), 404)
        _well_formed(await client.delete(url), 405)


async def test_two_ids(world: World) -> None:
    """The id in the address is not the recording's, and leads to it and to no other."""
    ids = [new_id() for _ in range(1000)]
    files = [file_id(each) for each in ids]
    assert not set(ids) & set(files) and all(is_id(each) for each in files)
    assert [recording_of(each) for each in files] == ids
    assert recording_of(files[0].upper()) == ids[0]
    with pytest.raises(NotFound):
        recording_of("x" * 36)


async def test_retention(world: World, application: Application, url: str) -> None:
    world.service.expire(recording_of(url.rpartition("/")[2]))
    async with client_of(world, application) as client:
        _well_formed(await client.get(url), 404)


async def test_size_is_the_content_length_and_ranges_are_served(world: World, application: Application, url: str) -> None:
    async with client_of(world, application) as client:
        part = await client.get(url, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, AUDIO[10:20], f"bytes 10-19/{len(AUDIO)}")
        beyond = await client.get(url, headers={"Range": f"bytes={len(AUDIO)}-"})
        _well_formed(beyond, 416)
        assert beyond.headers["content-range"] == f"bytes */{len(AUDIO)}"
        head = await client.head(url)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(AUDIO)))


async def test_a_recording_that_is_not_ready_is_not_there(world: World, application: Application) -> None:
    recording = world.service.recording(world.account, "stopping", application_id=application.id)
    async with client_of(world, application) as client:
        _well_formed(await client.get(f"/v1/files/{file_id(recording)}"), 404)


async def test_a_recording_of_no_application_is_no_application_s(world: World, application: Application) -> None:
    recording = world.service.recording(world.account)
    async with client_of(world, application) as client:
        _well_formed(await client.get(f"/v1/files/{file_id(recording)}"), 404)


# --- tokens that are not what they should be


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": None},
        {"iat": "soon"},
        {"iat": True},
        {"iat": 1e300},
        {"iat": [1]},
        {"iat": -5},
        {"application_id": None},
        {"application_id": 7},
        {"application_id": "nobody"},
        {"exp": "never"},
        {"exp": {}},
        {"nbf": "x"},
    ],
    ids=str,
)
async def test_claims_that_are_wrong(world: World, application: Application, url: str, claims: dict[str, Any]) -> None:
    assert await status(world, url, token(application, now=world.clock.wall(), **claims)) == 401


async def test_times_within_and_beyond_the_allowance(world: World, application: Application, url: str) -> None:
    now = int(world.clock.wall())
    cases = {30: 200, 55: 200, 120: 401, 10**9: 401}
    assert {ahead: await status(world, url, token(application, now=now + ahead)) for ahead in cases} == cases
    assert await status(world, url, token(application, now=now, nbf=now + 30)) == 200
    assert await status(world, url, token(application, now=now, nbf=now + 300)) == 401
    assert await status(world, url, token(application, now=now - 100, exp=now - 30)) == 401


async def test_no_claims_no_key_no_application(world: World, application: Application, url: str) -> None:
    now = world.clock.wall()
    empty = {"application_id": None, "iat": None, "jti": None}
    assert await status(world, url, token(application, now=now, **empty)) == 401
    assert await status(world, url, token(application, 1, now=now)) == 401  # signed by another key
    assert await status(world, url, token(Application(new_id(), world.account), now=now)) == 401
    keyless = add_application(world, public_key="")
    assert await status(world, url, token(keyless, now=now)) == 401


async def test_ten_kilobytes_of_claims(world: World, application: Application, url: str) -> None:
    assert await status(world, url, token(application, now=world.clock.wall(), more="x" * 10_000)) == 401


async def test_claims_that_are_nested_without_end(world: World, application: Application, url: str) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 4000).rstrip(b"=").decode()
    assert await status(world, url, f"{_part({'alg': 'RS256'}).decode()}.{deep}.AAAA") == 401


async def test_nothing_of_a_token_is_logged(
    world: World, application: Application, url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    now = world.clock.wall()
    secrets = [token(application, now=now), token(application, now=now - 9000), token(application, 1, now=now, private="whisper")]
    with caplog.at_level(logging.DEBUG):
        for secret in secrets:
            await status(world, url, secret)
    told = caplog.text + "".join(capsys.readouterr())
    assert "whisper" not in told and not any(part in told for secret in secrets for part in secret.split(".")[1:])


async def test_the_database_may_be_away_for_those_who_are_known(world: World, application: Application, url: str) -> None:
    assert await status(world, url, token(application, now=world.clock.wall())) == 200
    world.application_rows.rows.clear()
    assert await status(world, url, token(application, now=world.clock.wall())) == 200


# --- acl


@pytest.mark.parametrize(
    ("acl", "path", "method", "may"),
    [
        (None, "/v1/files/1", "GET", True),
        ({"paths": {"/*/files/**": {}}}, "/v1/files/1", "GET", True),
        ({"paths": {"/v1/files/*": {}}}, "/v1/files/1", "GET", True),
        ({"paths": {"/v1/files/*": {}}}, "/v1/files/1/2", "GET", False),
        ({"paths": {"/*/files/**": {}}}, "/v1/calls", "GET", False),
        ({"paths": {"/*/calls/**": {}}}, "/v1/calls", "POST", True),
        ({"paths": {"/**": {}}}, "/v1/calls/1/talk", "PUT", True),
        ({"paths": {"/*/legs/**": {}, "/*/calls/**": {"methods": ["GET"]}}}, "/v1/calls/1", "GET", True),
        ({"paths": {"/*/calls/**": {"methods": ["GET"]}}}, "/v1/calls/1", "HEAD", True),
        ({"paths": {"/*/calls/**": {"methods": ["GET"]}}}, "/v1/calls/1", "PUT", False),
        ({"paths": {"/*/calls/**": {"filters": {"to": "1"}}}}, "/v1/calls/1", "GET", False),
        ({"paths": {}}, "/v1/calls/1", "GET", False),
        ({}, "/v1/calls/1", "GET", False),
        ("all", "/v1/calls/1", "GET", False),
        ({"paths": ["/**"]}, "/v1/calls/1", "GET", False),
        ({"paths": {"/**": "yes"}}, "/v1/calls/1", "GET", False),
        ({"paths": {"/" + "*/" * 20: {}}}, "/v1/calls/1", "GET", False),
        ({"paths": {"/**/" * 8 + "x": {}}}, "/v1" + "/a" * 2000, "GET", False),
    ],
)
def test_acl(acl: Any, path: str, method: str, may: bool) -> None:
    assert allowed(acl, path, method) is may


async def test_a_path_that_the_token_does_not_allow(world: World, application: Application, url: str) -> None:
    secret = token(application, now=world.clock.wall(), acl={"paths": {"/*/calls/**": {}}})
    assert await status(world, url, secret) == 403


# --- words


def test_times() -> None:
    assert stamp(1715000000.1239) == "2024-05-06T12:53:20.123Z" and whole_stamp(1715000000.9) == "2024-05-06T12:53:20Z"
    assert stamp(1715000000.0) == "2024-05-06T12:53:20.000Z"
