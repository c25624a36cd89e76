"""The sessions of other devices as peers of this one: taken in as those show them, and kept for as long as mail may be
meant for them.

A device that is not there any more leaves its sessions behind, away: mail for them waits here. What it does not show is
not known to have ended, so that an answer to a message from there still goes out. `presence` and `seen` are the frames.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from coterie import snapshots
from coterie.agents import KINDS
from coterie.daemon.devices import Devices
from coterie.daemon.events import Events
from coterie.daemon.network import Network
from coterie.daemon.showing import NOTHING, Showing
from coterie.devices import Device, Standing
from coterie.limits import ENDED_KEPT_S, NEIGHBOURS_GONE_MAX, TAKE_GAP_S
from coterie.peers import LISTED, Peer, Roster, State, remote_id
from coterie.snapshots import Json, Session, Snapshot
from coterie.store import neighbours as stored
from coterie.store.db import Store

log = logging.getLogger(__name__)

AGENTS = frozenset(kind.name for kind in KINDS)


@dataclass(slots=True)
class _Known:
    """What one device has shown, since there is a way to it."""

    number: tuple[int, int] = NOTHING
    """Of the newest snapshot that was taken in."""
    waiting: Snapshot | None = None
    """A newer one, which came too soon after it."""
    pause: asyncio.TimerHandle | None = None
    """Until the next is taken in."""

    def close(self) -> None:
        """Take no more."""
        if self.pause:
            self.pause.cancel()
        self.waiting = self.pause = None


class Neighbours:
    """What is known of the sessions on other devices."""

    kinds: tuple[str, ...] = ("presence", "seen")

    def __init__(
        self,
        network: Network,
        devices: Devices,
        roster: Roster,
        store: Store,
        lived: Callable[[], float],
        events: Events,
        line: Callable[[Peer], str],
        busy: Callable[[Peer], bool | None],
        share: Callable[[], Collection[str]] = lambda: snapshots.EVERYTHING,
    ) -> None:
        """`line` says what may be told of what a peer of this device does, `share` which fields its owner shows."""
        self.showing = Showing(network, devices, lambda: roster, line, busy, share, int(lived() * 1000))
        self._network = network
        self._devices = devices
        self._roster = roster
        self._store = store
        self._lived = lived
        self._events = events
        self._known: dict[str, _Known] = {}
        """Of each device to which there is a way."""
        self._unsaved: dict[str, Peer] = {}
        self._unremoved: set[str] = set()
        devices.watchers.append(self._device_changed)

    def load(self) -> None:
        """Take up where the last daemon left; nobody is known to be here."""
        self._roster.labels = {device.id: device.name for device in self._devices}
        since = self._lived() - ENDED_KEPT_S
        awaited = {device: stored.awaited(self._store.reader, device) for device in self._roster.labels}
        for peer in stored.load(self._store.reader):
            over = peer.state is State.ENDED and peer.seen < since
            if peer.device not in awaited or (over and peer.id not in awaited[peer.device]):
                self._unremoved.add(peer.id)
            else:
                peer.label = self._roster.labels[peer.device]
                self._roster.add_remote(peer)

    def close(self) -> None:
        """Tell nobody anything, and take nothing in any more."""
        self.showing.close()
        for known in self._known.values():
            known.close()

    def changed(self) -> None:
        """Something of this device's sessions, of what is shown of them or to whom, is otherwise now."""
        self.showing.changed()

    def preview(self, device: str | None = None) -> list[Json]:
        """Exactly what a device is told of the sessions here; None: what any is told that may see them."""
        return self.showing.preview(device)

    # --- a fabric tells ---------------------------------------------------------------------------------------

    def came(self, device: str) -> None:
        """There is a way to a device: tell it of us, and that nothing is known of it."""
        self._known.setdefault(device, _Known())
        self.showing.came(device)
        self._network.send(device, "seen", epoch=NOTHING[0], n=NOTHING[1])
        self._publish(device, "connected")

    def left(self, device: str) -> None:
        """There is none any more: mail for its sessions waits here."""
        known = self._known.pop(device, None)
        if known:
            known.close()
        self.showing.left(device)
        for peer in self._roster.remotes(device):
            if peer.state in LISTED:
                peer.state, peer.busy = State.AWAY, False
        self._publish(device, "disconnected")

    def receive(self, device: str, frame: Json) -> None:
        """What a device says. Raises `BadInput`."""
        if frame["kind"] == "seen":
            self.showing.seen(device, frame)
        elif device in self._known and device in self._roster.labels:
            self._take(device, self._known[device], snapshots.read(frame, AGENTS))

    def _publish(self, device: str, change: str) -> None:
        known = self._devices.get(device)
        if known:
            card = {"id": device, "name": known.name, "standing": known.standing.value}
            self._events.publish("device", device=card, change=[change])

    # --- what it shows ----------------------------------------------------------------------------------------

    def _take(self, device: str, known: _Known, snapshot: Snapshot) -> None:
        """Take in a snapshot, or the newest of several after the pause, and say which is known."""
        newest = known.waiting.number if known.waiting else known.number
        if snapshot.number > newest:
            known.waiting = snapshot
            if known.pause is None:
                self._take_waiting(device, known)
                return
        if known.waiting is None:
            self._network.send(device, "seen", epoch=known.number[0], n=known.number[1])

    def _take_waiting(self, device: str, known: _Known) -> None:
        snapshot, known.waiting, known.pause = known.waiting, None, None
        if snapshot is None:
            return
        known.number = snapshot.number
        self._apply(device, snapshot)
        self._network.send(device, "seen", epoch=snapshot.epoch, n=snapshot.n)
        known.pause = asyncio.get_running_loop().call_later(TAKE_GAP_S, self._take_waiting, device, known)

    def _apply(self, device: str, snapshot: Snapshot) -> None:
        now = self._lived()
        before = {peer.there: peer for peer in self._roster.remotes(device)}
        changed = []
        for session in snapshot.sessions:
            peer = before.pop(session.there, None)
            kept = stored.row(peer)._replace(seen=0) if peer else None
            peer = peer or self._new(device, session.there)
            _show(peer, session, now)
            if stored.row(peer)._replace(seen=0) != kept:
                changed.append(peer)
            self._events.look(peer)
        for peer in before.values():
            if peer.told not in (None, State.ENDED):
                peer.told = State.ENDED if snapshot.shows else None
                peer.state, peer.busy = peer.told or State.AWAY, False
                changed.append(peer)
                self._events.look(peer)
        self._save(device, changed)

    def _new(self, device: str, there: str) -> Peer:
        known = self._devices.get(device)
        label = known.name if known else ""
        peer = Peer(remote_id(device, there), "", "", device=device, there=there, label=label, since=self._lived())
        self._roster.add_remote(peer)
        return peer

    def met(self, device: str, there: str, name: str, kind: str) -> Peer:
        """The peer that wrote from another device, whether or not that one shows it. Raises `BadInput`."""
        peer = self._roster.get(remote_id(device, snapshots.check_there(there)))
        if peer and peer.told is not None:
            return peer
        name, kind = snapshots.fit_name(name, there), snapshots.kind_of(kind, AGENTS)
        if peer is None or (peer.name, peer.kind) != (name, kind):
            peer = peer or self._new(device, there)
            peer.name, peer.kind, peer.state, peer.seen = name, kind, State.AWAY, self._lived()
            self._save(device, [peer])
        return peer

    # --- what is kept -----------------------------------------------------------------------------------------

    def _save(self, device: str, peers: Iterable[Peer]) -> None:
        self._unsaved.update((peer.id, peer) for peer in peers)
        self._unremoved.update(self._prune(device))
        if not (self._unsaved or self._unremoved):
            return
        saved, removed = list(self._unsaved.values()), set(self._unremoved)
        rows = [stored.row(peer) for peer in saved if self._roster.get(peer.id) is peer]
        self._unsaved.clear()
        self._unremoved.clear()
        writing = self._store.write(lambda connection: stored.save(connection, rows, removed), soon=True)
        writing.add_done_callback(lambda done: self._written(done, saved, removed))

    def _written(self, done: asyncio.Future[None], saved: list[Peer], removed: set[str]) -> None:
        if done.cancelled() or done.exception() is None:
            return
        # With the next that changes; until then memory knows better than the disk.
        self._unsaved.update((peer.id, peer) for peer in saved)
        self._unremoved.update(removed)
        log.error("sessions of another device could not be saved", exc_info=done.exception())

    def _prune(self, device: str) -> list[str]:
        """Forget what a device shows no more, the longest gone first, but for those that mail waits for."""
        gone = [peer for peer in self._roster.remotes(device) if peer.told in (None, State.ENDED)]
        if len(gone) <= NEIGHBOURS_GONE_MAX:
            return []
        awaited = stored.awaited(self._store.reader, device)
        gone = sorted((peer for peer in gone if peer.id not in awaited), key=lambda peer: -peer.seen)
        for peer in gone[NEIGHBOURS_GONE_MAX:]:
            self._remove(peer)
        return [peer.id for peer in gone[NEIGHBOURS_GONE_MAX:]]

    def _remove(self, peer: Peer) -> None:
        self._roster.remove_remote(peer)
        self._events.forget(peer.id)

    # --- devices ----------------------------------------------------------------------------------------------

    def _device_changed(self, device: Device, change: list[str]) -> None:
        if device.standing is Standing.FORGOTTEN:
            self._forget(device.id)
            return
        self._roster.labels[device.id] = device.name
        for peer in self._roster.remotes(device.id):
            peer.label = device.name
        if "grants" in change or "standing" in change:
            self.changed()

    def _forget(self, device: str) -> None:
        self._roster.labels.pop(device, None)
        peers = self._roster.remotes(device)
        for peer in peers:
            self._remove(peer)
            self._unsaved.pop(peer.id, None)
        self._unremoved.update(peer.id for peer in peers)
        self._save(device, [])


def _show(peer: Peer, session: Session, now: float) -> None:
    """Have a peer be as its device shows it."""
    peer.name, peer.kind, peer.role = session.name, session.kind, session.role
    peer.repo, peer.summary, peer.seen = session.repo, session.summary, now
    peer.state = peer.told = session.state
    # Whether it works is known where its device tells.
    peer.busy, peer.followed = session.busy is True, session.busy is not None
