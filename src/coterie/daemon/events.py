"""Tells followers what happens: each event after it is on the disk. Free when nobody follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coterie.daemon.local import Connection

Wanted = Callable[[str, dict[str, Any]], bool]


class Events:
    """Who follows, and what they want to hear of."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._followers: dict[Connection, Wanted] = {}

    def follow(self, connection: Connection, wanted: Wanted) -> None:
        """Tell a connection of every event that it wants, until it ends."""
        self._followers[connection] = wanted

    def lost(self, connection: Connection) -> None:
        """A connection ended."""
        self._followers.pop(connection, None)

    def publish(self, kind: str, **fields: Any) -> None:
        """Something happened."""
        if not self._followers:
            return
        event = {"kind": kind, "at": self._clock(), **fields}
        for connection, wanted in list(self._followers.items()):
            if wanted(kind, fields):
                connection.notify("event", event)
