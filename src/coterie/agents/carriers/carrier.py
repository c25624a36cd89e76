"""What every carrier of the daemon can do."""

from __future__ import annotations

from enum import StrEnum


class Nudge(StrEnum):
    """What became of a nudge."""

    STARTED = "started"
    """A turn began with it."""
    STEERED = "steered"
    """It rides in the turn under way."""
    QUEUED = "queued"
    """The client keeps it for the end of the turn under way."""


class Carrier:
    """Tells the sessions of one kind of agent that there is mail."""

    async def nudge(self, endpoint: str, session: str, text: str) -> Nudge:
        """Tell the session at `endpoint`. Raises `Unavailable`, which says what to do, if its client did not take
        it.
        """
        raise NotImplementedError

    async def interrupt(self, endpoint: str, session: str) -> bool:
        """End the turn under way, for kinds whose process is not one session's own. False if there was none. Raises
        `Unavailable` if its client did not take it.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of whatever is open."""
