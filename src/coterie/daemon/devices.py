"""The devices that this one knows: found by what a person types, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from coterie.daemon.events import Events
from coterie.devices import ID_CHARS, Device, Standing, read_id, short, shown
from coterie.errors import Ambiguous, CoterieError, NoMatch
from coterie.limits import ID_PREFIX_MIN
from coterie.store import devices as stored
from coterie.store.db import Store

Watcher = Callable[[Device, list[str]], None]
"""Told of a device and of what changed: words of CHANGES."""

CHANGES = ("came", "standing", "name", "certificate", "grants", "addresses", "dial", "seen_at", "theirs", "forgot_us")
SILENT = {"seen_at", "theirs", "forgot_us"}
"""What changes with links, or is told otherwise, and is no news of this device's own."""


class Devices:
    """Every device that was ever paired."""

    def __init__(self, store: Store, events: Events) -> None:
        self.watchers: list[Watcher] = []
        """Called after a change, on the event loop, in this order."""
        self._store = store
        self._events = events
        self._by_id: dict[str, Device] = {}
        self._known: dict[str, Device] = {}
        """Each as it was saved last: what is saved next is compared with it."""

    def load(self) -> None:
        """Read them from the store."""
        for device in stored.load(self._store.reader):
            self._by_id[device.id] = device
            self._known[device.id] = replace(device)

    def __iter__(self) -> Iterator[Device]:
        """Those that are not forgotten, the first paired first."""
        return iter([device for device in self._by_id.values() if device.standing is not Standing.FORGOTTEN])

    def forgotten(self) -> list[Device]:
        """Those that the person wants nothing to do with."""
        return [device for device in self._by_id.values() if device.standing is Standing.FORGOTTEN]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, device: str) -> Device | None:
        """The device with exactly this id, also one that was forgotten."""
        return self._by_id.get(device)

    def label(self, device: str) -> str:
        """What a device is called here, whatever became of it."""
        known = self._by_id.get(device)
        return known.name if known else short(device)

    def named(self, text: str) -> Device:
        """The one device that a person means: by its label, its id with or without dashes, or the beginning of it.

        Raises `NoMatch` or `Ambiguous` with the candidates, and `BadInput` for a whole id with a slip in it.
        """
        wanted = text.strip()
        labelled = [device for device in self if device.name.casefold() == wanted.casefold()]
        found = labelled or self._by_start("".join(wanted.split()).replace("-", "").upper())
        if not found:
            raise NoMatch(f"no paired device is called {text[:60]!r}", self._candidates(list(self)))
        if len(found) > 1:
            raise Ambiguous(f"{text[:60]!r} means {len(found)} devices", f"use more of its id: {_lines(found)}")
        return found[0]

    def _by_start(self, typed: str) -> list[Device]:
        if len(typed) >= ID_CHARS:
            typed = read_id(typed)
        if len(typed) < ID_PREFIX_MIN:
            return []
        return [device for device in self if device.id.startswith(typed)]

    def _candidates(self, devices: list[Device]) -> str:
        return f"paired are: {_lines(devices)}" if devices else "none is paired yet: coterie relay invite"

    async def save(self, device: Device) -> None:
        """Keep a device, or what is new of it. Raises `StoreFailed`; what is new holds until the daemon ends then, but
        for what would let a device do more than before.
        """
        before = self._known.get(device.id)
        change = _changes(before, device)
        self._by_id[device.id] = device
        kept = self._known[device.id] = replace(device, addresses=list(device.addresses))
        try:
            await self._store.write(lambda connection: stored.save(connection, kept))
        except CoterieError:
            if before is None:
                self._known.pop(device.id, None)
            else:
                self._known[device.id] = before
            change = self._take_back(device, before)
            raise
        finally:
            self._tell(device, change)

    def _take_back(self, device: Device, before: Device | None) -> list[str]:
        """What the person was told to have failed must not be in force. Returns what of `device` has changed yet."""
        if before is None:
            del self._by_id[device.id]
            return []
        if before.standing is Standing.FORGOTTEN:
            self._by_id[device.id] = replace(before)
            return []
        device.grants &= before.grants
        return _changes(before, device)

    async def forget(self, device: str) -> None:
        """The person wants nothing to do with it any more. That it was here is kept, so that its id is refused."""
        known = self._by_id[device]
        known.standing, known.dial, known.grants = Standing.FORGOTTEN, False, frozenset()
        known.theirs = None
        await self.save(known)

    def _tell(self, device: Device, change: list[str]) -> None:
        if not change:
            return
        for watcher in self.watchers:
            watcher(device, change)
        told = [what for what in change if what not in SILENT]
        if told:
            card = {"id": device.id, "name": device.name, "standing": device.standing.value}
            self._events.publish("device", device=card, change=told)


def _changes(before: Device | None, now: Device) -> list[str]:
    if before is None:
        return ["came"]
    return [what for what in CHANGES[1:] if getattr(before, what) != getattr(now, what)]


def _lines(devices: list[Device]) -> str:
    return "; ".join(f"{device.name} = {shown(device.id)}" for device in devices)
