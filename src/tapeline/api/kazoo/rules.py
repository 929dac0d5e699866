"""What KAZOO's documents must look like: callflows and their modules, metaflows, recording settings, accounts, users and devices.

Written from the platform's own schemas. More is taken where tapeline is more lenient by decision: any id, fields of newer versions,
a module that nobody knows, an action where its children should be. A field that has a default is not required.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tapeline.api.kazoo.schema import ANY, FLAG, Rule, items, of, one_of, only, text, whole
from tapeline.calls.kazoo.stored import compile_pattern
from tapeline.core.errors import InvalidInput
from tapeline.delivery.http import public_address

__all__ = ["LONGEST_URL", "Rules", "pattern_fault"]

_KEYS: Final = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "#", "*")
_TEXT: Final = text()
_TEXTS: Final = items(_TEXT)
_OBJECT: Final = Rule(("object",))
_LOCAL_NAMES: Final = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
LONGEST_URL: Final = 4096

Check = Callable[[Any], str]


def url_check(schemes: tuple[str, ...], *, allow_private: bool) -> Check:
    """Says what is wrong with a URL. Names are not resolved here; that is done, again and again, when a connection is made."""

    def wrong(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            return ""
        try:
            parts = urlsplit(value.strip())
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return "not a URL"
        if parts.scheme not in schemes:
            return f"the URL must begin with one of {', '.join(schemes)}"
        if not host or port == 0:
            return "the URL names no host"
        return "" if allow_private or _public(host) else f"the host {host[:100]} is not allowed: its address is private"

    return wrong


def _public(host: str) -> bool:
    if host.lower() in _LOCAL_NAMES or host.lower().endswith(".localhost"):
        return False
    try:
        return public_address(host)
    except ValueError:
        pass
    if all(part[:1].isdigit() for part in host.split(".")):  # 127.1 and 0x7f000001 are addresses to some, and names to nobody
        return _number_address(host)
    return True


def _number_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(int(host, 0)).is_global
    except ValueError:
        return False


def pattern_fault(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    try:
        compile_pattern(value)
    except InvalidInput as error:
        return str(error)
    return ""


def _patterns(value: Any) -> str:
    """Of an object whose keys are patterns."""
    return next((f"{key[:64]}: {wrong}" for key in value if (wrong := pattern_fault(key))), "") if isinstance(value, Mapping) else ""


def _endpoints() -> Rule:
    one = of(
        ("endpoint_type", "id"),
        endpoint_type=one_of("device", "user", "group"), id=text(1, 128), delay=whole(), timeout=whole(), weight=whole(1, 100),
    )  # fmt: skip
    return items(Rule(("object", "string"), fields=one.fields, required=one.required), 1)


def _dialled(**more: Rule) -> Rule:
    """Modules that call a user or a device."""
    return of(
        can_call_self=FLAG, can_text_self=FLAG, custom_sip_headers=_OBJECT, delay=whole(), id=_TEXT, static_invite=_TEXT,
        suppress_clid=FLAG, timeout=whole(), **more,
    )  # fmt: skip


_STRATEGY: Final = one_of("simultaneous", "single")
_RESOURCES: Final = of(
    bypass_e164=FLAG, caller_id_type=_TEXT, custom_sip_headers=_OBJECT, do_not_normalize=FLAG, dynamic_flags=_TEXTS, emit_account_id=FLAG,
    format_from_uri=FLAG, from_uri_realm=_TEXT, hunt_account_id=_TEXT, ignore_early_media=FLAG, outbound_flags=_TEXTS, resource_type=_TEXT,
    ringback=_TEXT, timeout=whole(), to_did=_TEXT, use_local_resources=FLAG,
)  # fmt: skip
_TTS: Final = of(
    ("text",), endless_playback=FLAG, engine=one_of("flite", "google", "ispeech", "voicefabric"), language=_TEXT, terminators=_TEXTS,
    text=text(1, 1000), voice=_TEXT,
)  # fmt: skip
_SILENCE: Final[Mapping[str, Rule]] = {
    "silence_detection": FLAG, "silence_final_timeout": whole(0), "silence_initial_timeout": whole(0), "silence_threshold": whole(0),
}  # fmt: skip


_MODULES: Final[Mapping[str, Rule]] = {
    "answer": _OBJECT,
    "audio_macro": of(
        language=_TEXT, macros=items(of(("macro",), macro=one_of("play", "prompt", "say", "tone", "tts")), 1), terminators=_TEXTS
    ),
    "branch_variable": of(
        ("variable",), scope=one_of("account", "custom_channel_vars", "device", "merged", "user"), variable=_TEXT
    ),
    "callflow": of(id=_TEXT),
    "collect_dtmf": of(
        collection_name=_TEXT, interdigit_timeout=whole(1), max_digits=whole(1), terminator=one_of(*_KEYS),
        terminators=items(one_of(*_KEYS), unique=True), timeout=whole(1),
    ),
    "conference": of(
        config=_OBJECT, id=text(1, 128), moderator=FLAG, play_entry_tone=Rule(("boolean", "string")),
        play_exit_tone=Rule(("boolean", "string")), welcome_prompt=of(media_id=_TEXT, play=FLAG),
    ),
    "check_cid": of(
        caller_id=of(external=of(name=_TEXT, number=_TEXT)), regex=text(also=pattern_fault), use_absolute_mode=FLAG, user_id=_TEXT
    ),
    "cidlistmatch": of(id=_TEXT),
    "dead_air": _OBJECT,
    "device": _dialled(dial_strategy=_STRATEGY),
    "dynamic_cid": of(
        action=one_of("list", "lists", "manual", "static"), caller_id=of(name=_TEXT, number=_TEXT), enforce_call_restriction=FLAG, id=_TEXT,
        idx_name=_TEXT, interdigit_timeout=whole(), max_digits=whole(), media_id=_TEXT, min_digits=whole(),
        whitelist_regex=text(also=pattern_fault),
    ),
    "flush_dtmf": of(collection_name=_TEXT),
    "function": of(id=_TEXT),
    "group": of(
        endpoints=_TEXTS, fail_on_single_reject=FLAG, id=_TEXT, ignore_forward=FLAG, repeats=whole(), ringback=_TEXT,
        ringtones=of(external=_TEXT, internal=_TEXT), strategy=_STRATEGY, timeout=whole(),
    ),
    "hangup": _OBJECT,
    "language": of(("language",), language=text(pattern=r"\A[A-Za-z]{2}(-[A-Za-z]{2})?\Z")),
    "menu": of(id=_TEXT, interdigit_timeout=whole()),
    "noop": _OBJECT,
    "offnet": _RESOURCES,
    "page_group": of(
        ("endpoints",), audio=one_of("one-way", "two-way"), barge_calls=FLAG, endpoints=_endpoints(), timeout=whole()
    ),
    "park": of(
        action=one_of("direct_park", "park", "retrieve", "auto"), custom_presence_id=FLAG, default_callback_timeout=whole(),
        default_presence_type=one_of("early", "terminated", "confirmed"), default_ringback_timeout=whole(),
        max_slot_number=whole(), presence_id=_TEXT, slot=_TEXT, slots=_OBJECT,
    ),
    "play": of(answer=FLAG, endless_playback=FLAG, id=_TEXT, loop_count=whole(1), terminators=_TEXTS),
    "prepend_cid": of(
        action=one_of("reset", "prepend"), apply_to=one_of("original", "current"), caller_id_name_prefix=_TEXT,
        caller_id_number_prefix=_TEXT,
    ),
    "resources": _RESOURCES,
    "response": of(code=whole(), media=text(high=2048), message=_TEXT),
    "ring_group": of(
        ("endpoints",), endpoints=_endpoints(), fail_on_single_reject=FLAG, ignore_forward=FLAG, name=_TEXT, repeats=whole(1),
        ringback=_TEXT, ringtones=of(external=_TEXT, internal=_TEXT),
        strategy=one_of("simultaneous", "single", "weighted_random"), timeout=whole(),
    ),
    "say": _TTS,
    "send_dtmf": of(("digits",), digits=_TEXT, duration_ms=Rule(("integer", "string"))),
    "set": _OBJECT,
    "set_cid": of(caller_id_name=_TEXT, caller_id_number=_TEXT),
    "set_variable": of(channel=one_of("a", "both"), value=_TEXT, variable=_TEXT),
    "set_variables": of(custom_application_vars=_OBJECT, export=FLAG),
    "sleep": of(duration=whole(0, 86_400_000), unit=one_of("ms", "s", "m", "h")),
    "temporal_route": of(
        action=one_of("menu", "enable", "disable", "reset"), interdigit_timeout=whole(), rule_set=_TEXT, rules=_TEXTS,
        timezone=_TEXT,
    ),
    "transfer": of(
        captures=_TEXTS, leg=one_of("self", "bleg"), target=_TEXT, transfer_type=one_of("attended", "blind")
    ),
    "tts": _TTS,
    "user": _dialled(fail_on_single_reject=FLAG, strategy=_STRATEGY),
    "voicemail": of(
        action=one_of("check", "compose"), callerid_match_login=FLAG, id=text(1, 128), interdigit_timeout=whole(),
        max_message_length=whole(), single_mailbox_login=FLAG,
    ),
    "wait_for_hangup": _OBJECT,
}  # fmt: skip


class Rules:
    """The rules for a server whose receivers may, or may not, be in its own network."""

    def __init__(self, *, allow_private: bool) -> None:
        self._receiver = text(also=url_check(("http", "https", "ftp", "ftps"), allow_private=allow_private), high=LONGEST_URL)
        self.web = text(also=url_check(("http", "https"), allow_private=allow_private), high=LONGEST_URL)
        self.modules = {name: _skippable(rule) for name, rule in self._of_modules().items()}
        self.metaflow_modules = self._of_metaflows()
        self._action = _tree(lambda: self._action, self.modules.get)
        self._metaflow = _tree(lambda: self._metaflow, self.metaflow_modules.get)
        self.metaflows = self._metaflows()
        self.metaflow = self._metaflow
        self.call_recording = self._call_recording()
        self.callflow = of(
            ("flow",),
            featurecode=of(name=text(1, 128), number=text(1, 30)),
            flags=_TEXTS,
            flow=self._action.with_(may_be_empty=False),
            metaflow=self.metaflows,
            name=_TEXT,
            numbers=items(text(1, 36), unique=True),
            patterns=items(text(1, 1000, also=pattern_fault)),
            ringback=of(early=_TEXT, transfer=_TEXT),
        )
        self.webhook = self._webhook()
        self.person = self._person()
        self.account = self.person.with_(fields={**self.person.fields, "call_recording": self._account_recording()})

    def _record(self, **more: Rule) -> Rule:
        return of(
            format=one_of("mp3", "wav"), label=_TEXT, media_id=text(1, 128), media_name=_TEXT, method=one_of("put", "post"), origin=_TEXT,
            record_min_sec=whole(0), record_on_answer=FLAG, record_on_bridge=FLAG, record_sample_rate=whole(), url=self._receiver, **more,
        )  # fmt: skip

    def _of_modules(self) -> dict[str, Rule]:
        record = {**_SILENCE, "should_follow_transfer": FLAG, "time_limit": whole(5, 10_800)}
        return {
            **_MODULES,
            "pivot": of(
                ("voice_url",), cdr_url=self.web, debug=FLAG, method=one_of("get", "post"), req_body_format=one_of("form", "json"),
                req_format=one_of("kazoo", "twiml"), req_timeout_ms=whole(high=5000), voice_url=self.web,
            ),
            "record_call": self._record(action=one_of("start", "stop"), **record),
            "record_caller": self._record(**record),
            "webhook": of(custom_data=_OBJECT, http_verb=one_of("post", "get"), retries=whole(), uri=self.web),
        }  # fmt: skip

    def _of_metaflows(self) -> dict[str, Rule]:
        return {
            "audio_level": of(action=one_of("start", "stop"), level=whole(-4, 4), mode=one_of("read", "write")),
            "break": _OBJECT,
            "callflow": of(captures=ANY, collected=_TEXT, flow=_tree(lambda: self._action, self.modules.get), id=_TEXT),
            "hangup": _OBJECT,
            "hold": of(moh_aleg=_TEXT, moh_bleg=_TEXT, unhold_key=_TEXT),
            "hold_control": of(action=one_of("hold", "unhold", "toggle")),
            "intercept": of(
                auto_answer=FLAG, can_call_self=FLAG, target_id=_TEXT, target_type=one_of("device", "user", "number"), unbridged_only=FLAG
            ),
            "move": of(auto_answer=FLAG, can_call_self=FLAG, device_id=_TEXT, dial_strategy=_TEXT, owner_id=_TEXT),
            "pivot": of(
                ("voice_url",), cdr_url=self.web, debug=FLAG, method=one_of("get", "post"), req_format=one_of("kazoo", "twiml"),
                voice_url=self.web,
            ),
            "play": of(id=_TEXT, leg=one_of("self", "peer", "both")),
            "record_call": self._record(action=one_of("mask", "unmask", "start", "stop", "toggle"), time_limit=whole()),
            "relate": of(
                ("participant_id", "other_participant", "conference_id"), conference_id=_TEXT, relationship=one_of("deaf", "clear", "mute"),
                other_participant=Rule(("string", "integer")), participant_id=Rule(("string", "integer")),
            ),
            "resume": _OBJECT,
            "say": of(language=_TEXT, text=_TEXT),
            "sound_touch": of(
                action=one_of("start", "stop"), adjust_in_octaves=_between(-1, 1), adjust_in_semitones=_between(-14, 14), hook_dtmf=FLAG,
                pitch=_between(1), rate=_between(1), sending_leg=FLAG, tempo=_between(1),
            ),
            "transfer": of(captures=_TEXTS, leg=_TEXT, target=_TEXT, timeout=whole(), transfer_type=one_of("attended", "blind")),
            "tts": of(engine=_TEXT, language=_TEXT, leg=_TEXT, terminators=items(one_of(*_KEYS)), text=_TEXT, voice=_TEXT),
        }  # fmt: skip

    def _metaflows(self) -> Rule:
        numbers = Rule(("object",), others=lambda: self._metaflow, pattern=r"\A[0-9]+\Z")
        patterns = Rule(("object",), others=lambda: self._metaflow, also=_patterns)
        return of(
            binding_digit=one_of(*_KEYS),
            digit_timeout=whole(0),
            listen_on=one_of("both", "self", "peer"),
            numbers=numbers,
            patterns=patterns,
        )

    def _call_recording(self) -> Rule:
        parameters = only(
            enabled=FLAG, format=one_of("mp3", "wav"), record_min_sec=whole(0), record_on_answer=FLAG, record_on_bridge=FLAG,
            record_sample_rate=whole(), time_limit=whole(5, 10_800), url=self._receiver,
        )  # fmt: skip
        network = only(any=parameters, offnet=parameters, onnet=parameters)
        return only(any=network, inbound=network, outbound=network)

    def _account_recording(self) -> Rule:
        """An account has settings of its own, and some for its endpoints."""
        return only(account=self.call_recording, endpoint=self.call_recording)

    def _webhook(self) -> Rule:
        return of(
            ("hook", "name", "uri"),
            custom_data=of(action=one_of("all", "doc_created", "doc_edited", "doc_deleted"), type=text(1, 64)),
            enabled=FLAG,
            format=one_of("form-data", "json"),
            hook=one_of("object"),
            http_verb=one_of("get", "post", "put"),
            name=text(1, 128),
            retries=whole(0, 5),
            uri=self.web.with_(low=1),
        )

    def _person(self) -> Rule:
        """Of a user or a device: what tapeline does something with. All else is kept and told as it is."""
        legacy = Rule(("object", "boolean"))
        return of(call_recording=self.call_recording, metaflows=self.metaflows, name=_TEXT, record_call=legacy)


def _between(low: float, high: float | None = None) -> Rule:
    return Rule(("number",), low=low, high=high)


def _skippable(rule: Rule) -> Rule:
    return rule.with_(fields={**rule.fields, "skip_module": FLAG})


def _tree(again: Callable[[], Rule], data_of: Callable[[str], Rule | None]) -> Rule:
    """An action with children. An empty one ends the flow."""
    children = Rule(("object",), others=again, taken_as=_wrapped)
    fields = {"module": text(1, 64), "data": _OBJECT, "children": children}
    return Rule(("object",), fields=fields, required=("module",), may_be_empty=True, data_of=data_of)


def _wrapped(children: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the children are an action themselves, they are meant as the child `_`."""
    return {"_": children} if isinstance(children.get("module"), str) else children
