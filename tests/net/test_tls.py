"""TLS between devices, with real sockets: whom each side takes, and for whom it takes them."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from coterie.net import certificates, tls
from coterie.net.identity import Identity
from couple import device

NOBODY = "nobody got in"


@pytest.fixture
def ours(tmp_path: Path) -> Identity:
    return made(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Identity:
    return made(tmp_path / "theirs")


def made(folder: Path) -> Identity:
    folder.mkdir()
    return device(folder)


@dataclass(frozen=True)
class Meeting:
    """What each side saw of the other; None if it showed no certificate."""

    server: bytes | str | None = NOBODY
    client: bytes | None = None
    client_error: str = ""
    ticket: bool = False


async def _meet(server: ssl.SSLContext, client: ssl.SSLContext) -> Meeting:
    saw: list[bytes | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        saw.append(tls.peer_fingerprint(writer.get_extra_info("ssl_object")))
        writer.write(b"x" * 10)
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server)
    port = listener.sockets[0].getsockname()[1]
    error, client_saw, ticket = "", None, False
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="")
        connection = writer.get_extra_info("ssl_object")
        client_saw = tls.peer_fingerprint(connection)
        # In TLS 1.3 a client is told only here that the server does not take it.
        came = await reader.read()
        error = "" if came else "closed"
        ticket = bool(connection.session and connection.session.has_ticket)
        writer.transport.abort()
    except OSError as refused:
        error = str(refused) or type(refused).__name__
    listener.close()
    return Meeting(saw[0] if saw else NOBODY, client_saw, error, ticket)


def meet(server: ssl.SSLContext, client: ssl.SSLContext) -> Meeting:
    """Have them meet over a real socket."""
    return asyncio.run(_meet(server, client))


def test_two_that_pinned_each_other_meet(ours: Identity, theirs: Identity) -> None:
    met = meet(tls.server_context(ours, [theirs.certificate_der]), tls.client_context(theirs, ours.certificate_der))
    assert met == Meeting(theirs.fingerprint, ours.fingerprint)


def test_of_many_pins_any_will_do(ours: Identity, tmp_path: Path) -> None:
    many = [made(tmp_path / str(number)) for number in range(20)]
    server = tls.server_context(ours, [one.certificate_der for one in many])
    for one in (many[0], many[7], many[19]):
        assert meet(server, tls.client_context(one, ours.certificate_der)).server == one.fingerprint


@pytest.mark.promise("L6")
def test_an_unknown_certificate_is_refused_before_anybody_hears_of_it(ours: Identity, theirs: Identity) -> None:
    met = meet(tls.server_context(ours, []), tls.client_context(theirs, ours.certificate_der))
    assert met.server == NOBODY
    assert met.client_error


def test_who_shows_none_is_let_in_to_pair(ours: Identity) -> None:
    met = meet(tls.server_context(ours, []), tls.pairing_client_context())
    assert met == Meeting(None, ours.fingerprint)


def test_a_pin_counts_from_then_on(ours: Identity, theirs: Identity) -> None:
    server, client = tls.server_context(ours, []), tls.client_context(theirs, ours.certificate_der)
    assert meet(server, client).server == NOBODY
    tls.pin(server, theirs.certificate_der)
    tls.pin(server, theirs.certificate_der)
    assert meet(server, client).server == theirs.fingerprint


def test_whoever_dials_takes_the_one_it_means_and_no_other(ours: Identity, theirs: Identity, tmp_path: Path) -> None:
    other = made(tmp_path / "other")
    server = tls.server_context(other, [theirs.certificate_der])
    met = meet(server, tls.client_context(theirs, ours.certificate_der))
    assert met.server == NOBODY, "it has not even seen who dialled"
    assert "CERTIFICATE_VERIFY_FAILED" in met.client_error


def test_nothing_is_left_to_resume(ours: Identity, theirs: Identity) -> None:
    server = tls.server_context(ours, [theirs.certificate_der])
    assert not meet(server, tls.client_context(theirs, ours.certificate_der)).ticket
    assert not meet(server, tls.pairing_client_context()).ticket
    server.num_tickets = 1
    assert meet(server, tls.pairing_client_context()).ticket, "else this test sees nothing"


# --- downgrades -------------------------------------------------------------------------------------


def older(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.promise("L6")
def test_an_older_tls_is_refused_on_both_sides(ours: Identity, theirs: Identity) -> None:
    pins = [theirs.certificate_der]
    clients: list[Callable[[], ssl.SSLContext]] = [
        lambda: tls.client_context(theirs, ours.certificate_der),
        tls.pairing_client_context,
    ]
    for client in clients:
        assert meet(tls.server_context(ours, pins), older(client())).server == NOBODY
        met = meet(older(tls.server_context(ours, pins)), client())
        assert (met.server, met.client) == (NOBODY, None)
        assert met.client_error
        assert meet(older(tls.server_context(ours, pins)), older(client())).server != NOBODY, "else nothing is shown"


# --- clocks and foreign certificates ----------------------------------------------------------------


def remade(identity: Identity, first: int, last: int, issuer: Identity | None = None) -> Identity:
    """The same key with a certificate of our shape, but of other years, or issued by another device."""
    whole = x509.load_der_x509_certificate(identity.certificate_der)
    signer = issuer or identity
    by = x509.load_der_x509_certificate(signer.certificate_der).subject
    der = (
        x509.CertificateBuilder(issuer_name=by, subject_name=whole.subject, extensions=list(whole.extensions))
        .public_key(identity._key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(first, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(last, 1, 1, tzinfo=datetime.UTC))
        .sign(signer._key, None)
        .public_bytes(Encoding.DER)
    )
    path = f"{identity.certificate_pem_path}.{first}"
    Path(path).write_bytes(certificates.pem(der))
    return replace(identity, certificate_der=der, certificate_pem_path=path, fingerprint=certificates.fingerprint(der))


@pytest.mark.parametrize("years", [(1980, 1981), (2300, 2301)])
@pytest.mark.promise("L6")
def test_the_clock_changes_nothing(ours: Identity, theirs: Identity, years: tuple[int, int]) -> None:
    """What a clock that is wrong by decades would make of our certificates: over, or not begun."""
    server_side, client_side = remade(ours, *years), remade(theirs, *years)
    server = tls.server_context(server_side, [client_side.certificate_der])
    client = tls.client_context(client_side, server_side.certificate_der)
    assert meet(server, client) == Meeting(client_side.fingerprint, server_side.fingerprint)
    for context in (server, client):
        context.verify_flags &= ~tls._NO_CLOCK
        assert meet(server, client).server == NOBODY, "else nothing is shown: OpenSSL looked at no clock anyway"
        context.verify_flags |= tls._NO_CLOCK


@pytest.mark.promise("L6")
def test_what_a_pinned_device_issues_is_nobodys(ours: Identity, theirs: Identity, tmp_path: Path) -> None:
    issued = remade(made(tmp_path / "third"), 2020, 2120, issuer=theirs)
    server = tls.server_context(ours, [theirs.certificate_der])
    assert meet(server, tls.client_context(issued, ours.certificate_der)).server == NOBODY
    client = tls.client_context(ours, theirs.certificate_der)
    met = meet(tls.server_context(issued, [ours.certificate_der]), client)
    assert met.server == NOBODY
    assert "CERTIFICATE_VERIFY_FAILED" in met.client_error


def test_neither_is_a_chain_that_ends_at_a_pinned_device(ours: Identity, theirs: Identity, tmp_path: Path) -> None:
    """The same with the issuer's certificate sent along."""
    issued = remade(made(tmp_path / "third"), 2020, 2120, issuer=theirs)
    with open(issued.certificate_pem_path, "ab") as chain:
        chain.write(certificates.pem(theirs.certificate_der))
    server = tls.server_context(ours, [theirs.certificate_der])
    assert meet(server, tls.client_context(issued, ours.certificate_der)).server == NOBODY


def test_a_stolen_certificate_is_worth_nothing_without_its_key(
    ours: Identity, theirs: Identity, tmp_path: Path
) -> None:
    thief = made(tmp_path / "thief")
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        tls.client_context(replace(theirs, key_path=thief.key_path), ours.certificate_der)


def test_the_key_file_is_as_openssl_wants_it(ours: Identity) -> None:
    text = ours._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert Path(ours.key_path).read_bytes() == text


def test_pins_may_come_from_anywhere(ours: Identity, theirs: Identity) -> None:
    pins: Iterable[bytes] = (one.certificate_der for one in (theirs,))
    assert tls.server_context(ours, pins).cert_store_stats()["x509"] == 1
