"""Looking for an app-server: how often, and when no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from coterie.daemon.search import Search
from coterie.errors import Unavailable
from coterie.limits import APP_SERVER_RETRIES_S, APP_SERVER_STEADY_S

TRIES = len(APP_SERVER_RETRIES_S)
Check = Callable[["Searched"], Awaitable[None]]


class Searched:
    """A search, and the app-server that it is for."""

    def __init__(self) -> None:
        self.tries = 0
        self.answers = True
        self.tasks: list[asyncio.Task[None]] = []
        self.search = Search(self.follow, self.run)
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens during a try."""

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def follow(self) -> None:
        self.tries += 1
        await asyncio.sleep(0)
        self.meanwhile()
        if not self.answers:
            raise Unavailable("nobody answers")

    async def settle(self) -> int:
        """How often it was tried, when it is not tried any more."""
        while any(not task.done() for task in self.tasks):
            await asyncio.gather(*self.tasks)
        return self.tries


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[[Check], None]:
    monkeypatch.setattr("coterie.daemon.search.APP_SERVER_RETRIES_S", (0.01,) * TRIES)

    async def run(body: Check) -> None:
        await asyncio.wait_for(body(Searched()), 20)

    return lambda body: asyncio.run(run(body))


def test_the_pauses_are_shorter_than_the_time_after_which_they_begin_anew() -> None:
    assert max(APP_SERVER_RETRIES_S) < APP_SERVER_STEADY_S


def test_what_is_found_is_not_looked_for_again(check: Callable[[Check], None]) -> None:
    async def body(it: Searched) -> None:
        it.search.hint()
        assert await it.settle() == 1

    check(body)


def test_what_does_not_answer_is_left_alone_until_the_next_hint(check: Callable[[Check], None]) -> None:
    async def body(it: Searched) -> None:
        it.answers = False
        it.search.hint()
        assert await it.settle() == 1 + TRIES
        it.search.lost()
        assert await it.settle() == 1 + TRIES
        it.search.hint()
        assert await it.settle() == 2 + TRIES

    check(body)


def test_what_answers_and_goes_is_left_alone_too(check: Callable[[Check], None]) -> None:
    async def body(it: Searched) -> None:
        it.search.hint()
        for _ in range(10):
            await it.settle()
            it.search.lost()
        assert await it.settle() == 1 + TRIES

    check(body)


def test_losses_during_a_try_make_one_search_and_not_several(check: Callable[[Check], None]) -> None:
    async def body(it: Searched) -> None:
        def lose() -> None:
            it.search.lost()
            it.search.lost()

        it.meanwhile = lose
        it.search.hint()
        assert await it.settle() == 1 + TRIES
        assert len(it.tasks) == 1

    check(body)


def test_what_stayed_for_long_is_looked_for_anew(
    check: Callable[[Check], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(it: Searched) -> None:
        it.answers = False
        it.search.hint()
        await it.settle()
        it.answers = True
        monkeypatch.setattr("coterie.daemon.search.APP_SERVER_STEADY_S", -1.0)
        it.search.lost()
        assert await it.settle() == 2 + TRIES

    check(body)


def test_a_hint_ends_a_pause(check: Callable[[Check], None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(it: Searched) -> None:
        monkeypatch.setattr("coterie.daemon.search.APP_SERVER_RETRIES_S", (60.0,))
        it.search.lost()
        await asyncio.sleep(0)
        it.search.hint()
        assert await it.settle() == 1

    check(body)


def test_a_hint_during_a_try_has_a_try_of_its_own(check: Callable[[Check], None]) -> None:
    async def body(it: Searched) -> None:
        def hint_once() -> None:
            it.meanwhile = lambda: None
            it.search.hint()

        it.meanwhile = hint_once
        it.search.hint()
        assert await it.settle() == 2

    check(body)
