"""How a conference is run, and how a call takes part in it, whoever asks for it: a flow of any dialect, or an API.

Dialects differ in defaults and names only; what they fill in is this. A sound is an address as flows play them (`https://...`,
`file:NAME`, `tone:440/200`); "" is none. See docs/architecture.md, "Conferences".
"""

from __future__ import annotations

from dataclasses import dataclass

from tapeline.core.recordspec import RecordSpec

__all__ = ["JoinSpec", "RoomSpec", "ignores"]


@dataclass(frozen=True, slots=True)
class RoomSpec:
    """A conference. With `moderated` nobody hears anybody until a member who is a moderator has come. Sounds: None is what is set."""

    moderated: bool = False
    max_members: int = 0  # 0: as many as the server allows
    join_tone: str | None = None  # what all hear when somebody has come
    leave_tone: str | None = None
    music: str | None = None  # what a member hears who waits for the moderator, or is alone
    music_alone: bool = True  # False: only who waits hears it


@dataclass(frozen=True, slots=True)
class JoinSpec:
    """One member's part. `moderator` None: as good as one, unless the room is moderated."""

    moderator: bool | None = None  # its coming starts the conference; others wait for such a member
    end_on_exit: bool = False  # its leaving ends the conference for all
    mute: bool = False
    deaf: bool = False
    music: str | None = None  # what this one hears while it waits or is alone; None: the room's
    join_tone: str | None = None
    leave_tone: str | None = None
    create: RoomSpec | None = None  # open the room in this manner where there is none of its name; None: it must exist
    can_speak: tuple[str, ...] | None = None  # ids of the calls by which it is heard; None: by all
    can_hear: tuple[str, ...] | None = None  # ids of the calls that it hears; None: all
    record: RecordSpec | None = None  # record the conference from its start, unless that is being done


def ignores(hearer: tuple[str, JoinSpec], speaker: tuple[str, JoinSpec]) -> bool:
    """Whether the one call (its id and its part) is not to hear the other, whatever is muted: the one may choose whom it hears, the other
    by whom it is heard."""
    chosen, choice = hearer[1].can_hear, speaker[1].can_speak
    return (chosen is not None and speaker[0] not in chosen) or (choice is not None and hearer[0] not in choice)
