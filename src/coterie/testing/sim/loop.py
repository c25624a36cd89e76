"""An event loop whose time is virtual and which waits for nothing: what is due is done when somebody says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from coterie.testing.sim.clock import Time

RESOLUTION_S = 1e-7
"""Timers so close together are due together. After years of virtual time a float tells no less apart."""


class _Nothing:
    """No descriptor is ever ready."""

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return at once."""
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is due at the present moment of `time`."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time
        self._selector = _Nothing()
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        """Virtual seconds."""
        return self._time.running

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nothing runs in another thread."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """There are no threads: what would take a while somewhere else is done at once."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (it is for whoever waits for the result)
            done.set_exception(error)
        return done

    def is_due(self) -> bool:
        """Whether there is something to do now."""
        return bool(self._ready) or (bool(self._scheduled) and self._scheduled[0].when() <= self._time.running)

    def next_due(self) -> float | None:
        """When there is something to do next, at the earliest."""
        return self._scheduled[0].when() if self._scheduled else None

    def round(self) -> None:
        """Do what is due now, once."""
        self.stop()
        self.run_forever()

    def _tasks(self) -> list[asyncio.Task[Any]]:
        """Those under way, the oldest first: their names end in a number that counts up."""
        return sorted(asyncio.all_tasks(self), key=lambda task: int(task.get_name().rpartition("-")[2]))

    def end(self) -> None:
        """Its program ended in good order: what is still under way is cancelled, as `asyncio.run` does."""
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        while not all(task.done() for task in tasks):
            self.round()
        self.close()

    def discard(self) -> None:
        """Its process was killed: nothing of it goes on."""
        self.set_exception_handler(lambda loop, context: None)
        for task in self._tasks():
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(RuntimeError):
                task.get_coro().close()
        self.close()
