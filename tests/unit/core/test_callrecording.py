"""KAZOO's `call_recording`, resolved: what fills what, and which level wins, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from tapeline.core.callrecording import PAIRS, filled, legacy, merged, parameters
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Settings, load

ON = {"enabled": True}


def enabled(rules: Any) -> set[str]:
    return {f"{direction}/{network}" for direction, network in PAIRS if parameters(rules, direction, network) is not None}


@pytest.mark.parametrize(
    ("setting", "recorded"),
    [
        ({"any": {"any": ON}}, {"inbound/onnet", "inbound/offnet", "outbound/onnet", "outbound/offnet"}),
        ({"any": {"onnet": ON}}, {"inbound/onnet", "outbound/onnet"}),
        ({"inbound": {"any": ON}}, {"inbound/onnet", "inbound/offnet"}),
        ({"outbound": {"offnet": ON}}, {"outbound/offnet"}),
        ({"any": {"any": ON}, "inbound": {"offnet": {"enabled": False}}}, {"inbound/onnet", "outbound/onnet", "outbound/offnet"}),
        ({"any": {"any": {"enabled": False}}, "inbound": {"onnet": ON}}, {"inbound/onnet"}),
        ({"inbound": {"onnet": {"url": "http://x/y"}}}, set()),
        ({"inbound": {"onnet": {"enabled": "true"}}}, set()),
        ({}, set()),
        (None, set()),
        ({"inbound": 5, "any": [1]}, set()),
    ],
)
def test_any_fills_both_and_what_is_missing_is_not_enabled(setting: Any, recorded: set[str]) -> None:
    assert enabled(filled(setting)) == recorded


def test_a_specific_direction_is_laid_over_any_field_by_field() -> None:
    rules = filled({"any": {"any": {"enabled": True, "format": "wav", "url": "http://a/b"}}, "inbound": {"offnet": {"format": "mp3"}}})
    assert parameters(rules, "inbound", "offnet") == {"enabled": True, "format": "mp3", "url": "http://a/b"}
    assert parameters(rules, "inbound", "onnet") == {"enabled": True, "format": "wav", "url": "http://a/b"}


def test_a_device_that_only_enables_inherits_the_rest_of_the_user() -> None:
    account = {"any": {"any": {"enabled": False, "record_min_sec": 3}}}
    user = {"inbound": {"any": {"enabled": False, "url": "http://a/b", "format": "wav"}}}
    device = {"inbound": {"onnet": ON}}
    rules = merged(account, user, device)
    assert parameters(rules, "inbound", "onnet") == {"enabled": True, "url": "http://a/b", "format": "wav", "record_min_sec": 3}


def test_any_setting_of_a_device_decides_for_all_four_by_itself() -> None:
    everything = {"any": {"any": ON}}
    assert enabled(merged(everything, {"outbound": {"offnet": ON}})) == {"outbound/offnet"}


@pytest.mark.parametrize("undefined", [None, {}])
def test_an_undefined_or_empty_setting_of_a_device_leaves_the_user_s(undefined: Any) -> None:
    assert enabled(merged({"any": {"any": ON}}, undefined)) == enabled(filled({"any": {"any": ON}}))


def test_the_older_record_call_means_all_directions_and_networks() -> None:
    assert len(enabled(filled(legacy(True)))) == 4
    rules = filled(legacy({"url": "http://a/b"}))
    assert parameters(rules, "outbound", "onnet") == {"enabled": True, "url": "http://a/b"}
    assert legacy(False) == legacy(None) == {}


def test_the_settings_refuse_what_the_schema_does_not_know(tmp_path: Any) -> None:
    path = tmp_path / "tapeline.toml"
    path.write_text('[[users]]\nname = "a"\ncall_recording = { inbound = { any = { enabled = true, method = "post" } } }\n')
    with pytest.raises(InvalidInput, match="method"):
        load(path)
    path.write_text('[[accounts]]\nname = "default"\n[accounts.call_recording.account.any.any]\nenabled = true\ntime_limit = 4\n')
    with pytest.raises(InvalidInput, match="time_limit"):
        load(path)


def test_the_settings_take_what_it_knows() -> None:
    parameters_ = {"enabled": True, "format": "wav", "record_min_sec": 2, "time_limit": 5, "url": "http://a/b", "record_on_answer": True}
    settings = Settings(users=[{"name": "a", "call_recording": {"any": {"any": parameters_}}}])
    assert settings.users[0].model_dump(exclude_unset=True)["call_recording"] == {"any": {"any": parameters_}}
