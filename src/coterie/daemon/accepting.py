"""A raw code of which nobody said where it leads: it waits until the person types `coterie relay connect HOST:PORT`.

The code says nothing of where its device is, and the person may have to look that up, or be told by telephone. So one
terminal holds the code, and another one gives the place; both are told how it goes. A place at which nothing secret was
sent costs nothing: the code waits on for another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from coterie.daemon.local import Connection
from coterie.devices import Device
from coterie.endpoints import parse_address
from coterie.errors import CoterieError, PairingFailed, Refused
from coterie.invitations import Invitation
from coterie.limits import INVITATION_S

Join = Callable[[Invitation, list[Connection]], Awaitable[Device]]
Tell = Callable[..., None]
TO_TYPE = "coterie relay connect HOST:PORT"
MINUTES = f"{INVITATION_S / 60:.0f} minutes"


@dataclass(eq=False, slots=True)
class _Waiting:
    """A code, and the terminal that holds it."""

    connection: Connection
    invitation: Invitation
    outcome: asyncio.Future[Device]
    trying: bool = False
    """Whether it is tried now; until that is over nothing ends the wait."""
    end: CoterieError | None = None
    """Why it is to wait no longer."""


class Accepting:
    """The one raw code that waits for its place, if there is one."""

    def __init__(self, join: Join, tell: Tell) -> None:
        self._join = join
        self._tell = tell
        self._waiting: _Waiting | None = None

    @property
    def waits(self) -> bool:
        """Whether a place is asked for."""
        return self._waiting is not None

    async def wait(self, connection: Connection, invitation: Invitation, why: str) -> Device:
        """The device that was paired at the place that the person said meanwhile; `why` is the reason to ask for one.

        Raises `Refused` if a code waits already or the wait is withdrawn, and `PairingFailed`.
        """
        if self._waiting:
            raise Refused("another raw code waits for its place already", "end it in its terminal (Ctrl-C) first")
        loop = asyncio.get_running_loop()
        waiting = self._waiting = _Waiting(connection, invitation, loop.create_future())
        text = f"where is the other device? Type in another terminal: {TO_TYPE}"
        self._tell(connection, "where", f"{why}; {text}" if why else text, expires_s=INVITATION_S)
        expiry = loop.call_later(INVITATION_S, self._give_up, waiting, _expired())
        try:
            return await waiting.outcome
        finally:
            expiry.cancel()
            self._waiting = None

    def lost(self, connection: Connection) -> None:
        """A connection ended: if it held the code, nobody waits for what becomes of it."""
        if self._waiting and self._waiting.connection is connection:
            self._give_up(self._waiting, Refused("withdrawn"))

    async def at(self, connection: Connection, place: str) -> Device:
        """Pair by the code that waits, with the device at a place. Raises `PairingFailed`; the code may wait on."""
        waiting = self._waiting
        if waiting is None or waiting.trying or waiting.outcome.done():
            raise Refused("the raw code is being tried already", "wait until its terminal says what became of it")
        waiting.trying = True
        self._tell(connection, "trying", "a raw code waits in another terminal: pairing by it")
        invitation = replace(waiting.invitation, addresses=(parse_address(place),))
        try:
            device = await self._join(invitation, [waiting.connection, connection])
        except CoterieError as error:
            waiting.trying = False
            self._failed(waiting, error, place)
            raise
        except BaseException:
            waiting.trying = False
            self._give_up(waiting, CoterieError("the pairing was given up", "coterie relay peers says who is paired"))
            raise
        waiting.outcome.set_result(device)
        return device

    def _failed(self, waiting: _Waiting, error: CoterieError, place: str) -> None:
        from coterie.net.joiner import UNTRIED  # A failed try has loaded it.

        if not isinstance(error, PairingFailed) or error.reason not in UNTRIED:
            self._give_up(waiting, error)
        elif waiting.end:
            self._give_up(waiting, waiting.end)
        else:
            text = f"nothing secret was sent to {place}: the code waits for another place"
            self._tell(waiting.connection, "failed", text, hint=error.hint)

    def _give_up(self, waiting: _Waiting, why: CoterieError) -> None:
        waiting.end = why
        if not waiting.trying and not waiting.outcome.done():
            waiting.outcome.set_exception(why)


def _expired() -> PairingFailed:
    message = f"nobody said within {MINUTES} where the other device is, and the code is over by now"
    return PairingFailed(message, "for a new one, there: coterie relay pair", reason="expired")
