"""The key of this device, and those that pairings left: made once, whole, and ours alone from birth."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from coterie.devices import device_id, read_id
from coterie.errors import BadInput, CoterieError, Damaged, DiskFull, Refused, Unsafe
from coterie.net import certificates, identity
from coterie.net.identity import PairingLock, PairKeys, load_or_make

OTHER = device_id(b"o" * 32)
KEY = bytes(range(32))


def mode(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "device")


# --- the identity -----------------------------------------------------------------------------------


def test_it_is_made_at_first_use_and_then_found(folder: str) -> None:
    made, found = load_or_make(folder), load_or_make(folder)
    assert made.id == found.id == read_id(made.id)
    assert made.fingerprint == certificates.fingerprint(made.certificate_der)
    assert device_id(made.fingerprint) == made.id
    certificates.check(made.certificate_der)


@pytest.mark.promise("S7")
def test_its_files_are_ours_alone_from_birth(folder: str) -> None:
    """In a process that masks no bits: a file that is opened first and closed to others later would be seen."""
    watch = (
        "import os, stat, sys\n"
        "os.umask(0)\n"
        "opened = os.open\n"
        "def seen(path, *rest, **more):\n"
        "    found = opened(path, *rest, **more)\n"
        "    print(oct(stat.S_IMODE(os.fstat(found).st_mode)), path) if str(path).startswith(sys.argv[1]) else None\n"
        "    return found\n"
        "os.open = seen\n"
        "from coterie.net.identity import PairKeys, load_or_make\n"
        "load_or_make(sys.argv[1])\n"
        f"PairKeys(sys.argv[1]).put('{OTHER}', bytes(32))\n"
    )
    ran = subprocess.run([sys.executable, "-c", watch, folder], capture_output=True, text=True, check=True)
    seen = dict(reversed(line.split()) for line in ran.stdout.splitlines())
    assert {f"{folder}/key.pem.new", f"{folder}/pairs/{OTHER}.new"} <= seen.keys()
    assert set(seen.values()) == {"0o600", "0o700"}
    assert mode(folder) == mode(f"{folder}/pairs") == 0o700
    for path in ("key.pem", "certificate.pem", "lock", f"pairs/{OTHER}"):
        assert mode(os.path.join(folder, path)) == 0o600


def test_processes_that_race_make_one(folder: str) -> None:
    make = (
        "import sys; from coterie.net.identity import load_or_make\n"
        "sys.stdin.read(); print(load_or_make(sys.argv[1]).id)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", make, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.close()
    made = set()
    for racer in racers:
        assert racer.stdout
        with racer.stdout:
            made.add(racer.stdout.read())
        assert racer.wait(60) == 0
    assert made == {load_or_make(folder).id + "\n"}


@pytest.mark.parametrize("at", range(8))
def test_killed_anywhere_while_it_is_made_it_is_whole_or_not_there(folder: str, at: int) -> None:
    """The process is killed at its `at`-th call that writes, syncs or renames."""
    kill = (
        "import os, signal, sys\n"
        "left = [int(sys.argv[2])]\n"
        "def deadly(real):\n"
        "    def call(*arguments):\n"
        "        if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        left[0] -= 1\n"
        "        return real(*arguments)\n"
        "    return call\n"
        "from coterie.net.identity import load_or_make\n"
        "os.write, os.fsync, os.replace = map(deadly, (os.write, os.fsync, os.replace))\n"
        "load_or_make(sys.argv[1])\n"
    )
    ran = subprocess.run([sys.executable, "-c", kill, folder, str(at)], check=False)
    assert ran.returncode == -signal.SIGKILL
    kept = Path(folder, "key.pem").read_bytes() if at > 2 else None
    found = load_or_make(folder)
    assert load_or_make(folder).id == found.id
    if kept:
        assert Path(folder, "key.pem").read_bytes() == kept, "a key that was there is never replaced"


def test_a_certificate_that_is_gone_is_made_again_as_it_was(folder: str) -> None:
    made = load_or_make(folder)
    os.unlink(made.certificate_pem_path)
    assert load_or_make(folder).certificate_der == made.certificate_der


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_never_replaced_by_a_new_one(folder: str, text: bytes) -> None:
    made = load_or_make(folder)
    Path(made.key_path).write_bytes(text)
    with pytest.raises(Damaged, match=r"key\.pem") as refused:
        load_or_make(folder)
    assert "pair anew" in refused.value.hint
    assert Path(made.key_path).read_bytes() == text


def test_a_key_of_another_kind_is_none_of_ours(folder: str) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    made = load_or_make(folder)
    other = X25519PrivateKey.generate()
    Path(made.key_path).write_bytes(
        other.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    with pytest.raises(Damaged):
        load_or_make(folder)


@pytest.mark.parametrize("other", [b"", b"nonsense", None])
def test_a_certificate_of_another_key_is_seen(folder: str, tmp_path: Path, other: bytes | None) -> None:
    made = load_or_make(folder)
    foreign = load_or_make(str(tmp_path / "other"))
    text = Path(foreign.certificate_pem_path).read_bytes() if other is None else other
    Path(made.certificate_pem_path).write_bytes(text)
    with pytest.raises(Damaged, match=r"certificate\.pem") as refused:
        load_or_make(folder)
    assert f"rm {made.certificate_pem_path}" in refused.value.hint


@pytest.mark.parametrize("name", ["", "key.pem", "certificate.pem", "lock"])
@pytest.mark.parametrize("how", ["loose", "link"])
def test_what_is_not_safely_ours_is_refused_with_the_fix(folder: str, name: str, how: str) -> None:
    made = load_or_make(folder)
    path = os.path.join(folder, name).rstrip("/")
    if how == "loose":
        os.chmod(path, 0o755)
    else:
        os.rename(path, f"{path}.real")
        os.symlink(f"{path}.real", path)
    with pytest.raises(Unsafe) as refused:
        load_or_make(folder)
    assert path in f"{refused.value}"
    assert made.id


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_a_key_that_we_may_not_read_is_told(folder: str) -> None:
    os.chmod(load_or_make(folder).key_path, 0)
    with pytest.raises(Unsafe, match="cannot be read"):
        load_or_make(folder)


def test_no_room_is_told_and_leaves_nothing(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda *_: 3)
    with pytest.raises(DiskFull, match="no room"):
        load_or_make(folder)
    monkeypatch.undo()
    assert sorted(os.listdir(folder)) == ["lock"]
    load_or_make(folder)


def test_another_failure_of_the_disk_is_not_called_no_room(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        load_or_make(folder)


# --- signatures -------------------------------------------------------------------------------------


def test_what_it_signs_is_verified_with_its_certificate_and_nothing_else(folder: str, tmp_path: Path) -> None:
    made, other = load_or_make(folder), load_or_make(str(tmp_path / "other"))
    signature = made.sign(b"text")
    assert identity.verify(made.certificate_der, b"text", signature)
    assert not identity.verify(made.certificate_der, b"Text", signature)
    assert not identity.verify(other.certificate_der, b"text", signature)
    assert not identity.verify(made.certificate_der, b"text", signature[:-1])
    assert not identity.verify(b"no certificate", b"text", signature)


def test_no_key_is_shown(folder: str) -> None:
    assert "Ed25519PrivateKey" not in repr(load_or_make(folder))


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    load = (
        "import sys, coterie.net.identity, coterie.net.pairings, coterie.net.tls\n"
        "print({module.partition('.')[0] for module in sys.modules} & {'cryptography', 'spake2', 'segno'})"
    )
    ran = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


# --- keys of pairings -------------------------------------------------------------------------------


def test_a_pairing_key_is_kept_replaced_and_removed(folder: str) -> None:
    keys = PairKeys(folder)
    assert keys.get(OTHER) is None
    keys.remove(OTHER)
    keys.put(OTHER, KEY)
    assert keys.get(OTHER) == KEY
    keys.put(OTHER, bytes(32))
    assert PairKeys(folder).get(OTHER) == bytes(32)
    keys.remove(OTHER)
    assert keys.get(OTHER) is None
    assert os.listdir(os.path.join(folder, "pairs")) == []


@pytest.mark.parametrize("device", ["", "../key.pem", OTHER[:-1], OTHER[:-1] + ("A" if OTHER[-1] != "A" else "B")])
def test_only_a_device_has_a_key(folder: str, device: str) -> None:
    keys = PairKeys(folder)
    for act in (keys.get, keys.remove, lambda name: keys.put(name, KEY)):
        with pytest.raises(BadInput):
            act(device)


@pytest.mark.parametrize("text", [b"", b"00ff", b"zz" * 32, b"\xff" * 64])
def test_a_damaged_pairing_key_is_told_and_not_shown(folder: str, text: bytes) -> None:
    keys = PairKeys(folder)
    keys.put(OTHER, KEY)
    Path(folder, "pairs", OTHER).write_bytes(text)
    with pytest.raises(Damaged) as refused:
        keys.get(OTHER)
    assert isinstance(refused.value, CoterieError)
    assert "00ff" not in str(refused.value)


# --- the lock of pairing --------------------------------------------------------------------------------------------


@pytest.mark.promise("L2")
def test_the_lock_of_pairing_holds_until_it_is_lifted(folder: str) -> None:
    lock = PairingLock(folder)
    assert not lock.holds
    lock.lift()
    assert not os.path.exists(folder)
    for _ in range(2):
        lock.set()
        assert PairingLock(folder).holds
    assert [mode(os.path.join(folder, name)) for name in os.listdir(folder)] == [0o600]
    lock.lift()
    assert not PairingLock(folder).holds


def test_whatever_lies_in_the_place_of_the_lock_it_is_locked(folder: str) -> None:
    lock, path = PairingLock(folder), os.path.join(folder, "pairing-locked")
    os.makedirs(path, 0o700)
    assert lock.holds
    with pytest.raises(Refused, match="cannot be unlocked") as caught:
        lock.lift()
    assert path in caught.value.hint
    os.rmdir(path)
    os.symlink("/nowhere/at/all", path)
    assert lock.holds
    lock.lift()
    assert not lock.holds
