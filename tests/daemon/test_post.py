"""The books of the mailboxes where the disk takes nothing for a while."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conftest import Place
from coterie.daemon.post import Post
from coterie.errors import DiskFull
from coterie.messages import Carrier, Outcome, State
from coterie.store import messages as stored
from coterie.store.db import Store
from store import mail


class Followers:
    """In the place of those who follow."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def an_office(store: Store) -> Post:
    """A post office in which no agent has an inbox."""
    return Post(
        store,
        clock=lambda: mail.NOW,
        adapter_of=lambda peer: None,
        on_waiting=lambda peer: None,
        may_wake=lambda peer: False,
        events=Followers(),  # type: ignore[arg-type]
        on_given=lambda peer, message: None,
    )


@contextmanager
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that takes nothing."""

    def nothing(self: Store, jobs: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_transaction", nothing)
        yield


async def all_written(store: Store) -> None:
    """Writes keep the order of the calls, so with a last one all before it are done, and told of."""
    await store.write(lambda database: None)
    await asyncio.sleep(0)


@pytest.mark.parametrize("end", [State.EXPIRED, State.DEAD, State.REFUSED])
@pytest.mark.parametrize("written", [True, False])
def test_one_whose_end_could_not_be_stored_is_not_given_out_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, end: State, written: bool
) -> None:
    message = mail.new_message(0)
    peer = message.recipient

    async def use(store: Store) -> None:
        await store.write(lambda database: stored.accept(database, message.id, [message], None))
        post = an_office(store)
        await post.record(peer, post.box(peer).offer(message.id, Carrier.TOOL, "c_1", written=written))
        with full(store, monkeypatch), pytest.raises(DiskFull):
            await post.record(peer, post.box(peer).end(message.id, end, "its time is over"))
        post.push(peer)  # What was reported and not stored is written with this.
        await all_written(store)
        offers = store.reader.execute("SELECT outcome FROM offers WHERE message = ?", (message.id,)).fetchall()
        assert [row["outcome"] for row in offers] == [Outcome.OPEN]
        assert post.waiting(peer) == stored.mailbox(store.reader, peer).waiting() == []
        await post.record(peer, post.box(peer).end(message.id, end, "its time is over"))
        row = stored.find(store.reader, message.id)
        assert row
        assert row["state"] == end

    mail.using(place.home, use)


def test_what_was_reported_beside_an_end_is_stored_when_there_is_room(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the changes that one write lost, those of another message are reports as ever."""
    ended, read = mail.new_message(0), mail.new_message(0)
    peer = ended.recipient

    async def use(store: Store) -> None:
        post = an_office(store)
        for message in (ended, read):
            await store.write(
                lambda database, message=message: stored.accept(database, message.id, [message], None)  # type: ignore[misc]
            )
        box = post.box(peer)
        for message in (ended, read):
            await post.record(peer, box.offer(message.id, Carrier.TOOL, f"c_{message.id}", written=False))
        (offer,) = box.open_offers(f"c_{read.id}")
        with full(store, monkeypatch), pytest.raises(DiskFull):
            await post.record(peer, [*box.end(ended.id, State.EXPIRED, "its time is over"), *box.written(offer.id)])
        post.push(peer)
        await all_written(store)
        states = {row["id"]: row["state"] for row in store.reader.execute("SELECT id, state FROM messages")}
        assert states == {ended.id: State.QUEUED, read.id: State.OFFERED}
        assert post.waiting(peer) == []

    mail.using(place.home, use)
