"""What a body asks for: lenient in form, strict in meaning, every problem at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.api.bodies import KEYS, mask_mode, record_spec
from tapeline.core.errors import InvalidInput
from tapeline.core.recordspec import RATES, RecordSpec, SilenceRule

FLOW = "6B7A7C1E-9A58-4F0E-8F0C-0D7A3C0B1A11"


@pytest.mark.parametrize(
    ("body", "spec"),
    [
        ({}, RecordSpec()),
        ({"format": "WAV"}, RecordSpec()),
        ({"format": "mp3"}, RecordSpec(format="mp3")),
        ({"format": " Ogg "}, RecordSpec(format="ogg")),
        ({"duration": "30"}, RecordSpec(max_s=30)),
        ({"duration": " 1.5 "}, RecordSpec(max_s=1.5)),
        ({"end_of_silence": "5"}, RecordSpec(silence=SilenceRule(initial_s=5, final_s=5))),
        ({"end_of_key": "none"}, RecordSpec()),
        ({"end_of_key": "any"}, RecordSpec(end_keys=frozenset(KEYS))),
        ({"end_of_key": "*#"}, RecordSpec(end_keys=frozenset("*#"))),
        ({"end_of_key": "a"}, RecordSpec(end_keys=frozenset("A"))),
        ({"on_end_flow_id": FLOW}, RecordSpec(on_end_flow_id=FLOW.lower())),
        ({"split": True}, RecordSpec(channels=2)),
        ({"split": "true", "beep_start": "1"}, RecordSpec(channels=2, beep=True)),
        ({"split": "no", "beep_start": 0}, RecordSpec()),
        ({"beep_start": 1, "split": ""}, RecordSpec(beep=True)),
        ({"rate": "16000"}, RecordSpec(rate=16000)),
        ({"rate": "Own"}, RecordSpec(rate=0)),
        ({"heard": "caller"}, RecordSpec(heard="caller")),
        ({"heard": "Callee", "split": False}, RecordSpec(heard="callee")),
        ({"begin": "bridge", "should_follow_transfer": "false"}, RecordSpec(begin="bridge", follow_transfer=False)),
        ({"channels": 4}, RecordSpec()),
        ({"rate": 0, "min_seconds": ""}, RecordSpec()),
        ({"min_seconds": 2, "duration": 2}, RecordSpec(min_s=2, max_s=2)),
        (dict.fromkeys(("format", "duration", "end_of_key", "split", "rate", "on_end_flow_id")), RecordSpec()),
        ({"unheard": {"of": []}}, RecordSpec()),
    ],
)
def test_record_spec(body: dict[str, Any], spec: RecordSpec) -> None:
    assert record_spec(body) == spec


@pytest.mark.parametrize(
    ("body", "spec"),
    [
        ({}, RecordSpec(heard="mix")),
        ({"split": True}, RecordSpec(heard="participants", channels=8)),
        ({"split": True, "channels": "32"}, RecordSpec(heard="participants", channels=32)),
        ({"channels": 3, "heard": "caller"}, RecordSpec(heard="mix")),
    ],
)
def test_record_spec_of_a_conference(body: dict[str, Any], spec: RecordSpec) -> None:
    assert record_spec(body, "confbridge") == spec


def test_a_conference_has_no_more_channels_than_a_file_may_have() -> None:
    with pytest.raises(InvalidInput, match="channels must be one of 1 to 32"):
        record_spec({"split": True, "channels": 33}, "confbridge")


RATES_ONLY = "rate must be one of 8000, 16000, 24000, 32000, 48000 or own"


@pytest.mark.parametrize(
    ("body", "reason", "problems"),
    [
        ({"split": True, "heard": "callee"}, "INVALID_ARGUMENT", ["split needs both sides, and heard is callee"]),
        ({"begin": "soon"}, "INVALID_ARGUMENT", ["begin must be one of now, media, answer, bridge"]),
        ({"format": "flac"}, "INVALID_ARGUMENT", ["format must be one of wav, mp3, ogg"]),
        ({"duration": -1}, "INVALID_ARGUMENT", ["duration must not be negative"]),
        ({"end_of_key": "ab!"}, "INVALID_ARGUMENT", [f"end_of_key must be none, any, or keys out of {KEYS}"]),
        ({"on_end_flow_id": "greeting"}, "INVALID_ARGUMENT", ["on_end_flow_id must be a UUID"]),
        ({"rate": 44100}, "INVALID_ARGUMENT", [RATES_ONLY]),
        ({"rate": 8000.5}, "INVALID_ARGUMENT", [RATES_ONLY]),
        ({"rate": 0.5}, "INVALID_ARGUMENT", [RATES_ONLY]),
        ({"min_seconds": 3, "duration": 2}, "INVALID_ARGUMENT", ["min_seconds must not exceed the longest duration, 2 s"]),
        ({"duration": "soon"}, "INVALID_JSON_BODY", ["duration must be a number"]),
        ({"duration": True}, "INVALID_JSON_BODY", ["duration must be a number"]),
        ({"duration": "inf"}, "INVALID_JSON_BODY", ["duration must be a number"]),
        ({"duration": float("inf")}, "INVALID_JSON_BODY", ["duration must be a number"]),
        ({"duration": 10**400}, "INVALID_JSON_BODY", ["duration must be a number"]),
        ({"split": 2}, "INVALID_JSON_BODY", ["split must be true or false"]),
        ({"split": []}, "INVALID_JSON_BODY", ["split must be true or false"]),
        ({"format": 7}, "INVALID_JSON_BODY", ["format must be a string"]),
        (
            {"format": "flac", "duration": [], "end_of_key": "?", "beep_start": "maybe"},
            "INVALID_JSON_BODY",
            [
                "format must be one of wav, mp3, ogg",
                "duration must be a number",
                "beep_start must be true or false",
                f"end_of_key must be none, any, or keys out of {KEYS}",
            ],
        ),
    ],
)
def test_all_problems_are_told_at_once(body: dict[str, Any], reason: str, problems: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        record_spec(body)
    assert caught.value.reason == reason
    assert sorted(caught.value.problems) == sorted(problems)


@pytest.mark.parametrize(
    ("body", "mode"),
    [({}, "cut"), ({"mode": ""}, "cut"), ({"mode": "TONE"}, "tone"), ({"mode": "silence"}, "silence"), ({"mode": "cut"}, "cut")],
)
def test_mask_mode(body: dict[str, Any], mode: str) -> None:
    assert mask_mode(body, "cut") == mode


@pytest.mark.parametrize(("body", "reason"), [({"mode": "loud"}, "INVALID_ARGUMENT"), ({"mode": 1}, "INVALID_JSON_BODY")])
def test_mask_mode_refuses(body: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        mask_mode(body, "cut")
    assert caught.value.reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
NAMES = st.sampled_from(
    ["format", "duration", "end_of_silence", "end_of_key", "on_end_flow_id", "split", "rate", "beep_start", "min_seconds", "mode", "heard"]
)


@given(st.dictionaries(NAMES, JSON))
def test_any_object_is_a_specification_in_range_or_refused_with_problems(body: dict[str, Any]) -> None:
    try:
        spec = record_spec(body)
    except InvalidInput as error:
        assert error.problems and error.reason in {"INVALID_JSON_BODY", "INVALID_ARGUMENT"}
    else:
        assert 0 <= spec.min_s <= spec.max_s and spec.rate in (*RATES, 0) and spec.format in ("wav", "mp3", "ogg")
        assert spec.channels in (1, 2) and spec.end_keys <= set(KEYS)
