"""The daemon's log: what went wrong and where, and never what somebody wrote.

The words of an exception may quote anything: the text of a message, a value of an agent's environment. Of those that
are not ours only the type is logged, with the places that it came through; of the system's errors what they say too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from types import TracebackType
from typing import Any

from coterie.errors import CoterieError, Unavailable
from coterie.limits import LOG_BYTES_MAX

CAUSES_MAX = 8
"""Exceptions in a row that are told, each the cause of the one before."""
ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

log = logging.getLogger(__name__)


def begin(path: str) -> None:
    """Log to the file at `path`, which is there and ours alone."""
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1)
    handler.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    threading.excepthook = _thread_failed


def listen(loop: asyncio.AbstractEventLoop) -> None:
    """Log what fails in the loop and nobody waits for. asyncio itself would print the arguments of what failed."""
    loop.set_exception_handler(_loop_failed)


class Discreet(logging.Formatter):
    """Formats exceptions without their words."""

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 (the name is logging's)
        """The places, then what it was."""
        return "\n".join(part for error in _causes(ei[1]) for part in (*_places(error), _named(error)))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain and len(chain) < CAUSES_MAX:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return reversed(chain)


def _places(error: BaseException) -> list[str]:
    return [line.rstrip("\n") for line in traceback.format_tb(error.__traceback__)]


def _named(error: BaseException) -> str:
    """The type of an error, and its words if they are ours or the system's."""
    kind = type(error).__qualname__
    words = str(error) if isinstance(error, (CoterieError, OSError)) else getattr(error, "sqlite_errorname", "")
    return f"{kind}: {words}" if words else kind


def _loop_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, Unavailable):
        # It was under way when the store was closed. Whoever asked is cut off, and asks the next daemon.
        log.info("not done: %s", error.message)
        return
    # With an exception the message shows the call that failed, arguments and all; the places say it too.
    log.error("a defect in the loop%s", "" if error else f": {context['message']}", exc_info=error)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    log.error("a defect in a thread", exc_info=failed.exc_value)
