"""What a changed view means to those who listen: created, a new status, updated, or nothing at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from tapeline.calls.equipment import Equipment
from tapeline.calls.views import CallView, ConferenceView

__all__ = ["tell"]

View = TypeVar("View", CallView, ConferenceView)


def tell(kit: Equipment, thing: str, view: View, known: View | None) -> View:
    """Tell what is new of a `thing` (call, conference) of which listeners know the view `known`; None: nothing yet. Gives `view` back.

    A call's new status is told by its name, the first one right after `call_created`. A conference's end is `conference_deleted`.
    """
    kinds = []
    if known is None:
        kinds.append("created")
    if known is None or view.status != known.status:
        if thing == "call":
            kinds.append(view.status)
        elif view.status == "terminated":
            kinds.append("deleted")
        elif known is not None:
            kinds.append("updated")
    elif replace(view, updated=known.updated) != known:
        kinds.append("updated")
    for kind in kinds:
        kit.happened(f"{thing}_{kind}", view.account, view.id, view)
    return view
