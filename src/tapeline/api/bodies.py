"""Request bodies: lenient JSON, and what it asks to be recorded as a frozen RecordSpec.

Lenient as the platform is: the Content-Type is not looked at, an empty body stands for all defaults, `null` is absent, unknown keys
are ignored, and numbers and booleans may be strings. All problems of a body are collected into one error. A wrong JSON type makes it
`INVALID_JSON_BODY`, a value out of range `INVALID_ARGUMENT`.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from starlette.requests import Request

from tapeline.api.errors import BodyTooLarge
from tapeline.calls.views import Address
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import ZERO_ID, is_id
from tapeline.core.recordspec import RATES, Begin, Format, Heard, MaskMode, RecordSpec, SilenceRule

__all__ = ["MAX_BODY", "Fields", "destination", "finite", "flow_id", "is_big", "mask_mode", "read_json", "record_spec"]

MAX_BODY = 1_000_000
QUICK = 32_000  # bytes that are read as JSON on the event loop; more, in a thread
KEYS = "0123456789*#ABCD"
CONFERENCE_CHANNELS = 8  # of a split recording of a conference, unless the body says otherwise
MOST_CHANNELS = 32
LONGEST_TARGET = 256
WRONG_TYPE = "INVALID_JSON_BODY"


async def read_json(request: Request) -> Mapping[str, Any]:
    """The body's JSON object, empty for an empty body; it may be asked for again. Raises BodyTooLarge, InvalidInput."""
    if not hasattr(request.state, "json"):
        request.state.json = await _read(request)
    found: Mapping[str, Any] = request.state.json
    return found


async def _read(request: Request) -> Mapping[str, Any]:
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY):
        raise _too_large()
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY:
            raise _too_large()
    if not received.strip():
        return {}
    request.state.big = len(received) > QUICK
    return await asyncio.to_thread(_parsed, received) if request.state.big else _parsed(received)


def is_big(request: Request) -> bool:
    """Whether the body that was read is so big that going through all of it belongs into a thread."""
    return bool(getattr(request.state, "big", False))


def _parsed(received: bytearray) -> Mapping[str, Any]:
    try:
        body = json.loads(received, parse_constant=_no_constant)
        json.dumps(body, ensure_ascii=False).encode()  # lone surrogates pass json.loads, but can go nowhere from here
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the body is not JSON", hint="send a JSON object or nothing", reason=WRONG_TYPE) from error
    if not isinstance(body, dict):
        raise InvalidInput("the body is not a JSON object", hint="send a JSON object or nothing", reason=WRONG_TYPE)
    return body


class Fields:
    """Reads typed fields of one body and collects what is wrong with them; `finish` raises it all at once."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._problems: list[str] = []
        self._reasons: list[str] = []  # of the problems that have one of their own; a wrong type's comes before all

    def text(self, name: str) -> str:
        value = self._body.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        self.mistyped(name, "a string")
        return ""

    def number(self, name: str) -> float:
        """Not negative; 0.0 where absent, empty or wrong."""
        value = self._body.get(name)
        if value is None or value == "":
            return 0.0
        number = finite(value)
        if number is None:
            self.mistyped(name, "a number")
            return 0.0
        if number < 0:
            self.problem(f"{name} must not be negative")
            return 0.0
        return number

    def count(self, name: str, most: int) -> int | None:
        """Not negative, at most `most`; None where absent."""
        if self._body.get(name) in (None, ""):
            return None
        number = self.number(name)
        if number != int(number) or number > most:
            self.problem(f"{name} must be a whole number of at most {most}")
            return None
        return int(number)

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object; empty where absent or wrong."""
        value = self._body.get(name)
        if value is None or isinstance(value, dict):
            return value or {}
        self.mistyped(name, "an object")
        return {}

    def items(self, name: str, most: int) -> list[Any] | None:
        """A list of at most `most`; None where absent or wrong."""
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            self.mistyped(name, "a list")
            return None
        if len(value) > most:
            self.problem(f"{name} must have at most {most} items")
        return value

    def within(self, name: str) -> Fields:
        """The fields of the object `name`; what is wrong with them counts as wrong with this body."""
        inner = Fields(self.mapping(name))
        inner._problems, inner._reasons = self._problems, self._reasons
        return inner

    def __contains__(self, name: str) -> bool:
        return self._body.get(name) is not None

    def whole(self, name: str, default: int, allowed: Sequence[int], word: str = "") -> int:
        """A number out of `allowed`, or 0 for `word`; `default` where it is absent, empty, 0 or wrong."""
        value = self._body.get(name)
        if word and isinstance(value, str) and value.strip().lower() == word:
            return 0
        number = self.number(name)
        if number and number not in allowed:
            shown = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(map(str, allowed))
            self.problem(f"{name} must be one of {shown}{f' or {word}' if word else ''}")
        return int(number) if number in allowed else default

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._body.get(name)
        if value is None or value == "":
            return default
        flag = _FLAGS.get(value.strip().lower() if isinstance(value, str) else value) if isinstance(value, str | bool | int) else None
        if flag is None:
            self.mistyped(name, "true or false")
        return bool(flag)

    def choice(self, name: str, choices: tuple[str, ...], reason: str = "") -> str:
        """One of `choices` in either case; the first where absent."""
        value = self.text(name).strip().lower()
        if value and value not in choices:
            self.problem(f"{name} must be one of {', '.join(filter(None, choices))}", reason)
        return value if value in choices else choices[0]

    def problem(self, sentence: str, reason: str = "") -> None:
        """A value that cannot be; `reason` where the platform has a word for it."""
        self._problems.append(sentence)
        if reason:
            self._reasons.append(reason)

    def mistyped(self, name: str, wanted: str) -> None:
        """A value of a wrong JSON type."""
        self.problem(f"{name} must be {wanted}", WRONG_TYPE)

    def finish(self) -> None:
        """Raises InvalidInput with every problem, if there is any."""
        if self._problems:
            reason = WRONG_TYPE if WRONG_TYPE in self._reasons else next(iter(self._reasons), "INVALID_ARGUMENT")
            raise InvalidInput("; ".join(self._problems), problems=self._problems, reason=reason)


def record_spec(body: Mapping[str, Any], of: Literal["call", "confbridge"] = "call") -> RecordSpec:
    """What the body of `recording_start` asks for. Raises InvalidInput with all its problems.

    The longest duration that the server allows is the service's rule, whoever asks; here it is only what the body says.
    """
    fields = Fields(body)
    chosen = fields.choice("format", ("wav", "mp3", "ogg"))
    silence_s = fields.number("end_of_silence")
    max_s = fields.number("duration") or RecordSpec().max_s
    min_s = fields.number("min_seconds")
    if min_s > max_s:
        fields.problem(f"min_seconds must not exceed the longest duration, {max_s:g} s")
    heard, channels = _conference_channels(fields) if of == "confbridge" else _call_channels(fields)
    begin = fields.choice("begin", get_args(Begin))
    spec = RecordSpec(
        heard=heard,
        channels=channels,
        format=next(item for item in get_args(Format) if item == chosen),
        rate=fields.whole("rate", RATES[0], RATES, "own"),
        begin=next(item for item in get_args(Begin) if item == begin),
        max_s=max_s,
        min_s=min_s,
        silence=SilenceRule(initial_s=silence_s, final_s=silence_s) if silence_s else None,
        end_keys=_end_keys(fields),
        beep=fields.flag("beep_start"),
        follow_transfer=fields.flag("should_follow_transfer", RecordSpec().follow_transfer),
        on_end_flow_id=flow_id(fields),
        origin="api",
    )
    fields.finish()
    return spec


def _call_channels(fields: Fields) -> tuple[Heard, int]:
    """What of a call is heard, and on how many channels."""
    chosen = fields.choice("heard", ("both", "caller", "callee"))
    split = fields.flag("split")
    if split and chosen != "both":
        fields.problem(f"split needs both sides, and heard is {chosen}")
    return next(item for item in get_args(Heard) if item == chosen), 2 if split else 1


def _conference_channels(fields: Fields) -> tuple[Heard, int]:
    channels = fields.whole("channels", CONFERENCE_CHANNELS, range(1, MOST_CHANNELS + 1))
    return ("participants", channels) if fields.flag("split") else ("mix", 1)


def destination(body: Mapping[str, Any]) -> Address:
    """The `destination` of a transfer: an address object as the platform has them, or its target alone. Raises InvalidInput."""
    given = body.get("destination")
    if isinstance(given, str):
        given = {"target": given}
    if not isinstance(given, Mapping):
        hint = 'such as {"type": "tel", "target": "+4930123"}'
        raise InvalidInput("destination must be an address", hint=hint, reason=WRONG_TYPE)
    fields = Fields(given)
    found = Address(fields.text("type").strip().lower(), fields.text("target").strip(), fields.text("target_name"))
    if not found.target or len(found.target) > LONGEST_TARGET:
        fields.problem(f"destination.target must have 1 to {LONGEST_TARGET} characters")
    fields.finish()
    return found


def mask_mode(body: Mapping[str, Any], default: MaskMode) -> MaskMode:
    """The `mode` of pause and mask. Raises InvalidInput."""
    fields = Fields(body)
    modes: tuple[MaskMode, ...] = get_args(MaskMode)
    chosen = fields.choice("mode", (default, *(mode for mode in modes if mode != default)))
    fields.finish()
    return next(mode for mode in modes if mode == chosen)


def _end_keys(fields: Fields) -> frozenset[str]:
    keys = fields.text("end_of_key").strip().upper()
    if keys in {"", "NONE"}:
        return frozenset()
    if keys == "ANY":
        return frozenset(KEYS)
    if not set(keys) <= set(KEYS):
        fields.problem(f"end_of_key must be none, any, or keys out of {KEYS}")
    return frozenset(keys)


def flow_id(fields: Fields, name: str = "on_end_flow_id") -> str:
    """The id of a flow; "" where there is none."""
    found = fields.text(name).strip()
    if found and not is_id(found):
        fields.problem(f"{name} must be a UUID")
    return "" if found == ZERO_ID else found.lower()


_FLAGS: Mapping[str | bool | int, bool] = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False, True: True, False: False,
}  # fmt: skip


def finite(value: Any) -> float | None:
    """The number that `value` is or writes, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the body is longer than {MAX_BODY} bytes")
