"""Who may stand at the door: few at a time, none for long, and nobody who failed too often.

Addresses at which a paired device was seen have room of their own, so that no crowd of others keeps it out, and are
never shut out for what somebody else behind the same address did.
"""

from __future__ import annotations

import ipaddress
import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from coterie.limits import FAILURES_MAX, SILENCE_S, SOURCES_MAX, SOURCES_SAID_MAX, UNPROVED_MAX

log = logging.getLogger(__name__)

_SITE_BITS = 64
"""Of an IPv6 address: whoever has one has the whole network below it, and could come from another each time."""
_SAID_S = 60.0
"""How often the log says anything of one address."""


def source(host: str) -> str:
    """What addresses are told apart by: an IPv4 address, an IPv6 network, or one link-local neighbour."""
    bare = host.partition("%")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    if found.is_link_local:
        return str(found)
    return str(ipaddress.IPv6Network((int(found) >> _SITE_BITS << _SITE_BITS, _SITE_BITS)))


@dataclass(eq=False, slots=True)
class Stranger:
    """A connection that has not proved who it is."""

    source: str
    known: bool
    """Whether a paired device was seen at its address."""
    close: Callable[[], None]
    """Ends it, at once."""


@dataclass(slots=True)
class _Record:
    """What is remembered of an address."""

    failures: int = 0
    first_at: float = 0.0
    silent_until: float = 0.0
    said_at: float | None = None
    unsaid: int = 0


@dataclass(slots=True)
class _Minute:
    """How much the log was told lately."""

    began: float = 0.0
    said: int = 0


class Strangers:
    """All that stand at the door now, and what is remembered of those before. Times are the loop's."""

    def __init__(self, known: Callable[[], Collection[str]], chance: random.Random | None = None) -> None:
        self._known = known
        """The sources at which paired devices were seen."""
        self._chance = chance or random.SystemRandom()
        self._rooms: dict[bool, list[Stranger]] = {False: [], True: []}
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._minute = _Minute()

    def __len__(self) -> int:
        return sum(map(len, self._rooms.values()))

    def admit(self, host: str, close: Callable[[], None], now: float) -> Stranger | None:
        """Let a connection stand; another one may be closed for it. None: it is to be closed as it came."""
        whence = source(host)
        known = whence in self._known()
        if not known and self._is_silent(whence, now):
            return None
        room = self._rooms[known]
        if len(room) >= UNPROVED_MAX:
            victim = self._victim(room)
            room.remove(victim)
            victim.close()
        stranger = Stranger(whence, known, close)
        room.append(stranger)
        return stranger

    def leave(self, stranger: Stranger) -> None:
        """It has gone, or is no stranger any more. Harmless if it was closed for another."""
        room = self._rooms[stranger.known]
        if stranger in room:
            room.remove(stranger)

    def failed(self, stranger: Stranger, why: str, now: float) -> None:
        """It did not prove who it is. `why` goes to the log, which must hold nothing of what it sent."""
        record = self._record(stranger.source)
        if now - record.first_at > SILENCE_S:
            record.failures, record.first_at = 0, now
        record.failures += 1
        if record.failures >= FAILURES_MAX and not stranger.known:
            record.silent_until = now + SILENCE_S
            record.failures = 0
        self._say(stranger.source, record, why, now)

    def succeeded(self, stranger: Stranger) -> None:
        """It proved who it is: what failed before from there was an accident."""
        self._records.pop(stranger.source, None)

    def forgive(self) -> None:
        """The person invites somebody: whoever failed before is listened to again, as it may be the one who comes."""
        for record in self._records.values():
            record.failures, record.silent_until = 0, 0.0

    def _is_silent(self, whence: str, now: float) -> bool:
        record = self._records.get(whence)
        return record is not None and now < record.silent_until

    def _victim(self, room: list[Stranger]) -> Stranger:
        """Any of those from the address with the most: a crowd from one place drives out itself, and nobody else."""
        crowd = Counter(stranger.source for stranger in room)
        most = max(crowd.values())
        return self._chance.choice([stranger for stranger in room if crowd[stranger.source] == most])

    def _record(self, whence: str) -> _Record:
        record = self._records.setdefault(whence, _Record())
        self._records.move_to_end(whence)
        if len(self._records) > SOURCES_MAX:
            self._records.popitem(last=False)
        return record

    def _say(self, whence: str, record: _Record, why: str, now: float) -> None:
        record.unsaid += 1
        if now - self._minute.began >= _SAID_S:
            self._minute = _Minute(now)
        if (record.said_at is not None and now - record.said_at < _SAID_S) or self._minute.said >= SOURCES_SAID_MAX:
            return
        self._minute.said += 1
        times = f" ({record.unsaid} times)" if record.unsaid > 1 else ""
        shut = f"; not listened to for {SILENCE_S:g} s" if now < record.silent_until else ""
        log.warning("a stranger at %s: %s%s%s", whence, why, times, shut)
        record.said_at, record.unsaid = now, 0
