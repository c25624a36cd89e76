"""Two devices pair over real sockets: what comes of it, what is said, and what is told when it fails."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from coterie.errors import PairingFailed
from coterie.invitations import Form, Invitation
from coterie.limits import ADDRESSES_MAX, BURNT_MAX, INVITATION_S
from coterie.net import inviter, joiner, pake
from coterie.net.identity import Identity
from coterie.net.lines import Closed, Lines
from coterie.net.paired import Paired
from coterie.net.pairings import invite_side, join_side
from coterie.pairing import Role, Transcript, confirmation, owned, password
from couple import SECRETS, Desk, device, listener, stranger

Both = tuple[Identity, Identity]


@pytest.fixture
def both(tmp_path: Path) -> Both:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    return device(tmp_path / "a"), device(tmp_path / "b")


async def joins(desk: Desk, us: Identity, form: Form = Form.CODE, **options: Any) -> Paired:
    return await join_side(desk.ticket(form, **options), us, "laptop", ["198.51.100.7:9847"])


async def fails(joining: Awaitable[Paired]) -> PairingFailed:
    with pytest.raises(PairingFailed) as failed:
        await joining
    return failed.value


async def refused(desk: Desk, number: int = 1) -> PairingFailed:
    outcome = await desk.outcome(number)
    assert isinstance(outcome, PairingFailed)
    return outcome


# --- as it should be --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", SECRETS)
def test_by_each_form_both_have_what_they_need(both: Both, form: Form) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            theirs = await joins(desk, us, form)
            ours = await desk.outcome()
        assert isinstance(ours, Paired)
        assert theirs.key == ours.key
        assert len(ours.key) == 32
        assert (theirs.id, ours.id) == (desk_is.id, us.id)
        assert (theirs.certificate_der, ours.certificate_der) == (desk_is.certificate_der, us.certificate_der)
        assert (theirs.name, ours.name) == ("desk", "laptop")
        assert (theirs.addresses, ours.addresses) == (("192.0.2.1:9847",), ("198.51.100.7:9847",))
        assert theirs.done
        assert ours.done

    asyncio.run(run())


def test_each_pairing_leaves_another_key(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            first = await joins(desk, us)
            desk.invite()
            second = await joins(desk, us)
        assert first.key != second.key
        assert first.key.hex() not in repr(first)
        assert repr(first.key) not in repr(first)

    asyncio.run(run())


def test_both_screens_say_what_happens(both: Both) -> None:
    desk_is, us = both
    said: list[str] = []

    async def run() -> None:
        async with Desk(desk_is) as desk:
            await join_side(desk.ticket(), us, "laptop", [], said.append)
            at = f"127.0.0.1:{desk.port}"
            assert said == [f"connecting to {at}", f"checking the invitation with {at}", "confirmed by both"]
            assert desk.said == ["a device is trying the invitation"]

    asyncio.run(run())


def test_names_and_addresses_are_made_harmless(both: Both) -> None:
    desk_is, us = both
    wild = ["one.example:1", "no address", "x:0", "[::1]:99", "user@host:1", "a" * 300]

    async def run() -> None:
        async with Desk(desk_is, name="my desk@home\x1b[31m", addresses=("FE80::1", "$(rm)")) as desk:
            theirs = await join_side(desk.ticket(), us, "\u202elap top", wild)
            ours = await desk.outcome()
        assert isinstance(ours, Paired)
        assert (theirs.name, ours.name) == ("my-desk-home-U-001B-31m", "U-202E-lap-top")
        assert (theirs.addresses, ours.addresses) == (("[fe80::1]:9847",), ("one.example:1", "[::1]:99"))

    asyncio.run(run())


def test_of_many_addresses_the_first_are_told(both: Both) -> None:
    desk_is, us = both
    many = [f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.x{number}:65535" for number in range(30)]

    async def run() -> None:
        async with Desk(desk_is, addresses=tuple(many)) as desk:
            theirs = await join_side(desk.ticket(), us, "x" * 500, many)
            ours = await desk.outcome()
        assert isinstance(ours, Paired)
        assert theirs.addresses == ours.addresses == tuple(many[:ADDRESSES_MAX])

    asyncio.run(run())


def test_the_joiner_goes_on_only_once_the_inviter_has_stored_it(both: Both) -> None:
    """Its first link would else be refused."""
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            desk.stored.clear()
            joining = asyncio.create_task(joins(desk, us))
            await desk.outcome()
            for _ in range(100):
                await asyncio.sleep(0)
            assert not joining.done()
            desk.stored.set()
            await joining

    asyncio.run(run())


def test_an_inviter_that_never_closes_holds_the_joiner_for_a_moment_only(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joiner, "PAIRING_STORED_S", 0.05)
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            desk.stored.clear()
            await joins(desk, us)
            desk.stored.set()

    asyncio.run(run())


# --- where to ---------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_addresses_are_tried_in_turn(both: Both) -> None:
    desk_is, us = both
    said: list[str] = []

    async def run() -> None:
        async with Desk(desk_is) as desk:
            dead = closed_port()
            ticket = replace(desk.ticket(), addresses=(("127.0.0.1", dead), ("localhost", desk.port)))
            await join_side(ticket, us, "laptop", [], said.append)
            assert f"127.0.0.1:{dead} cannot be reached: nothing listens there" == said[1]
            assert said[2] == f"connecting to localhost:{desk.port}"

    asyncio.run(run())


@pytest.mark.parametrize("addresses", [1, 2])
def test_a_device_that_cannot_be_reached_may_be_tried_again(both: Both, addresses: int) -> None:
    _, us = both
    ticket = Invitation(Form.CODE, b"s", (("127.0.0.1", closed_port()),) * addresses)
    failure = asyncio.run(fails(join_side(ticket, us, "laptop", [])))
    assert failure.again
    assert failure.reason == "unreachable"
    assert "try again" in failure.hint


def test_a_name_that_nobody_knows_is_said(both: Both) -> None:
    ticket = Invitation(Form.CODE, b"s", (("nowhere.invalid", 9847),))
    failure = asyncio.run(fails(join_side(ticket, both[1], "laptop", [])))
    assert "no such name" in failure.message
    assert failure.again


def test_an_invitation_without_an_address_says_so(both: Both) -> None:
    failure = asyncio.run(fails(join_side(Invitation(Form.RAW, b"s"), both[1], "laptop", [])))
    assert failure.reason == "no-address"


def test_a_listener_that_says_nothing_is_given_up(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "PAIRING_CONNECT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ticket = Invitation(Form.CODE, b"s", (("127.0.0.1", silent.getsockname()[1]),))
        failure = asyncio.run(fails(join_side(ticket, both[1], "laptop", [])))
    assert "no answer in time" in failure.message
    assert failure.again


def test_what_is_no_coterie_is_called_so(both: Both) -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ticket = Invitation(Form.CODE, b"s", (("127.0.0.1", server.sockets[0].getsockname()[1]),))
        failure = await fails(join_side(ticket, both[1], "laptop", []))
        server.close()
        assert failure.reason == "no-coterie"
        assert failure.again

    asyncio.run(run())


def test_a_device_that_closes_at_once_may_be_tried_again_later(both: Both) -> None:
    async def run() -> None:
        async def shut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(shut, "127.0.0.1", 0)
        failure = await fails(join_side(ticket_at(server.sockets[0].getsockname()[1]), both[1], "laptop", []))
        server.close()
        assert (failure.reason, failure.again) == ("closed", True)
        assert "wait" in failure.hint

    asyncio.run(run())


def test_a_server_of_another_kind_is_told_nothing_either(both: Both, tmp_path: Path) -> None:
    """It speaks TLS 1.3, with a certificate as web servers have."""
    _, us = both
    heard: list[bytes] = []

    async def run() -> None:
        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                heard.append(await reader.read(100))
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=foreign(tmp_path))
        failure = await fails(join_side(ticket_at(server.sockets[0].getsockname()[1]), us, "laptop", []))
        server.close()
        assert failure.reason == "no-coterie"

    asyncio.run(run())
    assert b"".join(heard) == b""


def foreign(folder: Path) -> ssl.SSLContext:
    """The TLS of a server that is none of ours."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, day, day.replace(year=2027))
    text = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    text += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "foreign.pem").write_bytes(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "foreign.pem")
    return context


def test_a_device_does_not_pair_with_itself(both: Both) -> None:
    desk_is, _ = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            failure = await fails(joins(desk, desk_is))
            assert failure.reason == "itself"
            assert (await refused(desk)).again
            await greet(desk, desk_is)

    asyncio.run(run())


async def greet(desk: Desk, us: Identity) -> None:
    """A first line with the inviter's own certificate gets no answer."""
    async with stranger(desk.port) as lines:
        await lines.send(first_line(us))
        with pytest.raises(Closed):
            await lines.receive()


# --- refused, and both are told ---------------------------------------------------------------------

WRONG = b"\x77\x77\x77"


def test_a_wrong_code_burns_the_invitation_and_both_are_told(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            failure = await fails(joins(desk, us, secret=WRONG))
            assert (failure.reason, failure.again) == ("wrong", False)
            assert "burnt" in failure.message
            assert "new invitation" in failure.hint
            here = await refused(desk)
            assert (here.reason, here.again) == ("wrong", False)
            assert "burnt" in here.message
            late = await fails(joins(desk, us))
            assert (late.reason, late.again) == ("burnt", False)
            assert "somebody tried it" in late.message
            assert (await refused(desk, 2)).reason == "burnt"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda desk: setattr(desk, "clock", desk.clock + INVITATION_S), "expired"),
        (lambda desk: desk.invitations.close(), "withdrawn"),
    ],
)
def test_whoever_comes_too_late_with_the_right_code_is_told_why(
    both: Both, end: Callable[[Desk], None], reason: str
) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            end(desk)
            failure = await fails(joins(desk, us))
            assert (failure.reason, failure.again) == (reason, False)
            assert "new invitation" in failure.hint
            assert (await refused(desk)).reason == reason

    asyncio.run(run())


def test_of_two_with_the_right_code_the_first_is_paired_and_both_others_warned(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            await joins(desk, us)
            failure = await fails(joins(desk, us))
            assert failure.reason == "used"
            assert "forget" in failure.hint
            assert "compare" in (await refused(desk, 2)).hint

    asyncio.run(run())


def test_two_at_once_are_one_paired_and_one_told(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            results = await asyncio.gather(*(joins(desk, us) for _ in range(2)), return_exceptions=True)
            failures = [result for result in results if isinstance(result, PairingFailed)]
            assert [failure.reason for failure in failures] == ["used"]

    asyncio.run(run())


def test_who_tried_an_older_invitation_does_not_end_the_new_one(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk, stranger(desk.port) as lines:
            await lines.send(first_line(us))
            await lines.receive()
            desk.invite()
            await lines.send({"confirm": "00" * 32})
            with pytest.raises(Closed):
                await lines.receive()
            assert (await refused(desk)).again
            await joins(desk, us)

    asyncio.run(run())


def test_a_locked_device_says_so_to_who_knew_the_code(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            for _ in range(BURNT_MAX):
                desk.invite()
                await fails(joins(desk, us, secret=WRONG))
            failure = await fails(joins(desk, us))
            assert failure.reason == "locked"
            assert "--unlock" in failure.hint

    asyncio.run(run())


def test_a_form_that_was_not_asked_for_is_not_open(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            desk.invitations.open(desk.clock, {"words": b"w"})
            failure = await fails(joins(desk, us))
            assert (failure.reason, failure.again) == ("not-open", False)
            assert (await refused(desk)).again, "and the one that is open holds"
            assert desk.invitations.left_s(desk.clock)

    asyncio.run(run())


def test_an_answer_that_we_do_not_know_is_not_repeated(both: Both) -> None:
    desk_is, us = both

    async def run(words: object) -> PairingFailed:
        async def meet(lines: Lines) -> None:
            await answer_pake(lines, desk_is)
            await lines.receive()
            await lines.send({"refused": words})

        async with listener(desk_is, meet) as port:
            return await fails(join_side(ticket_at(port), us, "laptop", []))

    for words in ("call 555-1234", ["wrong"], None, "paired", "silence"):
        failure = asyncio.run(run(words))
        assert (failure.reason, failure.again) == ("refused", False)
        assert "555" not in str(failure)


# --- broken off -------------------------------------------------------------------------------------


def ticket_at(port: int) -> Invitation:
    return Invitation(Form.CODE, b"secret", (("127.0.0.1", port),))


def first_line(us: Identity, **fields: object) -> dict[str, Any]:
    ours = pake.Pake(Role.JOINER, b"any", us.fingerprint, b"i" * 32)
    certificate = base64.b64encode(us.certificate_der).decode()
    line = {"pairing": 1, "form": "code", "certificate": certificate, "name": "laptop", "pake": ours.message.hex()}
    return {**line, **fields}


async def answer_pake(lines: Lines, us: Identity) -> None:
    """As an inviter that knows no secret."""
    await lines.receive()
    await lines.send({"pake": pake.Pake(Role.INVITER, b"any", b"j" * 32, us.fingerprint).message.hex()})


MALFORMED: dict[str, dict[str, object]] = {
    "another version": {"pairing": 2},
    "a form of no name": {"form": ""},
    "a form that is a list": {"form": ["code"]},
    "a certificate that is no base64": {"certificate": "&&&&"},
    "a certificate that is none": {"certificate": "AAAA"},
    "a long certificate": {"certificate": "A" * 1000},
    "no name": {"name": None},
    "a long name": {"name": "x" * 41},
    "a short message": {"pake": "41"},
    "a message in capitals": {"pake": "AB" * 33},
    "a message of no side": {"pake": "00" * 33},
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_first_line_gets_no_answer_and_costs_nothing(both: Both, what: str) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            async with stranger(desk.port) as lines:
                await lines.send(first_line(us, **MALFORMED[what]))
                with pytest.raises(Closed):
                    await lines.receive()
            assert (await refused(desk)).again
            await joins(desk, us)

    asyncio.run(run())


@pytest.mark.parametrize("said", ["nothing", "first"])
def test_who_breaks_off_before_confirming_costs_nothing(both: Both, said: str) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk:
            async with stranger(desk.port) as lines:
                if said == "first":
                    await lines.send(first_line(us))
                    await lines.receive()
            failure = await refused(desk)
            assert (failure.reason, failure.again) == ("broken-off", True)
            await joins(desk, us)

    asyncio.run(run())


@pytest.mark.parametrize("last", [None, {"done": False}, {"nonsense": 1}, {"done": True, "addresses": "none"}])
def test_a_joiner_that_proved_itself_is_paired_though_its_last_word_is_lost(both: Both, last: object) -> None:
    """It may have heard us: were we to forget it, it would dial in vain."""
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk, stranger(desk.port) as lines:
            secret = desk.ticket().secret
            seen, key = await proved(lines, us, desk_is, secret)
            assert (await lines.receive())["confirm"] == confirmation(key, Role.INVITER, seen).hex()
            if isinstance(last, dict):
                await lines.send(last)
            lines.writer.transport.abort() if last is None else None
            outcome = await desk.outcome()
            assert isinstance(outcome, Paired)
            assert (outcome.id, outcome.done, outcome.addresses) == (us.id, False, ())

    asyncio.run(run())


async def proved(lines: Lines, us: Identity, them: Identity, secret: bytes) -> tuple[Transcript, bytes]:
    """A joiner up to its confirmation, made by hand."""
    ours = pake.Pake(Role.JOINER, password("code", secret), us.fingerprint, them.fingerprint)
    await lines.send(first_line(us, pake=ours.message.hex()))
    message = bytes.fromhex((await lines.receive())["pake"])
    key = ours.finish(message)
    seen = Transcript("code", us.fingerprint, them.fingerprint, ours.message, message, "laptop", "desk")
    ours_is = confirmation(key, Role.JOINER, seen)
    await lines.send({"confirm": ours_is.hex(), "signature": us.sign(owned(ours_is)).hex()})
    return seen, key


Meet = Callable[[Lines, Identity], Awaitable[None]]


async def _closes(lines: Lines, us: Identity) -> None:
    await answer_pake(lines, us)
    await lines.receive()


async def _lies(lines: Lines, us: Identity) -> None:
    await _closes(lines, us)
    await lines.send({"confirm": "00" * 32, "name": "desk", "addresses": []})


async def _raves(lines: Lines, us: Identity) -> None:
    await _closes(lines, us)
    lines.writer.write(b'{"confirm": 7}\n')


@pytest.mark.parametrize("meet", [_closes, _lies, _raves])
def test_once_we_confirmed_an_answer_that_proves_nothing_ends_it_for_good(both: Both, meet: Meet) -> None:
    desk_is, us = both
    came = []

    async def run() -> None:
        async def once(lines: Lines) -> None:
            came.append(lines)
            await meet(lines, desk_is)

        async with listener(desk_is, once) as port:
            ticket = replace(ticket_at(port), addresses=(("127.0.0.1", port),) * 3)
            failure = await fails(join_side(ticket, us, "laptop", []))
            assert (failure.reason, failure.again) == ("unproved", False)
            assert "somebody else may have tried" in failure.hint
            assert len(came) == 1, "no second guess for whoever it was"

    asyncio.run(run())


@pytest.mark.parametrize("stage", ["first", "confirmed"])
def test_an_inviter_that_falls_silent_is_given_up(both: Both, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk_is, us = both
    monkeypatch.setattr(joiner, "PAIRING_S", 0.3 if stage == "first" else 2.0)

    async def run() -> PairingFailed:
        over = asyncio.Event()

        async def meet(lines: Lines) -> None:
            if stage == "confirmed":
                await answer_pake(lines, desk_is)
            await over.wait()

        async with listener(desk_is, meet) as port:
            failure = await fails(join_side(ticket_at(port), us, "laptop", []))
            over.set()
            return failure

    failure = asyncio.run(run())
    assert failure.again == (stage == "first")
    assert failure.reason == ("unreachable" if stage == "first" else "unproved")


def test_a_joiner_that_falls_silent_is_given_up_whatever_it_dribbles(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk_is, us = both
    monkeypatch.setattr(inviter, "PAIRING_S", 0.3)

    async def run() -> None:
        async with Desk(desk_is) as desk:
            async with stranger(desk.port) as lines:
                with contextlib.suppress(OSError):
                    while not desk.outcomes:
                        lines.writer.write(b" ")
                        await lines.writer.drain()
                        await asyncio.sleep(0.01)
            failure = await refused(desk)
            assert "longer than" in failure.message
            assert failure.again

    asyncio.run(run())


def test_a_wrong_guess_counts_though_its_maker_does_not_wait_for_the_answer(both: Both) -> None:
    desk_is, us = both

    async def run() -> None:
        async with Desk(desk_is) as desk, stranger(desk.port) as lines:
            await lines.send(first_line(us))
            await lines.receive()
            await lines.send({"confirm": os.urandom(32).hex()})
            assert (await refused(desk)).reason == "wrong"
            assert desk.invitations.ended(desk.clock) == "burnt"

    asyncio.run(run())


def test_the_functions_are_found_where_the_wire_is_described() -> None:
    assert invite_side is inviter.invite_side
    assert join_side is joiner.join_side
