"""A notification on the person's desktop when there is mail for them, if they want it: `notify.desktop`.

It says from whom and how many, and nothing that a peer wrote: arguments of a program are public, and its text is nobody
we trust. Of a message it tells once, and what comes in a burst in one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence

from coterie.errors import Unavailable
from coterie.frames import Letter
from coterie.limits import DESKTOP_GAP_S, DESKTOP_S
from coterie.peers import PERSON

log = logging.getLogger(__name__)

NAMES_MAX = 3
"""Senders that are named."""
APPLE = 'on run argv\ndisplay notification (item 1 of argv) with title "coterie"\nend run'


class Desktop:
    """The person's desktop."""

    def __init__(
        self,
        is_wanted: Callable[[], bool],
        waiting: Callable[[str], list[str]],
        letters: Callable[[Sequence[str]], list[Letter]],
    ) -> None:
        self._is_wanted = is_wanted
        self._waiting = waiting
        """The messages for a peer that no carrier has, oldest first."""
        self._letters = letters
        self._loop = asyncio.get_running_loop()
        self._told: set[str] = set()
        self._not_before = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._problem: Unavailable | None = None

    def problem(self) -> Unavailable | None:
        """Why the last notification did not come, while they are wanted."""
        return self._problem if self._is_wanted() else None

    def mail(self, person: str) -> None:
        """Mail may wait for the person: tell them now, or when it is time."""
        if not self._is_wanted() or self._timer or self._task or not self._news(person):
            return
        wait = self._not_before - self._loop.time()
        if wait > 0:
            self._timer = self._loop.call_later(wait, self._due, person)
        else:
            self._begin(person)

    def close(self) -> None:
        """Tell nothing any more."""
        for waiting in (self._timer, self._task):
            if waiting:
                waiting.cancel()

    def _due(self, person: str) -> None:
        self._timer = None
        if self._is_wanted():
            self._begin(person)

    def _news(self, person: str) -> list[Letter]:
        """What waits for the person, was not told of, and is not their own note to themselves."""
        waiting = self._waiting(person)
        self._told.intersection_update(waiting)
        fresh = [message for message in waiting if message not in self._told]
        return [letter for letter in self._letters(fresh) if letter.sender_kind != PERSON]

    def _begin(self, person: str) -> None:
        news = self._news(person)
        if news:
            self._told.update(letter.id for letter in news)
            self._not_before = self._loop.time() + DESKTOP_GAP_S
            self._task = asyncio.ensure_future(self._tell(person, words(news)))

    async def _tell(self, person: str, text: str) -> None:
        try:
            await _show(command(text))
        except Unavailable as error:
            if self._problem is None:
                log.warning("%s", error.message)
            self._problem = error
        else:
            self._problem = None
        finally:
            self._task = None
        self.mail(person)  # More may have come meanwhile.


def words(letters: Sequence[Letter]) -> str:
    """What is said of these messages."""
    count = "1 message" if len(letters) == 1 else f"{len(letters)} messages"
    names = list(dict.fromkeys(letter.sender_name for letter in letters))
    others = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return f"{count} for you, from {', '.join(names[:NAMES_MAX])}{others}. To read: coterie inbox"


def command(text: str, system: str = sys.platform) -> list[str]:
    """The program that shows a text. That for macOS is untested."""
    if system == "darwin":
        return ["osascript", "-e", APPLE, text]
    return ["notify-send", "--app-name=coterie", "coterie", text]


def _environment() -> dict[str, str]:
    """The daemon knows nothing of a desktop (it was born without), but the session's bus has a usual place."""
    folder = f"/run/user/{os.getuid()}"
    bus = {"XDG_RUNTIME_DIR": folder, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus"}
    return {**os.environ, **(bus if sys.platform != "darwin" else {})}


async def _show(command: list[str]) -> None:
    """Run the program. Raises `Unavailable` if it is not there, fails, or takes too long."""
    why = "the desktop cannot be told of mail"
    hint = f"to see why, run {command[0]} yourself; to have none: coterie config set notify.desktop false"
    try:
        shown = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(),
        )
    except OSError as error:
        raise Unavailable(f"{why}: {command[0]}: {error.strerror}", hint) from None
    try:
        status = await asyncio.wait_for(shown.wait(), DESKTOP_S)
    except TimeoutError:
        shown.kill()
        raise Unavailable(f"{why}: {command[0]} did not end within {DESKTOP_S:g} s", hint) from None
    if status:
        raise Unavailable(f"{why}: {command[0]} ended with {status}", hint)
