"""The joiner's side of a pairing: see net/pairings.py."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coterie.endpoints import address
from coterie.errors import BadInput, PairingFailed
from coterie.limits import (
    ADDRESSES_MAX,
    DEVICE_NAME_CHARS,
    PAIRING_CONNECT_S,
    PAIRING_LINE_BYTES_MAX,
    PAIRING_S,
    PAIRING_STORED_S,
)
from coterie.net import certificates, pake
from coterie.net.identity import Identity
from coterie.net.lines import Json, Lines, addresses_in, bytes_in, text_in
from coterie.net.paired import CONFIRM_BYTES, Paired, Say, quiet
from coterie.net.tls import pairing_client_context, peer_certificate
from coterie.pairing import (
    VERSION,
    Role,
    Transcript,
    Verdict,
    confirmation,
    label_of,
    owned,
    pairing_key,
    password,
    same,
)

if TYPE_CHECKING:
    from coterie.invitations import Invitation

NEW_ONE = "ask for a new invitation"


async def join_side(
    invitation: Invitation, identity: Identity, our_name: str, our_addresses: Sequence[str], say: Say = quiet
) -> Paired:
    """Pair with the device that made the invitation, at the first of its addresses that answers as it should.

    Raises `PairingFailed`; `again` tells whether the same invitation may be tried again. Once our confirmation is sent
    there is no other try: whoever took it had a guess at the secret, and must not have a second.
    """
    name, addresses = label_of(our_name), list(our_addresses)[:ADDRESSES_MAX]
    failures: list[PairingFailed] = []
    for host, port in invitation.addresses:
        side = _Joiner(invitation, identity, name, addresses, say, address(host, port))
        try:
            return await side.run(host, port)
        except PairingFailed as failure:
            if side.confirmed:
                raise
            say(failure.message)
            failures.append(failure)
    raise _nowhere(failures)


@dataclass(slots=True)
class _Joiner:
    """One attempt at one address."""

    invitation: Invitation
    identity: Identity
    name: str
    addresses: list[str]
    say: Say
    at: str
    """The address, as it is shown."""
    confirmed: bool = False
    """Whether our confirmation was sent, or may have been."""
    _certificate: bytes = b""
    _key: bytes = field(init=False, repr=False)
    _seen: Transcript = field(init=False)

    async def run(self, host: str, port: int) -> Paired:
        """The whole of it."""
        lines = await self._connect(host, port)
        try:
            async with asyncio.timeout(PAIRING_S):
                await self._meet(lines)
                paired = await self._confirm(lines)
            await self._finish(lines)
        except (BadInput, TimeoutError) as error:
            raise self._unanswered(error) from None
        finally:
            lines.writer.transport.abort()  # Everything is said, and a farewell of TLS may take half a minute.
        return paired

    async def _connect(self, host: str, port: int) -> Lines:
        self.say(f"connecting to {self.at}")
        context = pairing_client_context()
        try:
            async with asyncio.timeout(PAIRING_CONNECT_S):
                reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="")
        except (OSError, TimeoutError) as error:
            raise self._unreachable(error) from None
        self._certificate = peer_certificate(writer.get_extra_info("ssl_object")) or b""
        failure = self._stranger()
        if failure:
            writer.transport.abort()
            raise failure
        return Lines(reader, writer, PAIRING_LINE_BYTES_MAX)

    def _stranger(self) -> PairingFailed | None:
        """Why whoever answered is not whom we look for, as far as its certificate tells."""
        found, looked_for = certificates.fingerprint(self._certificate), self.invitation.fingerprint
        if found == self.identity.fingerprint:
            return PairingFailed(f"{self.at} is this device itself", "join on the other device", reason="itself")
        if looked_for is not None and found != looked_for:
            return PairingFailed(
                f"at {self.at} answers another device than the link names, so nothing was sent",
                f"look whether the link is whole and of today; if it is, somebody may stand between: {NEW_ONE}",
                reason="other-device",
                again=True,
            )
        try:
            certificates.check(self._certificate)
        except BadInput:
            return self._no_coterie()
        return None

    async def _meet(self, lines: Lines) -> None:
        """Exchange the messages of SPAKE2: nothing of it tells the secret."""
        self.say(f"checking the invitation with {self.at}")
        form, ours, theirs = (
            self.invitation.form,
            self.identity.fingerprint,
            certificates.fingerprint(self._certificate),
        )
        exchange = await pake.begin(Role.JOINER, password(form, self.invitation.secret), ours, theirs)
        certificate = base64.b64encode(self.identity.certificate_der).decode()
        first = {"pairing": VERSION, "form": form, "certificate": certificate, "name": self.name}
        await lines.send({**first, "pake": exchange.message.hex()})
        message = bytes_in(await lines.receive(), "pake", pake.MESSAGE_BYTES)
        self._key = await pake.finish(exchange, message)
        self._seen = Transcript(form, ours, theirs, exchange.message, message, self.name)

    async def _confirm(self, lines: Lines) -> Paired:
        """Prove that we know the secret, and have the other side prove it."""
        self.confirmed = True
        ours = confirmation(self._key, Role.JOINER, self._seen)
        await lines.send({"confirm": ours.hex(), "signature": self.identity.sign(owned(ours)).hex()})
        answer = await lines.receive()
        if "refused" in answer:
            raise _refused(answer)
        name = text_in(answer, "name", DEVICE_NAME_CHARS)
        seen = self._seen.with_inviter(name)
        if not same(bytes_in(answer, "confirm", CONFIRM_BYTES), confirmation(self._key, Role.INVITER, seen)):
            raise BadInput("its confirmation is wrong")
        key = pairing_key(self._key, seen.joiner, seen.inviter)
        return Paired(self._certificate, label_of(name), key, addresses_in(answer))

    async def _finish(self, lines: Lines) -> None:
        """Say that we know, and wait until the other side has stored it. Paired we are, whatever becomes of this."""
        self.say("confirmed by both")
        with contextlib.suppress(BadInput, TimeoutError):
            async with asyncio.timeout(PAIRING_STORED_S):
                await lines.send({"done": True, "addresses": self.addresses})
                await lines.end()

    # --- what went wrong --------------------------------------------------------------------------------

    def _unreachable(self, error: BaseException) -> PairingFailed:
        if isinstance(error, (ssl.SSLEOFError, ConnectionResetError)):
            return PairingFailed(
                f"{self.at} closed the connection before anything was said",
                "a device that was tried in vain too often does so for a minute, or until it invites anew: "
                "wait, then try again",
                reason="closed",
                again=True,
            )
        if isinstance(error, ssl.SSLError):
            return self._no_coterie()
        if isinstance(error, socket.gaierror):
            why = "no such name is known"
        elif isinstance(error, TimeoutError):
            why = "no answer in time"
        elif isinstance(error, ConnectionRefusedError):
            why = "nothing listens there"  # What asyncio says of it names a function, and the address once more.
        else:
            why = (getattr(error, "strerror", "") or "the connection ended").lower()
        hint = "look whether both are in one network, and the other still says that it waits; then try again"
        return PairingFailed(f"{self.at} cannot be reached: {why}", hint, reason="unreachable", again=True)

    def _no_coterie(self) -> PairingFailed:
        hint = "look whether the address is right; nothing secret was sent, so it may be tried again"
        return PairingFailed(f"what answers at {self.at} is no coterie", hint, reason="no-coterie", again=True)

    def _unanswered(self, error: BaseException) -> PairingFailed:
        if not self.confirmed and isinstance(error, TimeoutError):
            return self._unreachable(error)
        if not self.confirmed:
            return PairingFailed(
                f"the device at {self.at} has no open invitation of this kind",
                f"it was used, withdrawn, burnt or older than ten minutes; nothing secret was sent: {NEW_ONE}",
                reason="not-open",
            )
        why = error.message if isinstance(error, BadInput) else "it took too long"
        return PairingFailed(
            f"{self.at} did not prove that it knows the code ({why})",
            f"somebody else may have tried the code there: do not use it again, {NEW_ONE}",
            reason="unproved",
        )


_REFUSED = {
    Verdict.WRONG: (
        "the code was not accepted, and is burnt now",
        f"it was of another invitation, or somebody stands between the two devices: {NEW_ONE}",
    ),
    Verdict.EXPIRED: ("the invitation is over: it was older than ten minutes", NEW_ONE),
    Verdict.BURNT: ("the invitation is burnt: somebody tried it with a wrong code before", NEW_ONE),
    Verdict.LOCKED: (
        "the other device pairs with nobody now: too many wrong codes were tried there",
        "its person must look, and type: coterie relay invite --unlock",
    ),
    Verdict.USED: (
        "the invitation was used by another device before",
        "if it was none of yours, have it forgotten there (coterie relay peers, coterie relay forget); " + NEW_ONE,
    ),
    Verdict.WITHDRAWN: ("the invitation was withdrawn", NEW_ONE),
}


def _refused(answer: Json) -> PairingFailed:
    """What the other side refuses with. The word is a stranger's, and counts only if it is one that we know."""
    word = answer.get("refused")
    known = next((verdict for verdict in _REFUSED if verdict == word), None)
    if known is None:
        return PairingFailed("the other device refused to pair", NEW_ONE, reason="refused")
    return PairingFailed(*_REFUSED[known], reason=str(known))


_TELLING = ("itself", "other-device", "not-open", "closed", "no-coterie")
"""Of several addresses that failed, which is told: the first of these reasons."""
UNTRIED = frozenset({*_TELLING, "unreachable", "no-address"})
"""Reasons of a failure before our confirmation was sent: the secret is as good as it was."""


def _nowhere(failures: list[PairingFailed]) -> PairingFailed:
    for reason in _TELLING:
        for failure in failures:
            if failure.reason == reason:
                return failure
    if not failures:
        hint = "name one, as host:port; a raw code has none"
        return PairingFailed("the invitation names no address", hint, reason="no-address", again=True)
    if len(failures) == 1:
        return failures[0]
    message = "the other device cannot be reached at any of its addresses"
    return PairingFailed(message, failures[0].hint, reason="unreachable", again=True)
