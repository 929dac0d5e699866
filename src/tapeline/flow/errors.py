"""Errors of the flow package.

    FlowError(UsageError)
    ├── RunMisused(FlowError, InvalidState)      an input that this moment of a run does not take: start twice, tick before start
    └── DialectUnknown(FlowError, InvalidInput)  a dialect was named that is not registered

A document that is wrong raises nothing: `compile` answers with its problems. A flow that goes wrong while it runs raises
nothing either: the run logs why and hangs up. These errors mean a mistake in the program that uses this package.
"""

from __future__ import annotations

from tapeline.core.errors import InvalidInput, InvalidState, UsageError

__all__ = ["DialectUnknown", "FlowError", "RunMisused"]


class FlowError(UsageError):
    """The flow package was misused."""


class RunMisused(FlowError, InvalidState):
    """The run does not take this input now."""


class DialectUnknown(FlowError, InvalidInput):
    """No such dialect."""
