"""The disk is full, or fails, at each statement in turn: nothing is accepted without being stored, and it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import Place
from coterie.errors import CoterieError, DiskFull, StoreFailed
from coterie.limits import KIB
from coterie.store import messages as stored
from store import faults, mail

ANSWER_S = 1.0


def ids_in(store: Any) -> set[str]:
    return {row["id"] for row in store.reader.execute("SELECT id FROM messages")}


async def answered(work: Any) -> Any:
    """What a write comes to, in time."""
    began = time.monotonic()
    (outcome,) = await asyncio.gather(work, return_exceptions=True)
    assert time.monotonic() - began < ANSWER_S
    assert not isinstance(outcome, BaseException) or isinstance(outcome, CoterieError), outcome
    return outcome


@pytest.mark.promise("D2")
@pytest.mark.parametrize(
    ("error", "kind"), [(faults.full(), DiskFull), (faults.broken(), StoreFailed)], ids=["full", "broken"]
)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from-then-on"])
def test_at_each_statement_of_a_message(
    place: Place, error: sqlite3.OperationalError, kind: type[StoreFailed], lasting: bool
) -> None:
    """A message that is accepted, offered, shown and told of; and beside it another, mostly in the same commit, which
    then is tried again for each.
    """

    async def use(store: Any) -> int:
        await mail.fill(store, 3)
        writer = store._writer = faults.Failing(store._writer)
        refused = statement = 0
        while True:
            statement += 1
            before = ids_in(store)
            writer.fail_at(statement, error, lasting=lasting)
            outcomes = await asyncio.gather(answered(mail.send(store, 5)), answered(mail.send(store, 6)))
            reached = writer.statements >= statement
            writer.fail_at(0, error, lasting=False)
            accepted = {outcome for outcome in outcomes if isinstance(outcome, str)}
            assert ids_in(store) - before == accepted, f"statement {statement}"
            assert {type(outcome) for outcome in outcomes if not isinstance(outcome, str)} <= {kind}
            refused += len(accepted) < 2
            if len(accepted) < 2 and not isinstance(outcomes[1], str):
                assert store.failure is outcomes[1], "the status says why"
            assert isinstance(await answered(mail.send(store, 7)), str), "it works as soon as there is room"
            assert store.failure is None
            if not reached:
                return refused

    refused = mail.using(place.home, use)
    assert refused > 0 or not lasting, "what fails once may succeed at the second try"
    assert mail.read(place.home.database)


@pytest.mark.promise("D2")
def test_at_each_page(place: Place) -> None:
    """SQLite itself refuses the next page, wherever in a transaction that falls."""

    async def use(store: Any) -> list[int]:
        await mail.fill(store, 3)
        refusals = []
        for room in range(24):
            pages = store.reader.execute("PRAGMA page_count").fetchone()[0]
            store._writer.execute(f"PRAGMA max_page_count = {pages + room}")
            before = ids_in(store)
            fresh = [mail.new_message(number, "y" * 3 * KIB) for number in range(30)]
            jobs = [store.write(lambda c, m=message: stored.accept(c, m.id, [m], None)) for message in fresh]
            outcomes = [await answered(job) for job in jobs]
            accepted = {message.id for message, outcome in zip(fresh, outcomes, strict=True) if outcome == []}
            refused = [outcome for outcome in outcomes if outcome != []]
            assert ids_in(store) - before == accepted, f"room for {room} pages"
            assert {type(error) for error in refused} <= {DiskFull}
            refusals.append(len(refused))
            store._writer.execute("PRAGMA max_page_count = 1000000")
            assert isinstance(await answered(mail.send(store, 7)), str)
        return refusals

    refusals = mail.using(place.home, use)
    assert refusals[0] > 25, "no room but what is free in pages already"
    assert min(refusals) < 30, "room for some"
    with sqlite3.connect(f"file:{place.home.database}?immutable=1", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    assert Path(place.home.database).stat().st_size > 0
