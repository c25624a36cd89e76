"""What lies between two devices: connections whose bytes take their time, are held up, or are lost in the middle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie.limits import CONNECT_S

if TYPE_CHECKING:
    from coterie.testing.sim.daemons import Life
    from coterie.testing.sim.sites import Site
    from coterie.testing.sim.world import World

LATENCY_S = 0.02
"""The most that bytes take from one device to another, on a road that is well."""
SLOW_S = 2.0
"""The most on a slow one."""
IN_ORDER_S = 1e-6
"""What is sent later arrives later by so much at least."""
PIECES = 0.1
"""How often what is sent at once arrives in two pieces."""

Opened = Callable[["End"], None]
Accept = Callable[["End", str], None]
"""Called with an end, and the device that has the other."""
Heard = Callable[["End", bytes], None]
Closed = Callable[["End"], None]


@dataclass(eq=False)
class End:
    """One end of a connection, in the daemon that holds it."""

    life: Life
    site: Site
    heard: Heard = lambda end, data: None
    closed: Closed = lambda end: None
    over: bool = False
    """Whether this end knows that the connection is over."""
    way: Way | None = None
    """What it writes goes here, once it is connected."""

    def write(self, data: bytes) -> None:
        """Send."""
        if not self.over and self.way:
            self.way.put(data)

    def close(self) -> None:
        """Hang up; what was written still arrives, if it gets through."""
        if not self.over:
            self.over = True
            if self.way:
                self.way.put(None)

    def unsent(self) -> int:
        """The bytes that the other end has not got yet."""
        return self.way.size if self.way else 0

    def take(self, data: bytes | None) -> None:
        """Bytes came, or the end of them."""
        if self.over:
            return
        if data is None:
            self.over = True
            self.life.soon(self.closed, self)
        else:
            self.life.soon(self._hear, data)

    def _hear(self, data: bytes) -> None:
        self.heard(self, data)


class Way:
    """One direction of a connection."""

    def __init__(self, roads: Roads, road: Road, to: End) -> None:
        self.to = to
        self.lost = False
        """Whether nothing that is sent from now on arrives, and nobody is told."""
        self.size = 0
        self._roads = roads
        self._road = road
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._last = 0.0

    def put(self, data: bytes | None) -> None:
        """Send on its way; None: the end."""
        if self.lost:
            return
        if data and self._roads.strikes("bytes repeated"):
            data += data
        for piece in self._pieces(data):
            self._last = max(self._last + IN_ORDER_S, self._roads.now() + self._road.takes())
            self._queue.append((self._last, piece))
            self.size += len(piece or b"")
            self._roads.at(self._last, self.pump)

    def _pieces(self, data: bytes | None) -> list[bytes | None]:
        if not data or self._roads.random() >= PIECES:
            return [data]
        middle = int(len(data) * self._roads.random())
        return [piece for piece in (data[:middle], data[middle:]) if piece]

    def pump(self) -> None:
        """Deliver what is due, if nothing holds it up."""
        while self._queue and self._queue[0][0] <= self._roads.now() and not self._held():
            _, data = self._queue.popleft()
            self.size -= len(data or b"")
            if self.to.life.running:
                self.to.take(data)

    def _held(self) -> bool:
        if self._road.closed:
            self._roads.count("nothing gets through one way" if self._road.one_way else "nothing gets through")
        return self._road.closed or self.to.site.asleep

    def break_off(self) -> None:
        """What is on its way arrives as far as it got, perhaps to the middle of a line."""
        if self._queue:
            at, data = self._queue[0]
            half = data[: int(len(data) * self._roads.random())] if data else None
            self._queue.clear()
            self.size = len(half or b"")
            if half:
                self._roads.count("line cut in half")
                self._queue.append((at, half))
        self.put(None)
        self.lost = True


@dataclass(slots=True)
class Road:
    """What bytes from one device to another go over."""

    random: Callable[[], float]
    closed: bool = False
    """Whether nothing gets through for now; what is sent waits, as TCP sends it again."""
    one_way: bool = False
    """Whether what goes back gets through."""
    slow: bool = False

    def takes(self) -> float:
        """How long bytes take that are sent now."""
        return self.random() * (SLOW_S if self.slow else LATENCY_S)


class Pipe:
    """One connection."""

    def __init__(self, roads: Roads, near: End, far: End) -> None:
        self.ends = (near, far)
        near.way = Way(roads, roads.road(near.site, far.site), far)
        far.way = Way(roads, roads.road(far.site, near.site), near)
        self.ways = (near.way, far.way)

    def break_off(self) -> None:
        """It breaks in the middle, for both."""
        for way in self.ways:
            way.break_off()

    def swallow(self) -> None:
        """From now on it takes everything and delivers nothing, and tells nobody."""
        for way in self.ways:
            way.lost = True

    def is_open(self) -> bool:
        """Whether anybody still holds an end of it."""
        return any(not end.over for end in self.ends)


class Roads:
    """Everything between the devices of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._roads: dict[tuple[str, str], Road] = {}
        self.pipes: list[Pipe] = []
        self.accept: dict[str, tuple[Life, Accept]] = {}
        """Who takes connections on a device, by its name."""

    def now(self) -> float:
        """How old the world is."""
        return self._world.time.running

    def random(self) -> float:
        """A number from 0 to 1."""
        return self._world.random.random()

    def strikes(self, kind: str) -> bool:
        """Whether this goes wrong now."""
        return self._world.faults.strikes(kind)

    def count(self, kind: str) -> None:
        """This went wrong."""
        self._world.faults.count(kind)

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Have something happen between the devices."""
        self._world.outside.call_at(when, callback)

    def road(self, start: Site, end: Site) -> Road:
        """The road from one device to another."""
        return self._roads.setdefault((start.name, end.name), Road(self.random))

    def dial(self, near: End, to: Site, opened: Opened) -> None:
        """Connect to a device. `opened` is called with this end; the end is closed if that cannot be."""
        there, back = self.road(near.site, to), self.road(to, near.site)
        self.at(self.now() + there.takes() + back.takes(), lambda: self._answer(near, to, opened))

    def _answer(self, near: End, to: Site, opened: Opened) -> None:
        if near.over or not near.life.running:
            return
        if self.road(near.site, to).closed or self.road(to, near.site).closed or to.asleep:
            self.at(self.now() + CONNECT_S, lambda: near.take(None))
            return
        life, accept = self.accept.get(to.name, (None, None))
        if life is None or accept is None or not life.running:
            near.take(None)
            return
        far = End(life, to)
        pipe = Pipe(self, near, far)
        self.pipes = [*(pipe for pipe in self.pipes if pipe.is_open()), pipe]
        if self._world.faults.strikes("dead connection"):
            pipe.swallow()
        near.life.soon(opened, near)
        life.soon(accept, far, near.site.device)

    # --- what goes wrong -------------------------------------------------------------------------------------------

    def close(self, start: Site, end: Site, *, one_way: bool) -> None:
        """Nothing gets through from one to the other; and nothing back, unless it is `one_way`."""
        there, back = self.road(start, end), self.road(end, start)
        there.closed, there.one_way = True, one_way
        back.closed, back.one_way = back.closed or not one_way, False

    def open(self, start: Site, end: Site) -> None:
        """It gets through again both ways, and what waited as well."""
        for road in (self.road(start, end), self.road(end, start)):
            road.closed = road.slow = False
        self.pump()

    def heal(self) -> None:
        """Everything gets through."""
        for road in self._roads.values():
            road.closed = road.slow = False
        self.pump()

    def pump(self) -> None:
        """Look what can be delivered now: a road was opened, or a device woke."""
        for pipe in self.pipes:
            for way in pipe.ways:
                way.pump()

    def between(self, one: Site, other: Site) -> list[Pipe]:
        """The connections between two devices, the oldest first."""
        both = {one.name, other.name}
        return [pipe for pipe in self.pipes if {end.site.name for end in pipe.ends} == both and pipe.is_open()]

    def ended(self, life: Life) -> None:
        """A daemon is no more: its system closes what it had open, and whoever was at the other end hears of it."""
        for pipe in self.pipes:
            for end in pipe.ends:
                if end.life is life:
                    end.close()
