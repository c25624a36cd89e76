"""This device's key and certificate, and the keys that pairings left: files in one folder, ours alone from birth.

    key.pem           the key of this device
    certificate.pem   made of the key, and made again if it is gone
    pairs/<device>    the pairing key of each paired device, as hexadecimal
    pairing-locked    is there while pairing is locked; it holds no secret

A file is written beside its place, brought to the disk and renamed; a lock keeps two processes from making two keys.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coterie.devices import FINGERPRINT_BYTES, device_id, read_id
from coterie.errors import BadInput, Damaged, DiskFull, Refused, Unsafe
from coterie.files import NO_ROOM, check_file, make_folder, open_private
from coterie.limits import KIB
from coterie.net import certificates

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PAIR_KEY_BYTES = 32
FILE_BYTES_MAX = 4 * KIB
"""A key file has 120 bytes, a certificate 500."""
verify = certificates.verify


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this device is, and the means to prove it."""

    id: str
    fingerprint: bytes
    certificate_der: bytes
    certificate_pem_path: str
    key_path: str
    _key: Ed25519PrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """The signature of this device: 64 bytes."""
        return self._key.sign(data)


def load_or_make(folder: str) -> Identity:
    """The identity that lies in `folder`; the first call makes it. Raises `Unsafe` or `Damaged`, with the way out."""
    make_folder(folder)
    key_path, certificate_path = (os.path.join(folder, name) for name in ("key.pem", "certificate.pem"))
    with _locked(folder):
        key = _key(key_path)
        certificate = _certificate(certificate_path, key)
    print_ = certificates.fingerprint(certificate)
    return Identity(device_id(print_), print_, certificate, certificate_path, key_path, key)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    descriptor = open_private(os.path.join(folder, "lock"), os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # Held for milliseconds; the system frees it if its holder is killed.
        yield
    finally:
        os.close(descriptor)


def _key(path: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = _read(path)
    if text is None:
        key = Ed25519PrivateKey.generate()
        _write(path, key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
        return key
    try:
        found = form.load_pem_private_key(text, None)
    except (ValueError, TypeError):  # What the library says could quote the key.
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise _damaged(path, "key")
    return found


def _certificate(path: str, key: Ed25519PrivateKey) -> bytes:
    made = certificates.make(key)
    text = _read(path)
    if text is None:
        _write(path, certificates.pem(made))
        return made
    try:
        found = certificates.from_pem(text)
    except BadInput:
        found = b""
    if found != made:
        raise Damaged(f"{path} is not the certificate of this device's key", f"it is made anew after: rm {path}")
    return found


def _damaged(path: str, what: str) -> Damaged:
    hint = f"put it back from a copy; without one, move it away (mv {path} {path}.old) and pair anew"
    return Damaged(f"the {what} in {path} cannot be read", hint)


def _read(path: str) -> bytes | None:
    """What a file of ours holds; None if it is not there."""
    if not check_file(path):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        raise Unsafe(f"{path} cannot be read by you", f"chmod 600 {path}") from None
    try:
        return os.read(descriptor, FILE_BYTES_MAX)
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    """Have a file of ours hold `data`, on the disk; whatever happens, it holds all of it or what it held."""
    new = f"{path}.new"
    try:
        _fill(new, data)
        os.replace(new, path)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        os.unlink(new)
        raise DiskFull(f"there is no room for {path}: {error.strerror}", "make room, and try again") from None
    _sync_folder(os.path.dirname(path))


def _fill(path: str, data: bytes) -> None:
    descriptor = open_private(path, os.O_WRONLY | os.O_TRUNC)
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PairKeys:
    """The pairing keys of other devices: `folder` is that of the identity."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, "pairs")

    def get(self, device: str) -> bytes | None:
        """The key that pairing left with a device, 32 bytes; None if there is none. Raises `Damaged`."""
        path = self._path(device)
        text = _read(path)
        if text is None:
            return None
        try:
            key = bytes.fromhex(text.decode("ascii").strip())
        except ValueError:
            key = b""
        if len(key) != PAIR_KEY_BYTES:
            raise _damaged(path, "pairing key")
        return key

    def put(self, device: str, key: bytes) -> None:
        """Keep the key of a device, in place of one that it had."""
        assert len(key) == PAIR_KEY_BYTES
        make_folder(self._folder)
        _write(self._path(device), key.hex().encode() + b"\n")

    def remove(self, device: str) -> None:
        """Forget the key of a device, if there is one."""
        path = self._path(device)
        if check_file(path):
            os.unlink(path)
            _sync_folder(self._folder)

    def _path(self, device: str) -> str:
        return os.path.join(self._folder, read_id(device))  # An id with a slip could be a path.


class PairingLock:
    """Whether pairing is locked, for whichever daemon comes next: `folder` is that of the identity.

    It holds until it is lifted, and not for a time: the clock may be wrong, and a restart is nobody's consent.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, "pairing-locked")

    @property
    def holds(self) -> bool:
        """Whether it is locked; whatever lies there, it is."""
        return os.path.lexists(self._path)

    def set(self) -> None:
        """Lock it."""
        make_folder(self._folder)
        _write(self._path, b"Too many invitations were tried with a wrong code. coterie relay invite --unlock\n")

    def lift(self) -> None:
        """Lock it no more. Raises `Refused` if the system does not let us."""
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Refused(f"pairing cannot be unlocked: {error.strerror}", f"remove {self._path} yourself") from None
        _sync_folder(self._folder)


assert FINGERPRINT_BYTES == PAIR_KEY_BYTES
