"""What the options of several NCCO actions come to: recordings, membership of a conversation, endpoints, the addresses that are told.

Each function reads fields and says what is wrong with them. Knows the specifications of `core`, and nothing that runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, Final

from tapeline.core.recordspec import Format, RecordSpec, SilenceRule
from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.flow.commands import Party
from tapeline.flow.fields import Fields

__all__ = [
    "LEVEL",
    "asked",
    "choice",
    "dial_options",
    "legs",
    "membership",
    "party",
    "record_spec",
    "spoken_length",
    "web_address",
]

LEVEL: Final = 1.0  # of speech and streams, either way
RATE: Final = 16000
LONGEST_S: Final = 7200.0  # of a recording, and of a leg that was connected
MOST_CHANNELS: Final = 32
MOST_HEADERS: Final = 512  # octets of a websocket's headers
MOST_USER_TO_USER: Final = 256
KEYS: Final = "0123456789*#"
FORMATS: Final[tuple[Format, ...]] = ("mp3", "wav", "ogg")
CONTENT_TYPE: Final = re.compile(r"audio/l16;\s*rate=(8000|16000|24000)", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_WEB = re.compile(r"https?://[^\s]+\Z", re.IGNORECASE)
_SOCKET = re.compile(r"wss?://[^\s]+\Z", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+\Z")  # RFC 3261 section 25.1
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def choice(fields: Fields, name: str, choices: Collection[str], default: str, *, upper: bool = False) -> str:
    """One of `choices`; anything else is an error."""
    value = fields.text(name, default) or default
    value = value.upper() if upper else value
    if value not in choices:
        fields.problems.error(fields.at(name), f"{value[:40]!r} is none of " + ", ".join(filter(None, choices)))
        return default
    return value


def spoken_length(text: str) -> int:
    """The number of characters that count: tags do not."""
    return len(_TAG.sub("", text))


def web_address(fields: Fields, name: str, text: str) -> str:
    """`text` where it is an http(s) address, or nothing; anything else is an error."""
    text = text.strip()
    if text and not _WEB.match(text):
        fields.problems.error(fields.at(name), f"{text[:60]!r} is no http(s) address")
        return ""
    return text


def asked(fields: Fields) -> tuple[str, str]:
    """Where an action's events go, "" where it does not say, and by which method."""
    fields.ignore("eventUrlMethod")
    found = next((text for text in fields.texts("eventUrl") if text.strip()), "")
    method = choice(fields, "eventMethod", ("POST", "GET"), "POST", upper=True)
    if "eventMethod" not in fields and "eventUrlMethod" in fields:
        method = choice(fields, "eventUrlMethod", ("POST", "GET"), "POST", upper=True)
    return web_address(fields, "eventUrl", found), method


def transcription(fields: Fields) -> dict[str, str]:
    """The wish for a transcript, as the recording carries it."""
    if "transcription" not in fields:
        return {}
    wish = Fields(fields.node("transcription"), fields.problems)
    url, method = asked(wish)
    language, mood = wish.text("language", "en-US") or "en-US", wish.boolean("sentimentAnalysis")
    wish.done()
    found = {"language": language, "event_url": url, "event_method": method, "sentiment": mood}
    return {"transcription": json.dumps(found)}


def _told(fields: Fields) -> dict[str, str]:
    """What a recording carries for those who tell of it."""
    url, method = asked(fields)
    return {"dialect": "vonage", "event_url": url, "event_method": method} | transcription(fields)


def record_spec(fields: Fields) -> tuple[RecordSpec, bool]:
    """The recording that a `record` action asks for, and whether it begins with a tone."""
    split = choice(fields, "split", ("", "conversation"), "") == "conversation"
    wanted = fields.integer("channels", low=1, high=MOST_CHANNELS) if "channels" in fields else 0
    channels = wanted or (2 if split else 1)
    form = choice(fields, "format", FORMATS, "wav" if channels > 2 else "mp3")
    if channels > 2 and form == "mp3":
        fields.problems.warning(fields.at("format"), "mp3 holds two channels at most", hint="wav is made")
        form = "wav"
    silence = fields.integer("endOnSilence", low=3, high=10) if _given(fields, "endOnSilence") else 0
    seconds = fields.integer("timeOut", low=3, high=int(LONGEST_S)) if _given(fields, "timeOut") else 0
    key = fields.text("endOnKey").strip()
    if key and (len(key) > 1 or key not in KEYS):
        fields.problems.error(fields.at("endOnKey"), f"{key[:20]!r} is no key", hint="one of 0-9 * #")
    spec = RecordSpec(
        heard="participants" if channels > 2 else "both",
        channels=channels,
        format="ogg" if form == "ogg" else "wav" if form == "wav" else "mp3",
        rate=RATE,
        max_s=float(seconds or LONGEST_S),
        silence=SilenceRule(initial_s=float(silence), final_s=float(silence)) if silence else None,
        end_keys=frozenset(key),
        exclusive=False,
        blocking=bool(silence or seconds or key),
        origin="flow",
        custom=_told(fields),
    )
    return spec, fields.boolean("beepStart")


def _given(fields: Fields, name: str) -> bool:
    node = fields.node(name)
    return node is not None and (not isinstance(node.value, str) or bool(node.value.strip()))


def legs(fields: Fields) -> JoinSpec:
    """Whom a member hears and who hears it."""
    mute = fields.boolean("mute")
    can_speak = fields.texts("canSpeak") if "canSpeak" in fields else None
    can_hear = fields.texts("canHear") if "canHear" in fields else None
    if mute and can_speak is not None:
        fields.problems.error(fields.at("mute"), "mute and canSpeak exclude each other")
    return JoinSpec(mute=mute, can_speak=can_speak, can_hear=can_hear)


def membership(fields: Fields) -> JoinSpec:
    """The part that a caller takes in a conversation, and what the conversation is where the caller opens it."""
    part = legs(fields)
    custom = _told(fields)
    record = fields.boolean("record")
    if "transcription" in custom and not record:
        fields.problems.warning(fields.at("transcription"), "there is no transcription without a recording", hint='set "record": true')
    music = web_address(fields, "musicOnHoldUrl", next((text for text in _loose_texts(fields, "musicOnHoldUrl") if text.strip()), ""))
    spec = RecordSpec(heard="mix", format="mp3", rate=RATE, exclusive=True, origin="flow", max_s=86400.0, custom=custom)
    return JoinSpec(
        moderator=fields.boolean("startOnEnter", True),
        end_on_exit=fields.boolean("endOnExit"),
        mute=part.mute,
        music=music,
        can_speak=part.can_speak,
        can_hear=part.can_hear,
        create=RoomSpec(join_tone="", leave_tone="", music="", music_alone=False),
        record=spec if record else None,
    )


def _loose_texts(fields: Fields, name: str) -> tuple[str, ...]:
    """A list of texts, or one text, both as documented."""
    node = fields.node(name)
    return (fields.text(name),) if node is not None and isinstance(node.value, str) else fields.texts(name)


# --- connect


def dial_options(fields: Fields) -> tuple[Party | None, dict[str, Any]]:
    """Who a `connect` calls as, and how it does that."""
    source = fields.text("from").strip().removeprefix("+")
    anyone = fields.boolean("randomFromNumber")
    if source and anyone:
        fields.problems.error(fields.at("randomFromNumber"), "from and randomFromNumber exclude each other")
    machine = choice(fields, "machineDetection", ("", "continue", "hangup"), "")
    for name in ("advancedMachineDetection", "advanced_machine_detection"):
        if name in fields:
            machine = name
    if machine:
        fields.problems.warning(fields.place, "answering machines are not recognised here", hint="who answers is taken for a person")
    tone = next((text for text in _loose_texts(fields, "ringbackTone") if text.strip()), "")
    options = {
        "stay": True,
        "limit_s": fields.number("limit", LONGEST_S, low=1.0, high=LONGEST_S),
        "ringback": web_address(fields, "ringbackTone", tone),
        "any_number": anyone,
    }
    return Party("tel", source) if source else None, options


def party(fields: Fields) -> tuple[Party | None, dict[str, Any]]:
    """Whom an endpoint names, None where it names nobody, and what is to be done when it is called and when it answers."""
    kind = choice(fields, "type", ("phone", "sip", "websocket", "app", "vbc"), "phone") if "type" in fields else ""
    options: dict[str, Any] = {}
    target = ""
    if kind == "phone":
        target = _needed(fields, "number").removeprefix("+")
        fields.text("shaken")
    elif kind == "sip":
        target = _sip_address(fields)
        options["headers"] = _sip_headers(fields)
    elif kind == "websocket":
        target = _needed(fields, "uri")
        options["websocket"] = _socket(fields, target)
    elif kind == "app":
        target = _needed(fields, "user")
    elif kind == "vbc":
        target = _needed(fields, "extension")
    else:
        fields.problems.error(fields.place, "an endpoint needs a type", hint="phone, sip, websocket, app or vbc")
    if kind in ("phone", "sip", "app", "vbc"):
        options |= _when_answered(fields)
    fields.done()
    names = {"phone": "tel", "sip": "sip", "websocket": "websocket", "app": "user", "vbc": "extension"}
    return (Party(names[kind], target) if target else None), options


def _needed(fields: Fields, name: str) -> str:
    value = fields.text(name).strip()
    if not value:
        fields.problems.error(fields.at(name), f"this endpoint needs {name}")
    return value


def _when_answered(fields: Fields) -> dict[str, Any]:
    keys = fields.text("dtmfAnswer").lower()
    if set(keys) - set(KEYS + "p") or len(keys) > 100:
        fields.problems.error(fields.at("dtmfAnswer"), "must be keys of 0-9 * #, and p for half a second", hint="100 at most")
    found: dict[str, Any] = {"dtmf_answer": keys} if keys else {}
    if "onAnswer" in fields:
        own = Fields(fields.node("onAnswer"), fields.problems)
        url = web_address(own, "url", own.text("url"))
        tone = web_address(own, "ringbackTone", own.text("ringbackTone") or own.text("ringback"))
        own.ignore("ringback")
        own.done()
        if not url:
            fields.problems.error(own.place, "onAnswer needs a url")
        found |= {"on_answer": url} | ({"ringback": tone} if tone else {})
    return found


def _sip_address(fields: Fields) -> str:
    uri, user, domain = (fields.text(name).strip() for name in ("uri", "user", "domain"))
    if uri and (user or domain):
        fields.problems.error(fields.at("uri"), "uri excludes user and domain")
    uri = uri or (f"sip:{user}@{domain}" if user and domain else f"sip:{domain}" if domain else "")
    if not uri:
        fields.problems.error(fields.place, "a sip endpoint needs uri, or user and domain")
    elif not uri.lower().startswith(("sip:", "sips:")) or _CONTROL.search(uri):
        fields.problems.error(fields.at("uri"), f"{uri[:60]!r} is no SIP address")
    return uri


def _sip_headers(fields: Fields) -> tuple[tuple[str, str], ...]:
    """Own headers go with `X-` before their names, standard ones as they are."""
    found: list[tuple[str, str]] = []
    for option, prefix in (("headers", "X-"), ("standardHeaders", "")):
        for name, node in fields.members(option).items():
            value = node.value if isinstance(node.value, str) else json.dumps(node.plain())
            if prefix == "" and name.lower() != "user-to-user":
                fields.problems.warning(node.place, f"{name[:40]!r} is no standard header that can be set", hint="User-to-User can")
            elif prefix == "" and len(value) > MOST_USER_TO_USER:
                fields.problems.error(node.place, f"longer than {MOST_USER_TO_USER} characters")
            elif not _TOKEN.match(name) or _CONTROL.search(value) or len(value) > 1000 or len(found) >= 50:
                fields.problems.error(node.place, f"{name[:40]!r} is no header that can be sent")
            else:
                found.append((prefix + name, value))
    return tuple(found)


def _socket(fields: Fields, uri: str) -> dict[str, Any]:
    """How a websocket is opened: rate, content type, headers (a JSON object), and its Authorization."""
    if uri and not _SOCKET.match(uri):
        fields.problems.error(fields.at("uri"), f"{uri[:60]!r} is no ws(s) address")
    kind = fields.text("content-type", "audio/l16;rate=16000") or "audio/l16;rate=16000"
    rate = CONTENT_TYPE.fullmatch(kind.strip())
    if rate is None:
        fields.problems.error(fields.at("content-type"), f"{kind[:40]!r} cannot be sent", hint="audio/l16;rate=8000, 16000 or 24000")
    headers = {name: node.plain() for name, node in fields.members("headers").items()}
    if len(json.dumps(headers)) > MOST_HEADERS:
        fields.problems.error(fields.at("headers"), f"longer than {MOST_HEADERS} octets")
    found = {"rate": int(rate[1]) if rate else RATE, "content_type": kind.strip(), "headers": headers, "authorization": "", "signed": False}
    if "authorization" in fields:
        own = Fields(fields.node("authorization"), fields.problems)
        kind = choice(own, "type", ("vonage", "custom"), "vonage")
        value = own.text("value")
        own.done()
        if kind == "custom" and (not value or _CONTROL.search(value)):
            fields.problems.error(own.place, "authorization of type custom needs a value")
        found |= {"authorization": value if kind == "custom" else "", "signed": kind == "vonage"}
    return found
