"""Settings: `tapeline.toml`, each key also as `TAPELINE_<SECTION>__<KEY>` in the environment. The environment wins.

A key that is not known is an error that names the nearest known one; a value that is wrong is an error that names its key.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tapeline.core.errors import InvalidInput
from tapeline.core.ids import is_id
from tapeline.core.web import is_web

__all__ = [
    "Account",
    "Application",
    "CallRecording",
    "ConferenceSettings",
    "DeliverySettings",
    "Number",
    "RecordingSettings",
    "ServerSettings",
    "Settings",
    "Trunk",
    "User",
    "load",
]

Role = Literal["media", "api", "worker"]


Verb = Literal["GET", "POST"]
Srtp = Literal["off", "optional", "required"]  # RFC 4568: not at all, where the peer offers keys, nothing else


def _web(value: str) -> str:
    if value and not is_web(value):
        raise ValueError("must begin with http:// or https:// and a host, such as https://rec.example.org")
    return value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    data: Path = Path("./tapeline-data")
    http: str = "127.0.0.1:8080"
    public_url: str = ""  # "" = http://<http>
    sip: list[str] = ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""  # whose certificates are believed when we connect; "" = the system's
    http_tls: bool = True  # whether HTTP, too, is served with the certificate
    vonage_files_base: str = ""
    srtp: Srtp = "optional"  # media under keys: of every call
    codecs: list[str] = ["PCMU", "PCMA", "G722", "opus", "L16"]
    advertise: str = "auto"
    rtp_ports: str = "10000-20000"
    rtp_threads: int = Field(0, ge=0)
    database: str = ""
    objects: str = ""
    roles: list[Role] = Field(["media", "api", "worker"], min_length=1)
    node: str = ""
    drain_seconds: float = Field(30.0, ge=0)  # on SIGTERM: how long running calls may go on
    media_timeout_seconds: float = Field(60.0, ge=0)  # a call whose peer sends nothing ends; 0 = never
    music_on_hold: str = ""  # an audio file; "" = a pattern of tones
    transfers: Literal["users", "anyone", "nobody"] = "users"  # whose REFER and Replaces are followed
    sip_trace: bool = False  # keep the messages of every call, for GET /calls/{id}/trace
    session_timer_seconds: int = Field(1800, ge=0)  # a call whose peer is silent in signalling ends; 0 = never, else from 90 on
    max_pending_calls: int = Field(1000, ge=1)  # unanswered INVITEs before 503
    max_pending_calls_per_source: int = Field(0, ge=0)  # of one address; 0 = no limit of its own
    max_requests_per_second: float = Field(0, ge=0)  # outside of calls, from one address; 0 = any number
    realm: str = Field("tapeline", min_length=1)  # what users log in to
    digest: list[Literal["SHA-256", "MD5"]] = Field(["SHA-256", "MD5"], min_length=1)
    register_min_seconds: int = Field(60, ge=1, le=3600)  # a shorter registration gets 423
    register_max_seconds: int = Field(600, ge=60, le=86400)  # a longer one gets this; after a restart phones come back as they refresh
    max_failed_logins: int = Field(10, ge=0)  # from one address, before it is refused for five minutes; 0 = any number

    @field_validator("rtp_ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        low, dash, high = value.partition("-")
        if not (dash and low.isdigit() and high.isdigit() and 1024 <= int(low) < int(high) <= 65535):
            raise ValueError("must be LOW-HIGH, both within 1024-65535, such as 10000-20000")
        return value

    @field_validator("session_timer_seconds")
    @classmethod
    def _session_timer(cls, value: int) -> int:
        if 0 < value < 90:
            raise ValueError("must be 0 (off) or at least 90")
        return value

    @field_validator("sip")
    @classmethod
    def _listeners(cls, value: list[str]) -> list[str]:
        for item in value:
            scheme, _, rest = item.partition(":")
            host, _, port = rest.rpartition(":")
            if scheme not in {"udp", "tcp", "tls"} or not host or not port.isdigit() or int(port) > 65535:
                raise ValueError(f"{item!r} must be udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT")
        return value

    @field_validator("http")
    @classmethod
    def _http(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080")
        return value

    @field_validator("advertise")
    @classmethod
    def _advertised(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.-]+|\[?[0-9A-Fa-f:.]+\]?", value, re.ASCII):
            raise ValueError("must be an IP address or a host's name, or 'auto'")
        return value

    @field_validator("public_url", "vonage_files_base")
    @classmethod
    def _base(cls, value: str) -> str:
        return _web(value)

    @field_validator("database")
    @classmethod
    def _database(cls, value: str) -> str:
        if value and value.partition(":")[0].partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
            raise ValueError("must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
        return value

    @field_validator("objects")
    @classmethod
    def _objects(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("", "file", "s3", "gs", "az") or (parts.scheme in ("s3", "gs", "az") and not parts.netloc):
            raise ValueError("must be a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")
        return value

    @model_validator(mode="after")
    def _registrations(self) -> ServerSettings:
        if self.register_min_seconds > self.register_max_seconds:
            raise ValueError("register_min_seconds must not be more than register_max_seconds")
        return self

    @property
    def port_range(self) -> tuple[int, int]:
        low, _, high = self.rtp_ports.partition("-")
        return int(low), int(high)

    @property
    def base_url(self) -> str:
        return (self.public_url or f"{'https' if self.serves_https else 'http'}://{self.http}").rstrip("/")

    @property
    def serves_https(self) -> bool:
        return bool(self.http_tls and self.tls_cert and self.tls_key)

    @property
    def node_name(self) -> str:
        return self.node or socket.gethostname()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data.absolute() / 'tapeline.sqlite'}"

    @property
    def objects_url(self) -> str:
        return self.objects or str(self.data.absolute() / "objects")


class RecordingSettings(Section):
    max_seconds: float = Field(86400, gt=0)
    kazoo_max_recording_time_limit: float = Field(10800, gt=0)
    kazoo_upload_query: bool = False
    default_format: Literal["mp3", "wav", "ogg"] = "mp3"
    retention_days: float = Field(30, ge=0)
    export_hours: float = Field(24, gt=0, le=8760)  # how long an export's file and its link are kept
    store_recordings: bool = True
    third_party_bigcouch_host: str = ""
    third_party_bigcouch_port: int = Field(5984, gt=0, lt=65536)
    third_party_bigcouch_username: str = ""
    third_party_bigcouch_password: str = ""
    transcriber_url: str = ""  # who is told of recordings of which a transcript is wanted; "" = nobody makes one
    voipbin_states: Literal["guide", "code"] = "guide"  # whose names of a recording's states VoIPBIN's face shows
    min_free_mb: int = Field(256, ge=0)  # below this much free disk no recording starts


class ConferenceSettings(Section):
    max_members: int = Field(100, ge=2, le=1000)
    join_tone: str = ""  # what conferences have that say nothing else
    leave_tone: str = ""
    music: str = ""
    empty_seconds: float = Field(30, ge=0)  # how long a recording goes on when the last member has left


class DeliverySettings(Section):
    allow_private_addresses: bool = False
    allow_unvalidated_storage: bool = False
    webhook_secret: str = ""


class Number(Section):
    match: str
    flow: str = ""
    answer_url: str = ""  # asked for the document, where that is not the application's own
    application: str = ""  # the id of the Vonage application that the call belongs to, and that answers it where no flow is named
    account: str = "default"

    @field_validator("answer_url")
    @classmethod
    def _asked(cls, value: str) -> str:
        return _web(value)


class RecordingParameters(Section):
    """How calls of one direction and network are recorded; what is not set is left to another level."""

    enabled: bool | None = None
    format: Literal["mp3", "wav"] | None = None
    record_min_sec: int | None = Field(None, ge=0)
    record_on_answer: bool | None = None
    record_on_bridge: bool | None = None
    record_sample_rate: int | None = None
    time_limit: int | None = Field(None, ge=5, le=10800)
    url: str | None = None


class RecordingSource(Section):
    any: RecordingParameters | None = None
    onnet: RecordingParameters | None = None
    offnet: RecordingParameters | None = None


class CallRecording(Section):
    """KAZOO's `call_recording`: which calls are recorded by themselves (core.callrecording resolves it)."""

    any: RecordingSource | None = None
    inbound: RecordingSource | None = None
    outbound: RecordingSource | None = None


class AccountRecording(Section):
    account: CallRecording | None = None  # of the account's calls
    endpoint: CallRecording | None = None  # of its users and devices, where they say nothing else


class Account(Section):
    """What holds for all calls of an account."""

    name: str
    call_recording: AccountRecording = AccountRecording()
    metaflows: dict[str, Any] = {}  # KAZOO's document


class User(Section):
    """Somebody with telephones: `name` is what they register as."""

    name: str
    password: str = ""
    extension: str = ""
    id: str = ""
    account: str = "default"  # of calls that go straight to this user
    voicemail: bool = False
    srtp: Srtp | None = None  # of calls to this user; None = as `server.srtp`
    call_recording: CallRecording = CallRecording()
    metaflows: dict[str, Any] = {}  # KAZOO's document


class Trunk(Section):
    name: str
    target: str  # sip:HOST[:PORT][;transport=...], or HOST[:PORT]
    username: str = ""
    password: str = ""
    registration: bool = False  # keep a registration there
    match: str = ""  # the numbers that go this way, as in `numbers.match`; "" = all
    strip: int = Field(0, ge=0)  # digits taken off the front of a number
    prefix: str = ""  # put before it after that
    caller_id: str = ""  # the number shown where a flow names no `source`
    domain: str = ""  # what follows the @ in From; "" = our own address
    headers: dict[str, str] = {}
    max_calls: int = Field(0, ge=0)  # at a time; 0 = any number
    srtp: Srtp | None = None  # as with users

    @model_validator(mode="after")
    def _login(self) -> Trunk:
        if self.registration and not self.username:
            raise ValueError("registration needs a username")
        return self


class Application(Section):
    """A Vonage application: who may use its face of the API, and where it is told and asked."""

    id: str
    name: str = ""
    account: str = "default"
    public_key: str = ""  # PEM, or the name of a file that holds it
    answer_url: str = ""
    answer_method: Verb = "GET"
    fallback_url: str = ""
    fallback_method: Verb = "GET"
    event_url: str = ""
    event_method: Verb = "POST"
    signature_secret: str = ""  # "" = what is sent is not signed

    @field_validator("answer_url", "fallback_url", "event_url")
    @classmethod
    def _told(cls, value: str) -> str:
        return _web(value)

    @field_validator("id")
    @classmethod
    def _id(cls, value: str) -> str:
        if not is_id(value):
            raise ValueError("must be a UUID")
        return value.lower()


class Settings(BaseSettings):
    """All of `tapeline.toml`. Use `load` to read a file; it reports problems as InvalidInput."""

    model_config = SettingsConfigDict(env_prefix="TAPELINE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    server: ServerSettings = ServerSettings()
    recording: RecordingSettings = RecordingSettings()
    conference: ConferenceSettings = ConferenceSettings()
    delivery: DeliverySettings = DeliverySettings()
    numbers: list[Number] = []
    accounts: list[Account] = []
    users: list[User] = []
    trunks: list[Trunk] = []
    applications: list[Application] = []

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


_SECTIONS: dict[str, type[BaseModel]] = {
    "server": ServerSettings,
    "recording": RecordingSettings,
    "conference": ConferenceSettings,
    "delivery": DeliverySettings,
    "numbers": Number,
    "accounts": Account,
    "users": User,
    "trunks": Trunk,
    "applications": Application,
}


_LISTS = ("numbers", "accounts", "users", "trunks", "applications")


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {found[0]!r}?" if found else ""


def _unknown_keys(document: Mapping[str, Any]) -> list[str]:
    problems = []
    for section, body in document.items():
        model = _SECTIONS.get(section)
        if model is None:
            problems.append(f"[{section}] is not a known section{_nearest(section, _SECTIONS)}")
            continue
        for item in body if isinstance(body, list) else [body]:
            if isinstance(item, Mapping):
                known = model.model_fields
                problems += [f"{section}.{key} is not a known setting{_nearest(key, known)}" for key in item if key not in known]
    return problems


def _unknown_environment(environ: Mapping[str, str]) -> list[str]:
    problems = []
    for name in environ:
        if not name.startswith("TAPELINE_") or "__" not in name:
            continue
        section, _, key = name.removeprefix("TAPELINE_").lower().partition("__")
        model = _SECTIONS.get(section)
        if model is None:
            problems.append(f"{name}: no section {section!r}{_nearest(section, _SECTIONS)}")
        elif key.partition("__")[0] not in model.model_fields and not key[:1].isdigit():
            problems.append(f"{name}: no setting {section}.{key}{_nearest(key, model.model_fields)}")
    return problems


def _not_json(environ: Mapping[str, str]) -> list[str]:
    """The variables of lists and tables whose value is none."""
    problems = []
    for name, value in environ.items():
        if not name.upper().startswith("TAPELINE_"):
            continue
        section, _, key = name.upper().removeprefix("TAPELINE_").lower().partition("__")
        model = _SECTIONS.get(section)
        whole = not key and model is not None
        field = model.model_fields.get(key) if model is not None and section not in _LISTS else None
        if not whole and (field is None or get_origin(field.annotation) is not list):
            continue
        try:
            json.loads(value)
        except ValueError:
            example = "" if whole else f", such as {json.dumps(field.get_default())}" if field is not None else ""
            problems.append(f"{name}: its value is given as JSON{example}")
    return problems


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read `path` (or `./tapeline.toml` where it exists), then the environment, then `overrides` (`{"server": {...}}`), which win.

    Raises InvalidInput with every problem found.
    """
    if path is None and Path("tapeline.toml").is_file():
        path = Path("tapeline.toml")
    document: dict[str, Any] = {}
    where, prefix = str(path) if path else "the environment", ""
    if path is not None:
        try:
            document = tomllib.loads(path.read_text())
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {error.strerror}", hint="give --config an existing file") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path} is not TOML: {error}") from error
    problems = _unknown_keys(document) + _unknown_environment(os.environ) + _not_json(os.environ)
    if problems:
        raise InvalidInput(f"{where}: {'; '.join(problems)}", problems=problems)
    try:
        settings = Settings(**document)
        for section, values in (overrides or {}).items():
            merged = getattr(settings, section).model_dump() | dict(values)
            where, prefix = "the command line", f"{section}."
            settings = settings.model_copy(update={section: _SECTIONS[section].model_validate(merged)})
    except ValidationError as error:
        told = [(".".join(str(part) for part in item["loc"]), item["msg"].removeprefix("Value error, ")) for item in error.errors()]
        problems = [f"{prefix}{name}: {message}" for name, message in told]
        raise InvalidInput(f"{where}: {'; '.join(problems)}", problems=problems) from error
    return settings
