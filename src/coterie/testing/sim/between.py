"""What happens between several devices: they are paired, their sessions write to each other, and the way breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from coterie.devices import Device
from coterie.limits import HEARTBEAT_S
from coterie.peers import PERSON, VISITOR
from coterie.testing.sim.faults import POINTS_BETWEEN
from coterie.testing.sim.sites import PORT, Site, kill_at
from coterie.testing.sim.story import LONGEST_S, STEPS, Story
from coterie.testing.sim.world import World

LIBERTIES = ("frame lost", "frame lost, and told", "frame late", "frame repeated")
WITHDRAWN_S = 30.0
"""How long a right is withdrawn at most."""
FULL_S = 40.0
"""How long the disk of a recipient is full at most: what comes meanwhile has to come again."""
FORGET = 0.4
"""How often a run may have a device forgotten."""
CUTS_S = (2.0, 15.0, 60.0, 300.0)
"""How long nothing gets through."""
PRESENCE_S = 60.0
"""Within so long after its devices can talk again, each knows who is on the others."""
TOLD_S = 5.0
"""What receipts take at most between devices that are connected."""
PAIRED_S = 5.0
"""What pairing and the first words take at most."""


class Between(Story):
    """One run of a world of several devices."""

    def __init__(self, world: World, steps: int = STEPS) -> None:
        super().__init__(world, steps)
        self._waits_s = 0.0
        """How long the story now stands still."""
        self._forgets = self._random.random() < FORGET
        """Whether it may still happen that a device is forgotten."""
        self._longest_s = LONGEST_S * world.pace.heartbeat_s / HEARTBEAT_S

    def _pause(self) -> float:
        waits_s, self._waits_s = self._waits_s, 0.0
        return waits_s or super()._pause()

    async def _begin(self) -> None:
        await super()._begin()
        await self._pair()
        await asyncio.sleep(PAIRED_S)

    # --- pairing ---------------------------------------------------------------------------------------------------

    async def _pair(self) -> None:
        for site in self._world.sites:
            while not site.serving():
                site.start_daemon()
                await asyncio.sleep(0.1)
            for other in self._world.sites:
                if other is not site:
                    await self._know(site, other)

    async def _know(self, site: Site, other: Site) -> None:
        """A device learns of another. One of the two calls, or both."""
        assert other.identity
        assert site.life
        device = Device(
            other.device,
            other.name,
            other.identity.certificate_der,
            addresses=[f"{other.host}:{PORT}"],
            dial=site.name < other.name or self._random.random() < 0.5,
            paired_at=site.time.wall(),
        )
        key = sha256("".join(sorted((site.device, other.device))).encode()).digest()
        self._world.here = site
        relay = site.life.daemon.relay
        await self._ended(site.life.loop.create_task(relay.add(device, key)))
        await self._ended(site.life.loop.create_task(relay.apply()))
        self._note("paired", site, to=other.name)

    # --- what happens ----------------------------------------------------------------------------------------------

    def _choices(self) -> list[tuple[int, Callable[[], None]]]:
        return [
            *super()._choices(),
            (8, self._way_goes_wrong),
            (2, self._person_lists),
            (3, self._flurry),
            (1, self._hours_pass),
            (int(self._forgets), self._forget),
            (1, self._withdraw),
        ]

    def _forget(self) -> None:
        """A person has enough of another device, once in a run at most."""
        self._forgets = False
        one, other = self._two()
        # Where nothing is brought before a session at once, something is unread by then.
        waits = [session for session in self._sessions if session.site is one and not session.kind.inbox]
        for session in waits:
            self._spawn(other, self._people[other.name].say(self._address(session, other)))
        self._world.outside.call_later(
            self._random.random() * 2, lambda: self._spawn(one, self._try_to_forget(one, other))
        )

    def _withdraw(self) -> None:
        """A person takes from another device the right to write here, and gives it back after a while."""
        one, other = self._two()
        self._spawn(one, self._try_to_withdraw(one, other))

    async def _try_to_withdraw(self, site: Site, other: Site) -> None:
        self._note("withdrawn", site, of=other.name)
        if not await self._people[site.name].allow(other.name, give=False):
            return
        self._world.faults.count("right withdrawn")
        self._note("right gone", site, site=site.name, of=other.name)
        self._write(other, site, 2)
        if self._random.random() < 0.5:
            await asyncio.sleep(self._random.random() * WITHDRAWN_S)
            await self._give_back(site, other)

    async def _give_back(self, site: Site, other: Site) -> None:
        self._note("given back", site, site=site.name, of=other.name)
        await self._people[site.name].allow(other.name, give=True)

    async def _decide(self, site: Site) -> None:
        """The person lets through whatever was held, and gives every right back."""
        self._world.faults.happened["message held"] += await self._people[site.name].approve_all()
        for other in self._world.sites:
            if other is not site:
                await self._give_back(site, other)

    def _flurry(self) -> None:
        """A person writes much at once to a session of another device, and not all of it gets there at once."""
        one, other = self._two()
        self._write(one, other, self._random.randint(2, 6))
        self._arming_some(self._random.choice(LIBERTIES))()

    def _kill_in_a_flurry(self) -> None:
        kill_at(self._world, self._random.choice(POINTS_BETWEEN))
        self._flurry()

    def _write(self, one: Site, other: Site, count: int) -> None:
        to = self._random.choice([session for session in self._sessions if session.site is other])
        for _ in range(count):
            self._spawn(one, self._people[one.name].say(self._address(to, one)))

    async def _try_to_forget(self, site: Site, other: Site) -> None:
        done = await self._people[site.name].forget(other.name)
        if done is False:
            return
        self._world.faults.count("device forgotten")
        self._note("forgot" if done else "perhaps forgot", site, site=site.name, other=other.name)
        if self._random.random() < 0.5:  # What follows from it may not be on the disk yet.
            self._kill_daemon(site)

    def _person_lists(self) -> None:
        site = self._somewhere()
        self._spawn(site, self._list(site, "sees"))

    async def _list(self, site: Site, kind: str) -> None:
        """What is seen from a device of the sessions of others."""
        for card in await self._people[site.name].network():
            if card["kind"] != VISITOR:
                seen = {"name": card["name"], "of": card["device"], "state": card["state"]}
                self._world.history.note(kind, site.person, site=site.name, **seen)

    def _two(self) -> tuple[Site, Site]:
        one, other = self._random.sample(self._world.sites, 2)
        return one, other

    def _way_goes_wrong(self) -> None:
        random = self._random
        wrongs: list[Callable[[], object]] = [
            self._cut,
            self._cut,
            self._break,
            self._break,
            self._swallow,
            self._slow,
            lambda: self._world.faults.arm("dead connection"),
            lambda: self._world.faults.last("disk full", self._somewhere(), random.random() * FULL_S),
            lambda: self._world.faults.arm("bytes repeated"),
            *map(self._arming_some, LIBERTIES),
            self._kill_in_a_flurry,
            self._kill_in_a_flurry,
        ]
        random.choice(wrongs)()

    def _arming_some(self, kind: str) -> Callable[[], object]:
        return lambda: self._world.faults.arm(kind, self._random.choice((1, 1, 2, 5, 20)))

    def _cut(self, seconds: float = 0.0) -> None:
        one, other = self._two()
        one_way = self._random.random() < 0.5
        seconds = seconds or self._random.choice(CUTS_S) * self._random.random()
        self._note("cut off", one, to=other.name, one_way=one_way, s=round(seconds))
        self._world.roads.close(one, other, one_way=one_way)
        self._world.outside.call_later(seconds, self._open, one, other)

    def _open(self, one: Site, other: Site) -> None:
        self._note("opened", one, to=other.name)
        self._world.roads.open(one, other)

    def _note(self, happened: str, where: Site, **what: Any) -> None:
        self._world.history.note(happened, where.called("world"), **what)

    def _break(self) -> None:
        one, other = self._two()
        for pipe in self._world.roads.between(one, other):
            self._world.faults.count("connection broken")
            self._note("broken", one, to=other.name)
            pipe.break_off()

    def _swallow(self) -> None:
        one, other = self._two()
        for pipe in self._world.roads.between(one, other):
            self._world.faults.count("dead connection")
            self._note("dead connection", one, to=other.name)
            pipe.swallow()

    def _slow(self) -> None:
        one, other = self._two()
        self._world.faults.count("slow way")
        self._note("slow", one, to=other.name)
        self._world.roads.road(one, other).slow = True
        self._world.outside.call_later(self._random.random() * 60, self._open, one, other)

    def _hours_pass(self) -> None:
        """Hours in which a device sleeps, or nothing gets through."""
        self._waits_s = self._random.uniform(0.1, 1) * self._longest_s
        if self._random.random() < 0.5:
            self._world.faults.count("hours of nothing")
            self._cut(self._waits_s)
        else:
            site = self._somewhere()
            self._suspend(site, self._waits_s)

    def _suspend(self, site: Site, seconds: float) -> None:
        self._world.faults.count("device asleep")
        self._note("asleep", site, s=round(seconds))
        self._world.suspend(site, seconds)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        await self._world.all_awake()
        for site in self._world.sites:
            site.start_daemon()
        counting = self._world.outside.create_task(self._count_what_came())
        await super()._heal()
        await counting
        for site in self._world.sites:
            await self._at(site, self._decide(site))
        for site in self._world.sites:
            await self._at(site, self._list(site, "knows"))
            await self._at(site, self._own(site))

    async def _told(self) -> None:
        await asyncio.sleep(TOLD_S)

    async def _count_what_came(self) -> None:
        """What is in the books of each device when all of it must have arrived."""
        await asyncio.sleep(self._world.pace.healed_s)
        for site in self._world.sites:
            rows = await self._at(site, self._people[site.name].rows())
            self._world.history.note("books", site.person, site=site.name, ids=[row["id"] for row in rows])

    async def _own(self, site: Site) -> None:
        for card in await self._people[site.name].peers():
            if card["kind"] != PERSON:
                own = {"name": card["name"], "state": card["state"]}
                self._world.history.note("own", site.person, site=site.name, **own)
