"""Whatever of ours is not safely ours is refused, with the fix; and what we make is ours alone from birth."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from cli.detached import Command
from conftest import Place, is_daemon, must_have, running, wait_for
from coterie import client
from coterie.errors import Unsafe
from coterie.files import Home
from coterie.store import migrations
from coterie.store.db import Store
from wire import Json, Raw, kind, request

NOBODY = 65_534
NOW = 1_800_000_000.0

# --- the matrix ----------------------------------------------------------------------------------------------------


def link(path: str) -> None:
    """A symbolic link to a thing of ours that would pass."""
    os.rename(path, path + ".real")
    os.symlink(path + ".real", path)


def open_up(path: str) -> None:
    os.chmod(path, 0o755 if os.path.isdir(path) else 0o644)


def change_kind(path: str) -> None:
    os.rename(path, path + ".real")
    if os.path.isdir(path + ".real"):
        os.close(os.open(path, os.O_CREAT, 0o600))
    else:
        os.mkdir(path, 0o700)


def give_away(path: str) -> None:
    os.chown(path, NOBODY, NOBODY)


FAULTS: dict[str, tuple[Callable[[str], None], str, str]] = {
    "a symbolic link": (link, "is a symbolic link", "rm {path}"),
    "open to others": (open_up, "is open to other users", "chmod {mode} {path}"),
    "of another kind": (change_kind, "is not a {kind}", "mv {path} {path}.old"),
    "somebody else's": (give_away, f"belongs to another user (uid {NOBODY})", "remove it, or set COTERIE_HOME"),
}
THINGS = {
    "folder": ("700", "folder"),
    "backups": ("700", "folder"),
    "socket": ("600", "socket"),
    **dict.fromkeys(("lock", "database", "log", "off"), ("600", "file")),
}
"""The mode that the fix names, and what the thing should be."""


class Fault:
    """One thing of a home in a state in which it must not be used."""

    def __init__(self, place: Place, thing: str, fault: str) -> None:
        self.path = getattr(place.home, thing)
        self._spoil, self._what, self._fix = FAULTS[fault]
        self._words = {"path": self.path, "mode": THINGS[thing][0], "kind": THINGS[thing][1]}
        if fault == "somebody else's":
            must_have(os.geteuid() == 0, "root")

    def spoil(self) -> None:
        self._spoil(self.path)

    def is_told(self, text: str) -> bool:
        """Whether `text` says what is wrong and how to put it right."""
        return f"{self.path} {self._what.format(**self._words)}" in text and self._fix.format(**self._words) in text


def used(place: Place) -> Place:
    """A home that was in use: everything is there, and nobody serves."""
    place.start()
    place.connect("cli", start=False)
    place.kill()
    os.mkdir(place.home.backups, 0o700)
    return place


def listing(folder: str) -> dict[str, tuple[int, int, int]]:
    """Kind, mode and owner of all there is, the links themselves and not what they lead to."""
    found = {}
    for above, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(above, name)
            state = os.lstat(path)
            found[path] = (state.st_mode, state.st_uid, state.st_ino)
    return found


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("thing", ["folder", "socket", "lock", "database", "log"])
@pytest.mark.promise("S1")
def test_a_starter_refuses_it_and_says_how_to_put_it_right(place: Place, thing: str, fault: str) -> None:
    found = Fault(used(place), thing, fault)
    found.spoil()
    before = listing(str(place.root))
    with pytest.raises(Unsafe) as caught:
        place.connect("cli")
    assert found.is_told(str(caught.value)), caught.value
    assert listing(str(place.root)) == before
    wait_for(lambda: not running(place.pid()), "nothing is left running")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("thing", ["folder", "socket", "lock", "database", "log"])
@pytest.mark.promise("S1")
def test_the_daemon_itself_refuses_it_too(place: Place, thing: str, fault: str) -> None:
    found = Fault(used(place), thing, fault)
    found.spoil()
    before = listing(str(place.root))
    daemon = place.start()
    _, said = daemon.communicate(timeout=20)
    assert daemon.returncode == 3
    assert found.is_told(said.decode()), said
    assert listing(str(place.root)) == before


@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_trusts_no_socket_in_such_a_folder(place: Place, fault: str) -> None:
    """Though a daemon listens on it."""
    place.start()
    found = Fault(place, "folder", fault)
    found.spoil()
    try:
        with pytest.raises(Unsafe) as caught:
            place.connect("cli", start=False)
        assert found.is_told(str(caught.value))
    finally:
        if os.path.lexists(place.home.folder + ".real"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place.home.folder)
            os.rename(place.home.folder + ".real", place.home.folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_backup_is_written_into_such_a_folder(place: Place, fault: str) -> None:
    os.mkdir(place.home.backups, 0o700)
    found = Fault(place, "backups", fault)

    async def main() -> None:
        store = Store.open(place.home, NOW)
        try:
            found.spoil()
            with pytest.raises(Unsafe) as caught:
                await store.write(lambda connection: migrations.back_up(connection, place.home, 1, NOW))
            assert found.is_told(str(caught.value))
        finally:
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("fault", FAULTS)
def test_switching_off_writes_into_no_such_marker(daemon: Place, fault: str) -> None:
    """And what cannot be marked as switched off goes on serving."""
    os.close(os.open(daemon.home.off, os.O_CREAT, 0o600))
    found = Fault(daemon, "off", fault)
    found.spoil()
    answer = as_person(daemon, "daemon.down", i_am_human=True)
    assert kind(answer) == "unsafe"
    assert found.is_told(f"{answer['error']['message']}\n{answer['error']['data']['hint']}")
    assert daemon.connect("cli", start=False).hello["pid"] == daemon.pid()


CALL = """
import json, sys
from wire import Raw
with Raw(sys.argv[1]) as raw:
    print(json.dumps(raw.greet().call(sys.argv[2], **json.loads(sys.argv[3]))))
"""


def as_person(place: Place, method: str, **params: Any) -> Json:
    """Call the daemon as a person's program does, which has no agent above it."""
    arguments = [sys.executable, "-c", CALL, place.home.socket, method, json.dumps(params)]
    environ = {**place.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ended = Command(arguments, environ, "/").finish()
    assert ended.status == 0, ended
    answer: Json = json.loads(ended.out)
    return answer


# --- ours alone from birth -----------------------------------------------------------------------------------------


class Lookout:
    """Looks at every file and folder below a root as often as it can, and notes what others may open."""

    def __init__(self, root: Path) -> None:
        self.open: set[tuple[str, str]] = set()
        self.seen: set[str] = set()
        self._root = str(root)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.is_set():
            self._look(self._root)

    def _look(self, folder: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.scandir(folder):
                with contextlib.suppress(FileNotFoundError):
                    mode = os.lstat(entry.path).st_mode
                    self.seen.add(os.path.relpath(entry.path, self._root))
                    if mode & 0o077:
                        self.open.add((entry.path, stat.filemode(mode)))
                    if stat.S_ISDIR(mode):
                        self._look(entry.path)


IN_SLOW_MOTION = """
import os, sys, time
os.umask(0)
def slow(frame, event, called):
    if event == "c_return" and called.__name__ in ("mkdir", "open", "bind", "connect"):
        time.sleep(0.003)
sys.setprofile(slow)
"""
"""Between making a thing and whatever is done to it next, there is time to look at it."""
NAMES = ("coterie.db", "coterie.db-shm", "coterie.db-wal", "daemon.lock", "daemon.log", "daemon.sock")


@pytest.mark.promise("S1")
def test_everything_is_ours_alone_from_the_moment_it_is_there(place: Place) -> None:
    """Under a umask that keeps nothing from anybody, in a home whose folders above are not there yet either."""
    top = place.root / "top"
    top.mkdir(0o700)
    home = top / "a" / "b" / "home"
    code = IN_SLOW_MOTION + "from coterie import client; client.connect('cli')"
    with Lookout(top) as lookout:
        subprocess.run([sys.executable, "-c", code], env={**place.environ, "COTERIE_HOME": str(home)}, check=True)
        pid = client.lock_holder(Home(str(home)))
        assert is_daemon(pid)
        os.kill(pid, signal.SIGKILL)
    assert lookout.open == set()
    assert lookout.seen >= {"a", "a/b", "a/b/home", *(f"a/b/home/{name}" for name in NAMES)}


def test_so_it_is_if_the_daemon_itself_makes_everything(place: Place) -> None:
    os.rmdir(place.home.folder)
    with Lookout(place.root) as lookout:
        place.start(patch=IN_SLOW_MOTION)
    assert lookout.open == set()
    assert lookout.seen >= {"home", *(f"home/{name}" for name in NAMES)}


def test_a_log_that_is_turned_over_stays_ours_alone(place: Place) -> None:
    for _ in range(4):
        place.start(patch="import os; os.umask(0); import coterie.limits; coterie.limits.LOG_BYTES_MAX = 200")
        with Raw(place.home.socket) as raw:
            raw.greet().call("daemon.retire")
        place.daemons[-1].wait(20)
    modes = {entry.name: oct(stat.S_IMODE(entry.stat().st_mode)) for entry in os.scandir(place.home.folder)}
    assert modes == dict.fromkeys(["clock.json", "coterie.db", "daemon.lock", "daemon.log", "daemon.log.1"], "0o600")


# --- other users ---------------------------------------------------------------------------------------------------


def as_nobody(do: Callable[[], str]) -> str:
    """What `do` returns in a process of another user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, do().encode())
        except OSError as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as said:
        text = said.read()
    os.waitpid(child, 0)
    return text


def speak(path: str) -> str:
    """Connect and ask; everything that comes back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(path)
        # It may be gone before it read us.
        with contextlib.suppress(OSError):
            connection.sendall(HELLO + request(2, "peers.list"))
        said = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65_536):
                said += data
        return said.decode()


HELLO = request(1, "hello", protocol=[1, 1], version="0", client="test")


@pytest.mark.promise("S1")
def test_another_user_cannot_even_reach_the_socket(daemon: Place, as_root: None) -> None:
    daemon.root.chmod(0o755)
    assert as_nobody(lambda: speak(daemon.home.socket)).startswith("PermissionError")
    with Raw(daemon.home.socket) as raw:
        assert "result" in raw.greet().call("peers.list")


@pytest.mark.promise("S1")
def test_another_user_who_reaches_it_is_refused_by_the_daemon(daemon: Place, as_root: None) -> None:
    """On some systems the modes of sockets count for nothing, so the daemon looks for itself."""
    for path in (str(daemon.root), daemon.home.folder):
        os.chmod(path, 0o711)
    os.chmod(daemon.home.socket, 0o666)
    lines = as_nobody(lambda: speak(daemon.home.socket)).splitlines()
    assert [kind(json.loads(line)) for line in lines] == ["refused"]
    assert "another user" in lines[0]
    with Raw(daemon.home.socket) as raw:
        assert "result" in raw.greet().call("peers.list")


# --- paths too long for a socket -----------------------------------------------------------------------------------


def test_a_home_with_a_long_path_is_served_through_tmp(place: Place) -> None:
    home = Home(str(place.root / ("x" * 100)))
    assert home.socket_folder == f"/tmp/coterie-{os.getuid()}"
    place.home = home
    place.environ["COTERIE_HOME"] = home.folder
    connection = place.connect("cli")
    assert stat.S_IMODE(os.lstat(home.socket_folder).st_mode) == 0o700
    assert stat.S_IMODE(os.lstat(home.socket).st_mode) == 0o600
    assert connection.call("daemon.status")["socket"] == home.socket
    agent = place.agent("session-long")
    assert "list" in agent.tool("list_peers") or "nobody" in agent.tool("list_peers").lower()
    connection.call("daemon.retire")
    wait_for(lambda: not os.path.lexists(home.socket), "the daemon takes its socket with it")


OTHERS_TMP = """
import os, stat, subprocess, sys
from coterie import client
from coterie.errors import Unsafe
from coterie.files import Home
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/tmp"], check=True)
home = Home("/tmp/" + "x" * 110)
os.mkdir(home.socket_folder, 0o700)
{spoil}
before = os.lstat(home.socket_folder)
try:
    client.connect("cli", at=home)
except Unsafe as error:
    print(error)
after = os.lstat(home.socket_folder)
assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)
"""
SPOILT = {
    f"belongs to another user (uid {NOBODY})": f"os.chown(home.socket_folder, {NOBODY}, {NOBODY})",
    "is open to other users": "os.chmod(home.socket_folder, 0o777)",
    "is a symbolic link": "os.rmdir(home.socket_folder); os.mkdir('/tmp/x'); os.symlink('/tmp/x', home.socket_folder)",
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_folder_in_tmp_that_somebody_else_got_ready_is_refused(what: str, as_root: None) -> None:
    """With a /tmp of the test's own: in the real one other homes may be in use."""
    must_have(subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0, "unshare")
    command = ["unshare", "-m", sys.executable, "-c", OTHERS_TMP.format(spoil=SPOILT[what])]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"/tmp/coterie-0 {what}")
