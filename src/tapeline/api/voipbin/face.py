"""All of VoIPBIN's face: its routes under /v1.0, in the order they are tried, and the shapes of its answers. See docs/rest.md."""

from __future__ import annotations

from tapeline.api.ports import Service
from tapeline.api.routes import Route
from tapeline.api.voipbin import activeflow_shapes, archive_shapes, flow_shapes, people_shapes
from tapeline.api.voipbin.activeflows import ActiveflowFace
from tapeline.api.voipbin.archive import ArchiveFace
from tapeline.api.voipbin.audit import AuditFace
from tapeline.api.voipbin.calls import CallFace
from tapeline.api.voipbin.conferences import ConferenceFace
from tapeline.api.voipbin.customer import DESCRIBED as CUSTOMER_SHAPES
from tapeline.api.voipbin.customer import CustomerFace
from tapeline.api.voipbin.deliveries import DeliveryFace
from tapeline.api.voipbin.exports import ExportFace
from tapeline.api.voipbin.flows import FlowFace
from tapeline.api.voipbin.people import PeopleFace
from tapeline.api.voipbin.recordings import RecordingFace
from tapeline.api.voipbin.states import recording_shaper
from tapeline.api.voipbin.storage import DESCRIBED as STORAGE_SHAPES
from tapeline.api.voipbin.storage import StorageFileFace
from tapeline.core.settings import Settings

__all__ = ["SHAPES", "routes"]

SHAPES = (
    *archive_shapes.DESCRIBED, *people_shapes.DESCRIBED, *flow_shapes.DESCRIBED, *CUSTOMER_SHAPES, *activeflow_shapes.DESCRIBED,
    *STORAGE_SHAPES,
)  # fmt: skip


def routes(service: Service, people: PeopleFace, customer: CustomerFace, settings: Settings) -> tuple[Route, ...]:
    """Everything under /v1.0."""
    recording = recording_shaper(settings.recording.voipbin_states)
    return (
        *ExportFace(service).routes(),  # before what has an id in the same place
        *RecordingFace(service, recording).routes(),
        *ArchiveFace(service, settings.recording.retention_days, recording).routes(),
        *StorageFileFace(service, settings.server.base_url).routes(),
        *CallFace(service).routes(),
        *ConferenceFace(service.conferences).routes(),
        *FlowFace(service.flows).routes(),
        *ActiveflowFace(service.activeflows).routes(),
        *AuditFace(service).routes(),
        *DeliveryFace(service).routes(),
        *people.routes(),
        *customer.routes(),
    )
