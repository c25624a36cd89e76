"""What happens in one run: people ask, agents work and write, things go wrong, and in the end all of it heals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from coterie.frames import ITSELF
from coterie.limits import DAY_S
from coterie.testing.sim.clients import KINDS, WORK, Act, Session
from coterie.testing.sim.faults import POINTS
from coterie.testing.sim.person import Person
from coterie.testing.sim.sites import Site, kill_at
from coterie.testing.sim.world import World

SESSIONS = (3, 5)
STEPS = 40
"""Steps of a run; each is something that somebody does, or that goes wrong."""
QUIET_ROUNDS = 6
"""Prompts to each session in a world that has healed: what was given to it is evidenced by then."""
LONGEST_S = 8 * 3600.0
"""How long a device sleeps at most."""
SHORT_LIFE_S = 20.0
"""The life of some messages, so that some expire."""
YEARS_S = 10 * 365 * DAY_S

Result = TypeVar("Result")


class Story:
    """One run of a world."""

    def __init__(self, world: World, steps: int = STEPS) -> None:
        self._world = world
        self._random = world.random
        self._longest_s = LONGEST_S
        self._steps = steps
        self._people = {site.name: Person(site) for site in world.sites}
        self._sessions = [session for site in world.sites for session in self._inhabitants(site)]
        self._tasks: list[asyncio.Task[Any]] = []

    def _inhabitants(self, site: Site) -> list[Session]:
        kinds = [KINDS[0], *(self._random.choice(KINDS) for _ in range(self._random.randint(*SESSIONS) - 1))]
        return [Session(site, f"{site.name or 's'}{number}", kind) for number, kind in enumerate(kinds)]

    async def tell(self) -> None:
        """All of it."""
        await self._begin()
        for _ in range(self._steps):
            self._happen()
            await asyncio.sleep(self._pause())
        await self._heal()
        await self._live_on()
        self._world.history.note("quiet", "world")

    def _pause(self) -> float:
        return self._random.choice((0.002, 0.05, 0.5, 2.0, 6.0)) * self._random.random()

    async def _begin(self) -> None:
        for session in self._sessions:
            has = {"inbox": session.kind.inbox, "hooks": session.kind.hooks, "site": session.site.name}
            self._world.history.note("session", session.name, resumable=session.kind.resumable, **has)
            session.start()
            session.prompt([Act("set_summary", {"name": session.name})])
        await asyncio.sleep(2.0)

    # --- what happens ----------------------------------------------------------------------------------------------

    def _happen(self) -> None:
        choices = self._choices()
        weights = [weight for weight, _ in choices]
        self._random.choices([what for _, what in choices], weights)[0]()

    def _choices(self) -> list[tuple[int, Callable[[], None]]]:
        """What may happen, each with how often it does."""
        return [
            (12, self._ask_somebody),
            (2, self._person_says),
            (2, self._person_looks),
            (1, self._burst),
            (8, self._something_goes_wrong),
            (2, self._somebody_comes_back),
            (1, self._clear),
            (1, self._time_is_strange),
        ]

    def _somewhere(self) -> Site:
        """A device, and it is there that something happens next."""
        sites = self._world.sites
        self._world.here = sites[0] if len(sites) == 1 else self._random.choice(sites)
        return self._world.here

    def _spawn(self, site: Site, doing: Any) -> None:
        self._tasks.append(site.outside.create_task(doing))

    async def _at(self, site: Site, doing: Coroutine[Any, Any, Result]) -> Result:
        """Have something done on a device, and wait for it."""
        if site.outside is self._world.outside:
            return await doing
        return await self._ended(site.outside.create_task(doing))

    async def _ended(self, task: asyncio.Task[Result]) -> Result:
        if task.get_loop() is self._world.outside:
            await asyncio.wait([task])
        else:
            over = self._world.outside.create_future()
            task.add_done_callback(lambda done: over.set_result(None))
            await over
        return task.result()

    def _ask_somebody(self) -> None:
        session = self._random.choice(self._sessions)
        session.prompt([self._act(session) for _ in range(self._random.randint(1, 3))])

    def _act(self, session: Session) -> Act:
        chance = self._random.random()
        if chance < 0.6:
            wait = {"wait_s": self._random.choice((1, 5, 20))} if self._random.random() < 0.25 else {}
            return Act("send_message", {"to": self._somebody(session), "message": session.body(), **wait})
        if chance < 0.75:
            return Act("check_messages", {})
        if chance < 0.85:
            return Act("list_peers", {})
        return Act(WORK, {"seconds": self._random.random() * 10})

    def _somebody(self, but: Session) -> str:
        names = [self._address(session, but.site) for session in self._sessions if session is not but]
        return self._random.choice([*names, *names, *names, "all"])

    def _address(self, session: Session, seen_from: Site) -> str:
        return session.name if session.site is seen_from else f"{session.name}@{session.site.name}"

    def _person_says(self) -> None:
        life = self._random.choice((None, None, SHORT_LIFE_S))
        site = self._somewhere()
        to = self._address(self._random.choice(self._sessions), site)
        self._spawn(site, self._people[site.name].say(to, life))

    def _person_looks(self) -> None:
        site = self._somewhere()
        self._spawn(site, self._people[site.name].look())

    def _burst(self) -> None:
        self._world.faults.count("burst")
        session = self._random.choice(self._sessions)
        to = self._somebody(session)
        session.prompt([Act("send_message", {"to": to, "message": session.body()}) for _ in range(8)])

    def _clear(self) -> None:
        self._random.choice(self._sessions).clear()

    def _somebody_comes_back(self) -> None:
        for session in self._sessions:
            session.mend_adapter()
            if not session.agent and self._random.random() < 0.5:
                session.start("resume" if session.kind.resumable else "startup")

    # --- what goes wrong -------------------------------------------------------------------------------------------

    def _something_goes_wrong(self) -> None:
        world, random = self._world, self._random
        site = self._somewhere()
        wrongs: list[Callable[[], object]] = [
            lambda: kill_at(world, random.choice(POINTS)),
            lambda: kill_at(world, random.choice(POINTS)),
            lambda: self._kill_daemon(site),
            lambda: self._daemon_leaves(site),
            lambda: world.faults.arm("torn tail"),
            lambda: world.faults.last("disk full", site, random.random() * 3),
            lambda: site.fail_disk(random.randint(1, 30)),
            lambda: world.faults.last("slow disk", site, random.random() * 20),
            *(self._arming(kind) for kind in ("request cut", "answer cut", "answer lost")),
            *(self._arming(kind) for kind in ("inbox fails", "inbox hangs", "inbox drops")),
            self._arming("hook dies before it printed"),
            self._arming("hook dies before its report"),
            self._arming("prompt taken back"),
            self._arming("turn interrupted"),
            self._kill_agent,
            self._kill_adapter,
        ]
        random.choice(wrongs)()

    def _arming(self, kind: str) -> Callable[[], object]:
        return lambda: self._world.faults.arm(kind)

    def _kill_daemon(self, site: Site) -> None:
        if site.kill_daemon():
            self._world.faults.count("daemon killed")

    def _daemon_leaves(self, site: Site) -> None:
        life = site.serving()
        if life:
            self._world.faults.count("daemon told to leave")
            life.leave()

    def _kill_agent(self) -> None:
        session = self._random.choice(self._sessions)
        if session.agent:
            self._world.faults.count("agent killed")
            session.kill()

    def _kill_adapter(self) -> None:
        if self._random.choice(self._sessions).kill_adapter():
            self._world.faults.count("adapter killed")

    def _time_is_strange(self) -> None:
        world, site = self._world, self._somewhere()
        which = self._random.choice(("clock set forward", "clock set back", "machine asleep"))
        world.faults.count(which)
        if which == "machine asleep":
            world.suspend(site, self._random.random() * self._longest_s)
        else:
            years = self._random.random() * YEARS_S
            site.time.jump(years if which == "clock set forward" else -years)
        world.history.note("time", site.called("world"), which=which)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        self._world.history.note("healed", "world")
        self._world.heal()
        if any(site.processes.reused for site in self._world.sites):
            self._world.faults.count("pid used again")
        for task in self._tasks:
            await self._ended(task)
        for session in self._sessions:
            session.mend_adapter()
            if not session.agent and self._random.random() < 0.7:
                session.start("resume" if session.kind.resumable else "startup")
        await asyncio.sleep(60.0)  # Whatever was tried again after a while was tried by now.

    async def _live_on(self) -> None:
        for _ in range(QUIET_ROUNDS):
            for session in self._sessions:
                session.prompt([Act("check_messages", {}), Act("check_messages", {})])
            await asyncio.sleep(90.0)
            for session in self._sessions:
                await self._at(session.site, session.rest())
        for site in self._world.sites:
            await self._at(site, self._people[site.name].look())
        await self._told()
        for site in self._world.sites:
            await self._at(site, self._look_back(site))

    async def _told(self) -> None:
        """Return when everybody was told what there is to tell."""

    async def _look_back(self, site: Site) -> None:
        """What is known on a device in the end."""
        person = self._people[site.name]
        for card in await person.peers():
            whose = card["cwd"].rpartition("/")[2] or site.person
            self._world.history.note("peer", whose, id=card["id"], state=card["state"])
        for row in await person.rows():
            person.note("notice" if row["from_id"] == ITSELF else "kept", **_kept(row), site=site.name)


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    """What the log says of a message in the end."""
    told = {name: row[name] for name in ("id", "from", "from_id", "to", "to_id", "state", "reason", "reply_to", "seq")}
    return {**told, "body": row["text"].split()[0], "life": row["expires_at"] - row["accepted_at"]}
