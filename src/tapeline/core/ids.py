"""Identifiers: every thing that tapeline names has a random UUID (version 4), as canonical, lower-case text.

The all-zero id stands for none where a platform's shape wants one. What the ids are of is not known here.
"""

from __future__ import annotations

import uuid

__all__ = ["ZERO_ID", "is_id", "new_id"]

ZERO_ID = "00000000-0000-0000-0000-000000000000"


def new_id() -> str:
    """A new random id, such as `3f0e6c0a-5a4e-4f0c-9a5e-0c4f6f0d9b1e`."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in canonical form (letters in either case)."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except (ValueError, AttributeError, TypeError):
        return False
