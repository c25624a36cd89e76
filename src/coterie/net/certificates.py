"""Certificates of devices: made of nothing but the key, and taken from others only if they are made alike.

A certificate is here a key in the form that TLS wants. It says nothing about its owner, who signed it proves nothing,
and it has no time: its validity reaches from 2020 to 2120, and nobody asks the clock (net/tls.py). CA:FALSE keeps a
pinned device from issuing certificates that OpenSSL would take for its own (measured with OpenSSL 3.0).

All of it is fixed but the key, what is made of its hash, and the signature. So it is put together here, byte by byte as
RFC 5280 and RFC 8410 say, and one that comes from elsewhere is compared: no parser reads what a stranger sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

from coterie.errors import BadInput
from coterie.spelling import base32

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME_CHARS = 20
"""Of the key's hash in base32: 100 bits, so that no two devices have one subject."""
SERIAL_BYTES = 15
"""Of the key's hash, behind a first byte that keeps the number positive."""
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_ED25519 = bytes.fromhex("3005 0603 2b6570")
_OUTER = bytes.fromhex("3082 012c")
_INNER = bytes.fromhex("3081 df")
_VERSION_3 = bytes.fromhex("a003 0201 02")
_SERIAL = bytes.fromhex("0210 01")
_NAME = bytes.fromhex("301f 311d 301b 0603 550403 0c14")
"""A common name of twenty characters."""
_VALIDITY = bytes.fromhex("3020 170d") + b"200101000000Z" + bytes.fromhex("180f") + b"21200101000000Z"
_KEY = bytes.fromhex("302a") + _ED25519 + bytes.fromhex("0321 00")
_EXTENSIONS = bytes.fromhex(
    "a32f 302d"
    "300c 0603 551d13 0101ff 0402 3000"  # basicConstraints, critical: CA:FALSE
    "301d 0603 551d25 0416 3014 0608 2b06010505070302 0608 2b06010505070301"  # extKeyUsage: client and server
)
_SIGNATURE = _ED25519 + bytes.fromhex("0341 00")
_KEY_AT = -(KEY_BYTES + len(_EXTENSIONS))
"""Where the key stands in what is signed."""
SIZE = 304
"""Bytes of a certificate."""

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
_PEM_CHARS = 64


def fingerprint(certificate: bytes) -> bytes:
    """The SHA-256 of a certificate (DER)."""
    return hashlib.sha256(certificate).digest()


def make(key: Ed25519PrivateKey) -> bytes:
    """The certificate (DER) of a key. The same key always gives the same bytes, as Ed25519 signs without chance."""
    signed = _signed(key.public_key().public_bytes_raw())
    return _OUTER + signed + _SIGNATURE + key.sign(signed)


def check(certificate: bytes) -> None:
    """Raises `BadInput` unless these bytes are what `make` makes of some key, and its owner signed them."""
    if len(certificate) != SIZE:
        raise _not_ours()
    signed = _signed(_public(certificate))
    if certificate[:-SIGNATURE_BYTES] != _OUTER + signed + _SIGNATURE:
        raise _not_ours()
    if not verify(certificate, signed, certificate[-SIGNATURE_BYTES:]):
        raise BadInput("the certificate is not signed with its own key", "it was not made by coterie")


def verify(certificate: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the owner of the certificate, which passed `check`, signed `data`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(_public(certificate)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def pem(certificate: bytes) -> bytes:
    """The certificate as text, as OpenSSL reads it from a file."""
    text = base64.b64encode(certificate)
    lines = (text[at : at + _PEM_CHARS] + b"\n" for at in range(0, len(text), _PEM_CHARS))
    return _BEGIN + b"".join(lines) + _END


def from_pem(text: bytes) -> bytes:
    """The certificate (DER) in such a text. Raises `BadInput`."""
    try:
        certificate = base64.b64decode(text.removeprefix(_BEGIN).removesuffix(_END))
    except binascii.Error:
        certificate = b""
    if pem(certificate) != text:
        raise _not_ours()
    return certificate


def _not_ours() -> BadInput:
    return BadInput("the certificate is none of a device", "it was not made by coterie")


def _public(certificate: bytes) -> bytes:
    start = len(certificate) - SIGNATURE_BYTES - len(_SIGNATURE) + _KEY_AT
    return certificate[start : start + KEY_BYTES]


def _signed(public: bytes) -> bytes:
    """What the signature is of, for this key."""
    key_hash = hashlib.sha256(public).digest()
    name = _NAME + base32(key_hash)[:NAME_CHARS].encode()
    serial = _SERIAL + key_hash[:SERIAL_BYTES]
    return _INNER + _VERSION_3 + serial + _ED25519 + name + _VALIDITY + name + _KEY + public + _EXTENSIONS
