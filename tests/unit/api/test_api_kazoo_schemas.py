"""Every constraint of KAZOO's own schemas: what breaks it is refused under its field and its rule, what keeps it is taken.

The schemas stand beside the project; where they are missing, these tests are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.schema import Rule, check

FOLDER = Path(__file__).resolve().parents[4] / "shared/vectors/kazoo-schemas"
RULES = Rules(allow_private=False)
Path_ = tuple[str | int, ...]

if not FOLDER.is_dir():
    pytest.skip(f"the schemas of KAZOO are not at {FOLDER}", allow_module_level=True)

# Where tapeline takes more than the schema does, by decision: any id of a conference or a box; numbers that KAZOO sends as text.
LENIENT = {
    ("callflows.conference", ("id",)), ("callflows.voicemail", ("id",)), ("callflows.conference", ("config",)),
    ("callflows.conference", ("play_entry_tone",)), ("callflows.conference", ("play_exit_tone",)),
    ("callflows.send_dtmf", ("duration_ms",)), ("callflows.ring_group", ("endpoints", 0)), ("callflows.page_group", ("endpoints", 0)),
    ("metaflows.callflow", ("captures",)), ("metaflows.callflow", ("flow",)), ("metaflows.relate", ("participant_id",)),
    ("metaflows.relate", ("other_participant",)), ("metaflows.say", ("gender",)), ("metaflows.say", ("method",)),
    ("metaflows.say", ("type",)),
}  # fmt: skip


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "")
    return {**load(name), **schema} if name and (FOLDER / f"{name}.json").is_file() else schema


def minimal(schema: dict[str, Any], deep: bool = False) -> Any:
    """The smallest value that keeps a schema; `deep`: with every property."""
    schema = resolved(schema)
    if "oneOf" in schema and "type" not in schema:
        return minimal(schema["oneOf"][0], deep)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", schema.get("default", 1))
        case "boolean":
            return True
        case "string":
            if "http" in schema.get("pattern", "") or schema.get("format") == "uri":
                return "https://example.com/in"
            return "en" if "pattern" in schema else "x" * max(1, schema.get("minLength", 1))
        case "array":
            return [minimal(schema.get("items", {}), deep)] * max(1, schema.get("minItems", 0))
        case "object" | None if "properties" in schema:
            wanted = schema["properties"] if deep else schema.get("required", ())
            skipped = {"children", "metaflow", "flow"}
            made = {name: minimal(schema["properties"][name], deep) for name in wanted if not (deep and name in skipped)}
            return made | {name: "https://example.com/in" for name in ("url", "uri") if name in made}
    return {}


def breaking(schema: dict[str, Any], at: Path_ = ()) -> Iterator[tuple[Path_, str, Any]]:
    """(path, rule, value): a value at that path that breaks that rule. MISSING: no value."""
    schema = resolved(schema)
    kind = schema.get("type")
    wrong: dict[Any, Any] = {"integer": "many", "number": "many", "boolean": "maybe", "string": 5, "object": 5, "array": 5}
    if kind in wrong and at:
        yield at, "type", wrong[kind]
    if "enum" in schema and kind == "string":
        yield at, "enum", "no such thing"
    for rule, value in (
        ("minimum", lambda limit: limit - 1), ("maximum", lambda limit: limit + 1),
        ("minLength", lambda limit: "x" * (limit - 1)), ("maxLength", lambda limit: "x" * (limit + 1)), ("minItems", lambda limit: []),
    ):  # fmt: skip
        if rule in schema and "enum" not in schema:
            yield at, rule, value(schema[rule])
    if schema.get("uniqueItems"):
        yield at, "uniqueItems", [minimal(schema["items"])] * 2
    if "pattern" in schema or schema.get("format") == "uri":
        yield at, "pattern" if "http" not in schema.get("pattern", "http") else "invalid", "gopher://x"
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        yield (*at, "no_such_key"), "additionalProperties", 1
    for name in schema.get("required", ()):
        if "default" not in schema["properties"][name]:
            yield (*at, name), "required", None
    for name, inner in schema.get("properties", {}).items():
        if name not in ("children", "metaflow") and not (name == "flow" and at):
            yield from breaking(inner, (*at, name))
    if kind == "array" and "oneOf" not in schema["items"]:
        yield from breaking(schema["items"], (*at, 0))


def placed(document: Any, at: Path_, value: Any) -> Any:
    """`document` with `value` at a path; None takes away what is there."""
    if not at:
        return value
    head, rest = at[0], at[1:]
    if isinstance(head, int):
        return [placed(document[0] if isinstance(document, list) and document else {}, rest, value)]
    changed = dict(document) if isinstance(document, dict) else {}
    changed[head] = placed(changed.get(head), rest, value)
    return {key: item for key, item in changed.items() if item is not None}


def rooms() -> Iterator[tuple[str, Rule, Path_]]:
    """Each schema, the rule that stands for it, and where its values stand in a document of that rule."""
    for file in sorted(FOLDER.glob("*.json")):
        name = file.stem
        family, _, module = name.partition(".")
        if name in ("callflows.action", "callflows.audio_macro.prompt", "callflows.audio_macro.say", "callflows.audio_macro.tone"):
            continue
        if family == "callflows" and module:
            yield name, RULES.callflow, ("flow", "data")
        elif family == "metaflows" and module:
            yield name, RULES.metaflow, ("data",)
    yield "callflows", RULES.callflow, ()
    yield "metaflows", RULES.metaflows, ()
    yield "call_recording", RULES.person, ("call_recording",)


ROOMS = list(rooms())


def whole(name: str, data: Any) -> dict[str, Any]:
    """The document in which `data` stands."""
    family, _, module = name.partition(".")
    if family == "callflows" and module:
        return {"flow": {"module": module, "data": data}}
    if family == "metaflows" and module:
        return {"module": module, "data": data}
    if family == "call_recording":
        return {"call_recording": data}
    return {"flow": {"module": "hangup"}, **data} if name == "callflows" else data


BROKEN = [
    (name, rule, (*room, *at), broken, at, value)
    for name, rule, room in ROOMS
    for at, broken, value in breaking(load(name))
    if not any((name, at[:length]) in LENIENT for length in range(len(at) + 1))
]


def test_there_is_a_rule_for_every_module_that_has_a_schema() -> None:
    names = {name.split(".")[1] for name, _, room in ROOMS if room == ("flow", "data")}
    assert names <= set(RULES.modules) and len(names) > 35
    assert {name.split(".")[1] for name, _, room in ROOMS if room == ("data",)} <= set(RULES.metaflow_modules)


@pytest.mark.parametrize(("name", "rule", "room"), ROOMS, ids=[room[0] for room in ROOMS])
def test_what_keeps_the_schema_is_taken(name: str, rule: Rule, room: Path_) -> None:
    for deep in (False, True):
        document = whole(name, minimal(load(name), deep))
        assert not check(document, rule), document


@pytest.mark.parametrize(
    ("name", "rule", "field", "broken", "at", "value"), BROKEN, ids=[f"{one[0]}-{'.'.join(map(str, one[4]))}-{one[3]}" for one in BROKEN]
)
def test_what_breaks_the_schema_is_refused_under_its_field(name: str, rule: Rule, field: Path_, broken: str, at: Path_, value: Any) -> None:
    document = whole(name, placed(minimal(load(name)), at, value))
    faults = check(document, rule)
    path = ".".join(map(str, field))
    assert path in faults and broken in faults[path], (document, faults)
    assert faults[path][broken]["message"]


def test_there_are_hundreds_of_constraints() -> None:
    assert len(BROKEN) > 300
