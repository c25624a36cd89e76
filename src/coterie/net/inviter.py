"""The inviter's side of a pairing: see net/pairings.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coterie.errors import BadInput, PairingFailed
from coterie.limits import (
    ADDRESSES_MAX,
    DEVICE_NAME_CHARS,
    PAIRING_LINE_BYTES_MAX,
    PAIRING_S,
)
from coterie.net import certificates, pake
from coterie.net.identity import Identity
from coterie.net.lines import Closed, Lines, addresses_in, base64_in, bytes_in, text_in
from coterie.net.paired import CONFIRM_BYTES, Paired, Say, quiet
from coterie.pairing import (
    VERSION,
    Attempt,
    Invitations,
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

FORM_CHARS_MAX = 16
"""The name of a form; what is longer is none."""


async def invite_side(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    invitations: Invitations,
    identity: Identity,
    our_name: str,
    addresses: Sequence[str],
    now: Callable[[], float],
    say: Say = quiet,
) -> Paired:
    """Pair with whoever has connected, if it knows the secret. Raises `PairingFailed`; `again` tells whether an
    invitation is open still.

    The caller closes the connection, and not before it has stored and pinned the result: the joiner waits for that.
    `now` is the monotonic clock by which `invitations` was opened. After an attempt that knew the secret the joiner may
    break off; it is paired all the same, as it may have heard us.
    """
    lines = Lines(reader, writer, PAIRING_LINE_BYTES_MAX)
    side = _Inviter(lines, invitations, identity, label_of(our_name), list(addresses)[:ADDRESSES_MAX], now)
    why = ""
    try:
        async with asyncio.timeout(PAIRING_S):
            await side.meet()
            say("a device is trying the invitation")
            await side.judge()
    except BadInput as error:
        why = error.message
    except TimeoutError:
        why = f"it took longer than {PAIRING_S:.0f} s"
    if side.failure:
        raise side.failure
    if not side.paired:
        raise _broken_off(why, side.is_open())
    return side.paired


@dataclass(slots=True)
class _Inviter:
    """One attempt."""

    lines: Lines
    invitations: Invitations
    identity: Identity
    name: str
    addresses: list[str]
    now: Callable[[], float]
    paired: Paired | None = None
    """What came of it, as soon as the joiner has proved itself."""
    failure: PairingFailed | None = None
    """Or why it was refused, as soon as that is decided."""
    _certificate: bytes = b""
    _attempt: Attempt = field(init=False)
    _key: bytes = field(init=False, repr=False)
    _seen: Transcript = field(init=False)

    def is_open(self) -> bool:
        """Whether an invitation is open, which may be a newer one than that of this attempt."""
        return self.invitations.left_s(self.now()) is not None

    async def meet(self) -> None:
        """Exchange the messages of SPAKE2. What costs least is looked at first."""
        first = await self.lines.receive()
        if first.get("pairing") != VERSION:
            raise BadInput("it does not pair as this version does")
        form = text_in(first, "form", FORM_CHARS_MAX)
        joiner_name = text_in(first, "name", DEVICE_NAME_CHARS)
        message = bytes_in(first, "pake", pake.MESSAGE_BYTES)
        self._certificate = base64_in(first, "certificate", certificates.SIZE)
        attempt = self.invitations.attempt(form, self.now())
        if attempt is None:
            raise BadInput("there is no invitation of that form")
        certificates.check(self._certificate)
        ours, joiner = self.identity.fingerprint, certificates.fingerprint(self._certificate)
        if joiner == ours:
            raise BadInput("it has this device's own certificate")
        exchange = await pake.begin(Role.INVITER, password(form, attempt.secret), joiner, ours)
        self._key = await pake.finish(exchange, message)
        self._attempt = attempt
        self._seen = Transcript(form, joiner, ours, message, exchange.message, joiner_name, self.name)
        await self.lines.send({"pake": exchange.message.hex()})

    async def judge(self) -> None:
        """Take the joiner's confirmation, and give ours if it is right."""
        line = await self.lines.receive()
        confirmed = bytes_in(line, "confirm", CONFIRM_BYTES)
        right = same(confirmed, confirmation(self._key, Role.JOINER, self._seen))
        if right:
            self._check_owner(owned(confirmed), bytes_in(line, "signature", certificates.SIGNATURE_BYTES))
        settle = self.invitations.confirmed if right else self.invitations.wrong
        verdict = settle(self._attempt, self.now())
        if verdict is Verdict.PAIRED:
            await self._agree()
        else:
            await self._refuse(verdict)

    def _check_owner(self, signed: bytes, signature: bytes) -> None:
        if not certificates.verify(self._certificate, signed, signature):
            raise BadInput("the certificate that it showed is another device's")

    async def _agree(self) -> None:
        key, seen = pairing_key(self._key, self._seen.joiner, self._seen.inviter), self._seen
        name = label_of(seen.joiner_name)
        self.paired = Paired(self._certificate, name, key, (), done=False)
        ours = confirmation(self._key, Role.INVITER, seen)
        await self.lines.send({"confirm": ours.hex(), "name": self.name, "addresses": self.addresses})
        last = await self.lines.receive()
        if last.get("done") is True:
            self.paired = Paired(self._certificate, name, key, addresses_in(last))

    async def _refuse(self, verdict: Verdict) -> None:
        message, hint = _HERE.get(verdict, _TOO_LATE)
        self.failure = PairingFailed(message, hint, reason=str(verdict), again=self.is_open())
        if verdict is not Verdict.SILENCE:
            with contextlib.suppress(Closed):  # What became of the invitation does not depend on who hears of it.
                await self.lines.send({"refused": str(verdict)})


_HERE = {
    Verdict.WRONG: (
        "somebody tried the invitation with a wrong code, and it is burnt",
        "the code was of another invitation, guessed, or somebody stands between the two; make a new invitation",
    ),
    Verdict.USED: (
        "a second device has the right code, after the invitation was used",
        "make sure that the first is the right one: compare its id with what `coterie relay identity` says there",
    ),
}
_TOO_LATE = ("a device came too late: the invitation is over", "make a new invitation")


def _broken_off(why: str, is_open: bool) -> PairingFailed:
    """Of what a stranger sent nothing is repeated: the words of errors that end up here are ours alone."""
    hint = "the invitation holds" if is_open else "nobody is invited now"
    return PairingFailed(f"a device began to pair and broke off: {why}", hint, reason="broken-off", again=is_open)
