"""A byte that the disk changed: what is read is what was stored, or it is refused with a way back."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie.errors import Damaged, StoreFailed
from coterie.files import Home
from coterie.store import copies, soundness
from store import faults, mail

SEED = 20_261_120
WAYS_BACK = ("coterie restore", "install the newer coterie", "move it out of the way: mv ")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, bytes, dict[str, Any]]:
    """A home, the database in it as one file, and all that it says."""
    folder = tmp_path_factory.mktemp("home")
    folder.chmod(0o700)
    home = Home(str(folder))
    mail.using(home, partial(mail.fill, count=40))
    return home, Path(home.database).read_bytes(), mail.read(home.database)


async def _everything(store: Any) -> dict[str, Any]:
    return mail.everything(store.reader)


def outcome(whole: tuple[Home, bytes, dict[str, Any]], at: int, mask: int) -> str:
    """What came of changing one byte. Fails unless it was harmless or noticed."""
    home, content, said = whole
    faults.put(Path(home.folder), {"coterie.db": faults.flipped(content, at, mask)})
    found = _opened(home)
    if isinstance(found, StoreFailed):
        assert any(way in found.hint for way in WAYS_BACK), f"byte {at} ^ {mask:#x}: {found}"
        return "refused"
    assert found == said, f"byte {at} ^ {mask:#x} is read as if it were true"
    return "read correctly"


def _opened(home: Home) -> dict[str, Any] | StoreFailed:
    try:
        return dict(mail.using(home, _everything))
    except StoreFailed as error:
        return error


def rounds(whole: tuple[Home, bytes, dict[str, Any]], count: int) -> dict[str, int]:
    found = {"refused": 0, "read correctly": 0}
    for at, mask in faults.flips(SEED, len(whole[1]), count):
        found[outcome(whole, at, mask)] += 1
    return found


@pytest.mark.promise("D9")
def test_a_byte_anywhere(whole: tuple[Home, bytes, dict[str, Any]]) -> None:
    found = rounds(whole, 80)
    assert min(found.values()) > 0, "bytes that matter, and bytes that nothing uses, must both have been changed"


@pytest.mark.soak
def test_a_thousand_bytes_anywhere(whole: tuple[Home, bytes, dict[str, Any]]) -> None:
    found = rounds(whole, 1_000)
    print(found)
    assert sum(found.values()) == 1_000


@pytest.mark.soak
def test_every_byte_of_the_header_and_the_schema(whole: tuple[Home, bytes, dict[str, Any]]) -> None:
    for at in range(4096):
        outcome(whole, at, 1 + at % 255)


def test_every_byte_of_the_header(whole: tuple[Home, bytes, dict[str, Any]]) -> None:
    for at in range(100):
        outcome(whole, at, 1 + at % 255)


@pytest.mark.promise("D9")
@pytest.mark.parametrize(
    "what", ["the port is 8001", "p_alice", "claude-inbox", "bob works on", "queued", "session-bob"]
)
def test_what_sqlite_itself_does_not_see(whole: tuple[Home, bytes, dict[str, Any]], what: str) -> None:
    """A letter inside a text, wherever it stands."""
    _, content, _ = whole
    at = content.find(what.encode())
    while at >= 0:
        outcome(whole, at + 2, 1)
        at = content.find(what.encode(), at + 1)


@pytest.mark.promise("D9")
def test_a_running_daemon_answers_with_a_way_back(daemon: Place) -> None:
    """A page that it reads after the disk changed it."""
    connection = daemon.connect()
    texts = [f"the secret of letter {number} is kept" + " and kept" * 300 for number in range(40)]
    for number, text in enumerate(texts):
        connection.call("messages.send", {"id": f"m_{number:012}", "to": "me", "text": text})
    connection.call("daemon.retire")
    daemon.daemons[0].wait()
    content = Path(daemon.home.database).read_bytes()
    at = content.find(b"the secret of letter 7 is kept")
    Path(daemon.home.database).write_bytes(faults.flipped(content, at + 4, 1))
    with pytest.raises(Damaged) as caught:
        daemon.connect()
    assert "coterie restore --salvage" in caught.value.hint
    assert "do not say what was stored" in caught.value.message
    log = Path(daemon.home.log).read_text()
    assert "Traceback" not in log
    assert "secret" not in log


def test_a_large_one_is_looked_through_beside_the_work(place: Place) -> None:
    """What could not be looked at in time is found while it serves, told by the status, and never read out."""
    mail.using(place.home, partial(mail.fill, count=20))
    content = Path(place.home.database).read_bytes()
    at = content.rfind(b"the port is 8007")
    faults.put(Path(place.home.folder), {"coterie.db": faults.flipped(content, at + 4, 1)})
    place.start(
        patch="from coterie import limits; limits.CHECK_START_S = -1.0\n"
        "from coterie.store import soundness; soundness.STEPS = 1"
    )
    connection = place.connect()
    wait_for(lambda: connection.call("daemon.status")["trouble"], "the damage is told")
    assert "coterie restore --salvage" in connection.call("daemon.status")["trouble"]["hint"]
    with pytest.raises(Damaged):
        connection.call("messages.log", {"limit": 200, "texts": True})
    assert "Traceback" not in Path(place.home.log).read_text()


def test_a_text_that_is_none_any_more_is_not_quoted(whole: tuple[Home, bytes, dict[str, Any]]) -> None:
    """Python's module quotes it in its error, which goes to logs and to whoever asks."""
    home, content, _ = whole
    for letter in ("größer", "p_alice", "bob works on"):
        at = content.rfind(letter.encode())
        faults.put(Path(home.folder), {"coterie.db": faults.flipped(content, at + 2, 0x80)})
        found = _opened(home)
        assert isinstance(found, Damaged)
        assert letter[3:] not in str(found)
        assert "see gr" not in str(found)


def test_the_check_names_what_is_wrong(
    whole: tuple[Home, bytes, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, content, _ = whole
    faults.put(Path(home.folder), {"coterie.db": content})
    monkeypatch.setattr(soundness, "STEPS", 1)
    with contextlib.closing(copies.opened(home.database, alone=True)) as connection:
        assert soundness.check(connection, lambda: False) is None
        with pytest.raises(soundness.Unfinished):
            soundness.check(connection, lambda: True)
    faults.put(Path(home.folder), {"coterie.db": content.replace(b"the port is 8001", b"the port is 8007")})
    with contextlib.closing(copies.opened(home.database, alone=True)) as connection:
        assert soundness.check(connection, lambda: False) == "1 of the rows in messages do not say what was stored"
