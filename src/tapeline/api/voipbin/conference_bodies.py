"""Request bodies about conferences: a new or changed one, and what of it is to be recorded. As lenient as `bodies`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tapeline.api.bodies import Fields, flow_id, record_spec
from tapeline.calls.views import ConferenceDraft
from tapeline.core.ids import ZERO_ID, is_id
from tapeline.core.recordspec import RecordSpec

__all__ = ["LONGEST_DATA", "conference_draft", "conference_spec"]

LONGEST_TEXT = 1000  # of a name or an address
LONGEST_DATA = 65_536
DEEPEST_DATA = 32
LONGEST_TIMEOUT_S = 2**31 - 1
NOT_OF_CONFERENCES = frozenset({"end_of_silence", "end_of_key", "begin", "heard", "should_follow_transfer"})


def conference_spec(body: Mapping[str, Any]) -> RecordSpec:
    """What the body of a conference's `recording_start` asks for. Raises InvalidInput.

    Neither silence nor keys end the recording of a conference, and it waits for nothing.
    """
    return record_spec({name: value for name, value in body.items() if name not in NOT_OF_CONFERENCES}, "confbridge")


def conference_draft(body: Mapping[str, Any]) -> ConferenceDraft:
    """What the body of a new or changed conference says. Raises InvalidInput with all its problems."""
    fields = Fields(body)
    texts = {name: fields.text(name) for name in ("name", "detail") if name in fields}
    for name, value in texts.items():
        if len(value) > LONGEST_TEXT:
            fields.problem(f"{name} must have at most {LONGEST_TEXT} characters")
    data = fields.mapping("data") if "data" in fields else None
    if data is not None and len(json.dumps(data)) > LONGEST_DATA:
        fields.problem(f"data must have at most {LONGEST_DATA} characters as JSON")
    if data is not None and too_deep(data):
        fields.problem(f"data must not be nested deeper than {DEEPEST_DATA} levels")
    conference_id = fields.text("id").strip().lower()
    if conference_id and not is_id(conference_id):
        fields.problem("id must be a UUID")
    draft = ConferenceDraft(
        id="" if conference_id == ZERO_ID else conference_id,
        kind=fields.choice("type", ("", "conference", "connect", "queue")),
        **texts,
        data=data,
        timeout=fields.count("timeout", LONGEST_TIMEOUT_S),
        pre_flow_id=flow_id(fields, "pre_flow_id") if "pre_flow_id" in fields else None,
        post_flow_id=flow_id(fields, "post_flow_id") if "post_flow_id" in fields else None,
        options=_room_options(fields.within("tapeline")),
    )
    fields.finish()
    return draft


def too_deep(data: Any) -> bool:
    """Whether `data` is nested beyond what everybody who handles it can take."""
    level: list[Any] = [data]
    for _ in range(DEEPEST_DATA):
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())]
    return bool(level)


def _room_options(fields: Fields) -> dict[str, Any]:
    """What is ours: the fields of RoomSpec that are named."""
    options: dict[str, Any] = {name: fields.text(name).strip() for name in ("join_tone", "leave_tone", "music") if name in fields}
    for name, address in options.items():
        if address.startswith("recording:") or len(address) > LONGEST_TEXT:
            fields.problem(f"{name} must be an address such as https://host/file.wav, file:NAME or tone:440/200")
    if "moderated" in fields:
        options["moderated"] = fields.flag("moderated")
    if (most := fields.count("max_members", 1000)) is not None:
        options["max_members"] = most
    return options
