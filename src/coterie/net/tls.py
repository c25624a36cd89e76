"""TLS between devices: 1.3, no authority but the pins, no clock, and no resumption.

OpenSSL takes only certificates that are in the context. That alone is no proof: a pin cannot be taken out of a living
context, so whoever accepts a connection compares `peer_fingerprint` with what is pinned now. A client without any
certificate is let in by `server_context`: it can only be about to pair.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from coterie.net.certificates import fingerprint
from coterie.net.identity import Identity

_NO_CLOCK = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME, which Python does not name. Clocks are wrong, and a pin does not grow old."""


def server_context(identity: Identity, pins: Iterable[bytes]) -> ssl.SSLContext:
    """For what listens: it shows our certificate, and takes those that are pinned (DER), or none."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0
    for certificate in pins:
        pin(context, certificate)
    return context


def pin(context: ssl.SSLContext, certificate: bytes) -> None:
    """Have `context` take this certificate (DER) too, from now on. One that it has is no error."""
    context.load_verify_locations(cadata=certificate)


def client_context(identity: Identity, certificate: bytes) -> ssl.SSLContext:
    """For dialling the device with this certificate (DER), and no other. Ours is shown after that of the other side."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, identity)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    pin(context, certificate)
    return context


def pairing_client_context() -> ssl.SSLContext:
    """For pairing: no certificate of ours, and whatever comes is taken, as the pairing itself is bound to it."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, None)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int, identity: Identity | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # OpenSSL 3.0 takes a pin that signed itself without the first flag. With it, a pin is enough in every version.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CLOCK
    if identity:
        context.load_cert_chain(identity.certificate_pem_path, identity.key_path)
    return context


def peer_certificate(connection: object) -> bytes | None:
    """The certificate (DER) that the other side proved to own; None if it showed none.

    `connection` is an `ssl.SSLObject` or an `ssl.SSLSocket`: `writer.get_extra_info("ssl_object")` of asyncio.
    """
    assert isinstance(connection, (ssl.SSLObject, ssl.SSLSocket))
    return connection.getpeercert(binary_form=True) or None


def peer_fingerprint(connection: object) -> bytes | None:
    """Its SHA-256: what is compared with the pins."""
    certificate = peer_certificate(connection)
    return fingerprint(certificate) if certificate else None
