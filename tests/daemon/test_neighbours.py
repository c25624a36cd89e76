"""Sessions of other devices as peers: one side of a link at a time, with a fabric that notes what is sent."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from conftest import Place
from coterie.activity import Summary
from coterie.daemon import neighbours, showing
from coterie.daemon.devices import Devices
from coterie.daemon.events import Events
from coterie.daemon.neighbours import Neighbours
from coterie.daemon.network import Network
from coterie.devices import Device, Grant, Standing
from coterie.errors import BadInput, DiskFull
from coterie.limits import ENDED_KEPT_S
from coterie.net.fabric import Json
from coterie.peers import Peer, Roster, State, remote_id
from coterie.snapshots import COUNT_MAX, EVERYTHING
from coterie.store.db import Store

NOW = 1_800_000_000.0
LAPTOP, TOWER = "L" * 56, "T" * 56
WAIT_S = 20


class Fabric:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Json]] = []
        self.here: set[str] = set()
        self.cuts: list[str] = []

    def send(self, device: str, frame: Json) -> bool:
        self.sent.append((device, frame))
        return device in self.here

    def present(self) -> frozenset[str]:
        return frozenset(self.here)

    def cut(self, device: str, why: str) -> None:
        self.cuts.append(device)


class Side:
    """One device: what it has of a daemon that neighbours need."""

    def __init__(self, place: Place, now: float = NOW) -> None:
        self.now = now
        self.store = Store.open(place.home, now)
        self.roster = Roster()
        self.lines: dict[str, str] = {}
        self.share: set[str] = set(EVERYTHING)
        self.events = Events(
            lambda: self.now, self.store, lambda: self.roster, lambda p: Summary(p.summary), lambda _: ""
        )
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.events.publish = lambda kind, **fields: self.told.append((kind, fields))  # type: ignore[method-assign]
        self.devices = Devices(self.store, self.events)
        self.devices.load()
        self.network = Network()
        self.fabric = Fabric()
        self.network.fabric = self.fabric
        self.neighbours = Neighbours(
            self.network,
            self.devices,
            self.roster,
            self.store,
            lambda: self.now,
            self.events,
            lambda peer: self.lines.get(peer.id, ""),
            lambda peer: peer.busy or None,
            lambda: self.share,
        )
        self.network.add(self.neighbours)
        self.neighbours.load()

    async def pair(self, device: str = LAPTOP, name: str = "laptop", grants: frozenset[Grant] | None = None) -> Device:
        """Know another device."""
        known = Device(device, name, b"certificate", Standing.PAIRED)
        if grants is not None:
            known.grants = grants
        await self.devices.save(known)
        return known

    def came(self, device: str = LAPTOP) -> None:
        """There is a way to a device."""
        self.fabric.here.add(device)
        self.network.came(device)

    def left(self, device: str = LAPTOP) -> None:
        """There is none any more."""
        self.fabric.here.discard(device)
        self.network.left(device)

    def peer(self, number: int, name: str, state: State = State.LIVE) -> Peer:
        """A session of this device."""
        peer = Peer(f"p_0000000{number}", name, "claude", state, since=float(number))
        self.roster.add(peer)
        return peer

    def shows(self, *sessions: Json, n: int = 1, epoch: int = 1, device: str = LAPTOP, **fields: Any) -> None:
        """A device says who is there."""
        frame = {"kind": "presence", "epoch": epoch, "n": n, "sessions": list(sessions), **fields}
        self.network.receive(device, frame)

    def seen(self, epoch: int, n: int, device: str = LAPTOP) -> None:
        """A device says what it knows."""
        self.network.receive(device, {"kind": "seen", "epoch": epoch, "n": n})

    def take(self, kind: str) -> list[Json]:
        """What was sent of one kind since this was asked last."""
        found = [frame for _, frame in self.fabric.sent if frame["kind"] == kind]
        self.fabric.sent = [(device, frame) for device, frame in self.fabric.sent if frame["kind"] != kind]
        return found

    def remote(self, there: str, device: str = LAPTOP) -> Peer:
        """What is known of a session of another device."""
        peer = self.roster.get(remote_id(device, there))
        assert peer
        return peer

    async def settle(self) -> None:
        """Return when what was to be written is on the disk."""
        await self.store.write(lambda _: None)

    async def close(self) -> None:
        self.neighbours.close()
        await self.store.close()


@contextlib.asynccontextmanager
async def opened(place: Place, now: float = NOW) -> AsyncIterator[Side]:
    side = Side(place, now)
    try:
        yield side
    finally:
        await side.close()


def run(place: Place, use: Callable[[Side], Awaitable[None]]) -> None:
    """Run `use` with a side."""

    async def used() -> None:
        async with opened(place) as side:
            await use(side)

    asyncio.run(asyncio.wait_for(used(), WAIT_S))


async def until(condition: Callable[[], object]) -> None:
    """Wait for a timer of the code under test."""
    while not condition():  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0.002)


def session(there: str = "p_aaaaaaaa", name: str = "api", **fields: Any) -> Json:
    return {"id": there, "name": name, "kind": "claude", "state": "live", **fields}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(showing, "SHOW_GAP_S", 0.01)
    monkeypatch.setattr(showing, "SHOW_AGAIN_S", (0.03, 0.05))
    monkeypatch.setattr(neighbours, "TAKE_GAP_S", 0.02)


# --- out ---------------------------------------------------------------------------------------------------------


def test_a_device_that_comes_is_told_who_is_here(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.lines[side.peer(1, "api").id] = "mends the shop"
        side.peer(2, "gone", State.ENDED)
        side.came()
        (told,) = side.take("presence")
        assert told["sessions"] == [
            {"id": "p_00000001", "name": "api", "kind": "claude", "summary": "mends the shop", "state": "live"}
        ]
        assert told["n"] == 1
        assert side.neighbours.preview(LAPTOP) == side.neighbours.preview() == told["sessions"]
        assert side.take("seen") == [{"kind": "seen", "epoch": 0, "n": 0}], "nothing is known of it yet"

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_changes_are_told_together_and_once(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        await side.pair(TOWER, "tower")
        side.came()
        side.came(TOWER)
        first = side.take("presence")
        for told, device in zip(first, (LAPTOP, TOWER), strict=True):
            side.seen(told["epoch"], told["n"], device)
        for number in (1, 2, 3):
            side.peer(number, f"peer-{number}")
            side.neighbours.changed()
        assert side.take("presence") == []
        await until(lambda: len(side.fabric.sent) >= 4)
        told = side.take("presence")
        assert [(len(frame["sessions"]), frame["n"]) for frame in told] == [(3, 2), (3, 2)]
        side.seen(told[0]["epoch"], 2)
        side.seen(told[1]["epoch"], 2, TOWER)
        side.neighbours.changed()
        await asyncio.sleep(0.03)
        assert side.take("presence") == [], "nothing is otherwise"

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_it_is_told_again_until_it_is_confirmed(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        await until(lambda: len([1 for _, frame in side.fabric.sent if frame["kind"] == "presence"]) == 3)
        told = side.take("presence")
        assert told[0] == told[1] == told[2]
        assert side.neighbours.showing._told[LAPTOP].tries == 3
        side.seen(told[0]["epoch"] - 1, 7)
        assert side.neighbours.showing._told[LAPTOP].again, "what it knew of the last daemon is nothing"
        side.seen(told[0]["epoch"], told[0]["n"])
        assert side.neighbours.showing._told[LAPTOP].again is None
        assert side.neighbours.showing._told[LAPTOP].tries == 0
        side.peer(1, "api")  # Nobody said that it changed, so only a repetition would tell of it.
        await asyncio.sleep(0.08)
        assert side.take("presence") == []

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_a_repetition_tells_what_is_now(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.take("presence")
        side.peer(1, "api")
        await until(lambda: (found := side.take("presence")) and found[-1]["n"] == 2)

    run(place, use)


def test_nothing_runs_while_nobody_is_there(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.neighbours.changed()
        assert side.neighbours.showing._soon is None
        side.came()
        side.neighbours.changed()
        assert side.neighbours.showing._soon
        side.left()
        assert side.neighbours.showing._soon is None
        assert side.neighbours.showing._told[LAPTOP].again is None
        side.take("presence")
        side.seen(1 << 50, 1)
        assert side.take("presence") == [], "a word of a device that left is none"

    run(place, use)


@pytest.mark.usefixtures("quick")
@pytest.mark.promise("L8")
def test_without_the_right_to_see_nothing_is_shown(place: Place) -> None:
    async def use(side: Side) -> None:
        laptop = await side.pair(grants=frozenset({Grant.MESSAGE}))
        side.peer(1, "api")
        side.came()
        (told,) = side.take("presence")
        assert told["sessions"] == []
        assert told["shows"] is False
        assert side.neighbours.preview(LAPTOP) == []
        assert len(side.neighbours.preview()) == 1
        assert side.neighbours.preview(TOWER) == [], "a device that is not known"
        laptop.grants = frozenset({Grant.SEE})
        await side.devices.save(laptop)
        await until(lambda: (found := side.take("presence")) and len(found[-1]["sessions"]) == 1)
        laptop.grants = frozenset()
        await side.devices.save(laptop)
        await until(lambda: (found := side.take("presence")) and found[-1]["shows"] is False)

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_what_the_owner_shows_is_in_force_at_once(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.lines[side.peer(1, "api").id] = "a secret"
        side.came()
        assert "secret" in str(side.take("presence"))
        assert side.neighbours.showing.writer("p_00000009", "api", "claude") == ("api", "claude")
        side.share -= {"summary", "name"}
        side.neighbours.changed()
        await until(lambda: (found := side.take("presence")) and "secret" not in str(found[-1]))
        assert side.neighbours.preview() == [{"id": "p_00000001", "kind": "claude", "state": "live"}]
        assert side.neighbours.showing.writer("p_12345678", "api", "claude") == ("123456", "claude")
        side.share.remove("agent")
        assert side.neighbours.showing.writer("p_12345678", "api", "claude") == ("123456", "other")

    run(place, use)


def test_a_home_that_came_out_of_a_copy_begins_behind_what_is_known_of_it(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        (old,) = side.take("presence")
        side.seen(old["epoch"] + 1000, 5)
        (new,) = side.take("presence")
        assert (new["epoch"], new["n"]) == (old["epoch"] + 1001, 1)
        side.seen(COUNT_MAX - 1, 0)
        assert side.fabric.cuts == [LAPTOP]

    run(place, use)


def test_who_knows_nothing_is_told_again_unless_that_is_under_way(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        (told,) = side.take("presence")
        side.seen(0, 0)
        assert side.take("presence") == []
        side.seen(told["epoch"], told["n"])
        side.seen(0, 0)
        assert side.take("presence") == [told]

    run(place, use)


# --- in ----------------------------------------------------------------------------------------------------------


def test_what_a_device_shows_are_peers(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.take("seen")
        side.shows(session(role="builder", repo="shop", summary="mends it", busy=True), epoch=7, n=3)
        assert side.take("seen") == [{"kind": "seen", "epoch": 7, "n": 3}]
        peer = side.remote("p_aaaaaaaa")
        assert (peer.address, peer.kind, peer.role, peer.repo, peer.summary) == (
            "api@laptop", "claude", "builder", "shop", "mends it",
        )  # fmt: skip
        assert peer.state is State.LIVE
        assert peer.busy
        assert peer not in list(side.roster)
        assert side.roster.named("api") == []

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_what_is_not_newer_changes_nothing_and_is_answered(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.shows(session(name="new"), epoch=7, n=3)
        side.take("seen")
        for epoch, n in ((7, 3), (7, 2), (6, 99)):
            side.shows(session(name="stale"), epoch=epoch, n=n)
        assert side.take("seen") == [{"kind": "seen", "epoch": 7, "n": 3}] * 3
        await asyncio.sleep(0.03)
        assert side.remote("p_aaaaaaaa").name == "new"
        side.shows(session(name="newest"), epoch=8, n=1)
        await until(lambda: side.remote("p_aaaaaaaa").name == "newest")

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_of_many_in_a_moment_the_newest_counts(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.take("seen")
        for n in range(1, 50):
            side.shows(session(name=f"name-{n}"), n=n)
        side.shows(session(name="stale"), n=20)
        assert side.remote("p_aaaaaaaa").name == "name-1"
        assert [frame["n"] for frame in side.take("seen")] == [1]
        await until(lambda: side.remote("p_aaaaaaaa").name == "name-49")
        assert [frame["n"] for frame in side.take("seen")] == [49]

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_who_is_shown_no_more_has_ended(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.shows(session(), session("p_bbbbbbbb", "web", state="away"))
        assert side.remote("p_bbbbbbbb").state is State.AWAY
        side.shows(session("p_bbbbbbbb", "web"), n=2)
        await until(lambda: side.remote("p_aaaaaaaa").state is State.ENDED)
        assert side.remote("p_bbbbbbbb").state is State.LIVE
        side.shows(session(), n=3)
        await until(lambda: side.remote("p_aaaaaaaa").state is State.LIVE)

    run(place, use)


@pytest.mark.usefixtures("quick")
def test_of_whom_nothing_is_shown_nothing_is_said(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.shows(session(busy=True))
        side.shows(n=2, shows=False)
        await until(lambda: side.remote("p_aaaaaaaa").told is None)
        peer = side.remote("p_aaaaaaaa")
        assert peer.state is State.AWAY, "it is not known to have ended, and an answer to it goes out"
        assert not peer.busy

    run(place, use)


def test_while_a_device_is_away_its_sessions_are(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.shows(session(busy=True), n=9)
        side.left()
        peer = side.remote("p_aaaaaaaa")
        assert (peer.state, peer.told, peer.busy) == (State.AWAY, State.LIVE, False)
        side.shows(session(name="late"), n=10)
        assert peer.name == "api", "what comes after the end of a way counts for nothing"
        side.came()
        assert peer.state is State.AWAY
        side.shows(session(), n=9)
        assert peer.state is State.LIVE, "the same snapshot, on a new way"

    run(place, use)


@pytest.mark.promise("L9")
def test_what_breaks_the_rules_ends_the_link(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.shows(session(name="a b"))
        assert side.fabric.cuts == [LAPTOP]
        assert side.roster.remotes() == []

    run(place, use)


def test_devices_know_nothing_of_each_others_sessions(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        await side.pair(TOWER, "tower")
        side.came()
        side.came(TOWER)
        side.shows(session())
        side.shows(session(name="mine"), device=TOWER)
        assert side.remote("p_aaaaaaaa").address == "api@laptop"
        assert side.remote("p_aaaaaaaa", TOWER).address == "mine@tower"
        side.left(TOWER)
        assert side.remote("p_aaaaaaaa").state is State.LIVE

    run(place, use)


# --- who wrote ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_whoever_writes_is_a_peer_shown_or_not(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        peer = side.neighbours.met(LAPTOP, "p_aaaaaaaa", "api", "claude")
        assert (peer.address, peer.state, peer.kind) == ("api@laptop", State.AWAY, "claude")
        assert side.neighbours.met(LAPTOP, "p_aaaaaaaa", "web", "claude") is peer
        assert peer.name == "web"
        assert side.neighbours.met(LAPTOP, "p_bbbbbbbb", "ann@corp", "person").kind == "visitor"
        assert side.remote("p_bbbbbbbb").address == "ann-corp@laptop"
        side.came()
        side.shows(session("p_cccccccc", "other"))
        assert peer.state is State.AWAY, "a snapshot from before it began says nothing of it"
        side.shows(session(), n=2)
        await until(lambda: peer.state is State.LIVE)
        assert side.neighbours.met(LAPTOP, "p_aaaaaaaa", "forged", "claude").name == "api"
        with pytest.raises(BadInput):
            side.neighbours.met(LAPTOP, "m_1", "api", "claude")

    run(place, use)


# --- what is kept ------------------------------------------------------------------------------------------------


def test_the_next_daemon_knows_them_and_that_nobody_is_there(place: Place) -> None:
    async def before(side: Side) -> None:
        await side.pair()
        side.came()
        side.shows(session(role="builder", repo="shop", summary="mends it"), session("p_bbbbbbbb", "web"))
        side.neighbours.met(LAPTOP, "p_cccccccc", "unshown", "claude")
        await side.settle()

    async def after(side: Side) -> None:
        peer = side.remote("p_aaaaaaaa")
        assert (peer.address, peer.state, peer.told, peer.role, peer.repo, peer.summary) == (
            "api@laptop", State.AWAY, State.LIVE, "builder", "shop", "mends it",
        )  # fmt: skip
        assert side.remote("p_cccccccc").told is None
        assert side.roster.labels == {LAPTOP: "laptop"}
        side.came()
        side.shows(session())
        await side.settle()

    async def last(side: Side) -> None:
        assert side.remote("p_bbbbbbbb").state is State.ENDED

    for use in (before, after, last):
        run(place, use)


def test_one_that_ended_long_ago_is_forgotten(place: Place) -> None:
    async def before(side: Side) -> None:
        await side.pair()
        side.came()
        side.shows(session(), session("p_bbbbbbbb", "web"))
        side.left()
        side.came()
        side.shows(session("p_bbbbbbbb", "web"), n=2)
        await side.settle()

    async def after() -> None:
        async with opened(place, NOW + ENDED_KEPT_S + 1) as side:
            assert [peer.name for peer in side.roster.remotes()] == ["web"]
            side.came()
            side.shows(session("p_bbbbbbbb", "web"))
            await side.settle()

    run(place, before)
    asyncio.run(after())
    assert place.rows("SELECT name FROM neighbours") == [("web",)]


def test_no_device_fills_the_memory_with_sessions_that_are_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NEIGHBOURS_GONE_MAX", 3)

    async def use(side: Side) -> None:
        await side.pair()
        for number in range(6):
            side.now += 1
            side.neighbours.met(LAPTOP, f"p_0000000{number}", f"peer-{number}", "claude")
        assert sorted(peer.name for peer in side.roster.remotes()) == ["peer-3", "peer-4", "peer-5"]
        await side.settle()

    run(place, use)
    assert place.rows("SELECT name FROM neighbours ORDER BY name") == [("peer-3",), ("peer-4",), ("peer-5",)]


def test_nor_that_of_those_who_look_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NEIGHBOURS_GONE_MAX", 3)
    monkeypatch.setattr(neighbours, "TAKE_GAP_S", 0)

    async def use(side: Side) -> None:
        await side.pair()
        side.came()
        side.events._followers[object()] = lambda *_: True  # type: ignore[index]
        for number in range(1, 10):
            side.now += 1
            side.shows(session(f"p_0000000{number}"), n=number)
            await until(lambda: len(side.take("seen")))
        assert len(side.events._known) <= 4

    run(place, use)


def test_one_that_mail_waits_for_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NEIGHBOURS_GONE_MAX", 1)

    def posted(connection: sqlite3.Connection, recipient: str) -> None:
        message = "m_000000000000"
        row = (message, "p_00000001", "me", "claude", recipient, message, "hello", "queued", 0.0, 0.0, 0.0)
        connection.execute(
            "INSERT INTO messages (id, sender, sender_name, sender_kind, recipient, thread, text, state, accepted_at,"
            " changed_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        connection.execute(
            "INSERT INTO outbox (message, device, there, size) VALUES (?, ?, 'p_00000000', 5)", (message, LAPTOP)
        )

    async def use(side: Side) -> None:
        await side.pair()
        awaited = side.neighbours.met(LAPTOP, "p_00000000", "awaited", "claude")
        await side.store.write(lambda connection: posted(connection, awaited.id))
        for number in range(1, 4):
            side.now += 1
            side.neighbours.met(LAPTOP, f"p_0000000{number}", f"peer-{number}", "claude")
        assert {peer.name for peer in side.roster.remotes()} == {"awaited", "peer-3"}

    run(place, use)


def test_what_the_disk_did_not_take_is_written_with_the_next(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        write = side.store.write

        def full(*_: Any, **__: Any) -> asyncio.Future[Any]:
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(DiskFull("full"))
            return failed

        monkeypatch.setattr(side.store, "write", full)
        side.neighbours.met(LAPTOP, "p_aaaaaaaa", "first", "claude")
        await asyncio.sleep(0)
        monkeypatch.setattr(side.store, "write", write)
        side.neighbours.met(LAPTOP, "p_bbbbbbbb", "second", "claude")
        await side.settle()

    run(place, use)
    assert place.rows("SELECT name FROM neighbours ORDER BY name") == [("first",), ("second",)]


# --- devices -----------------------------------------------------------------------------------------------------


def test_a_device_that_is_called_otherwise_renames_its_peers(place: Place) -> None:
    async def use(side: Side) -> None:
        laptop = await side.pair()
        side.came()
        side.shows(session())
        laptop.name = "work"
        await side.devices.save(laptop)
        assert side.remote("p_aaaaaaaa").address == "api@work"
        assert side.roster.labels == {LAPTOP: "work"}

    run(place, use)


def test_of_a_forgotten_device_nothing_is_left(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        await side.pair(TOWER, "tower")
        side.came()
        side.came(TOWER)
        side.shows(session())
        side.shows(session(), device=TOWER)
        await side.devices.forget(LAPTOP)
        side.shows(session(), n=2)
        assert [peer.label for peer in side.roster.remotes()] == ["tower"]
        assert side.roster.labels == {TOWER: "tower"}
        await side.settle()

    run(place, use)
    assert place.rows("SELECT device FROM neighbours") == [(TOWER,)]


def test_whoever_looks_on_is_told_of_devices_and_of_what_is_new(place: Place) -> None:
    async def use(side: Side) -> None:
        await side.pair()
        side.events._followers[object()] = lambda *_: True  # type: ignore[index]
        side.told.clear()
        side.came()
        side.shows(session(summary="mends it"))
        side.left()
        side.came()
        side.shows(session(summary="mends it"))
        side.left()
        side.came()
        side.shows(session(summary="breaks it"), n=2)
        changes = [(kind, *fields["change"]) for kind, fields in side.told]
        connected, left = ("device", "connected"), ("device", "disconnected")
        assert changes == [connected, ("peer", "came"), left, connected, left, connected, ("peer", "summary")]
        told = side.told[-1][1]["peer"]
        assert (told["name"], told["device"]) == ("api@laptop", "laptop")

    run(place, use)
