"""Links between simulated devices: the second fabric, over the shipped `coterie.links` and pipes of bytes.

What TLS does is taken for granted: each side knows whose certificate the other has. Above the link this fabric takes
the liberties that every fabric may take: it loses frames, with and without telling, repeats and delays them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from coterie.daemon.relay import RelayService
from coterie.devices import Device, Standing
from coterie.jsonline import LineReader
from coterie.limits import LINK_LINE_BYTES_MAX, LINK_OUTGOING_BYTES_MAX
from coterie.links import Answer, Backoff, Breach, Dead, Frame, Link, Proved, keep
from coterie.net.fabric import Json, Receiver
from coterie.net.relay import Pace
from coterie.testing.sim.direct import Direct
from coterie.testing.sim.liberties import Sorted, bring, lost
from coterie.testing.sim.roads import End

if TYPE_CHECKING:
    from coterie.testing.sim.daemons import Life
    from coterie.testing.sim.sites import Site


class Call:
    """One connection to another device, with the link on it."""

    def __init__(self, fabric: SimFabric, end: End, device: str, *, dialled: bool) -> None:
        self.device = device
        self.end = end
        self.ended = False
        self._fabric = fabric
        self._loop = asyncio.get_running_loop()
        self._reader = LineReader(LINK_LINE_BYTES_MAX)
        self._timer: asyncio.TimerHandle | None = None
        self.link = fabric.link_to(device, dialled=dialled, now=self._loop.time())
        end.heard, end.closed = self._heard, self._closed
        end.write(self.link.begin())
        self._look()

    def send(self, frame: Json) -> bool:
        """Send a frame; the connection ends if the other side has not read for long."""
        if self.end.unsent() > LINK_OUTGOING_BYTES_MAX:
            self.over("it does not read")
            return False
        self.end.write(self.link.send(frame))
        return True

    def over(self, why: str) -> None:
        """It is over, at this end."""
        if self.ended:
            return
        self.ended = True
        if self._timer:
            self._timer.cancel()
        self.end.close()
        self._fabric.ended(self, why)

    def _closed(self, end: End) -> None:
        self.over("closed")

    def _heard(self, end: End, data: bytes) -> None:
        for line in self._reader.feed(data):
            if self.ended:
                return
            try:
                if not isinstance(line, bytes):
                    raise Breach("a line is too long")
                self._take(self.link.feed(line, self._loop.time()))
            except Breach as breach:
                self.over(breach.message)
                return
        self._look()

    def _take(self, event: Answer | Frame | Proved | None) -> None:
        if isinstance(event, Answer):
            self.end.write(event.line)
        elif isinstance(event, Frame):
            self._fabric.framed(self, event.frame)
        elif isinstance(event, Proved):
            self._fabric.proved(self)

    def _look(self) -> None:
        """Do what is due by the clock, and look again when more is."""
        if self.ended:
            return
        while (left_s := self.link.due() - self._loop.time()) <= 0:
            line = self.link.tick(self._loop.time())
            if isinstance(line, Dead):
                self.over(f"no word for {line.silent_s:.0f} s")
                return
            if line:
                self.end.write(line)
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(left_s, self._look)


class SimFabric:
    """The ways of one daemon to other devices, in the place of `coterie.net.relay.Relay`."""

    def __init__(self, site: Site, life: Life, service: RelayService, receiver: Receiver) -> None:
        self._site = site
        self._life = life
        self._service = service
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._roads = site.world.roads
        self._live: dict[str, Call] = {}
        self._calls: dict[Call, None] = {}
        """Those under way, also before they are proved."""
        self._wanted: dict[str, Backoff] = {}
        self._since: dict[Call, float] = {}
        self._pace = Pace()
        self._closed = False

    # --- what is above the seam calls ------------------------------------------------------------------------------

    def send(self, device: str, frame: Json) -> bool:
        """Hand over a frame; it may be lost, and that may be told."""
        call = self._live.get(device)
        if call is None:
            return False
        gone = lost(self._site)
        return call.send(frame) if gone is None else gone

    def present(self) -> frozenset[str]:
        """The devices to which there is a way now."""
        return Sorted(self._live)

    def cut(self, device: str, why: str) -> None:
        """End the way to a device."""
        for call in [call for call in self._calls if call.device == device]:
            call.over(why)

    # --- what the relay service calls ------------------------------------------------------------------------------

    def set_pace(self, pace: Pace) -> None:
        """What the settings say."""
        self._pace = pace
        for call in self._calls:
            call.link.heartbeat_s = pace.heartbeat_s

    async def listen(self, addr: str, port: int) -> int:
        """Take connections from now on."""
        self._roads.accept[self._site.name] = (self._life, self._accept)
        return port

    def stop_listening(self) -> None:
        """Take none."""
        self._roads.accept.pop(self._site.name, None)

    def pin(self, device: Device) -> None:
        """Its certificate is asked for whenever it comes."""

    def dialled(self) -> frozenset[str]:
        """The devices to which links are kept."""
        return Sorted(self._wanted)

    def dial(self, device: str) -> None:
        """Keep a link to a device."""
        if device not in self._wanted:
            self._wanted[device] = Backoff()
            self._try(device)

    def undial(self, device: str) -> None:
        """Do not call a device any more."""
        self._wanted.pop(device, None)

    def forget(self, device: str) -> None:
        """Have nothing to do with a device any more."""
        self.undial(device)
        self.cut(device, "forgotten")

    def since_s(self, device: str) -> float | None:
        """How long there is a way to a device."""
        return self._loop.time() - self._since[self._live[device]] if device in self._live else None

    async def close(self) -> None:
        """The daemon ends in good order."""
        self._closed = True
        self._wanted.clear()
        self._roads.accept.pop(self._site.name, None)
        for call in list(self._calls):
            call.over("leaving")

    def _knows(self, device: str) -> bool:
        known = self._service.get(device)
        return known is not None and known.standing is not Standing.FORGOTTEN

    def _try(self, device: str) -> None:
        if self._closed or device not in self._wanted or device in self._live or not self._knows(device):
            return
        end = End(self._life, self._site)
        end.closed = lambda end: self._again(device)
        there = self._site.world.device(device)
        self._roads.dial(end, there, lambda end: self._opened(end, device))

    def _opened(self, end: End, device: str) -> None:
        if not self._closed and self._knows(device):
            self._calls[Call(self, end, device, dialled=True)] = None
        else:
            end.close()

    def _again(self, device: str) -> None:
        backoff = self._wanted.get(device)
        if backoff is not None and not self._closed:
            wait_s = backoff.next(self._pace.reconnect_max_s, self._site.random.random())
            self._loop.call_later(wait_s, self._try, device)

    def _accept(self, end: End, device: str) -> None:
        if self._closed or not self._knows(device):
            end.close()
        else:
            self._calls[Call(self, end, device, dialled=False)] = None

    # --- what a call tells -----------------------------------------------------------------------------------------

    def link_to(self, device: str, *, dialled: bool, now: float) -> Link:
        """A fresh link to a device."""
        world = self._site.world
        ours, theirs = self._site.identified(), world.device(device).identified()
        return Link(
            ours,
            theirs,
            dialled=dialled,
            key=self._service.keys.get(device) or b"",
            nonce=self._site.random.randbytes(32),
            heartbeat_s=self._pace.heartbeat_s,
            now=now,
        )

    def proved(self, call: Call) -> None:
        """There is a way to a device, unless the one that was there before stays."""
        before = self._live.get(call.device)
        if before and not keep(before.link, call.link):
            call.over("there is one already")
            return
        self._live[call.device] = call
        self._since[call] = self._loop.time()
        if before:
            before.over("a newer one is here")
        self._receiver.came(call.device)

    def ended(self, call: Call, why: str) -> None:
        """A call is over."""
        self._calls.pop(call, None)
        lived_s = self._loop.time() - self._since.pop(call, self._loop.time())
        self._site.history.note("link over", self._site.called("daemon"), to=call.device[:7], why=why)
        if self._live.get(call.device) is call:
            del self._live[call.device]
            self._receiver.left(call.device)
        if call.device in self._wanted and call.device not in self._live:
            self._wanted[call.device].held(lived_s)
            self._again(call.device)

    def framed(self, call: Call, frame: Json) -> None:
        """A frame came. What is above must be content with whatever happens to it now."""
        if self._live.get(call.device) is call:
            bring(self._site, frame, partial(self._receive, call.device))

    def _receive(self, device: str, frame: Json) -> None:
        if not self._closed and self._knows(device):
            self._receiver.receive(device, frame)


class SimRelay(RelayService):
    """The shipped service, over either fabric."""

    def __init__(self, site: Site, life: Life, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._site = site
        self._life = life

    def _started(self) -> Any:
        if self._relay is None:
            self._relay = self._direct() if self._site.world.direct else self._simulated()  # type: ignore[assignment]
            self._network.fabric = self._relay
        return self._relay

    def _direct(self) -> Direct:
        words = {"say": self._hear, "seen": self._met_at}
        arguments = (self.identity(), self, self.keys.get, self._network, self._pace())
        return Direct(self._site, self._life, *arguments, **words)

    def _simulated(self) -> SimFabric:
        fabric = SimFabric(self._site, self._life, self, self._network)
        fabric.set_pace(self._pace())
        self.identity()
        return fabric
