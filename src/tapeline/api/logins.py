"""`POST /auth/login`: an agent's name and password become a session, as on the platform.

Every refusal is a bare 400 that tells nothing. Comparing a password costs a good part of a second in a thread, so only a few are compared
at a time, and an address that was wrong too often waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tapeline.api.bodies import Fields, read_json
from tapeline.api.errors import TooManyRequests
from tapeline.api.ports import Agents
from tapeline.api.sessions import AGENT_SESSION_S, Sessions
from tapeline.core.clock import Clock
from tapeline.core.errors import InvalidInput
from tapeline.store import passwords

__all__ = ["LOGIN_BODY", "Brake", "Logins"]

AT_A_TIME = 2
MOST_WAITING = 50
LOCK_S = 300.0
REMEMBERED = 10_000  # addresses
LOGIN_BODY = {
    "type": "object",
    "required": ["username", "password"],
    "properties": {"username": {"type": "string"}, "password": {"type": "string", "format": "password"}},
}

log: structlog.stdlib.BoundLogger = structlog.get_logger("tapeline.api")


class Brake:
    """Counts what failed, by address. Whoever has `most` of them is refused for five minutes after the last."""

    def __init__(self, most: int, clock: Clock) -> None:
        """`most` 0: nobody is ever refused."""
        self._most = most
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises TooManyRequests."""
        count, last = self._failed.get(address, (0, 0.0))
        left = last + LOCK_S - self._clock.now()
        if left <= 0:
            self._failed.pop(address, None)
        elif self._most and count >= self._most:
            raise TooManyRequests("ip", int(left) + 1)

    def failed(self, address: str) -> None:
        count, _ = self._failed.get(address, (0, 0.0))
        self._failed[address] = (count + 1, self._clock.now())
        self._failed.move_to_end(address)
        if len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)

    def succeeded(self, address: str) -> None:
        self._failed.pop(address, None)


class Logins:
    def __init__(self, agents: Agents, sessions: Sessions, brake: Brake, *, secure: bool) -> None:
        """`secure`: browsers shall give the cookie to https addresses only."""
        self._agents = agents
        self._sessions = sessions
        self._brake = brake
        self._secure = secure
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._waiting = 0

    def router(self) -> APIRouter:
        made = APIRouter(prefix="/auth", tags=["auth"])
        made.add_api_route(
            "/login",
            self.log_in,
            methods=["POST"],
            name="login",
            operation_id="post_auth_login",
            summary="A session for a name and a password",
            response_model=None,
            openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": LOGIN_BODY}}}},
        )
        return made

    async def log_in(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        self._brake.check(address)
        try:
            fields = Fields(await read_json(request))
            username, password = fields.text("username").strip().lower(), fields.text("password")
            fields.finish()
        except InvalidInput:
            return Response(status_code=400)
        if not username or not password:
            return Response(status_code=400)
        agent = await self._agents.by_username(username)
        stored = agent.password if agent is not None and agent.deleted is None else ""
        if not await self._matches(password, stored) or agent is None:
            self._brake.failed(address)
            log.warning("a login failed", address=address)
            return Response(status_code=400)
        self._brake.succeeded(address)
        token = self._sessions.issue_agent(agent.id, agent.password)
        answer = JSONResponse({"username": agent.username, "token": token})
        answer.set_cookie("token", token, max_age=int(AGENT_SESSION_S), httponly=True, secure=self._secure, samesite="lax")
        return answer

    async def _matches(self, password: str, stored: str) -> bool:
        if len(password) > passwords.LONGEST:
            return False
        if self._waiting >= MOST_WAITING:
            raise TooManyRequests("ip", 1)
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(passwords.matches, password, stored)
        finally:
            self._waiting -= 1
