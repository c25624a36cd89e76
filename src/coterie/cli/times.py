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


def ago(seconds: float) -> str:
    """How long something is over: ``3m ago``, ``now``."""
    return f"{span(seconds)} ago" if seconds >= 1 else "now"


def since(text: str, now: float) -> float:
    """The moment that a text such as ``2h`` (ago), ``2026-11-02`` or ``2026-11-02 14:30`` (here) means. Raises
    `BadInput`.
    """
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"):
        try:
            return time.mktime(time.strptime(text.strip(), form))
        except ValueError:
            continue
        except OverflowError:
            break
    try:
        return max(now - duration(text), 0.0)
    except BadInput:
        raise BadInput(f"{text[:40]!r} is no moment", "write 2h, 3d, 2026-11-02 or '2026-11-02 14:30'") from None


def in_words(seconds: float) -> str:
    """A duration that somebody chose, exactly: ``7 days``, ``90 seconds``."""
    for _, noun, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
    return f"{seconds:g} seconds"


def time_of_day(at: float) -> str:
    """The time of day in the local zone, to the second."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def moment(at: float, now: float) -> str:
    """A time of day in the local zone; with the date if it is another day's."""
    then, today = time.localtime(at), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    if then[0] == today[0]:
        return time.strftime("%m-%d %H:%M", then)
    return time.strftime("%Y-%m-%d", then)
