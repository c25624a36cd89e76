"""Devices as a person names them, and who is told when one changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from conftest import Place
from coterie.daemon.devices import Devices
from coterie.devices import Device, Grant, Standing, device_id, shown
from coterie.errors import Ambiguous, BadInput, DiskFull, NoMatch
from coterie.store.db import Store

LAPTOP, TOWER = (device_id(bytes([number]) * 32) for number in (1, 2))


class Followers:
    """In the place of those who follow."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def publish(self, kind: str, **fields: Any) -> None:
        """Keep it."""
        self.told.append((kind, fields))


def using(place: Place, use: Callable[[Store, Devices, Followers], Coroutine[Any, Any, None]]) -> None:
    """Have a store with two devices in it."""

    async def main() -> None:
        store, followers = Store.open(place.home, 1.8e9), Followers()
        devices = Devices(store, followers)  # type: ignore[arg-type]
        await devices.save(Device(LAPTOP, "laptop", b"\x30\x01", addresses=["192.0.2.1:9847", "[2001:db8::1]:9847"]))
        await devices.save(Device(TOWER, "Tower", b"\x30\x02", Standing.PAIRED, dial=True, paired_at=5.0))
        try:
            await use(store, devices, followers)
        finally:
            await store.close()

    asyncio.run(main())


def again(store: Store) -> Devices:
    """The devices as the next daemon reads them."""
    devices = Devices(store, Followers())  # type: ignore[arg-type]
    devices.load()
    return devices


def test_what_is_saved_is_what_is_read(place: Place) -> None:
    async def use(store: Store, devices: Devices, followers: Followers) -> None:
        assert {device.id: device for device in again(store)} == {device.id: device for device in devices}
        laptop = devices.get(LAPTOP)
        assert laptop
        laptop.grants, laptop.name, laptop.seen_at = frozenset({Grant.SEE, Grant.TASK}), "notebook", 7.0
        laptop.theirs, laptop.forgot_us = frozenset({Grant.MESSAGE}), True
        await devices.save(laptop)
        assert again(store).get(LAPTOP) == laptop
        assert len(devices) == len(again(store)) == 2

    using(place, use)


def test_how_a_person_names_one(place: Place) -> None:
    async def use(store: Store, devices: Devices, followers: Followers) -> None:
        for text in ("laptop", "LAPTOP ", LAPTOP, shown(LAPTOP), shown(LAPTOP).lower(), LAPTOP[:7], LAPTOP[:4].lower()):
            assert devices.named(text).id == LAPTOP, text
        with pytest.raises(NoMatch) as nobody:
            devices.named("desk")
        assert f"laptop = {shown(LAPTOP)}" in nobody.value.hint
        slip = ("A" if LAPTOP[0] != "A" else "B") + LAPTOP[1:]
        with pytest.raises(BadInput, match="slip"):
            devices.named(slip)
        with pytest.raises(NoMatch):
            devices.named(LAPTOP[:3])
        await devices.save(Device(LAPTOP[:20] + TOWER[20:], "third", b"\x30"))
        with pytest.raises(Ambiguous, match="2 devices"):
            devices.named(LAPTOP[:10])

    using(place, use)


def test_a_forgotten_one_is_known_and_not_named(place: Place) -> None:
    async def use(store: Store, devices: Devices, followers: Followers) -> None:
        await devices.forget(TOWER)
        for known in (devices, again(store)):
            assert [device.id for device in known] == [LAPTOP]
            tower = known.get(TOWER)
            assert tower
            assert (tower.standing, tower.dial, tower.may(Grant.SEE)) == (Standing.FORGOTTEN, False, False)
            assert known.label(TOWER) == "Tower"
            with pytest.raises(NoMatch):
                known.named("tower")
        assert devices.label("C" * 56) == "CCCCCCC"

    using(place, use)


def test_who_watches_is_told_what_changed(place: Place) -> None:
    async def use(store: Store, devices: Devices, followers: Followers) -> None:
        told: list[tuple[str, list[str]]] = []
        devices.watchers.append(lambda device, change: told.append((device.name, change)))
        laptop = devices.get(LAPTOP)
        assert laptop
        laptop.seen_at = 9.0
        await devices.save(laptop)
        laptop.addresses.append("192.0.2.7:1")
        laptop.grants = frozenset()
        await devices.save(laptop)
        await devices.save(laptop)
        await devices.forget(LAPTOP)
        assert told == [
            ("laptop", ["seen_at"]),
            ("laptop", ["grants", "addresses"]),
            ("laptop", ["standing"]),
        ]
        changes = [fields["change"] for kind, fields in followers.told if kind == "device"]
        assert changes == [["came"], ["came"], ["grants", "addresses"], ["standing"]]

    using(place, use)


def test_what_could_not_be_kept_holds_until_the_end_and_is_saved_with_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(store: Store, devices: Devices, followers: Followers) -> None:
        def full(job: Any, **_: Any) -> Any:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(DiskFull("full"))
            return future

        tower = devices.get(TOWER)
        assert tower
        tower.name = "server"
        with monkeypatch.context() as broken:
            broken.setattr(store, "write", full)
            with pytest.raises(DiskFull):
                await devices.save(tower)
        assert devices.named("server").id == TOWER
        assert again(store).label(TOWER) == "Tower"
        await devices.save(tower)
        assert again(store).label(TOWER) == "server"

    using(place, use)
