"""What can go wrong with rows and stored audio.

    TapelineError
    ├── UsageError
    │   ├── InvalidState
    │   │   └── AlreadyThere           something else has that name or id
    │   └── NotFound
    │       └── ObjectMissing          the store has no object of that key
    └── WorldError
        └── Unavailable
            ├── DatabaseUnavailable    the database is locked, gone or unreachable; the statement was not done
            └── ObjectsUnavailable     the object store refused, is full or cannot be reached
"""

from __future__ import annotations

from tapeline.core.errors import InvalidState, NotFound, Unavailable

__all__ = ["AlreadyThere", "DatabaseUnavailable", "ObjectMissing", "ObjectsUnavailable"]


class AlreadyThere(InvalidState):
    """Something else has this name or id."""

    reason = "RESOURCE_ALREADY_EXISTS"


class DatabaseUnavailable(Unavailable):
    """The database did not do what was asked. It may do so later."""

    reason = "DATABASE_UNAVAILABLE"


class ObjectsUnavailable(Unavailable):
    """The object store did not do what was asked. It may do so later."""

    reason = "OBJECTS_UNAVAILABLE"


class ObjectMissing(NotFound):
    """No object is stored under this key."""

    reason = "OBJECT_MISSING"
