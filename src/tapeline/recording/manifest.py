"""The manifest: all that is needed to finish a recording without the database, as one JSON object beside its audio.

Fields may be added; a reader ignores those it does not know and gives defaults to those it misses, so that a spool survives an
upgrade and a downgrade. `from_json` refuses what has fields of the wrong kind; `salvage` takes of anything what can be used, since
audio with half a manifest is worth more than none. This module turns manifests into text and back; where they lie is the spool's
affair.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeVar, get_args

from tapeline.core.recordspec import Begin, Delivery, Format, Heard, RecordSpec, SilenceRule
from tapeline.recording.errors import UnknownRecording

__all__ = ["VERSION", "Manifest", "ManifestState", "spec_as_dict"]

VERSION = 1

ManifestState = Literal["recording", "stopped", "failed"]
T = TypeVar("T")


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
    direction: str = ""
    node: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    rate: int = 8000
    channels: int = 1
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    state: ManifestState = "recording"
    reason: str = ""
    recovered: bool = False
    frames: int = 0
    timeline: tuple[Mapping[str, Any], ...] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)
    application_id: str = ""
    flow_id: str = ""
    version: int = VERSION

    @property
    def record_spec(self) -> RecordSpec:
        """The specification; what cannot be read of it has its default."""
        return _read(RecordSpec, _SPEC_CHECKS, self.spec)

    def facts(self) -> dict[str, Any]:
        """What a row tells of the recording whatever became of it, by the row's names."""
        spec = self.record_spec
        names = (
            "id", "account", "created", "call_id", "activeflow_id", "reference", "sip_call_id", "source", "destination", "direction",
            "node", "reason", "recovered", "channels", "rate", "started", "ended", "application_id", "flow_id",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "format": spec.format,
            "on_end_flow_id": spec.on_end_flow_id,
            "label": spec.label,
            "origin": spec.origin,
            "timeline": tuple(self.timeline),
            "custom": dict(self.custom),
        }

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Raises UnknownRecording where `text` is no manifest."""
        document = _document(text)
        wrong = [name for name, check in _CHECKS.items() if name in document and check(document[name]) is None]
        missing = [name for name in ("id", "account") if name not in document]
        if wrong or missing:
            raise UnknownRecording(f"a manifest that cannot be read: {', '.join(wrong + missing)} missing or of the wrong kind")
        return _read(cls, _CHECKS, document)

    @classmethod
    def salvage(cls, text: bytes, **defaults: Any) -> Manifest:
        """What can be used of `text`, `defaults` for the rest. Never raises for any bytes; `defaults` must name id and account."""
        try:
            document: Mapping[str, Any] = _document(text)
        except UnknownRecording:
            document = {}
        return _read(cls, _CHECKS, {**defaults, **{name: value for name, value in document.items() if _usable(name, value)}})


def spec_as_dict(spec: RecordSpec) -> dict[str, Any]:
    """The specification as JSON can hold it."""
    made = asdict(spec)
    made["end_keys"] = sorted(spec.end_keys)
    made["deliver"] = list(made["deliver"])
    return made


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnknownRecording(f"a manifest that cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise UnknownRecording("a manifest that cannot be read: not a JSON object")
    return document


# -- checks: a value as the field wants it, or None where it is of another kind. Wrapped in a tuple, since None may be a value. --------

Check = Callable[[Any], tuple[Any] | None]


def _text(value: Any) -> tuple[Any] | None:
    return (value,) if isinstance(value, str) else None


def _flag(value: Any) -> tuple[Any] | None:
    return (value,) if isinstance(value, bool) else None


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> tuple[Any] | None:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None

    return check


def _number(value: Any) -> tuple[Any] | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return (float(value),) if fits else None


def _moment(value: Any) -> tuple[Any] | None:
    return (None,) if value is None else _number(value)


def _object(value: Any) -> tuple[Any] | None:
    return (value,) if isinstance(value, dict) else None


def _one_of(choices: Any) -> Check:
    return lambda value: (value,) if isinstance(value, str) and value in get_args(choices) else None


def _texts(value: Any) -> tuple[Any] | None:
    return (frozenset(value),) if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value) else None


def _events(value: Any) -> tuple[Any] | None:
    fits = isinstance(value, list | tuple) and all(isinstance(item, dict) and _number(item.get("at")) is not None for item in value)
    return (tuple(value),) if fits else None


def _silence(value: Any) -> tuple[Any] | None:
    if value is None:
        return (None,)
    return (_read(SilenceRule, _SILENCE_CHECKS, value),) if isinstance(value, Mapping) else None


def _deliveries(value: Any) -> tuple[Any] | None:
    if not isinstance(value, list | tuple):
        return None
    return (tuple(_read(Delivery, _DELIVERY_CHECKS, item) for item in value if isinstance(item, Mapping) and _text(item.get("url"))),)


_COUNT = _whole(0, 1 << 62)
_CHECKS: Final[dict[str, Check]] = {
    **dict.fromkeys(("id", "account", "call_id", "activeflow_id", "reference", "sip_call_id", "application_id", "flow_id"), _text),
    **dict.fromkeys(("source", "destination", "direction", "node"), _text),
    **dict.fromkeys(("spec", "custom"), _object),
    **dict.fromkeys(("started", "ended"), _moment),
    "created": _number,
    "rate": _whole(1, 768_000),
    "channels": _whole(1, 1024),
    "state": _one_of(ManifestState),
    "reason": _text,
    "recovered": _flag,
    "frames": _COUNT,
    "timeline": _events,
    "version": _COUNT,
}
_SILENCE_CHECKS: Final[dict[str, Check]] = {"threshold": _COUNT, "initial_s": _number, "final_s": _number}
_DELIVERY_CHECKS: Final[dict[str, Check]] = {
    "url": _text,
    "method": _one_of(Literal["PUT", "POST"]),
    "naming": _one_of(Literal["as_is", "kazoo"]),
    "headers": _object,
}
_SPEC_CHECKS: Final[dict[str, Check]] = {
    **dict.fromkeys(("max_s", "min_s"), _number),
    **dict.fromkeys(("beep", "follow_transfer", "exclusive", "blocking"), _flag),
    **dict.fromkeys(("on_end_flow_id", "label", "origin"), _text),
    "heard": _one_of(Heard),
    "channels": _whole(1, 1024),
    "format": _one_of(Format),
    "rate": _whole(0, 768_000),
    "begin": _one_of(Begin),
    "silence": _silence,
    "end_keys": _texts,
    "deliver": _deliveries,
    "custom": _object,
}


def _usable(name: str, value: Any) -> bool:
    check = _CHECKS.get(name)
    return check is not None and check(value) is not None


def _read(kind: Callable[..., T], checks: Mapping[str, Check], document: Mapping[str, Any]) -> T:
    """A dataclass from those members of `document` that are of the right kind."""
    given: dict[str, Any] = {}
    for name, check in checks.items():
        if name in document and (found := check(document[name])) is not None:
            given[name] = found[0]
    return kind(**given)
