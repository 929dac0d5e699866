"""What the settings make of a recording that a document asks for."""

from typing import Any

import pytest

from tapeline import flow
from tapeline.calls.limits import permitted
from tapeline.core.recordspec import RecordSpec
from tapeline.core.settings import RecordingSettings


def spec_of(module: str, **data: Any) -> RecordSpec:
    program = flow.compile({"module": module, "data": data, "children": {}}, dialect="kazoo").program
    assert program is not None
    found: list[RecordSpec] = [step.op.spec for step in program.steps.values() if hasattr(step.op, "spec")]
    return found[0]


@pytest.mark.parametrize(("named", "default", "made"), [("", "mp3", "mp3"), ("", "wav", "wav"), ("", "ogg", "ogg"), ("wav", "ogg", "wav")])
@pytest.mark.parametrize("module", ["record_call", "record_caller"])
def test_a_document_that_names_no_format_gets_that_of_the_settings(module: str, named: str, default: Any, made: str) -> None:
    spec = spec_of(module, **({"format": named} if named else {}))
    assert permitted(spec, RecordingSettings(default_format=default), {}).format == made


def test_a_format_that_the_platform_has_not_is_none() -> None:
    assert permitted(spec_of("record_call", format="mp4"), RecordingSettings(default_format="wav"), {}).format == "wav"


def test_other_dialects_have_defaults_of_their_own() -> None:
    assert permitted(RecordSpec(), RecordingSettings(default_format="ogg"), {}).format == "wav"
