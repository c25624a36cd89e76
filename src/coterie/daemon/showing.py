"""What of this device's sessions others are shown: told when there is a way to a device, and when it changes.

A device is told all of it at once, and again until it confirms; nothing runs while no device is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

from coterie import snapshots
from coterie.daemon.devices import Devices
from coterie.daemon.network import Network
from coterie.devices import Grant
from coterie.errors import BadInput
from coterie.limits import SHOW_AGAIN_S, SHOW_GAP_S
from coterie.peers import Peer
from coterie.snapshots import Json

NOTHING = (0, 0)
"""The number of a snapshot that no device ever sends: by which one says that it has none yet."""


@dataclass(slots=True)
class _Told:
    """What one device was told last."""

    epoch: int
    n: int = 0
    content: Json | None = None
    """None: nothing since there is a way to it."""
    again: asyncio.TimerHandle | None = None
    """While it is not confirmed."""
    tries: int = 0
    """How often it was said again."""

    def confirmed(self) -> None:
        """Say it no more."""
        self.tries = 0
        if self.again:
            self.again.cancel()
            self.again = None

    def pause_s(self) -> float:
        """Until it is said again."""
        self.tries += 1
        return SHOW_AGAIN_S[min(self.tries, len(SHOW_AGAIN_S)) - 1]


class Showing:
    """The word that other devices have of who is here."""

    def __init__(
        self,
        network: Network,
        devices: Devices,
        peers: Callable[[], Iterable[Peer]],
        line: Callable[[Peer], str],
        busy: Callable[[Peer], bool | None],
        share: Callable[[], Collection[str]],
        epoch: int,
    ) -> None:
        self._network = network
        self._devices = devices
        self._peers = peers
        """The peers of this device."""
        self._line = line
        """What may be told of what a peer does."""
        self._busy = busy
        self._share = share
        """The fields that the owner shows."""
        self._epoch = epoch
        self._told: dict[str, _Told] = {}
        """Of each device to which there is a way, or was."""
        self._present: set[str] = set()
        self._soon: asyncio.TimerHandle | None = None

    # --- what is shown ----------------------------------------------------------------------------------------

    def preview(self, device: str | None = None) -> list[Json]:
        """Exactly what a device is told of the sessions here; None: what any is told that may see them."""
        if device is not None and not self._may_see(device):
            return []
        share = self._share()
        found = snapshots.chosen(self._peers(), share)
        return snapshots.fitted([snapshots.shown(peer, self._line(peer), self._busy(peer), share) for peer in found])

    def writer(self, peer: str, name: str, kind: str) -> tuple[str, str]:
        """The name and the kind that stand in what a peer of this device writes to others."""
        share = self._share()
        called = snapshots.fit_name(name, peer) if "name" in share else snapshots.unnamed(peer)
        return called, kind if "agent" in share else snapshots.UNKNOWN_KIND

    def _may_see(self, device: str) -> bool:
        known = self._devices.get(device)
        return known is not None and known.may(Grant.SEE)

    # --- telling it -------------------------------------------------------------------------------------------

    def came(self, device: str) -> None:
        """There is a way to a device: tell it, whatever it knew before."""
        self._present.add(device)
        told = self._told.setdefault(device, _Told(self._epoch))
        told.content = None
        self._tell(device)

    def left(self, device: str) -> None:
        """There is none any more."""
        self._present.discard(device)
        if device in self._told:
            self._told[device].confirmed()
        if not self._present:
            self._stop()

    def changed(self) -> None:
        """Something may be otherwise: a session, a setting, a right. Whoever is there is told what is, in a moment."""
        if self._present and self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SHOW_GAP_S, self._tell_all)

    def seen(self, device: str, frame: Json) -> None:
        """A device says which snapshot it has; an older one, or another's of the same name, is none of today."""
        epoch, n = snapshots.number(frame)
        told = self._told.get(device)
        if told is None or device not in self._present:
            return
        if (epoch, n) == (told.epoch, told.n):
            told.confirmed()
        elif (epoch, n) > (told.epoch, told.n):
            # This home is younger than what is known of it: it was restored from a copy.
            if epoch + 1 >= snapshots.COUNT_MAX:
                raise BadInput("no number comes after that one")
            told.epoch, told.n, told.content = epoch + 1, 0, None
            self._tell(device)
        elif (epoch, n) == NOTHING and told.again is None:
            self._tell(device, again=True)

    def close(self) -> None:
        """Tell nobody any more."""
        self._present.clear()
        self._stop()
        for told in self._told.values():
            told.confirmed()

    def _stop(self) -> None:
        if self._soon:
            self._soon.cancel()
            self._soon = None

    def _tell_all(self) -> None:
        self._soon = None
        sessions = self.preview()
        for device in sorted(self._present):
            self._tell(device, sessions)

    def _tell(self, device: str, sessions: list[Json] | None = None, *, again: bool = False) -> None:
        """Tell a device of the `sessions` that any may see which may see them; None: they are yet to be looked at."""
        told = self._told[device]
        content: Json = {"shows": False, "sessions": []}
        if self._may_see(device):
            content = {"sessions": self.preview() if sessions is None else sessions}
        if content == told.content and not again:
            return
        if content != told.content:
            told.n += 1
            told.content = content
            told.confirmed()
        if told.again:
            told.again.cancel()
        self._network.send(device, "presence", epoch=told.epoch, n=told.n, **content)
        say = partial(self._tell, device, again=True)
        told.again = asyncio.get_running_loop().call_later(told.pause_s(), say)
