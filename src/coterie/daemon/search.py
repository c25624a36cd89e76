"""Looking for one app-server: at once when something hints that it is here, a few times more when it went or failed,
and then not before the next hint.

Whatever happens meanwhile, one search is under way for each. An app-server that greets and goes, again and again, is
left alone after the last try, as one that never answers is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from coterie.errors import CoterieError
from coterie.limits import APP_SERVER_RETRIES_S, APP_SERVER_STEADY_S

log = logging.getLogger(__name__)


class Search:
    """The search for one app-server."""

    def __init__(
        self, follow: Callable[[], Awaitable[None]], run: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._follow = follow
        """Connects, and takes in what is there. A `CoterieError` is a try that failed."""
        self._run = run
        self._hint = asyncio.Event()
        self._lost = False
        """Whether it went, or something failed, since the last try began."""
        self._under_way = False
        self._tries = 0
        self._tried = float("-inf")
        """When the last try was over."""

    def hint(self) -> None:
        """It may be here: look now."""
        self._hint.set()
        self._begin()

    def lost(self) -> None:
        """It went, or something failed there: look again after a while."""
        self._lost = True
        self._begin()

    def _begin(self) -> None:
        if not self._under_way:
            self._under_way = True
            self._run(self._look())

    async def _look(self) -> None:
        try:
            while await self._is_due():
                if await self._found():
                    return
        finally:
            self._under_way = False

    async def _is_due(self) -> bool:
        """Return when it is time for the next try; False if there is none before the next hint."""
        if asyncio.get_running_loop().time() - self._tried > APP_SERVER_STEADY_S:
            self._tries = 0
        if not self._hint.is_set():
            if self._tries >= len(APP_SERVER_RETRIES_S):
                return False
            self._tries += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hint.wait(), APP_SERVER_RETRIES_S[self._tries - 1])
        return True

    async def _found(self) -> bool:
        """Try. False if it failed, went meanwhile, or is to be looked at anew."""
        self._hint.clear()
        self._lost = False
        try:
            await self._follow()
        except CoterieError as error:
            log.info("the app-server of codex: %s", error)
            return False
        finally:
            self._tried = asyncio.get_running_loop().time()
        return not (self._lost or self._hint.is_set())
