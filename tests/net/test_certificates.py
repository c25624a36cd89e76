"""What a device's certificate is, and what is not one."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from coterie.errors import BadInput
from coterie.net import certificates

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
MADE = certificates.make(KEY)
FINGERPRINT = "af548c9c6118af1efa923d7e898fccc7cb6c84590e036efe5d94a11ed2c18d07"


def read(der: bytes = MADE) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def test_it_depends_on_the_key_alone() -> None:
    """The fingerprint is the id of a device: were another version to make other bytes, all would lose their names."""
    assert certificates.fingerprint(MADE).hex() == FINGERPRINT
    assert certificates.make(KEY) == MADE
    assert certificates.make(OTHER) != MADE


def test_it_is_what_tls_needs_and_no_more() -> None:
    certificate = read()
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert (certificate.not_valid_before_utc.year, certificate.not_valid_after_utc.year) == (2020, 2120)
    assert len(MADE) < 400
    certificates.check(MADE)


def test_as_text_and_back() -> None:
    text = certificates.pem(MADE)
    assert text == read().public_bytes(serialization.Encoding.PEM), "as the library of the field writes it"
    assert certificates.from_pem(text) == MADE
    for other in (b"", b"AAA", text[1:], text.replace(b"M", b"!"), text + b"\n"):
        with pytest.raises(BadInput):
            certificates.from_pem(other)


Builder = x509.CertificateBuilder


def build(change: Callable[[Builder], Builder] = lambda b: b, **options: object) -> bytes:
    """A certificate much like ours."""
    name = options.get("name", read().subject)
    issuer = options.get("issuer", name)
    assert isinstance(name, x509.Name)
    assert isinstance(issuer, x509.Name)
    builder = (
        Builder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(options.get("public", KEY.public_key()))  # type: ignore[arg-type]
        .serial_number(int(str(options.get("serial", 7))))
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC))
    )
    if not options.get("bare"):
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        ca = bool(options.get("ca"))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    signer, algorithm = options.get("signer", KEY), options.get("algorithm")
    return change(builder).sign(signer, algorithm).public_bytes(serialization.Encoding.DER)  # type: ignore[arg-type]


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def test_a_builder_of_certificates_makes_the_same_bytes() -> None:
    """A second opinion on every byte; the number alone is another unless it is asked for."""
    assert build(serial=read().serial_number) == MADE
    with pytest.raises(BadInput):
        certificates.check(build())


CURVE = ec.generate_private_key(ec.SECP256R1())
FOREIGN = {
    "an authority": lambda: build(ca=True),
    "without any limit": lambda: build(bare=True),
    "signed by another": lambda: build(signer=OTHER),
    "of another name": lambda: build(name=named("bank.example")),
    "issued by another": lambda: build(issuer=named("bank.example")),
    "with one more use": lambda: build(lambda b: b.add_extension(x509.KeyUsage(*[True] * 9), critical=True)),
    "of an elliptic curve": lambda: build(public=CURVE.public_key(), signer=CURVE, algorithm=hashes.SHA256()),
    "of Ed448": lambda: build(public=ed448.Ed448PrivateKey.generate().public_key()),
    "padded": lambda: MADE + b"\x00",
    "cut": lambda: MADE[:-1],
    "empty": lambda: b"",
    "long": lambda: MADE + bytes(5000),
    "of another date": lambda: MADE.replace(b"21200101", b"21210101"),
    "changed": lambda: MADE[:-1] + bytes([MADE[-1] ^ 1]),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_one_that_was_not_made_alike_is_refused(what: str) -> None:
    with pytest.raises(BadInput):
        certificates.check(FOREIGN[what]())


@given(st.integers(0, len(MADE) * 8 - 1))
def test_one_with_any_bit_changed_is_refused(bit: int) -> None:
    changed = bytearray(MADE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadInput):
        certificates.check(bytes(changed))


@given(st.binary(max_size=400))
def test_bytes_are_refused_and_never_quoted(data: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        certificates.check(data)
    assert len(str(refused.value)) < 120
