"""The life of the daemon: one at a time whoever races, born clean, never robbed, gone when nobody needs it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie import birth
from coterie.errors import Silent

CROWD = str(Path(__file__).with_name("crowd.py"))
TAKEOVER_S = 1.0


@contextmanager
def crowd(place: Place, rounds: int, count: int, method: str, **params: Any) -> Iterator[subprocess.Popen[str]]:
    """A crowd that has been forked and waits for the start of its first round."""
    command = [sys.executable, CROWD, str(rounds), str(count), method, json.dumps(params)]
    with subprocess.Popen(
        command, env=place.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a round came to."""
    assert process.stdout
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process is stopped meanwhile, as by Ctrl-Z or a suspended laptop."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: b"\nState:\tT" in Path(f"/proc/{pid}/status").read_bytes(), "it is stopped")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# --- exactly one ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.promise("P1")
def test_of_fifty_racing_starters_all_get_the_same_daemon_in_a_hundred_rounds(place: Place) -> None:
    """Between rounds it is killed with kill -9, so that each round is a takeover as well."""
    pids = set()
    with crowd(place, 100, 50, "daemon.status") as racing:
        for number in range(100):
            go(racing)
            round_ = told(racing)
            assert round_["errors"] == [], number
            assert len(round_["pids"]) == 50
            assert len(set(round_["pids"])) == 1, number
            assert round_["daemons"] == round_["pids"][:1], "and no other is left running"
            pids.add(round_["pids"][0])
    assert len(pids) == 100
    log = Path(place.home.log).read_text()
    assert log.count(" serving ") == 100, "none served and was replaced meanwhile"


def test_who_comes_second_says_who_serves_and_leaves(daemon: Place) -> None:
    second = daemon.start()
    _, said = second.communicate(timeout=20)
    assert second.returncode == 0, "another one serves: that is what was wanted"
    assert f"a daemon serves {daemon.home.folder} already (pid {daemon.daemons[0].pid})" in said.decode()
    assert daemon.connect("cli", start=False).hello["pid"] == daemon.daemons[0].pid


def test_after_kill_9_the_next_caller_is_served_within_a_second(place: Place) -> None:
    """Without anybody cleaning up: the lock, the socket and the WAL lie as they fell."""
    place.start()
    for last_try in (False, True):
        first = place.pid()
        os.kill(first, signal.SIGKILL)
        began = time.monotonic()
        heir = place.connect("cli")
        took = time.monotonic() - began
        assert heir.hello["pid"] != first
        if took < TAKEOVER_S:
            return
        assert not last_try, f"twice more than a second, now {took:.2f} s"


def test_a_starter_that_dies_meanwhile_takes_nothing_with_it(place: Place) -> None:
    """The daemon that it started serves whoever comes next."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-P", "-m", "coterie.daemon", "--ready-fd", str(writer)]
    place.daemons.append(subprocess.Popen(command, env=place.environ, pass_fds=[writer], stderr=subprocess.PIPE))
    os.close(writer)
    wait_for(lambda: os.path.exists(place.home.socket), "it listens")
    assert place.connect("cli", start=False).hello["pid"] == place.daemons[0].pid


def test_a_lock_file_without_a_daemon_is_no_obstacle(place: Place) -> None:
    """As the last one left it, with the pid of somebody else by now."""
    Path(place.home.lock).write_text(f"{os.getpid()}\n")
    os.chmod(place.home.lock, 0o600)
    assert place.connect("cli").hello["pid"] != os.getpid()


# --- stopped, and not robbed ---------------------------------------------------------------------------------------


@pytest.mark.promise("P1")
def test_a_stopped_daemon_is_never_robbed(daemon: Place) -> None:
    pid = daemon.pid()
    with stopped(pid):
        with pytest.raises(Silent) as caught:
            daemon.connect("cli", wait_s=0.2)
        assert f"pid is {pid}" in caught.value.message
        assert f"kill -CONT {pid}" in caught.value.hint
        second = daemon.start()
        assert second.wait(20) == 0, "nor by a daemon started by hand"
    assert daemon.connect("cli").hello["pid"] == pid
    assert daemon.agent("session-a").tool("list_peers")


@pytest.mark.promise("P1")
def test_nor_is_one_that_was_stopped_before_it_listened(daemon: Place) -> None:
    """It holds the lock, and there is no socket."""
    pid = daemon.pid()
    away = daemon.home.socket + ".away"
    os.rename(daemon.home.socket, away)
    with stopped(pid), pytest.raises(Silent) as caught:
        daemon.connect("cli", start_s=0.2)
    assert f"kill -CONT {pid}" in caught.value.hint
    os.rename(away, daemon.home.socket)
    assert daemon.connect("cli").hello["pid"] == pid


def test_a_living_session_outlasts_a_stop(daemon: Place) -> None:
    ann, bob = daemon.named("ann"), daemon.named("bob")
    with stopped(daemon.pid()):
        asked = ann.ask_tool("send_message", to="bob", message="held up, not lost")
    ann.answer_to(asked)
    assert bob.wait_inbox("held up, not lost")


def test_two_hundred_sessions_that_join_at_once_while_it_is_busy_all_join(daemon: Place) -> None:
    with crowd(daemon, 1, 200, "peers.register", kind="codex", session="thread-NUMBER", cwd="/") as joining:
        with stopped(daemon.pid()):
            go(joining)
            socket = daemon.home.socket.encode()
            waiting = lambda: Path("/proc/net/unix").read_bytes().count(socket)  # noqa: E731
            wait_for(lambda: waiting() > 200, f"all have connected, not {waiting()}")
        round_ = told(joining)
    assert round_["errors"] == []
    assert round_["pids"] == [daemon.pid()] * 200
    assert daemon.row("SELECT count(*) FROM peers")[0] == 200


# --- born clean ----------------------------------------------------------------------------------------------------

SECRETS = {"ANTHROPIC_API_KEY": "sk-canary", "SSH_AUTH_SOCK": "/tmp/canary", "CLAUDECODE": "1", "PYTHONPATH": ""}
STARTER = """
import os, sys
from coterie import client
for number in range(40):
    os.set_inheritable(os.open(sys.argv[1], os.O_RDWR), True)
os.chdir(os.path.dirname(sys.argv[1]))
connection = client.connect("cli")
print("pid", connection.hello["pid"], "starter", os.getpid(), os.getsid(0), flush=True)
"""


def start_from_a_terminal(place: Place, open_file: Path) -> dict[str, int]:
    """Have a daemon started by a process with a terminal, open files, and secrets in its environment."""
    child, terminal = pty.fork()
    if child == 0:
        environ = {**place.environ, **SECRETS}
        os.execve(sys.executable, [sys.executable, "-c", STARTER, str(open_file)], environ)
    said = b""
    while b"\n" not in said:
        said += os.read(terminal, 1000)
    os.waitpid(child, 0)
    os.close(terminal)
    _, pid, _, starter, session = said.split()[:5]
    return {"pid": int(pid), "starter": int(starter), "session": int(session)}


@pytest.mark.promise("S2")
def test_it_is_born_clean(place: Place) -> None:
    canary = place.root / "canary"
    canary.touch()
    born = start_from_a_terminal(place, canary)
    proc = Path(f"/proc/{born['pid']}")

    environ = dict(line.partition("=")[::2] for line in proc.joinpath("environ").read_text().split("\0") if line)
    assert set(environ) <= {*birth.KEPT_VARIABLES, "PATH", "COTERIE_HOME"}
    assert environ["PATH"] == birth.PATH
    assert environ["COTERIE_HOME"] == place.home.folder
    assert environ["HOME"] == str(place.root)

    assert os.readlink(proc / "cwd") == "/"
    umask = next(line for line in proc.joinpath("status").read_text().splitlines() if line.startswith("Umask"))
    assert umask.split()[1] == "0077"

    descriptors = {int(entry.name): os.readlink(entry) for entry in (proc / "fd").iterdir()}
    assert descriptors[0] == descriptors[1] == os.devnull
    assert descriptors[2] == place.home.log
    ours = (place.home.folder, os.devnull, "socket:", "anon_inode:", "/dev/urandom")
    assert [target for target in descriptors.values() if not target.startswith(ours)] == []

    fields = proc.joinpath("stat").read_text().rpartition(")")[2].split()
    parent, session, terminal = int(fields[1]), int(fields[3]), int(fields[4])
    assert terminal == 0
    assert session != born["session"]
    assert parent != born["starter"]
    assert session != born["pid"], "it leads no session either, so that it can never acquire a terminal"


def test_the_end_of_the_terminal_is_not_its_end(place: Place) -> None:
    """Its starter is gone, and so is the terminal; it serves on."""
    canary = place.root / "canary"
    canary.touch()
    born = start_from_a_terminal(place, canary)
    assert place.connect("cli", start=False).hello["pid"] == born["pid"]


def test_a_starter_whose_own_standard_descriptors_are_closed(place: Place) -> None:
    """The lock and the pipe then lie where the daemon's own 0 to 2 come to be."""
    code = "import os; [os.close(n) for n in (0, 1, 2)]; from coterie import client; client.connect('cli')"
    assert subprocess.run([sys.executable, "-c", code], env=place.environ, check=False).returncode == 0
    pid = place.connect("cli", start=False).hello["pid"]
    assert [os.readlink(f"/proc/{pid}/fd/{n}") for n in (0, 1, 2)] == [os.devnull, os.devnull, place.home.log]


def test_the_lock_is_not_inherited_by_what_it_starts(place: Place) -> None:
    """git, which it asks for repositories, could outlive it and keep the next daemon from starting."""
    proc = Path(f"/proc/{place.connect('cli').hello['pid']}")
    locks = [entry.name for entry in (proc / "fd").iterdir() if os.readlink(entry) == place.home.lock]
    assert len(locks) == 1
    flags = (proc / "fdinfo" / locks[0]).read_text().split("flags:")[1].split()[0]
    assert int(flags, 8) & os.O_CLOEXEC
