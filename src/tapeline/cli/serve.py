"""`tapeline serve`: runs the server until it is told to stop.

SIGTERM: no new calls, those that are up may go on for `server.drain_seconds`, every recording is finished, exit 0.
SIGINT (Ctrl-C): the same, without the wait. A second signal of either kind cuts the wait short.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
import uvloop

from tapeline.core.errors import InvalidInput
from tapeline.core.loglines import log_to_stderr
from tapeline.core.settings import Settings, load

if TYPE_CHECKING:
    from tapeline.app import Started

__all__ = ["serve"]

LEVELS = ("debug", "info", "warning", "error")
LINES = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])


def serve(
    config: Annotated[Path | None, typer.Option(help="tapeline.toml; the one in this folder by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of everything that is kept (server.data).")] = None,
    http: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where HTTP is served (server.http).")] = None,
    sip: Annotated[
        list[str] | None, typer.Option(metavar="udp:HOST:PORT", help="Where SIP is listened to (server.sip); may be repeated.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the server: SIP, media, recording, API and worker, until SIGINT or SIGTERM."""
    options: dict[str, Any] = {"data": data, "http": http, "sip": sip}
    given = {key: value for key, value in options.items() if value}
    configure_logging(log_level)
    settings = load(config, {"server": given} if given else None)
    raise_file_limit()
    folder = config.parent if config is not None else Path(".")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings, folder))


async def run(settings: Settings, folder: Path) -> None:
    gc.disable()  # what is imported stays, and to look through it again and again takes a sixth of the time
    from tapeline.app import Server  # here: it imports everything, and the other commands shall not wait for that

    gc.enable()
    server = Server(settings, folder)
    stop = asyncio.Event()
    hurry = asyncio.Event()
    drain = settings.server.drain_seconds

    def on_signal(wait_s: float) -> None:
        nonlocal drain
        if stop.is_set():
            hurry.set()
        drain = min(drain, wait_s)
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, on_signal, drain)
    loop.add_signal_handler(signal.SIGINT, on_signal, 0.0)
    announce(settings, await server.start())
    await stop.wait()
    await server.stop(drain, hurry)


def announce(settings: Settings, started: Started) -> None:
    """The first lines a user sees: what to dial, which page to open."""
    lines = []
    if started.admin_token:
        lines.append(f"administrator's token (kept in {settings.server.data / 'admin-token'}): {started.admin_token}")
    for address in started.sip:
        transport, _, rest = address.partition(":")
        host, _, port = rest.rpartition(":")
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        lines.append(f"dial      sip:1000@{shown}:{port};transport={transport}")
    if started.http:
        lines.append(f"API       {settings.server.public_url or 'http://' + started.http}/docs")
    if started.recovered:
        lines.append(f"recovered {started.recovered} recording(s) that were cut off by the last stop")
    if not started.compiled:
        lines.append("the media engine runs uncompiled: fine for a few calls; for many, install a C compiler and reinstall")
    for line in lines:
        print(line, flush=True)
    print("ready", flush=True)


def configure_logging(level: str) -> None:
    if level.lower() not in LEVELS:
        raise InvalidInput(f"--log-level {level!r} is not a level", hint=f"levels are: {' '.join(LEVELS)}")
    number = logging.getLevelNamesMapping()[level.upper()]
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([] if terminal else [structlog.processors.format_exc_info]),
            # plain: a traceback with local variables would show tokens and numbers
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback) if terminal else LINES,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    log_to_stderr(max(number, logging.WARNING))


def raise_file_limit() -> None:
    """A call takes three descriptors; take as many as the system lets a process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
