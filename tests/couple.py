"""Two devices that pair over real sockets and TLS: one listens and invites, the other joins."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from coterie.errors import PairingFailed
from coterie.invitations import Form, Invitation
from coterie.net import tls
from coterie.net.identity import Identity, load_or_make
from coterie.net.inviter import invite_side
from coterie.net.lines import Lines
from coterie.net.paired import Paired
from coterie.pairing import Invitations

SECRETS = {Form.CODE: bytes([0x12, 0x34, 0x56]), Form.WORDS: b"\x01\x02\x03\x04\x05", Form.LINK: b"\x05" * 8}


def device(folder: Path) -> Identity:
    """A device of its own."""
    return load_or_make(os.path.join(folder, "device"))


@dataclass
class Desk:
    """A device that listens, and invites whoever knows a secret."""

    identity: Identity
    name: str = "desk"
    addresses: tuple[str, ...] = ("192.0.2.1:9847",)
    clock: float = 1000.0
    invitations: Invitations = field(default_factory=Invitations)
    outcomes: list[Paired | PairingFailed] = field(default_factory=list)
    port: int = 0
    said: list[str] = field(default_factory=list)
    stored: asyncio.Event = field(default_factory=asyncio.Event)
    """Whoever clears it has the desk take its time to store what came of a pairing."""

    async def __aenter__(self) -> Self:
        context = tls.server_context(self.identity, [])
        self._ended: asyncio.Queue[None] = asyncio.Queue()
        self.stored.set()
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        self.invite()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()

    def invite(self) -> None:
        """Open a new invitation, in all forms."""
        spelled = {form: self.ticket(form) for form in SECRETS}
        self.invitations.open(self.clock, {form: ticket.secret for form, ticket in spelled.items()})

    def ticket(self, form: Form = Form.CODE, port: int = 0, secret: bytes = b"") -> Invitation:
        """The invitation as the joiner reads it; with another secret or port than the right ones if they are given."""
        at, drawn = port or self.port, secret or SECRETS[form]
        pinned = self.identity.fingerprint if form is Form.LINK else None
        return Invitation(form, form.encode() + drawn, (("127.0.0.1", at),), pinned)

    async def outcome(self, number: int = 1) -> Paired | PairingFailed:
        """What became of the attempt with this number, once it is over."""
        while len(self.outcomes) < number:
            async with asyncio.timeout(20):
                await self._ended.get()
        return self.outcomes[number - 1]

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            found = await invite_side(
                reader, writer, self.invitations, self.identity, self.name, self.addresses, self.now, self.said.append
            )
            self._note(found)
            await self.stored.wait()
        except PairingFailed as failure:
            self._note(failure)
        finally:
            writer.close()

    def _note(self, outcome: Paired | PairingFailed) -> None:
        self.outcomes.append(outcome)
        self._ended.put_nowait(None)

    def now(self) -> float:
        return self.clock


@contextlib.asynccontextmanager
async def listener(
    identity: Identity, meet: Callable[[Lines], Awaitable[None]], bytes_max: int = 4096
) -> AsyncIterator[int]:
    """Somebody who passes for an inviter: the port at which it listens. `meet` has each connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await meet(Lines(reader, writer, bytes_max))
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls.server_context(identity, []))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def stranger(port: int, bytes_max: int = 4096) -> AsyncIterator[Lines]:
    """Somebody who passes for a joiner."""
    context = tls.pairing_client_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="")
    try:
        yield Lines(reader, writer, bytes_max)
    finally:
        writer.transport.abort()
