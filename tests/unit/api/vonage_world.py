"""Vonage applications with keys, and tokens of any claims, for tests of that face."""

from __future__ import annotations

from functools import cache
from typing import Any

import httpx2
import jwt
from api_world import World
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tapeline.core.ids import new_id
from tapeline.store import Application


@cache
def key_pair(number: int = 0) -> tuple[str, str]:
    """PEM texts of a private key (PKCS#8) and its public key; the same for the same number."""
    made = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM
    private = made.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def add_application(world: World, number: int = 0, **fields: Any) -> Application:
    row = Application(**{"id": new_id(), "account": world.account, "public_key": key_pair(number)[1], **fields})
    world.application_rows[row.id] = row
    return row


def token(application: Application, number: int = 0, *, now: float, algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
    """Signed by key pair `number`. A claim of None is left out."""
    made = {"application_id": application.id, "iat": int(now), "jti": new_id(), **claims}
    made = {name: value for name, value in made.items() if value is not None}
    return jwt.encode(made, key_pair(number)[0] if key is None else key, algorithm=algorithm)


def client_of(world: World, application: Application, number: int = 0, **claims: Any) -> httpx2.AsyncClient:
    return world.client(token(application, number, now=world.clock.wall(), **claims))
