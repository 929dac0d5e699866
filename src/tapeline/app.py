"""The composition root: makes every part, hands each what it needs, starts them in order and stops them in the other.

The only module that imports everything. Order of a start: data folder, rows, recovery of the spool, worker process, media
engine, signalling, HTTP. Order of a stop: no new calls, calls end, recordings reach the spool, the worker finishes them, rows
are written, HTTP closes. Nothing here decides anything about a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
import uvicorn

from tapeline import __version__, rtp, sip
from tapeline.api.app import create_app
from tapeline.api.kazoo.webhooks import KazooWebhooks
from tapeline.api.protocol import BoundedHttp
from tapeline.api.sessions import session_key
from tapeline.api.voipbin.sockets import EventSockets
from tapeline.api.voipbin.states import recording_shaper
from tapeline.api.voipbin.webhooks import VoipbinWebhooks
from tapeline.api.vonage.webhooks import VonageWebhooks
from tapeline.audio.speech import Speech
from tapeline.calls.conference.register import Conferences
from tapeline.calls.drain import Drain
from tapeline.calls.equipment import Equipment
from tapeline.calls.errands import Errands
from tapeline.calls.kazoo.automatic import Automatic
from tapeline.calls.kazoo.boxes import Boxes
from tapeline.calls.kazoo.profiles import Profiles
from tapeline.calls.kazoo.stored import Refresher, Stored
from tapeline.calls.kazoo.voicemail import message_left
from tapeline.calls.media import check_codecs
from tapeline.calls.prompts import MAX_PROMPT_BYTES, Prompts
from tapeline.calls.pulse import Pulse
from tapeline.calls.recovery import recover
from tapeline.calls.registration import make_registrar
from tapeline.calls.routing import Routes
from tapeline.calls.services.activeflows import ActiveflowService
from tapeline.calls.services.service import Service
from tapeline.calls.switch import Switch
from tapeline.calls.views import RecordingView
from tapeline.calls.vonage.applications import Applications, declared
from tapeline.core.clock import SystemClock
from tapeline.core.errors import InvalidInput, NotFound, TapelineError, Unavailable
from tapeline.core.principal import ALL_SCOPES
from tapeline.core.settings import Settings
from tapeline.delivery.config import WorkerConfig
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.probe import probe
from tapeline.delivery.process import WorkerProcess
from tapeline.delivery.seam import fault
from tapeline.delivery.sockets import GuardedSockets
from tapeline.recording.spool import Spool
from tapeline.sip.transports.shell import Shell
from tapeline.sip.transports.tls import Tls
from tapeline.store import Database, DeliveryRow, Trail
from tapeline.store.objects import ObjectStore
from tapeline.store.writer import WriteBehind

__all__ = ["Server", "Started"]

log = structlog.get_logger(__name__)

MOST_SAID = 65_536  # octets of a message that comes over a websocket
FINISH_S = 20.0  # how long a stopping server waits for its worker to finish what is in the spool
DATABASE_RETRY_S = 2.0
_PLAIN_ID = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class Started:
    """What a user wants to know of a server that has come up."""

    http: str
    sip: tuple[str, ...]
    admin_token: str  # "" unless it was made at this start
    recovered: int
    compiled: bool


class _Http(uvicorn.Server):
    """uvicorn without its own signal handling: this process has one place for signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """`await start()`, then `await stop(drain_s)`. One for a process."""

    def __init__(self, settings: Settings, config_folder: Path, timers: sip.SipTimers = sip.SipTimers()) -> None:  # noqa: B008 - frozen
        """Relative paths of flows start at `config_folder`. `timers` other than SIP's own are for networks known to be fast."""
        self._settings = settings
        self._timers = timers
        self._folder = config_folder
        self._data = settings.server.data.absolute()
        self._clock = SystemClock()
        check_codecs(settings.server.codecs)
        self._stored = Stored()
        self._routes = Routes(settings.numbers, config_folder, settings.users, self._stored)
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="tapeline")
        self._stack = contextlib.AsyncExitStack()
        self._service: Service
        self._switch: Switch
        self._equipment: Equipment
        self._drain: Drain
        self._http: GuardedClient
        self._errands: Errands
        self._events: EventSockets
        self._worker: WorkerProcess | None = None

    # -- start ---------------------------------------------------------------------------------------------------------

    async def start(self) -> Started:
        """Raises InvalidInput or WorldError, naming the setting to change; whatever had been started is stopped again."""
        try:
            return await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> Started:
        server = self._settings.server
        make_data_folder(self._data)
        database = Database(server.database_url)
        refresher = await self._open(database)
        objects = ObjectStore(server.objects_url)
        accounts = {name: (await database.accounts.ensure(name)).id for name in sorted(self._accounts())}
        applications = await self._follow_applications(database, accounts)
        token = await self._admin_token(database, accounts["default"])

        writer = WriteBehind(database, self._to_send, lambda: self._equipment.to_tell())
        writer.start()
        self._stack.push_async_callback(writer.close, 5.0)
        spool = Spool(self._data / "spool")
        http = self._http = GuardedClient(allow_private_addresses=self._settings.delivery.allow_private_addresses)
        self._stack.push_async_callback(http.close)
        engine = self._engine()
        speech = Speech(self._data / "cache" / "speech")
        self._stack.callback(speech.close)
        music = self._music()
        self._equipment = Equipment(
            settings=self._settings,
            clock=self._clock,
            engine=engine,
            spool=spool,
            prompts=Prompts(self._data / "prompts", speech, spool, stored_audio(database, objects), http, self._pool, music),
            writer=writer,
            http=http,
            pool=self._pool,
            node=server.node_name,
            finished=self._recording_complete,
            load_flow=stored_flow(database),
            open_socket=GuardedSockets(http).open,
            applications=applications,
            stored=self._stored,
        )
        self._equipment.automatic = Automatic(self._equipment, self._profiles(accounts))
        self._equipment.conferences = Conferences(self._equipment)
        endpoint = self._endpoint()
        shell = Shell(endpoint, self._clock, lambda event: self._switch.on_signal(event), self._tls())
        self._switch = Switch(self._equipment, endpoint, shell, self._routes, accounts, self._advertise())
        self._service = Service(self._switch, database, objects, self._equipment, refresher.refresh)
        self._equipment.change_document = self._service.documents.write
        self._equipment.boxes = Boxes(self._equipment, self._service.archive)

        await self._listen_for_events(database)
        recovered = await self._recover(database)
        self._start_drain(database)
        self._start_worker()
        self._watch_disk()
        engine.start(lambda event: self._switch.on_media(event), asyncio.get_running_loop())
        self._stack.callback(engine.stop)
        listeners = await self._take_calls(shell) if "media" in server.roles else []
        address = await self._serve_http(database) if "api" in server.roles else ""
        self._settle()
        return Started(address, tuple(listeners), token, recovered, rtp.COMPILED)

    def _settle(self) -> None:
        """All is up: from now on nothing may hold up the event loop."""
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        pulse = self._equipment.pulse = Pulse(lambda seconds: log.warning("the event loop was held up", seconds=round(seconds, 3)))
        pulse.start()
        self._stack.push_async_callback(pulse.stop)

    def _profiles(self, accounts: Mapping[str, str]) -> Profiles:
        profiles = Profiles(self._settings, accounts)
        self._stored.follow(profiles.take)
        return profiles

    def _accounts(self) -> set[str]:
        """The names of all accounts that the settings speak of."""
        settings = self._settings
        return self._routes.accounts | {each.name for each in settings.accounts} | {each.account for each in settings.applications}

    async def _follow_applications(self, database: Database, accounts: Mapping[str, str]) -> Applications:
        applications = Applications(declared(self._settings, accounts, self._folder), database.applications)
        await applications.refresh()
        following = asyncio.create_task(applications.follow())
        self._stack.callback(following.cancel)
        return applications

    async def _open(self, database: Database) -> Refresher:
        """Open and migrate the rows, and read what calls need at hand. A database that is away is waited for: the spool still holds what it
        must be told."""
        refresher = Refresher(database, self._stored, self._pool)
        self._stack.push_async_callback(database.close)
        while True:
            try:
                await database.open()
                await refresher.refresh()
                break
            except Unavailable as error:
                log.warning("the database is away; trying again", error=str(error))
                await asyncio.sleep(DATABASE_RETRY_S)
        refresher.start()
        self._stack.push_async_callback(refresher.close)
        return refresher

    async def _admin_token(self, database: Database, account: str) -> str:
        """Make the administrator's token at the first start; '' where it exists."""
        path = self._data / "admin-token"
        if path.exists() and await database.tokens.find(path.read_text().strip()) is not None:
            return ""
        _, secret = await database.tokens.add(account, "administrator", sorted(ALL_SCOPES))
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(secret + "\n")
        return secret

    def _engine(self) -> rtp.Engine:
        server = self._settings.server
        threads = server.rtp_threads or os.cpu_count() or 1
        families = {address.partition(":")[2].rpartition(":")[0] for address in server.sip}
        bind = next(iter(families)) if len(families) == 1 else "0.0.0.0"
        return rtp.Engine(rtp.EngineConfig(bind=bind.strip("[]"), ports=server.port_range, threads=threads))

    def _tls(self) -> Tls:
        server = self._settings.server
        return Tls(server.tls_cert, server.tls_key, server.tls_ca)

    def _endpoint(self) -> sip.Endpoint:
        server = self._settings.server
        config = sip.EndpointConfig(
            user_agent=f"tapeline/{__version__}",
            advertise=self._advertise(),
            max_pending=server.max_pending_calls,
            max_pending_per_source=server.max_pending_calls_per_source,
            rate_per_source=server.max_requests_per_second,
            timers=self._timers,
            session_expires=server.session_timer_seconds,
            trace=server.sip_trace,
        )
        return sip.Endpoint(config, os.urandom, make_registrar(self._settings.users, server, os.urandom))

    def _advertise(self) -> str:
        value = self._settings.server.advertise
        return "" if value == "auto" else value

    async def _recover(self, database: Database) -> int:
        """Take up what a crash left. How many recordings were completed."""
        recovered = await recover(database, self._equipment)
        node = self._equipment.node
        self._equipment.conferences.restore(await database.conferences.unfinished(node), await database.conferencecalls.unfinished(node))
        await self._errands.restore()
        return recovered

    async def _listen_for_events(self, database: Database) -> None:
        """Who sends events to those that want them, and what runs after a recording."""
        server, kit = self._settings.server, self._equipment
        if secret := self._settings.delivery.webhook_secret:
            await database.accounts.amend((await database.accounts.ensure("default")).id, webhook_secret=secret)

        async def add(*rows: DeliveryRow) -> None:
            fault("webhook")
            await database.deliveries.add(*rows)
            self._to_send()

        kit.runs.load = database.activeflows.get
        self._errands = Errands(database, kit)
        self._service.activeflows = ActiveflowService(database, kit, self._errands)
        self._stack.push_async_callback(self._errands.close)
        base = server.vonage_files_base or server.base_url
        transcriber = self._settings.recording.transcriber_url
        recording = recording_shaper(self._settings.recording.voipbin_states)
        self._events = EventSockets(recording)
        kazoo = KazooWebhooks(kit.node, kit.writer.put, add)
        self._stored.follow(kazoo.take)
        kit.listeners += [
            kazoo,
            self._events,
            VoipbinWebhooks(database.accounts, kit.node, kit.writer.put, add, kit.runs.target, recording),
            VonageWebhooks(kit.applications, kit.writer, database.deliveries, kit.webhooks.recorded, base, kit.node, transcriber),
            self._errands,
        ]

    def _start_drain(self, database: Database) -> None:
        self._equipment.listeners.append(partial(message_left, self._equipment))
        self._drain = Drain(database, self._equipment)
        self._drain.start()
        self._equipment.to_tell = self._drain.wake
        self._stack.push_async_callback(self._drain.close)

    def _start_worker(self) -> None:
        if "worker" not in self._settings.server.roles:
            return
        self._worker = WorkerProcess(WorkerConfig.of(self._settings), self._told_by_worker)
        self._worker.start()
        self._stack.push_async_callback(self._worker.stop)

    def _watch_disk(self) -> None:
        async def watch() -> None:
            while True:
                usage = await asyncio.get_running_loop().run_in_executor(self._pool, shutil.disk_usage, self._data)
                self._equipment.free_bytes = usage.free
                await asyncio.sleep(1.0)

        self._equipment.free_bytes = shutil.disk_usage(self._data).free
        task = asyncio.create_task(watch())
        self._stack.callback(task.cancel)

    async def _take_calls(self, shell: Shell) -> list[str]:
        self._stack.push_async_callback(shell.close)
        listeners = [await self._listen(shell, address) for address in self._settings.server.sip]
        self._switch.registrations.start()
        self._stack.push_async_callback(self._switch.registrations.close)
        return listeners

    async def _listen(self, shell: Shell, address: str) -> str:
        try:
            host, port = await shell.listen(address)
        except OSError as error:
            said = f"cannot listen on {address}: {error.strerror or error}"
            raise Unavailable(said, hint="change server.sip, or stop what uses that port") from error
        return f"{address.partition(':')[0]}:{host}:{port}"

    async def _serve_http(self, database: Database) -> str:
        server = self._settings.server
        host, _, port = server.http.rpartition(":")
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), int(port)))
        except OSError as error:
            listener.close()
            said = f"cannot serve HTTP on {server.http}: {error.strerror}"
            raise Unavailable(said, hint="change server.http, or stop what uses that port") from error
        trail = Trail(database)
        trail.start()
        self._stack.push_async_callback(trail.close, 5.0)
        app = create_app(
            self._service,
            database.tokens,
            database.agents,
            database.accounts,
            self._settings,
            session_key=session_key(server.data / "session-key"),
            applications=self._equipment.applications,
            trail=trail,
            probe=lambda handler, account: probe(handler, account, self._http),
            events=self._events,
        )
        config = uvicorn.Config(
            app,
            http=BoundedHttp,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=MOST_SAID,
            ws_per_message_deflate=False,  # a few octets would become many
            ssl_certfile=server.tls_cert if server.serves_https else None,
            ssl_keyfile=server.tls_key if server.serves_https else None,
            timeout_graceful_shutdown=5,
        )
        http = _Http(config)
        task = asyncio.create_task(http.serve(sockets=[listener]))
        while not http.started:
            if task.done():
                task.result()
                raise Unavailable("the HTTP server did not start")
            await asyncio.sleep(0.005)

        async def close() -> None:
            http.should_exit = True
            await task

        self._stack.push_async_callback(close)
        bound = listener.getsockname()
        return f"{bound[0]}:{bound[1]}"

    def _music(self) -> Path | None:
        """The file that who waits on hold hears. Raises InvalidInput where it is named and not there."""
        name = self._settings.server.music_on_hold
        if name and not (self._folder / name).is_file():
            raise InvalidInput(f"there is no file {self._folder / name}", hint="change server.music_on_hold, or leave it out")
        return self._folder / name if name else None

    # -- between media and worker --------------------------------------------------------------------------------------

    def _recording_complete(self, view: RecordingView) -> None:
        self._service.finishing(view)
        if self._worker is not None:
            self._worker.finish(view.id)

    def _to_send(self) -> None:
        if self._worker is not None:
            self._worker.deliver()

    def _told_by_worker(self, news: Mapping[str, Any]) -> None:
        if "removed" in news or "export" in news:
            self._drain.wake()
        if "recording" in news:
            log.info("recording", recording_id=news["recording"], state=news.get("state"))
            if news.get("state") in ("available", "failed"):
                self._service.finished(news["recording"])
                self._drain.wake()

    @property
    def engine(self) -> rtp.Engine:
        return self._equipment.engine

    @property
    def busy(self) -> bool:
        """Whether anything of any call is still under way: signalling (its timers too), recording, finishing, writing rows."""
        kit, service = self._equipment, self._service
        return bool(self._switch.busy or kit.tasks or service.unfinished or kit.writer.pending or self._drain.busy)

    # -- stop ----------------------------------------------------------------------------------------------------------

    async def stop(self, drain_s: float, hurry: asyncio.Event | None = None) -> None:
        """Stop taking calls; let those that are up go on for `drain_s` (or until `hurry` is set), then hang them up; finish every
        recording; close."""
        self._service.accepting = False
        await self._switch.drain(drain_s, hurry or asyncio.Event())
        await self._equipment.conferences.stop()
        deadline = self._clock.now() + FINISH_S
        while self._worker is not None and self._service.unfinished and self._clock.now() < deadline:
            await asyncio.sleep(0.05)
        if self._service.unfinished:
            log.warning("recordings stay in the spool and are finished after the next start", count=self._service.unfinished)
        if self._equipment.tasks:
            _, late = await asyncio.wait(self._equipment.tasks, timeout=max(1.0, deadline - self._clock.now()))
            for task in late:
                task.cancel()
        await self._stack.aclose()
        self._pool.shutdown()


def stored_flow(database: Database) -> Callable[[str, str], Awaitable[str]]:
    """How a running flow gets at another one of its own account."""

    async def load(flow_id: str, account: str) -> str:
        dashed = str(UUID(flow_id)) if _PLAIN_ID.fullmatch(flow_id) else flow_id  # KAZOO's ids have no dashes
        row = await database.flows.get(dashed)
        if row is None or row.account != account or row.deleted is not None:
            raise NotFound(f"no flow has the id {flow_id}", reason="FLOW_NOT_FOUND")
        return row.document

    return load


def stored_audio(database: Database, objects: ObjectStore) -> Callable[[str], Awaitable[bytes]]:
    """How a call gets at a recording of its own that has left the spool."""

    async def load(recording_id: str) -> bytes:
        row = await database.recordings.get(recording_id)
        if row is None or not row.object_key or row.size is None or row.size > MAX_PROMPT_BYTES:
            raise NotFound(f"the recording {recording_id} cannot be played")
        return b"".join([chunk async for chunk in objects.read(row.object_key, 0, row.size)])

    return load


def make_data_folder(path: Path) -> None:
    """A new one is its owner's alone: what people said is in it, and the keys that webhooks are signed with."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise TapelineError(f"the data folder {path} cannot be used: {error.strerror}", hint="change server.data or --data") from error

