"""What the worker process is told by its parent, as one line of JSON in the environment variable TAPELINE_WORKER.

Not as arguments: a database's address may hold a password, and arguments can be read by every user of the machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tapeline.core.settings import Settings, load
from tapeline.delivery.couch import CouchAccess
from tapeline.delivery.uploads import Manner

__all__ = ["VARIABLE", "WorkerConfig"]

VARIABLE = "TAPELINE_WORKER"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """`jobs` is the URL of DBOS's own database; `slots` how many recordings are worked on at once, 0 for one per core."""

    data: str
    database: str
    objects: str
    jobs: str
    node: str = ""
    slots: int = 0
    private: bool = False  # whether uploads and webhooks may go to loopback and private networks
    kazoo_query: bool = False
    couch_host: str = ""  # KAZOO's third-party database; "" = none
    couch_port: int = 5984
    couch_username: str = ""
    couch_password: str = ""
    retention_days: float = 30.0  # of accounts that say nothing else
    export_hours: float = 24.0
    public_url: str = ""  # where the API is reached from outside
    sweep_s: float = 60.0  # between two looks for what is over
    sweep_share: float = 0.1  # of the time that a sweep may be at work
    signers: Mapping[str, Sequence[str]] = field(default_factory=dict)  # applications of the settings: id -> account's name, secret

    @property
    def spool(self) -> Path:
        return Path(self.data) / "spool"

    @property
    def couch(self) -> CouchAccess | None:
        if not self.couch_host:
            return None
        return CouchAccess(self.couch_host, self.couch_port, self.couch_username, self.couch_password)

    @property
    def manner(self) -> Manner:
        return Manner(self.node, self.kazoo_query, self.couch.base if self.couch else "")

    @classmethod
    def of(cls, settings: Settings) -> WorkerConfig:
        server, recording = settings.server, settings.recording
        data = server.data.absolute()
        shared = server.database_url.startswith("postgres")
        jobs = server.database_url if shared else f"sqlite:///{data / 'dbos.sqlite'}"
        return cls(
            str(data),
            server.database_url,
            server.objects_url,
            jobs,
            server.node_name,
            private=settings.delivery.allow_private_addresses,
            kazoo_query=recording.kazoo_upload_query,
            couch_host=recording.third_party_bigcouch_host if recording.store_recordings else "",
            couch_port=recording.third_party_bigcouch_port,
            couch_username=recording.third_party_bigcouch_username,
            couch_password=recording.third_party_bigcouch_password,
            retention_days=recording.retention_days,
            signers={each.id: (each.account, each.signature_secret) for each in settings.applications},
            export_hours=recording.export_hours,
            public_url=server.base_url,
        )

    @classmethod
    def from_environment(cls) -> WorkerConfig:
        """From TAPELINE_WORKER; started by hand, from the settings as `tapeline serve` reads them."""
        given = os.environ.get(VARIABLE)
        return cls(**json.loads(given)) if given else cls.of(load())

    def to_json(self) -> str:
        return json.dumps(asdict(self))
