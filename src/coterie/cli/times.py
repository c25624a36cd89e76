"""Durations and moments as people write and read them."""

from __future__ import annotations

import re
import time

from coterie.errors import BadInput

_UNITS = (("d", "day", 86_400), ("h", "hour", 3_600), ("m", "minute", 60), ("s", "second", 1))
_SECONDS = {letter: seconds for letter, _, seconds in _UNITS}
_DURATION = re.compile(r"(?:[0-9]{1,9}[dhms])+")
_PART = re.compile(r"([0-9]+)([dhms])")


def duration(text: str) -> float:
    """The seconds of a text such as ``90s``, ``2h`` or ``1d12h``. Raises `BadInput`."""
    compact = text.strip().lower()
    if not _DURATION.fullmatch(compact):
        raise BadInput(f"{text[:40]!r} is not a duration", "a number and s, m, h or d: 90s, 30m, 2h, 3d")
    return float(sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(compact)))


def span(seconds: float) -> str:
    """An age or a time up, in its largest unit: ``3m``, ``2h``."""
    for letter, _, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{letter}"
    return "0s"


def in_words(seconds: float) -> str:
    """A duration that somebody chose, exactly: ``7 days``, ``90 seconds``."""
    for _, noun, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
    return f"{seconds:g} seconds"


def moment(at: float, now: float) -> str:
    """A time of day in the local zone; with the date if it is another day's."""
    then, today = time.localtime(at), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    if then[0] == today[0]:
        return time.strftime("%m-%d %H:%M", then)
    return time.strftime("%Y-%m-%d", then)
