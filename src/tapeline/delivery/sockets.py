"""Opening websockets on someone's word: under the same guard as every other request, and the only module that imports websockets.

The name is resolved by the guarded client, which strikes out what may not be talked to; the connection goes to the very address that
was checked, under the name that was asked for. Redirects are not followed. What comes is bounded in size and number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidHandshake, InvalidURI

from tapeline.delivery.errors import DeliveryFailed, Refused
from tapeline.delivery.http import GuardedClient

__all__ = ["GuardedSockets", "OpenSocket"]

MAX_MESSAGE: Final = 1_000_000  # octets
MAX_WAITING: Final = 64  # messages that have come and were not taken


class _Connect(connect):
    """Connects where it was told to, and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class OpenSocket:
    """A websocket that is open."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: str | bytes) -> None:
        """Raises DeliveryFailed where it is closed."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise DeliveryFailed("the websocket is closed", fault="destination") from error

    async def receive(self) -> str | bytes | None:
        """The next message; None where the peer has closed. Raises DeliveryFailed where the connection broke."""
        try:
            return await self._connection.recv()
        except ConnectionClosedError as error:
            raise DeliveryFailed(f"the websocket broke: {error}", fault="destination") from error
        except ConnectionClosed:
            return None

    async def close(self) -> None:
        await self._connection.close()


class GuardedSockets:
    """Opens websockets where `client` may send to."""

    def __init__(self, client: GuardedClient) -> None:
        self._client = client

    async def open(self, uri: str, headers: Sequence[tuple[str, str]], timeout_s: float) -> OpenSocket:
        """Connect within `timeout_s`. Raises Refused or DeliveryFailed, of the reason NO_ANSWER where that time was too short."""
        try:
            parts = urlsplit(uri)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
        except ValueError as error:
            raise Refused("this is no address of a websocket") from error
        if parts.scheme not in ("ws", "wss") or not host:
            raise Refused("this is no address of a websocket")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._first(uri, await self._client.addresses(host, port), port, headers)
        except TimeoutError as error:
            raise DeliveryFailed(f"the websocket was not open after {timeout_s:g} s", fault="destination", reason="NO_ANSWER") from error

    async def _first(self, uri: str, addresses: Sequence[str], port: int, headers: Sequence[tuple[str, str]]) -> OpenSocket:
        failure: Exception | None = None
        for address in addresses:
            try:
                connection = await _Connect(
                    uri,
                    host=address,
                    port=port,
                    additional_headers=list(headers),
                    user_agent_header="tapeline",
                    compression=None,  # sound does not shrink
                    proxy=None,
                    max_size=MAX_MESSAGE,
                    max_queue=MAX_WAITING,
                    open_timeout=None,  # that of all addresses together counts
                    close_timeout=2.0,
                )
            except OSError as error:
                failure = error
            except (InvalidHandshake, InvalidURI, ValueError) as error:
                raise DeliveryFailed(f"the websocket was not accepted: {error}", fault="destination") from error
            else:
                return OpenSocket(connection)
        raise DeliveryFailed("the websocket cannot be reached", fault="destination") from failure
