"""One link between two devices as a machine: lines in, lines out. What carries the lines, the clock and chance are the
caller's; so the daemon and the simulator run the same.

A link begins once TLS has shown each side the other's certificate. Both say hello with a nonce, and each proves with
the pairing key that it is whom the certificate names, now and in its own part:

    {"link": 1, "device": ID, "nonce": HEX, "to": ID}
    {"proof": HMAC-SHA256(pairing key, part + nonces + fingerprints; the dialling side's first)}

Then numbered frames, 1, 2, 3... in each direction. A frame of null asks for a sign of life, and true is the sign; each
side asks at its own pace, so two that are set differently do not take each other for dead:

    {"n": 1, "f": {...}}    {"n": 2, "f": null}    {"n": 3, "f": true}

Any line that is not exactly what is due is a `Breach`, after which nothing of the link may be used.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, NamedTuple

from coterie.errors import BadInput, BadLine
from coterie.jsonline import decode, encode
from coterie.limits import (
    HANDSHAKE_LINE_BYTES_MAX,
    HANDSHAKE_S,
    LINK_LINE_BYTES_MAX,
    LINK_STEADY_S,
    RECONNECT_FIRST_S,
    SILENT_INTERVALS,
)

Json = dict[str, Any]

VERSION = 1
NONCE_BYTES = 32
_NUMBER_ROOM = 32
"""Bytes that a line needs beside its frame; twice what a link that lives for ever counts to."""


class Breach(BadInput):
    """The other side sent what it may not. Nothing of the link may be used after it."""


class End(NamedTuple):
    """One side of a link."""

    device: str
    fingerprint: bytes
    """SHA-256 of its certificate."""


class Proved:
    """The other side has proved who it is: frames may be sent from now on."""


class Frame(NamedTuple):
    """A frame came."""

    frame: Json


class Answer(NamedTuple):
    """A line that has to be sent now; nothing else is to be done."""

    line: bytes


class Dead(NamedTuple):
    """Nothing was heard of the other side for too long."""

    silent_s: float


Event = Proved | Frame | Answer | None
PROVED = Proved()


class Link:
    """One side of a link. Times are seconds of any clock that never goes back."""

    def __init__(
        self, ours: End, theirs: End, *, dialled: bool, key: bytes, nonce: bytes, heartbeat_s: float, now: float
    ) -> None:
        assert len(nonce) == NONCE_BYTES
        self.ours = ours
        self.theirs = theirs
        self.dialled = dialled
        """Whether this side called the other."""
        self.heartbeat_s = heartbeat_s
        """So long nothing may be heard until a sign of life is asked for. May be changed at any time."""
        self.proved = False
        self._key = key
        self._nonce = nonce
        self._their_nonce = b""
        self._begun = self._heard = self._asked = now
        self._sent = self._received = 0

    def begin(self) -> bytes:
        """Our hello: the first line."""
        return encode(
            {"link": VERSION, "device": self.ours.device, "nonce": self._nonce.hex(), "to": self.theirs.device}
        )

    def feed(self, line: bytes, now: float) -> Event:
        """Take a line. Raises `Breach`."""
        if not self.proved:
            return self._shake(line)
        self._heard = now
        return self._frame(line)

    def send(self, frame: Json) -> bytes:
        """The line that carries a frame. Raises `BadInput` for one that no line holds; the link lives on."""
        assert self.proved
        text = encode(frame)
        if len(text) > LINK_LINE_BYTES_MAX - _NUMBER_ROOM:
            raise BadInput(f"a frame of {len(text)} bytes is too long for a link")
        return self._numbered(text[:-1])

    # --- signs of life ----------------------------------------------------------------------------------------

    @property
    def doubted(self) -> bool:
        """Whether a sign of life was asked for and none came yet."""
        return self._asked > self._heard

    def silent(self, now: float) -> float:
        """Seconds since anything was heard."""
        return now - self._heard

    def due(self) -> float:
        """When `tick` is to be called next."""
        if not self.proved:
            return self._begun + HANDSHAKE_S
        silent_until = self._heard + SILENT_INTERVALS * self.heartbeat_s
        return min(max(self._heard, self._asked) + self.heartbeat_s, silent_until)

    def tick(self, now: float) -> bytes | Dead | None:
        """Look at the time: a line to be sent, or the end of the link.

        Who was not called for longer than an interval past what was due has slept, or was stopped: what it did not
        hear meanwhile says nothing of the other side. It asks, and gives it one interval.
        """
        if not self.proved:
            return Dead(now - self._begun) if now >= self.due() else None
        if now > self.due() + self.heartbeat_s:
            self._heard = max(self._heard, now - (SILENT_INTERVALS - 1) * self.heartbeat_s)
        elif now >= self._heard + SILENT_INTERVALS * self.heartbeat_s:
            return Dead(self.silent(now))
        if now < max(self._heard, self._asked) + self.heartbeat_s:
            return None
        self._asked = now
        return self._numbered(b"null")

    # --- how it is spelled ------------------------------------------------------------------------------------

    def _numbered(self, text: bytes) -> bytes:
        self._sent += 1
        return b'{"n":%d,"f":%b}\n' % (self._sent, text)

    def _frame(self, line: bytes) -> Event:
        if len(line) > LINK_LINE_BYTES_MAX:
            raise Breach("a line of a link is too long")
        wrapped = _object(line)
        number = wrapped.get("n")
        if type(number) is not int or number != self._received + 1:
            raise Breach(f"frame {self._received + 1} was due and another came")
        if len(wrapped) != 2 or "f" not in wrapped:
            raise Breach("a frame is not wrapped as it has to be")
        self._received = number
        frame = wrapped["f"]
        if isinstance(frame, dict):
            return Frame(frame)
        if frame is None:
            return Answer(self._numbered(b"true"))
        if frame is True:
            return None
        raise Breach("a frame is no object")

    def _shake(self, line: bytes) -> Event:
        if len(line) > HANDSHAKE_LINE_BYTES_MAX:
            raise Breach("a line of a handshake is too long")
        said = _object(line)
        if not self._their_nonce:
            self._their_nonce = self._hello(said)
            return Answer(encode({"proof": self._proof(dialler=self.dialled)}))
        proof = said.get("proof")
        right = self._proof(dialler=not self.dialled)
        if not isinstance(proof, str) or not hmac.compare_digest(proof.encode(), right.encode()):
            raise Breach("its proof is wrong: it does not have the key that the pairing left")
        self.proved = True
        return PROVED

    def _hello(self, said: Json) -> bytes:
        """The nonce in a hello. Members that we do not know are a later version's, and passed over."""
        if type(said.get("link")) is not int or said["link"] != VERSION:
            raise Breach(f"it does not speak version {VERSION} of the link")
        if said.get("device") != self.theirs.device or said.get("to") != self.ours.device:
            raise Breach("its hello names other devices than the certificates do")
        nonce = said.get("nonce")
        if not isinstance(nonce, str) or len(nonce) != 2 * NONCE_BYTES or set(nonce) - set("0123456789abcdef"):
            raise Breach("its nonce is none")
        return bytes.fromhex(nonce)

    def _proof(self, *, dialler: bool) -> str:
        """What one side has to prove: the parts differ, so what one sends is never what it must get.

        All pieces have a fixed length but the part, which ends in a zero.
        """
        part = b"dialler" if dialler else b"listener"
        nonces = (self._nonce, self._their_nonce)
        prints = (self.ours.fingerprint, self.theirs.fingerprint)
        order = 1 if self.dialled else -1
        said = b"".join((b"coterie link 1\0", part, b"\0", *nonces[::order], *prints[::order]))
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()


def _object(line: bytes) -> Json:
    """Raises `Breach`; the error never repeats what stood there."""
    try:
        said = decode(line)
    except BadLine:
        raise Breach("a line is not one strict JSON object") from None
    if not isinstance(said, dict):
        raise Breach("a line is not one strict JSON object")
    return said


def keep(old: Link, new: Link) -> bool:
    """Whether of two proved links between the same two devices the new one stays.

    The side that called again has lost the old one. Where each called the other at once, the link that the smaller id
    called stays: both sides find that, in whatever order the two came to be. A link that owes a sign of life gives way.
    """
    if old.dialled == new.dialled or old.doubted:
        return True
    return new.dialled == (new.ours.device < new.theirs.device)


class Backoff:
    """How long to wait before the next try: twice as long each time, with chance, so that many do not come at once."""

    def __init__(self) -> None:
        self._tries = 0

    def next(self, most_s: float, chance: float, took_s: float = 0.0) -> float:
        """Seconds to wait: from half of what is due to all of it, and never more than `most_s`. `chance` is from 0 to
        1; what the last try took is part of the wait, as an address that keeps silent takes its time too.
        """
        due_s = min(RECONNECT_FIRST_S * 2.0 ** min(self._tries, 20), most_s)
        self._tries += 1
        return max(due_s * (1 + chance) / 2 - took_s, min(due_s, RECONNECT_FIRST_S) / 2)

    def held(self, lived_s: float) -> None:
        """A link lived so long. One that ends at once is no better than none."""
        if lived_s >= LINK_STEADY_S:
            self.reset()

    def reset(self) -> None:
        """Begin anew: somebody asked, or there is a reason to hope."""
        self._tries = 0
