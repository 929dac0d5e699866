"""docs/rest.md tells of every route, scope and reason that there is, and of none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from api_world import World

from tapeline.api.bodies import MAX_BODY
from tapeline.api.errors import STATUSES, status_of
from tapeline.api.kazoo.face import PREFIX as KAZOO
from tapeline.api.routes import PREFIX
from tapeline.api.voipbin.calls import START_BODY
from tapeline.api.voipbin.conferences import CREATE_BODY
from tapeline.api.voipbin.conferences import START_BODY as CONFERENCE_BODY
from tapeline.api.vonage.face import owns
from tapeline.core.principal import ALL_SCOPES

PAGE_OF_VONAGE = Path(__file__).resolve().parents[3] / "docs/vonage.md"
PAGE_OF_KAZOO = Path(__file__).resolve().parents[3] / "docs/kazoo.md"
PAGE = (Path(__file__).resolve().parents[3] / "docs/rest.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### ([A-Z]+ /\S*)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))


def test_every_route_has_its_heading_and_every_heading_its_route(world: World) -> None:
    served = {
        f"{method.upper()} {path}" for path, methods in world.app.openapi()["paths"].items() for method in methods
    } | {"GET /openapi.json"}
    vonage = {name for name in served if owns(name.split()[1])}
    kazoo = {name for name in served - vonage if name.split()[1].startswith(KAZOO + "/")}
    assert set(SECTIONS) == served - kazoo - vonage
    for names, page in ((kazoo, PAGE_OF_KAZOO.read_text("utf-8")), (vonage, PAGE_OF_VONAGE.read_text("utf-8"))):
        assert names and not [name for name in names if f"`{name}`" not in page]


@pytest.mark.parametrize("route", World().routes, ids=lambda route: f"{route.method} {route.path}")
def test_the_scope_of_a_route_is_told(route: object) -> None:
    section = SECTIONS[f"{route.method} {PREFIX}{route.path}"]  # type: ignore[attr-defined]
    assert (f"Scope `{route.scope}`." if route.scope else "Any token.") in section  # type: ignore[attr-defined]


def test_every_scope_option_status_and_limit_is_told() -> None:
    assert set(re.findall(r"^\| `([a-z]+:[a-z]+)` \|", PAGE, re.M)) == ALL_SCOPES - {"admin"}
    start = SECTIONS[f"POST {PREFIX}/calls/{{id}}/recording_start"]
    assert set(re.findall(r"^\| `(\w+)` \|", start, re.M)) == set(START_BODY["properties"])
    conference = SECTIONS[f"POST {PREFIX}/conferences/{{id}}/recording_start"]
    assert set(re.findall(r"^\| `(\w+)` \|", conference, re.M)) == set(CONFERENCE_BODY["properties"])
    create = SECTIONS[f"POST {PREFIX}/conferences"]
    options = set(CREATE_BODY["properties"]["tapeline"]["properties"])
    assert set(re.findall(r"^\| `(\w+)` \|", create, re.M)) == set(CREATE_BODY["properties"]) | options
    told = {(int(code), word) for code, word in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.M)}
    assert told == {status_of(kind.__new__(kind)) for kind in STATUSES}
    assert f"{MAX_BODY:,} bytes" in PAGE
