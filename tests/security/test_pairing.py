"""Attacks on pairing, over real sockets: whoever looks on, stands between, guesses, replays or floods gets nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from spake2 import ed25519_basic
from spake2.ed25519_group import Ed25519Group
from spake2.parameters.ed25519 import ParamsEd25519

from coterie.errors import BadInput, PairingFailed
from coterie.invitations import Form, Invitation, read, spell_code
from coterie.limits import PAIRING_LINE_BYTES_MAX
from coterie.net import certificates, inviter, pake, tls
from coterie.net.identity import Identity
from coterie.net.lines import Closed, Json, Lines
from coterie.net.paired import Paired
from coterie.net.pairings import join_side
from coterie.net.pake import Pake
from coterie.pairing import Role, Transcript, confirmation, derived, owned, pairing_key, password, same
from couple import Desk, device, listener, stranger

CODE_BITS = 22
FIGURES = CODE_BITS // 8 + 1
"""Bytes of a code's number at the end of what is fed to SPAKE2."""


@dataclass
class Cast:
    """Who takes part: the two, and one that is up to no good."""

    desk: Identity
    laptop: Identity
    mallory: Identity


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    for name in ("desk", "laptop", "mallory"):
        (tmp_path / name).mkdir()
    return Cast(*(device(tmp_path / name) for name in ("desk", "laptop", "mallory")))


async def fails(joining: Any) -> PairingFailed:
    with pytest.raises(PairingFailed) as failed:
        await joining
    return failed.value


def first_line(us: Identity, message: bytes, **fields: object) -> Json:
    certificate = base64.b64encode(us.certificate_der).decode()
    return {"pairing": 1, "form": "code", "certificate": certificate, "name": "laptop", "pake": message.hex(), **fields}


@dataclass
class Guess:
    """A joiner made by hand: it has shown itself, and not confirmed yet."""

    lines: Lines
    key: bytes
    seen: Transcript
    signer: Identity

    async def confirm(self) -> Json:
        """Confirm, and say what came back; nothing if the connection was closed."""
        ours = confirmation(self.key, Role.JOINER, self.seen)
        await self.lines.send({"confirm": ours.hex(), "signature": self.signer.sign(owned(ours)).hex()})
        with contextlib.suppress(Closed):
            return await self.lines.receive()
        return {}


@contextlib.asynccontextmanager
async def guess(
    port: int, us: Identity, them: Identity, secret: bytes, signer: Identity | None = None
) -> AsyncIterator[Guess]:
    ours = Pake(Role.JOINER, password("code", secret), us.fingerprint, them.fingerprint)
    async with stranger(port) as lines:
        await lines.send(first_line(us, ours.message))
        message = bytes.fromhex((await lines.receive())["pake"])
        seen = Transcript("code", us.fingerprint, them.fingerprint, ours.message, message, "laptop")
        yield Guess(lines, ours.finish(message), seen, signer or us)


# --- who looks on -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Overheard:
    """All that crossed the wire, as if TLS were made of glass."""

    seen: Transcript
    confirmed: bytes
    start: bytes
    """What stands before the number in what is fed to SPAKE2: no secret."""


def key_of_hash(fed: bytes, _: Transcript) -> bytes:
    """The key of the weak build."""
    return hashlib.sha256(fed).digest()


def key_of_password(fed: bytes, _: Transcript) -> bytes:
    return derived(fed, b"")


def key_without_agreement(fed: bytes, seen: Transcript) -> bytes:
    """What SPAKE2 makes of all that is public, had it no Diffie-Hellman in it."""
    told = b"".join(hashlib.sha256(part).digest() for part in (fed, seen.joiner, seen.inviter))
    return hashlib.sha256(told + seen.joiner_message[1:] + seen.inviter_message[1:]).digest()


KeyOf = Callable[[bytes, Transcript], bytes]
KEYS: tuple[KeyOf, ...] = (key_of_hash, key_of_password, key_without_agreement)
"""All that an eavesdropper can make of a guess without a scalar of either side."""


def crack(heard: Sequence[Overheard], numbers: Iterable[int], keys: Sequence[KeyOf] = KEYS) -> list[tuple[int, int]]:
    """With which number the confirmation of which pairing comes out right: (pairing, number)."""
    start = password("code", heard[0].start + bytes(FIGURES))[:-FIGURES]
    texts = [(place, one, one.seen.read_by(Role.JOINER)) for place, one in enumerate(heard)]
    hits = []
    for number in numbers:
        fed = start + number.to_bytes(FIGURES, "big")
        for key_of in keys:
            key = derived(key_of(fed, heard[0].seen), b"coterie pairing confirmation")
            for place, one, text in texts:
                if hmac.digest(key, text, "sha256") == one.confirmed:
                    hits.append((place, number))
    return hits


class Recorder(Lines):
    """Lines that are heard by others too."""

    heard: list[Json] = []  # noqa: RUF012 (shared on purpose: both sides are heard)

    async def send(self, message: Json) -> None:
        self.heard.append(message)
        await super().send(message)


class WeakPake(Pake):
    """A build that makes its key of the code alone, as if a hash were enough."""

    def __init__(self, role: Role, password: bytes, joiner: bytes, inviter: bytes) -> None:
        super().__init__(role, password, joiner, inviter)
        self._password = password

    def finish(self, message: bytes) -> bytes:
        super().finish(message)
        return hashlib.sha256(self._password).digest()


def overhear(cast: Cast, monkeypatch: pytest.MonkeyPatch, number: int) -> Overheard:
    """A pairing that succeeds, by a relay code with this number, with every line heard."""
    Recorder.heard = []
    monkeypatch.setattr("coterie.net.inviter.Lines", Recorder)
    monkeypatch.setattr("coterie.net.joiner.Lines", Recorder)
    ticket = read(spell_code("127.0.0.1", 9847, number.to_bytes(FIGURES, "big")))
    assert ticket.secret[-FIGURES:] == number.to_bytes(FIGURES, "big")

    async def run() -> None:
        async with Desk(cast.desk) as desk:
            desk.invitations.open(desk.clock, {"code": ticket.secret})
            at = replace(ticket, addresses=(("127.0.0.1", desk.port),))
            await join_side(at, cast.laptop, "laptop", [])

    asyncio.run(run())
    first, second, third, fourth, _ = Recorder.heard
    messages = bytes.fromhex(first["pake"]), bytes.fromhex(second["pake"])
    seen = Transcript("code", cast.laptop.fingerprint, cast.desk.fingerprint, *messages, first["name"], fourth["name"])
    return Overheard(seen, bytes.fromhex(third["confirm"]), ticket.secret[:-FIGURES])


NUMBER = 2**CODE_BITS - 1234
"""Near the end of the dictionary, so that all of it is looked at."""
NEAR = range(NUMBER - 2000, NUMBER + 1000)


def test_of_all_that_crosses_the_wire_no_guess_can_be_tried(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the code and its neighbours; the whole dictionary has a test of its own."""
    assert crack([overhear(cast, monkeypatch, NUMBER)], NEAR) == []


def test_the_same_eavesdropper_cracks_a_weak_build(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pake, "Pake", WeakPake)
    assert crack([overhear(cast, monkeypatch, NUMBER)], NEAR) == [(0, NUMBER)]


@pytest.mark.slow
@pytest.mark.promise("L2")
def test_the_whole_dictionary_finds_the_code_of_a_weak_build_and_nothing_else(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 4,194,304 codes are tried on two pairings by the same code, one of them of the weak build."""
    strong = overhear(cast, monkeypatch, NUMBER)
    monkeypatch.setattr(pake, "Pake", WeakPake)
    weak = overhear(cast, monkeypatch, NUMBER)
    size = 2**CODE_BITS // 8
    parts = [range(start, start + size) for start in range(0, 2**CODE_BITS, size)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = pool.map(partial(crack, [strong, weak], keys=[key_of_hash]), parts)
        assert [hit for hits in found for hit in hits] == [(1, NUMBER)]


def test_the_transcript_fits_every_code_alike(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is a random element plus a fixed one, times the code. Whatever the code, what is left when that is
    taken away is again an element of the group, as random as any: no code is less likely than another.
    """
    heard = overhear(cast, monkeypatch, NUMBER)
    blinds = ((heard.seen.joiner_message, ParamsEd25519.M), (heard.seen.inviter_message, ParamsEd25519.N))
    for number in [NUMBER, *range(0, 2**CODE_BITS, 2**18)]:
        fed = password("code", heard.start + number.to_bytes(FIGURES, "big"))
        for message, blind in blinds:
            left = ed25519_basic.bytes_to_element(message[1:]).add(
                blind.scalarmult(-Ed25519Group.password_to_scalar(fed))
            )
            # Which raises for all that is none of the group.
            assert ed25519_basic.bytes_to_element(left.to_bytes()).to_bytes() == left.to_bytes()


# --- who stands between -----------------------------------------------------------------------------

Change = Callable[[Json], Json]


@contextlib.asynccontextmanager
async def between(desk: Desk, mallory: Identity, change: Change = lambda line: line) -> AsyncIterator[int]:
    """Somebody at another address who relays every line, changed or not: the port where the laptop ends up."""

    async def meet(near: Lines) -> None:
        async with stranger(desk.port) as far:
            with contextlib.suppress(BadInput):
                while True:
                    await far.send(change(await near.receive()))
                    await near.send(change(await far.receive()))

    async with listener(mallory, meet) as port:
        yield port


def as_own(mallory: Identity) -> Change:
    """Puts its own certificate in the place of the joiner's."""

    def change(line: Json) -> Json:
        own = base64.b64encode(mallory.certificate_der).decode()
        return {**line, "certificate": own} if "certificate" in line else line

    return change


@pytest.mark.parametrize("how", ["as it is", "with its own certificate"])
@pytest.mark.promise("L2")
def test_who_relays_all_lines_pairs_with_nobody_and_both_are_told(cast: Cast, how: str) -> None:
    async def run() -> None:
        change: Change = as_own(cast.mallory) if how != "as it is" else lambda line: line
        async with Desk(cast.desk) as desk, between(desk, cast.mallory, change) as port:
            failure = await fails(join_side(desk.ticket(port=port), cast.laptop, "laptop", []))
            here = await desk.outcome()
        assert isinstance(here, PairingFailed)
        assert (failure.reason, here.reason) == ("wrong", "wrong")
        for told in (failure, here):
            assert not told.again
            assert "stands between" in told.hint

    asyncio.run(run())


def test_of_a_link_who_stands_between_hears_nothing_at_all(cast: Cast) -> None:
    heard: list[Json] = []

    def hear(line: Json) -> Json:
        heard.append(line)
        return line

    async def run() -> None:
        async with (
            Desk(cast.desk) as desk,
            between(desk, cast.mallory, hear) as port,
        ):
            failure = await fails(join_side(desk.ticket(Form.LINK, port=port), cast.laptop, "laptop", []))
            assert failure.reason == "other-device"
            assert "nothing was sent" in failure.message
            assert desk.invitations.left_s(desk.clock), "and the invitation holds"
            await join_side(desk.ticket(Form.LINK), cast.laptop, "laptop", [])

    asyncio.run(run())
    assert heard == []


@pytest.mark.promise("L2")
def test_who_passes_for_the_inviter_has_one_guess(cast: Cast) -> None:
    """It learns whether its one guess is right, as with every PAKE; the laptop does not come again."""
    came: list[bool] = []

    async def meet(lines: Lines) -> None:
        first = await lines.receive()
        message = bytes.fromhex(first["pake"])
        ours = Pake(Role.INVITER, password("code", b"guess"), cast.laptop.fingerprint, cast.mallory.fingerprint)
        await lines.send({"pake": ours.message.hex()})
        prints = cast.laptop.fingerprint, cast.mallory.fingerprint
        seen = Transcript("code", *prints, message, ours.message, first["name"])
        confirmed = bytes.fromhex((await lines.receive())["confirm"])
        came.append(same(confirmed, confirmation(ours.finish(message), Role.JOINER, seen)))
        await lines.send({"refused": "wrong"})

    async def run() -> None:
        async with listener(cast.mallory, meet) as port:
            ticket = Invitation(Form.CODE, b"right", (("127.0.0.1", port),) * 5)
            failure = await fails(join_side(ticket, cast.laptop, "laptop", []))
            assert not failure.again

    asyncio.run(run())
    assert came == [False]


@pytest.mark.parametrize("what", ["message", "confirmation"])
def test_what_the_joiner_says_thrown_back_at_it_proves_nothing(cast: Cast, what: str) -> None:
    async def meet(lines: Lines) -> None:
        first = await lines.receive()
        ours = Pake(Role.INVITER, b"any", bytes(32), bytes(32)).message.hex()
        await lines.send({"pake": first["pake"] if what == "message" else ours})
        confirmed = await lines.receive()
        await lines.send({**confirmed, "name": "laptop", "addresses": []})

    async def run() -> None:
        async with listener(cast.mallory, meet) as port:
            ticket = Invitation(Form.CODE, b"right", (("127.0.0.1", port),))
            failure = await fails(join_side(ticket, cast.laptop, "laptop", []))
            assert failure.reason == ("not-open" if what == "message" else "unproved")

    asyncio.run(run())


def test_what_the_inviter_says_thrown_back_at_it_proves_nothing(cast: Cast) -> None:
    """Two at once: what the inviter says to the one is given to it by the other."""

    async def run() -> None:
        async with Desk(cast.desk) as desk, stranger(desk.port) as one, stranger(desk.port) as other:
            ours = Pake(Role.JOINER, b"any", cast.mallory.fingerprint, cast.desk.fingerprint)
            await one.send(first_line(cast.mallory, ours.message))
            theirs = bytes.fromhex((await one.receive())["pake"])
            for message in (theirs, b"A" + theirs[1:]):
                async with stranger(desk.port) as other:
                    await other.send(first_line(cast.mallory, message))
                    with contextlib.suppress(Closed):
                        answer = bytes.fromhex((await other.receive())["pake"])
                        assert answer[1:] != theirs[1:]
                        await other.send({"confirm": "00" * 32})
                        assert await other.receive() == {"refused": "wrong"}
            assert not any(isinstance(outcome, Paired) for outcome in desk.outcomes)

    asyncio.run(run())


# --- who guesses ------------------------------------------------------------------------------------


def test_many_at_once_have_one_guess_together(cast: Cast) -> None:
    """All have shown themselves before one confirms; the one with the right code comes third."""

    async def run() -> None:
        async with Desk(cast.desk) as desk, contextlib.AsyncExitStack() as stack:
            right = desk.ticket().secret
            secrets = [b"one", b"two", right, b"four", right]
            guesses = [
                await stack.enter_async_context(guess(desk.port, cast.mallory, cast.desk, secret)) for secret in secrets
            ]
            answers = [await one.confirm() for one in guesses]
            assert answers == [{"refused": "wrong"}, {}, {}, {}, {}], "burnt, and then not a word"
            assert not any(isinstance(outcome, Paired) for outcome in desk.outcomes)

    asyncio.run(run())


@pytest.mark.promise("L2")
def test_a_third_party_with_the_code_that_comes_first_is_found_out(cast: Cast) -> None:
    async def run() -> None:
        async with Desk(cast.desk) as desk:
            async with guess(desk.port, cast.mallory, cast.desk, desk.ticket().secret) as thief:
                answer = await thief.confirm()
                assert "confirm" in answer, "whoever has the code is paired: it is a secret"
                await thief.lines.send({"done": True, "addresses": []})
                stolen = await desk.outcome()
                assert isinstance(stolen, Paired)
                assert stolen.id == cast.mallory.id, "and the inviter's screen shows whom it paired with"
            failure = await fails(join_side(desk.ticket(), cast.laptop, "laptop", []))
            assert failure.reason == "used"
            assert "have it forgotten" in failure.hint
            warned = await desk.outcome(2)
            assert isinstance(warned, PairingFailed)
            assert "second device" in warned.message

    asyncio.run(run())


def test_who_is_invited_cannot_pass_for_another_device(cast: Cast) -> None:
    """It would take the place of the key of one that is paired, and lock that out."""

    async def run() -> None:
        async with Desk(cast.desk) as desk:
            secret = desk.ticket().secret
            async with guess(desk.port, cast.laptop, cast.desk, secret, signer=cast.mallory) as liar:
                assert await liar.confirm() == {}
            failure = await desk.outcome()
            assert isinstance(failure, PairingFailed)
            assert "another device's" in failure.message
            assert failure.again, "the invitation holds"
            joined = await join_side(desk.ticket(), cast.laptop, "laptop", [])
            assert joined.id == cast.desk.id

    asyncio.run(run())


def test_a_third_party_without_the_code_that_comes_first_burns_it(cast: Cast) -> None:
    async def run() -> None:
        async with Desk(cast.desk) as desk:
            async with guess(desk.port, cast.mallory, cast.desk, b"guess") as thief:
                assert await thief.confirm() == {"refused": "wrong"}
            failure = await fails(join_side(desk.ticket(), cast.laptop, "laptop", []))
            assert failure.reason == "burnt"

    asyncio.run(run())


def outside() -> Iterator[bytes]:
    """Messages with which a key would not depend on the password, or that are none."""
    yield b"A\x01" + bytes(31)  # zero
    yield b"A" + (2**255 - 19 - 1).to_bytes(32, "little")  # of order two
    yield b"A" + bytes(32)  # of order four
    yield b"A\x02" + bytes(31)  # not on the curve
    yield b"A" + b"\xff" * 32


def test_elements_outside_the_group_are_no_guess_and_get_no_answer(cast: Cast) -> None:
    async def run() -> None:
        async with Desk(cast.desk) as desk:
            for message in outside():
                async with stranger(desk.port) as lines:
                    await lines.send(first_line(cast.mallory, message))
                    with pytest.raises(Closed):
                        await lines.receive()
            await join_side(desk.ticket(), cast.laptop, "laptop", [])

    asyncio.run(run())


# --- who replays ------------------------------------------------------------------------------------


def test_a_recorded_pairing_replayed_to_the_inviter_is_a_wrong_guess(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even were the same code open again: the inviter's share is a new one each time."""
    overhear(cast, monkeypatch, NUMBER)
    first, _, third, _, _ = Recorder.heard
    monkeypatch.undo()

    async def run() -> None:
        async with Desk(cast.desk) as desk:
            secret = read(spell_code("127.0.0.1", 9847, NUMBER.to_bytes(FIGURES, "big"))).secret
            desk.invitations.open(desk.clock, {"code": secret})
            async with stranger(desk.port) as lines:
                await lines.send(first)
                await lines.receive()
                await lines.send(third)
                assert await lines.receive() == {"refused": "wrong"}

    asyncio.run(run())


def test_a_recorded_pairing_replayed_to_the_joiner_proves_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever even has the key of the inviter's certificate."""
    overhear(cast, monkeypatch, NUMBER)
    _, second, _, fourth, _ = Recorder.heard
    monkeypatch.undo()

    async def meet(lines: Lines) -> None:
        for answer in (second, fourth):
            await lines.receive()
            await lines.send(answer)

    async def run() -> None:
        async with listener(cast.desk, meet) as port:
            ticket = read(spell_code("127.0.0.1", port, NUMBER.to_bytes(FIGURES, "big")))
            failure = await fails(join_side(ticket, cast.laptop, "laptop", []))
            assert (failure.reason, failure.again) == ("unproved", False)

    asyncio.run(run())


# --- who asks, floods and dribbles ------------------------------------------------------------------

STRANGE = {
    "nothing it knows": b'{"hello":1}\n',
    "of another web": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no JSON": b"\x00\xff\n",
    "a list": b"[]\n",
    "a line without end": b"x" * (2 * PAIRING_LINE_BYTES_MAX),
    "a deep one": b'{"a":' * 400 + b"\n",
    "a long one": b'{"pairing":1,"form":"' + b"x" * PAIRING_LINE_BYTES_MAX + b'"}\n',
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("invited", [False, True])
@pytest.mark.promise("L7")
def test_strangers_are_told_nothing(cast: Cast, what: str, invited: bool) -> None:
    """Not one byte."""

    async def run() -> None:
        async with Desk(cast.desk) as desk:
            if not invited:
                desk.invitations = type(desk.invitations)()
            async with stranger(desk.port) as lines:
                lines.writer.write(STRANGE[what])
                assert await lines._read() == b""
            outcome = await desk.outcome()
            assert isinstance(outcome, PairingFailed)
            assert outcome.again == invited
            assert "x" * 20 not in str(outcome)

    asyncio.run(run())


def test_before_it_knows_the_code_the_inviter_says_nothing_but_a_random_element(cast: Cast) -> None:
    async def run() -> None:
        async with Desk(cast.desk, name="secret-name") as desk, stranger(desk.port) as lines:
            ours = Pake(Role.JOINER, b"any", cast.mallory.fingerprint, cast.desk.fingerprint)
            await lines.send(first_line(cast.mallory, ours.message))
            answer = await lines.receive()
            assert answer.keys() == {"pake"}
            await lines.send({"confirm": "00" * 32})
            assert await lines.receive() == {"refused": "wrong"}
            assert await lines._read() == b""

    asyncio.run(run())


def test_without_an_invitation_not_even_that(cast: Cast) -> None:
    async def run() -> None:
        async with Desk(cast.desk) as desk:
            desk.invitations = type(desk.invitations)()
            async with stranger(desk.port) as lines:
                ours = Pake(Role.JOINER, b"any", cast.mallory.fingerprint, cast.desk.fingerprint)
                await lines.send(first_line(cast.mallory, ours.message))
                assert await lines._read() == b""

    asyncio.run(run())


def test_who_holds_connections_open_keeps_nobody_out(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each stage one that goes no further, and each is closed when its time is over."""
    monkeypatch.setattr(inviter, "PAIRING_S", 3.0)

    async def run() -> None:
        async with Desk(cast.desk) as desk, contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                await stack.enter_async_context(stranger(desk.port))
                await stack.enter_async_context(guess(desk.port, cast.mallory, cast.desk, b"guess"))
            paired = await join_side(desk.ticket(), cast.laptop, "laptop", [])
            assert paired.id == cast.desk.id
            await desk.outcome(11)
            late = [outcome for outcome in desk.outcomes if isinstance(outcome, PairingFailed)]
            assert len(late) == 10
            assert all("longer than" in failure.message for failure in late)

    asyncio.run(run())


def test_an_older_tls_is_no_way_in(cast: Cast) -> None:
    async def run() -> None:
        async with Desk(cast.desk) as desk:
            old = tls.pairing_client_context()
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(OSError):  # noqa: PT011 (a reset or an alert, as it happens)
                await asyncio.open_connection("127.0.0.1", desk.port, ssl=old, server_hostname="")
            assert desk.outcomes == []

    asyncio.run(run())


# --- secrets ----------------------------------------------------------------------------------------


@pytest.mark.promise("S7")
def test_secrets_are_in_no_log_and_no_error(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    secrets: list[bytes] = [b"canary", b"wrong-canary"]

    async def run() -> None:
        async with Desk(cast.desk) as desk:
            for secret in (b"wrong-canary", b"canary", b"canary"):
                if not desk.outcomes or len(desk.outcomes) == 1:
                    desk.invitations.open(desk.clock, {"code": b"canary"})
                ticket = Invitation(Form.CODE, secret, (("127.0.0.1", desk.port),))
                try:
                    paired = await join_side(ticket, cast.laptop, "laptop", [], said.append)
                    secrets.append(paired.key)
                    said.append(repr(paired))
                except PairingFailed as failure:
                    said.extend([repr(failure), str(failure), repr(failure.to_wire()), repr(failure.__context__)])
            said.extend(map(repr, [*desk.outcomes, *desk.said, ticket, desk.invitations.attempt("code", 0.0)]))

    asyncio.run(run(), debug=True)
    everything = "\n".join([caplog.text, *said])
    assert "127.0.0.1" in everything
    for secret in secrets:
        for form in (secret.decode("latin-1"), repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode()):
            assert form not in everything


def test_no_certificate_of_another_shape_is_ever_pinned(cast: Cast) -> None:
    """Though its owner knows the code: it would be in our trust store."""

    async def run() -> None:
        changed = bytearray(cast.mallory.certificate_der)
        changed[-1] ^= 1
        forged = replace(cast.mallory, certificate_der=bytes(changed))
        async with Desk(cast.desk) as desk, stranger(desk.port) as lines:
            prints = certificates.fingerprint(forged.certificate_der), cast.desk.fingerprint
            ours = Pake(Role.JOINER, password("code", desk.ticket().secret), *prints)
            await lines.send(first_line(forged, ours.message))
            with pytest.raises(Closed):
                await lines.receive()

    asyncio.run(run())


def test_the_pairing_key_is_not_what_was_confirmed_with() -> None:
    key, prints = os.urandom(32), (os.urandom(32), os.urandom(32))
    seen = Transcript("code", *prints, b"A" * 33, b"B" * 33, "laptop")
    proofs = {confirmation(key, role, seen) for role in Role}
    assert pairing_key(key, *prints) not in proofs | {key}
