"""What waits for a person's word, as the database has it."""

from __future__ import annotations

import sqlite3
from typing import Any

from conftest import Place
from coterie.devices import Device, Standing
from coterie.store import devices, requests
from coterie.store.requests import Request, Verdict
from store import mail

LAPTOP = "A" * 56


def held(number: int) -> Request:
    """One whose id and whose time say the opposite of its place: a clock may be set back, and ids are chance."""
    return Request(f"r_{100 - number}", LAPTOP, True, "message", mail.NOW - number, message=f"m_{number}")


def test_requests_keep_their_order_across_a_restart(place: Place) -> None:
    """Held messages are let through in the order in which they were sent."""
    came = [held(number) for number in range(5)]

    async def fill(store: Any) -> None:
        laptop = Device(LAPTOP, "laptop", b"\x30", Standing.PAIRED)
        await store.write(lambda database: devices.save(database, laptop))
        for request in came:
            await store.write(lambda database, request=request: requests.save(database, request))

    async def decide(store: Any) -> None:
        came[1].state, came[3].told = Verdict.APPROVED, True
        for request in (came[3], came[1]):
            await store.write(lambda database, request=request: requests.save(database, request))

    async def load(store: Any) -> list[Request]:
        return requests.load(store.reader)

    mail.using(place.home, fill)
    assert mail.using(place.home, load) == came
    mail.using(place.home, decide)
    assert mail.using(place.home, load) == came, "and one that is decided stays where it was"
    with sqlite3.connect(place.home.database) as database:
        database.execute("DELETE FROM requests WHERE id = ?", (came[2].id,))
    database.close()
    compact = sqlite3.connect(place.home.database)
    compact.execute("VACUUM")
    compact.close()
    assert mail.using(place.home, load) == [*came[:2], *came[3:]], "whatever number the row has then"
