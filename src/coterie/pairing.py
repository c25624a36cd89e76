"""Pairing: how long an invitation lives, what ends it, and how both sides prove that they know its secret.

The secret is short, so nobody may try it twice. Both sides make a key of it by SPAKE2 (net/pake.py), of which who looks
on learns nothing; the joiner then confirms first, and one wrong confirmation burns the invitation. Whoever completes a
confirmation first decides: somebody who only holds a connection open keeps nobody out.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from coterie.errors import Limited
from coterie.frames import one_line
from coterie.limits import BURNT_MAX, BURNT_WITHIN_S, DEVICE_NAME_CHARS, INVITATION_S

VERSION = 1
"""Of the wire and the formulas of pairing."""
NAMELESS = "device"
"""The label of a device whose name has nothing that a label may have."""


class Role(StrEnum):
    """The two sides of a pairing."""

    JOINER = "joiner"
    INVITER = "inviter"


class Verdict(StrEnum):
    """What became of an attempt; but for the first and the last, what the joiner is told."""

    PAIRED = "paired"
    WRONG = "wrong"
    EXPIRED = "expired"
    BURNT = "burnt"
    LOCKED = "locked"
    USED = "used"
    WITHDRAWN = "withdrawn"
    SILENCE = "silence"
    """The invitation was over, and the joiner did not prove that it ever was its own."""


@dataclass(eq=False, slots=True)
class Issued:
    """An invitation that was made here, in all the forms that were asked for."""

    secrets: Mapping[str, bytes] = field(repr=False)
    """By form."""
    until: float
    end: Verdict | None = None
    """Why it takes nobody any more."""
    told: bool = False
    """Whether an attempt was judged after its end."""


@dataclass(frozen=True, eq=False, slots=True)
class Attempt:
    """Somebody who tries the one form of an invitation."""

    invitation: Issued
    secret: bytes = field(repr=False)


class Invitations:
    """The invitation that is open here, the last that was, and the lock. Times are seconds of a monotonic clock.

    Of an invitation that is over, one attempt is still judged, so that somebody with the right code is told what
    happened to it. A second would let strangers go through all codes of a dead invitation, and then meet the joiner
    with the right one.
    """

    def __init__(self, *, locked: bool = False) -> None:
        """`locked` says whether pairing was locked when the daemon ended, and nobody has unlocked it since."""
        self._last: Issued | None = None
        self._burnt: list[float] = []
        self.locked = locked
        """Whether nobody is invited until the person acts."""

    def open(self, now: float, secrets: Mapping[str, bytes]) -> None:
        """Invite with these secrets, by form, in place of whatever was open. Raises `Limited` while locked."""
        if self.locked:
            raise Limited(
                f"pairing is locked: {BURNT_MAX} invitations were tried with a wrong code within an hour",
                "somebody may be guessing; to go on all the same, the person can type: coterie relay invite --unlock",
                limit="burnt-invitations",
            )
        self.close()
        self._last = Issued(dict(secrets), now + INVITATION_S)

    def close(self) -> None:
        """The person takes the invitation back, if there is one."""
        if self._last and not self._last.end:
            self._last.end = Verdict.WITHDRAWN

    def unlock(self) -> None:
        """The person knows, and goes on."""
        self.locked = False
        self._burnt.clear()

    def left_s(self, now: float) -> float | None:
        """How long the invitation is open yet; None if none is."""
        self._expire(now)
        return None if self._last is None or self._last.end else self._last.until - now

    def ended(self, now: float) -> Verdict | None:
        """Why the last invitation is over; None if it is open, or there was none."""
        self._expire(now)
        return self._last.end if self._last else None

    def attempt(self, form: str, now: float) -> Attempt | None:
        """Somebody begins to pair by this form. None if there is nothing to be tried, and nothing to be told."""
        self._expire(now)
        last = self._last
        if last is None or form not in last.secrets or (last.end and last.told):
            return None
        return Attempt(last, last.secrets[form])

    def confirmed(self, attempt: Attempt, now: float) -> Verdict:
        """The joiner proved that it knows the secret."""
        self._expire(now)
        invitation = attempt.invitation
        if invitation.end:
            return self._late(invitation, right=True)
        invitation.end = Verdict.USED
        return Verdict.PAIRED

    def wrong(self, attempt: Attempt, now: float) -> Verdict:
        """The joiner's confirmation was wrong: the invitation is burnt, and pairing perhaps locked."""
        self._expire(now)
        invitation = attempt.invitation
        if invitation.end:
            return self._late(invitation, right=False)
        self._burnt = [at for at in self._burnt if now - at < BURNT_WITHIN_S] + [now]
        self.locked = len(self._burnt) >= BURNT_MAX
        invitation.end = Verdict.LOCKED if self.locked else Verdict.BURNT
        return Verdict.WRONG

    def _expire(self, now: float) -> None:
        last = self._last
        if last and not last.end and now >= last.until:
            last.end = Verdict.EXPIRED
        if last and last.end and now >= last.until + INVITATION_S:
            self._last = None  # Nobody asks any more, and what is not kept cannot leak.

    @staticmethod
    def _late(invitation: Issued, *, right: bool) -> Verdict:
        first, invitation.told = not invitation.told, True
        return invitation.end if invitation.end and first and right else Verdict.SILENCE


# --- The formulas: docs/invitations.md has them in words, tests/vectors/pairing.json in figures ---------------------


def _hash(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), hashlib.sha256)


def derived(key: bytes, what: bytes) -> bytes:
    """32 bytes for one use: HKDF of RFC 5869 with SHA-256, no salt, one block."""
    return _hash(_hash(bytes(32), key), what, b"\x01")


def _fields(*parts: bytes) -> bytes:
    """Parts behind one another, each with its length, so that no two lists of parts read alike."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def password(form: str, secret: bytes) -> bytes:
    """What goes into SPAKE2: a secret counts for its own form only."""
    return _fields(b"coterie pairing", bytes([VERSION]), form.encode(), secret)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What both sides of one pairing saw, if nobody stands between them."""

    form: str
    joiner: bytes
    """The fingerprint of the joiner's certificate."""
    inviter: bytes
    joiner_message: bytes
    """Of SPAKE2."""
    inviter_message: bytes
    joiner_name: str
    inviter_name: str = ""
    """Known to the joiner only with the inviter's confirmation, and so no part of its own."""

    def with_inviter(self, name: str) -> Transcript:
        """The same, once the inviter has said its name."""
        return replace(self, inviter_name=name)

    def read_by(self, role: Role) -> bytes:
        """The bytes that `role` confirms."""
        names = [self.joiner_name.encode()] + [self.inviter_name.encode()] * (role is Role.INVITER)
        prints = (self.joiner, self.inviter)
        return _fields(role.encode(), self.form.encode(), *prints, self.joiner_message, self.inviter_message, *names)


def confirmation(key: bytes, role: Role, transcript: Transcript) -> bytes:
    """What `role` proves with that it has the key and saw the same; of the other role it is another."""
    return _hash(derived(key, b"coterie pairing confirmation"), transcript.read_by(role))


def owned(confirmed: bytes) -> bytes:
    """What the joiner signs with the key of its certificate, which it showed as a mere text: without that, whoever is
    invited could give itself out for a device that is paired already, and take the place of its key.
    """
    return b"coterie pairing owner 1\n" + confirmed


def same(left: bytes, right: bytes) -> bool:
    """Whether two confirmations are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)


def pairing_key(key: bytes, joiner: bytes, inviter: bytes) -> bytes:
    """The key that both keep for their links: 32 bytes, bound to both fingerprints."""
    return derived(key, b"coterie pairing key" + joiner + inviter)


def label_of(name: str) -> str:
    """What a device may be called here, made of what it calls itself: letters and digits of ASCII, dots, dashes and
    underscores. Others look like these in many fonts, and `@` and blanks mean something in an address.
    """
    plain = unicodedata.normalize("NFKD", one_line(name, DEVICE_NAME_CHARS)).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain)[:DEVICE_NAME_CHARS].strip("-._") or NAMELESS
