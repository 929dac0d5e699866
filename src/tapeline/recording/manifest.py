"""The manifest: all that is needed to finish a recording without the database, as one JSON object beside its audio.

Fields may be added; a reader ignores those it does not know and gives defaults to those it misses, so that a spool survives an
upgrade and a downgrade. This module turns manifests into text and back; where they lie is the spool's affair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from tapeline.core.recordspec import Delivery, RecordSpec, SilenceRule
from tapeline.recording.errors import UnknownRecording

__all__ = ["VERSION", "Manifest", "spec_as_dict"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """Times are seconds since 1970 UTC. `state`: `recording` until the audio is complete, then `stopped`, or `failed`: nothing to keep."""

    id: str
    account: str
    call_id: str = ""
    activeflow_id: str = ""
    reference: str = "call"
    sip_call_id: str = ""
    source: str = ""
    destination: str = ""
    node: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    rate: int = 8000
    channels: int = 1
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    state: Literal["recording", "stopped", "failed"] = "recording"
    reason: str = ""
    recovered: bool = False
    frames: int = 0
    timeline: tuple[Mapping[str, Any], ...] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def record_spec(self) -> RecordSpec:
        """The specification; what cannot be read of it has its default."""
        known = {item.name for item in fields(RecordSpec)}
        given = {name: value for name, value in self.spec.items() if name in known}
        if isinstance(given.get("silence"), Mapping):
            given["silence"] = SilenceRule(**given["silence"])
        given["end_keys"] = frozenset(given.get("end_keys", ()))
        given["deliver"] = tuple(Delivery(**item) for item in given.get("deliver", ()))
        return RecordSpec(**given)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Raises UnknownRecording where `text` is no manifest."""
        try:
            document = json.loads(text)
            known = {item.name for item in fields(cls)}
            made = cls(**{name: value for name, value in document.items() if name in known})
            made = replace(made, timeline=tuple(made.timeline))
            checked = isinstance(made.id, str) and isinstance(made.rate, int) and isinstance(made.channels, int)
            if not checked or made.rate <= 0 or made.channels <= 0:
                raise ValueError("fields of the wrong type")
        except (ValueError, TypeError, AttributeError) as error:
            raise UnknownRecording(f"a manifest that cannot be read: {error}") from error
        return made


def spec_as_dict(spec: RecordSpec) -> dict[str, Any]:
    """The specification as JSON can hold it."""
    made = asdict(spec)
    made["end_keys"] = sorted(spec.end_keys)
    made["deliver"] = list(made["deliver"])
    return made
