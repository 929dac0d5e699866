"""`tapeline doctor`: whether this machine and these settings can run a server, one line for each thing needed.

Checks try the thing itself (bind the port, put and read back an object, encode and decode a second of sound) and leave nothing
behind. What is only nice to have is a warning. Exit code 1 if something needed is missing.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer
from rich.text import Text

from tapeline.cli import opened, terminal
from tapeline.cli.options import AsJson, Config, Data, settings_of
from tapeline.core.errors import InvalidInput, TapelineError
from tapeline.core.settings import Settings

__all__ = ["Finding", "doctor"]

_STYLES = {"ok": "green", "warning": "yellow", "missing": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `missing` means that a server cannot do its work."""

    name: str
    verdict: Literal["ok", "warning", "missing"]
    detail: str
    hint: str = ""


def _ok(name: str, detail: str) -> Finding:
    return Finding(name, "ok", detail)


def _warning(name: str, detail: str, hint: str) -> Finding:
    return Finding(name, "warning", detail, hint)


def _missing(name: str, detail: str, hint: str) -> Finding:
    return Finding(name, "missing", detail, hint)


def _bindable(scheme: str, host: str, port: int) -> str:
    """Why a socket cannot be bound there; an empty string where it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _running(settings: Settings) -> bool:
    """Whether a tapeline answers at the HTTP address of the settings."""
    host, _, port = settings.server.http.rpartition(":")
    reach = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    itself = ssl.create_default_context()
    itself.check_hostname, itself.verify_mode = False, ssl.CERT_NONE  # whose certificate it is does not matter here
    scheme = "https" if settings.server.serves_https else "http"
    try:
        with urllib.request.urlopen(f"{scheme}://{reach}:{port}/healthz", timeout=2, context=itself) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _listeners(settings: Settings) -> list[Finding]:
    """The SIP and HTTP listeners of the settings."""
    running = _running(settings)
    wanted = [("server.sip", address) for address in settings.server.sip] + [("server.http", f"http:{settings.server.http}")]
    findings = []
    for key, address in wanted:
        scheme, _, rest = address.partition(":")
        host, _, port = rest.rpartition(":")
        problem = _bindable(scheme, host.strip("[]"), int(port))
        if not problem:
            findings.append(_ok("listener", f"{address} is free"))
        elif running and "in use" in problem:
            findings.append(_ok("listener", f"{address} is held by the tapeline that is running"))
        else:
            findings.append(_missing("listener", f"{address}: {problem}", f"stop what uses it, or change {key}"))
    return findings


def _media_ports(settings: Settings) -> list[Finding]:
    """A sample of the RTP port range, and whether as many sockets may be open."""
    low, high = settings.server.port_range
    pairs = (high - low + 1) // 2
    step = max(1, pairs // 100) * 2
    sample = range(low + low % 2, high, step)
    taken = [port for port in sample if _bindable("udp", "0.0.0.0", port)]
    findings = []
    if len(taken) == len(sample):
        findings.append(_missing("media ports", f"none of {low}-{high} can be bound", "change server.rtp_ports"))
    elif taken:
        share = 100 * len(taken) // len(sample)
        findings.append(_warning("media ports", f"{low}-{high}: about {share} % are taken", "calls use the others; see server.rtp_ports"))
    else:
        findings.append(_ok("media ports", f"{low}-{high}: room for {pairs} legs"))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * pairs and soft != resource.RLIM_INFINITY:
        told = f"{soft} allowed; all media ports together need {2 * pairs}"
        findings.append(_warning("open files", told, "raise the limit (ulimit -n, LimitNOFILE=) for that many calls"))
    return findings


def _disk(settings: Settings) -> list[Finding]:
    folder = settings.server.data.absolute()
    existing = folder
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return [_missing("disk", f"{existing} cannot be written: {error.strerror}", "change server.data, or its owner")]
    free_mb = shutil.disk_usage(existing).free // 1_000_000
    wanted = settings.recording.min_free_mb
    if free_mb < wanted:
        told = f"{free_mb} MB free at {existing}, {wanted} MB are kept free"
        return [_missing("disk", told, "free space, or lower recording.min_free_mb")]
    hours = f"{free_mb * 1e6 / (2 * 16_000 * 3600):,.0f}"
    room = terminal.size(free_mb * 1_000_000)
    return [_ok("disk", f"{room} free at {existing}: {hours} hours of two-channel masters at 8 kHz")]


def _database(settings: Settings) -> list[Finding]:
    """Open it as `serve` does; one that is not there yet is tried out elsewhere, so that nothing is left behind."""
    file = opened.sqlite_file(settings)
    where = str(file) if file else settings.server.database_url.rpartition("@")[2]
    fresh = file is not None and not file.is_file()

    async def look(wanted: Settings) -> int:
        async with opened.database(wanted, create=True) as rows:
            await rows.check()
            return await rows.recordings.count()

    try:
        if fresh:
            with tempfile.TemporaryDirectory(prefix="tapeline-doctor-") as folder:
                elsewhere = settings.server.model_copy(update={"data": Path(folder), "database": ""})
                asyncio.run(look(settings.model_copy(update={"server": elsewhere})))
            return [_ok("database", f"{where}: not there yet; serve will make it")]
        return [_ok("database", f"{where}: opens, its schema is up to date; recordings: {asyncio.run(look(settings))}")]
    except (TapelineError, OSError, ValueError) as error:
        return [_missing("database", f"{where}: {error}", "see server.database")]


def _objects(settings: Settings) -> list[Finding]:
    """Put, read back and delete a small object."""
    from tapeline.core.ids import new_id
    from tapeline.store.objects import ObjectStore

    url = settings.server.objects_url
    fresh = "://" not in url and not Path(url).exists()
    content = b"tapeline doctor was here\n"
    key = f"doctor/{new_id()}.txt"

    async def probe(store: ObjectStore, source: Path) -> bytes:
        await store.put_file(key, source, "text/plain")
        found = b"".join([block async for block in store.read(key, 0, len(content))])
        await store.delete(key)
        return found

    with tempfile.TemporaryDirectory(prefix="tapeline-doctor-") as folder:
        source = Path(folder) / "probe.txt"
        source.write_bytes(content)
        try:
            found = asyncio.run(probe(ObjectStore(str(Path(folder) / "objects") if fresh else url), source))
        except (TapelineError, OSError) as error:
            return [_missing("object store", f"{url}: {error}", "see server.objects")]
    if found != content:
        return [_missing("object store", f"{url}: what is read is not what was put", "see server.objects")]
    return [_ok("object store", f"{url}: " + ("not there yet; serve will make it" if fresh else "put, read and deleted an object"))]


def _encoders(settings: Settings) -> list[Finding]:
    """Render a second of tone to each format and decode it again."""
    from tapeline.audio import render, tones, wav
    from tapeline.cli import listening

    findings = []
    with tempfile.TemporaryDirectory(prefix="tapeline-doctor-") as folder:
        master = Path(folder) / "master.wav"
        wav.write(master, tones.tone([440.0], 1.0, 8000), 8000)
        formats: tuple[tuple[Literal["mp3", "ogg"], str], ...] = (("mp3", "MP3"), ("ogg", "Ogg/Opus"))
        for extension, name in formats:
            out = Path(folder) / f"out.{extension}"
            try:
                render.render(master, out, format=extension)
                heard = listening.decode(out)
            except (TapelineError, OSError, ImportError, RuntimeError) as error:
                findings.append(_missing("encoder", f"{name}: {error}", "install the packages lameenc and soundfile anew"))
                continue
            if heard.duration > 0.9 and max(heard.peaks[0], default=0.0) > 0.1:
                findings.append(_ok("encoder", f"{name}: encodes and decodes"))
            else:
                findings.append(_missing("encoder", f"{name}: what it encodes cannot be heard", "install lameenc and soundfile anew"))
    return findings


def _speech(settings: Settings) -> list[Finding]:
    from tapeline.audio.speech import Speech

    with tempfile.TemporaryDirectory(prefix="tapeline-doctor-") as folder:
        available = Speech(Path(folder)).available
    if available:
        return [_ok("speech", "espeak-ng speaks")]
    return [_warning("speech", "not installed: `talk` plays a tone", "pip install 'tapeline[speech]'")]


def _codecs(settings: Settings) -> list[Finding]:
    from tapeline import rtp
    from tapeline.sip import offer_answer

    findings = []
    for name in settings.server.codecs:
        codec = name.partition("/")[0]
        if codec.lower() not in (known.lower() for known in offer_answer.CODECS):
            findings.append(_missing("codec", f"{name}: not known", f"known are {', '.join(offer_answer.CODECS)}"))
        elif not rtp.codecs.available(codec):
            findings.append(_warning("codec", f"{name}: not installed, and not offered", f"pip install 'tapeline[{codec.lower()}]'"))
    return findings or [_ok("codecs", ", ".join(settings.server.codecs))]


def _engine(settings: Settings) -> list[Finding]:
    from tapeline import rtp

    if rtp.COMPILED:
        return [_ok("media engine", "compiled")]
    return [_warning("media engine", "not compiled: works, for few calls at once", "install a C compiler, then tapeline anew")]


def _certificate(settings: Settings) -> list[Finding]:
    from tapeline.sip.transports.tls import Tls

    server = settings.server
    wanted = [address for address in server.sip if address.startswith("tls:")]
    try:
        tls = Tls(server.tls_cert, server.tls_key, server.tls_ca)
    except TapelineError as error:
        return [_missing("certificate", error.message, error.hint or "see server.tls_cert, server.tls_key and server.tls_ca")]
    if wanted and tls.server is None:
        return [_missing("certificate", f"none, and {wanted[0]} needs one", "set server.tls_cert and server.tls_key")]
    return [_ok("certificate", server.tls_cert)] if server.tls_cert else []


def _parties(settings: Settings) -> list[Finding]:
    """Users and trunks."""
    from tapeline.calls.registration import make_registrar
    from tapeline.calls.trunks import Trunks

    findings = []
    silent = [user.name for user in settings.users if not user.password]
    if silent:
        findings.append(_warning("users", f"without a password, and cannot register: {', '.join(silent)}", "set users.password"))
    try:
        make_registrar([user for user in settings.users if user.password], settings.server, os.urandom)
    except TapelineError as error:
        findings.append(_missing("users", error.message, error.hint))
    try:
        Trunks(settings.trunks)
    except TapelineError as error:
        findings.append(_missing("trunks", error.message, error.hint or "see [[trunks]]"))
    return findings or [_ok("users", f"{len(settings.users)}, and {len(settings.trunks)} trunks")]


def _numbers(settings: Settings, folder: Path) -> list[Finding]:
    """The flows of the dial plan, compiled as `serve` does."""
    from tapeline.calls.routing import Routes

    try:
        Routes(settings.numbers, folder)
    except InvalidInput as error:
        return [_missing("numbers", problem, "see [[numbers]]; `tapeline flow check FILE` tells more") for problem in error.problems]
    count = len(settings.numbers)
    return [_ok("numbers", f"{count} with a flow that runs" if count else "none set: the built-in flow answers every number")]


_CHECKS: tuple[Callable[[Settings], list[Finding]], ...] = (
    _listeners,
    _media_ports,
    _disk,
    _database,
    _objects,
    _encoders,
    _speech,
    _codecs,
    _engine,
    _certificate,
    _parties,
)


def examine(settings: Settings, folder: Path) -> Iterator[Finding]:
    """All findings, each as soon as it is known. `folder` is where relative paths of flows start."""
    for check in _CHECKS:
        yield from check(settings)
    yield from _numbers(settings, folder)


def _told(finding: Finding) -> Text:
    line = Text(f"{finding.verdict:<8}", style=_STYLES[finding.verdict])
    line.append(f" {finding.name}: {finding.detail}" + (f" ({finding.hint})" if finding.hint else ""), style="default")
    return line


def doctor(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Check that this machine and these settings can run a server. Exit 1 if something needed is missing."""
    findings = []
    for finding in examine(settings_of(config, data), config.parent if config is not None else Path()):
        findings.append(finding)
        if not as_json:
            terminal.emit(_told(finding))
    if as_json:
        terminal.emit_json(findings)
    if any(finding.verdict == "missing" for finding in findings):
        raise typer.Exit(1)
