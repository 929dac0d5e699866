"""The shell: sockets, the clock and the event loop around an endpoint, and nothing else.

Bytes that come in go to the endpoint, what the endpoint wants sent is sent, its events go to `on_event`, and one timer of the loop wakes
it at its next deadline. The shell does not look into messages. Everything runs in one thread, and the messages of a flow leave in the
order they were made.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import Literal, cast

import structlog

from tapeline.core.clock import Clock
from tapeline.core.errors import InvalidInput, Unavailable
from tapeline.sip.config import Address, Flow, Transport
from tapeline.sip.endpoint import Endpoint
from tapeline.sip.events import Event
from tapeline.sip.transports.resolver import Resolver
from tapeline.sip.transports.tcp import Connection
from tapeline.sip.transports.tls import Tls
from tapeline.sip.transports.udp import UdpSocket
from tapeline.sip.uri import Uri

__all__ = ["Shell"]

log = structlog.get_logger(__name__)

_SLOW_S = 0.001
_CONNECT_S = 10.0
_HANDSHAKE_S = 10.0
_MOST_CONNECTIONS = 4096
_WILDCARDS = ("0.0.0.0", "::")


@functools.lru_cache(maxsize=4096)
def _local_towards(remote: str) -> str:
    """The address of this machine that packets to `remote` leave from; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET6 if ":" in remote else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
        except OSError:
            return "::1" if ":" in remote else "127.0.0.1"
        found: str = probe.getsockname()[0]
        return found


class Shell:
    """`await listen(...)`, then events come; after commands call `pump`; at the end `await close()`."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        on_event: Callable[[Event], None],
        tls: Tls | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.listeners: list[tuple[Transport, Address]] = []
        self.slow = 0  # inputs that took longer than a millisecond, events and all
        self.slowest_s = 0.0
        self._endpoint = endpoint
        self._clock = clock
        self._on_event = on_event
        self.tls = tls or Tls()
        self.resolver = resolver or Resolver()
        self._datagrams: dict[Address, UdpSocket] = {}  # by bound address
        self._servers: list[asyncio.Server] = []
        self._connections: dict[Flow, Connection] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._accepted = 0
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0

    # ---- listening

    async def listen(self, where: str) -> Address:
        """Listen on `udp:HOST:PORT`, `tcp:HOST:PORT` or `tls:HOST:PORT` (IPv6 in brackets; port 0: any that is free).

        Raises OSError, ValueError, InvalidInput for TLS without a certificate.
        """
        kind, _, rest = where.partition(":")
        host, _, port = rest.rpartition(":")
        host = host.strip("[]")
        if kind not in ("udp", "tcp", "tls") or not port.isdigit():
            raise ValueError(f"a listener is udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT, not {where!r}")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if kind == "udp":
            address = self._listen_udp(family, host, int(port))
        else:
            address = await self._listen_stream(family, host, int(port), "tls" if kind == "tls" else "tcp")
        transport = cast(Transport, kind)
        self.listeners.append((transport, address))
        self._endpoint.add_listener(transport, address)
        return address

    def _listen_udp(self, family: socket.AddressFamily, host: str, port: int) -> Address:
        wildcard = host in _WILDCARDS

        def deliver(data: bytes, remote: str, remote_port: int) -> None:
            local = (_local_towards(remote), bound[1]) if wildcard else bound
            self.received(data, Flow("udp", local, (remote, remote_port)))

        opened = UdpSocket(family, host, port, deliver)
        bound = opened.address
        self._datagrams[bound] = opened
        return bound

    async def _listen_stream(self, family: socket.AddressFamily, host: str, port: int, kind: Literal["tcp", "tls"]) -> Address:
        if kind == "tls" and self.tls.server is None:
            raise InvalidInput("a tls: listener needs a certificate", hint="set server.tls_cert and server.tls_key")
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, kind=kind),
            host,
            port,
            family=family,
            backlog=1024,
            reuse_address=True,
            ssl=self.tls.server if kind == "tls" else None,
            ssl_handshake_timeout=_HANDSHAKE_S if kind == "tls" else None,
        )
        self._servers.append(server)
        found = server.sockets[0].getsockname()
        return found[0], found[1]

    def flow_to(self, transport: Transport, remote: Address, name: str = "") -> Flow:
        """A flow to `remote` from the first listener of that transport and address family; over TLS also where only others can connect
        to us otherwise. `name` is what `remote` was looked up by, and shows a certificate for. Raises LookupError where there is none."""
        if transport == "tls" and name:
            self.tls.expect(remote, name)
        kinds = (transport, "tcp", "udp") if transport == "tls" else (transport,)
        for wanted in kinds:
            for kind, (host, port) in self.listeners:
                if kind == wanted and (":" in host) == (":" in remote[0]):
                    return Flow(transport, (_local_towards(remote[0]) if host in _WILDCARDS else host, port), remote)
        raise LookupError(f"no {transport} listener that could reach {remote[0]}")

    async def flows_to(self, uri: Uri) -> list[Flow]:
        """Flows to all places that `uri` stands for, best first, as far as a listener of ours fits. Raises Unavailable, which says why."""
        flows: list[Flow] = []
        problem = "nothing"
        for target in await self.resolver.resolve(uri):
            try:
                flows.append(self.flow_to(target.transport, (target.host, target.port), uri.host))
            except LookupError as error:
                problem = str(error)
        if not flows:
            raise Unavailable(f"{uri.host!r} cannot be reached: {problem}", hint="add a listener to server.sip")
        return flows

    # ---- in

    def received(self, data: bytes, flow: Flow) -> None:
        now = self._clock.now()
        self._guard(functools.partial(self._endpoint.receive, data, flow, now))
        self.pump()
        took = self._clock.now() - now
        if took > _SLOW_S:
            self.slow += 1
            self.slowest_s = max(self.slowest_s, took)

    def opened(self, connection: Connection, transport: asyncio.Transport) -> Flow | None:
        """A connection is up. One that the peer opened gets its flow here, or None where there are too many."""
        if connection.flow is not None:
            return connection.flow
        if len(self._connections) >= _MOST_CONNECTIONS:
            return None
        self._accepted += 1
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        flow = Flow(connection.kind, (local[0], local[1]), (remote[0], remote[1]), self._accepted)
        self._connections[flow] = connection
        return flow

    def closed(self, connection: Connection) -> None:
        flow = connection.flow
        if flow is not None and self._connections.get(flow) is connection:
            del self._connections[flow]
            self._lost(flow)

    def _lost(self, flow: Flow) -> None:
        self._guard(functools.partial(self._endpoint.connection_lost, flow, self._clock.now()))
        self.pump()

    def _guard(self, run: Callable[[], None]) -> None:
        """One input that finds a defect of ours must not take the calls of everybody else with it; the loop is told."""
        try:
            run()
        except Exception as error:  # noqa: BLE001  # any defect, see above
            asyncio.get_running_loop().call_exception_handler({"message": "an input to the SIP endpoint failed", "exception": error})

    # ---- out

    def pump(self) -> None:
        """Hand out events, send what is to be sent, set the timer. Call it after commands; within `on_event` it changes nothing."""
        if self._pumping:
            return
        self._pumping = True
        endpoint = self._endpoint
        try:
            while True:
                events = endpoint.events()
                for event in events:
                    self._guard(functools.partial(self._on_event, event))
                outgoing = endpoint.outgoing()
                for data, flow in outgoing:
                    if flow.transport == "udp":
                        self._send_datagram(data, flow)
                    else:
                        self._send_stream(data, flow)
                if not events and not outgoing:
                    break
        finally:
            self._pumping = False
        self._arm()

    def _send_datagram(self, data: bytes, flow: Flow) -> None:
        opened = self._datagrams.get(flow.local)
        if opened is None:
            family = ":" in flow.remote[0]
            fitting = [item for bound, item in self._datagrams.items() if (":" in bound[0]) == family]
            opened = next((item for item in fitting if item.address[1] == flow.local[1]), fitting[0] if fitting else None)
        if opened is not None:
            opened.send(data, flow.remote)

    def _send_stream(self, data: bytes, flow: Flow) -> None:
        connection = self._connections.get(flow)
        if connection is None:
            if flow.id:
                asyncio.get_running_loop().call_soon(self._lost, flow)  # the peer's own connection is gone; only it can make it anew
                return
            connection = self._connections[flow] = Connection(self, flow)
            task = asyncio.get_running_loop().create_task(self._open(connection, flow))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        connection.send(data)

    async def _open(self, connection: Connection, flow: Flow) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                if flow.transport == "tls":
                    name = self.tls.name_of(flow.remote)
                    await asyncio.get_running_loop().create_connection(
                        lambda: connection, *flow.remote, ssl=self.tls.client, server_hostname=name
                    )
                else:
                    await asyncio.get_running_loop().create_connection(lambda: connection, *flow.remote)
        except OSError as error:  # a TimeoutError is one, and so is what TLS does not believe
            host, port = flow.remote
            log.warning("no connection", transport=flow.transport, host=host, port=port, error=str(error) or repr(error))
            self.closed(connection)

    # ---- time

    def _arm(self) -> None:
        deadline = self._endpoint.next_deadline()
        timer = self._timer
        if deadline is None:
            return  # a timer that is still set wakes us for nothing, once
        if timer is not None:
            if self._armed <= deadline:
                return
            timer.cancel()
        self._armed = deadline
        self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - self._clock.now()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.now()
        self._guard(functools.partial(self._endpoint.tick, now))
        self.pump()

    async def close(self) -> None:
        """Close every socket. Sessions are left as they are: hang up first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for server in self._servers:
            server.close()
        for task in list(self._opening):
            task.cancel()
        connections = list(self._connections.values())
        self._connections.clear()
        for connection in connections:
            connection.close()
        for opened in self._datagrams.values():
            opened.close()
        self._datagrams.clear()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        await asyncio.gather(*self._opening, return_exceptions=True)
