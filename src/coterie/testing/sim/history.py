"""What was seen to happen: a list of events, and nothing else. The checker reads no more than this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coterie.testing.sim.clock import Time


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a client, a person or the world saw."""

    at: float
    """Virtual seconds, suspension included."""
    kind: str
    who: str
    what: dict[str, Any]

    def __str__(self) -> str:
        told = " ".join(f"{name}={_shown(value)}" for name, value in self.what.items() if value not in ("", [], None))
        return f"{self.at:12.3f}  {self.who:<9} {self.kind:<10} {told}".rstrip()


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class History:
    """The events of one run, in order."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self.events: list[Event] = []

    def note(self, kind: str, who: str, **what: Any) -> None:
        """Something happened now."""
        self.events.append(Event(round(self._time.lived(), 6), kind, who, what))

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def lines(self) -> list[str]:
        """The history as text, a line each."""
        return [str(event) for event in self.events]
