"""How the daemon ends: when nobody needs it, when it is asked to, and when a newer one is to take its place."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.detached import Command
from conftest import Place, running, wait_for
from coterie import ids
from coterie.errors import SwitchedOff, Unavailable
from coterie.limits import PROTOCOL
from wire import Raw, kind

CROWD = str(Path(__file__).with_name("crowd.py"))

# --- idle -------------------------------------------------------------------------------------------------------


def test_it_leaves_when_nobody_needs_it_and_comes_back(place: Place) -> None:
    daemon = place.start("--idle-exit", "0.2")
    assert daemon.wait(20) == 0
    assert not os.path.lexists(place.home.socket)
    assert place.connect("cli").hello["pid"] != daemon.pid


def test_it_stays_while_a_session_is_connected(place: Place) -> None:
    """Beside another of the same patience that has no session: that one goes, and this one is still there."""
    (place.root / "other").mkdir()
    other = Place(place.root / "other")
    ours = place.start("--idle-exit", "0.2")
    session = place.connect("cli", start=False)
    try:
        assert other.start("--idle-exit", "0.2").wait(20) == 0
        assert ours.poll() is None
        assert session.call("daemon.status")["pid"] == ours.pid
    finally:
        other.close()
    session.close()
    assert ours.wait(20) == 0


IMPATIENT = """#!/bin/sh
exec {python} "$@" --idle-exit 0.01
"""
CONNECTS = """
import random, sys, time
from coterie import client
sys.executable = sys.argv[1]
moments = random.Random(int(sys.argv[2]))
pids = set()
for number in range(100):
    connection = client.connect("cli")
    assert connection.call("daemon.status")["pid"] == connection.hello["pid"]
    pids.add(connection.hello["pid"])
    connection.close()
    time.sleep(moments.uniform(0.009, 0.013))
print(len(pids))
"""
"""It comes back at a moment within a few milliseconds of that at which the daemon leaves."""


def program(path: Path, text: str) -> str:
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o700)
    return str(path)


@pytest.mark.slow
def test_who_comes_at_the_moment_it_leaves_is_served(place: Place) -> None:
    """A hundred times in a row, by daemons whose patience is a hundredth of a second."""
    impatient = program(place.root / "impatient", IMPATIENT)
    command = [sys.executable, "-c", CONNECTS, impatient, "7"]
    ran = subprocess.run(command, env=place.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert 10 < int(ran.stdout) <= 100, "daemons must have left and stayed, or nothing is shown"


WAITS_BEFORE_IT_CLOSES = """
import asyncio, os, coterie.daemon.main as main
close = main.Daemon._close
async def wait_and_close(self):
    await asyncio.to_thread(open, os.path.join(self.place.folder, "go-on"))
    await close(self)
main.Daemon._close = wait_and_close
"""


ACCEPTED_AND_LEAVING = """
import coterie.daemon.local as local
make, made = main.Daemon.__init__, local.Connection.connection_made
def noted(self, *arguments):
    make(self, *arguments)
    main.it = self
def too_late(self, transport):
    main.it.leave()
    made(self, transport)
main.Daemon.__init__, local.Connection.connection_made = noted, too_late
"""


def test_who_was_accepted_and_not_yet_noticed_is_cut_off_unanswered(place: Place) -> None:
    """The narrowest moment: the daemon takes the connection and begins to leave before it knows of it. Had it said
    hello, the client would take it for one that serves.
    """
    go_on = os.path.join(place.home.folder, "go-on")
    os.mkfifo(go_on)
    leaving = place.start(patch=WAITS_BEFORE_IT_CLOSES + ACCEPTED_AND_LEAVING)
    with Raw(place.home.socket) as raw:
        raw.ask("hello", protocol=[PROTOCOL, PROTOCOL], version="0", client="test")
        try:
            answered = not raw.ends()
        finally:
            open(go_on, "w").close()
    assert not answered
    assert leaving.wait(20) == 0


def test_asked_to_retire_it_ends_in_good_order(daemon: Place) -> None:
    session = daemon.connect("cli")
    assert session.call("daemon.retire") == {"leaving": True, "pid": daemon.pid()}
    assert daemon.daemons[0].wait(20) == 0
    assert sorted(os.listdir(daemon.home.folder)) == ["clock.json", "coterie.db", "daemon.lock", "daemon.log"]
    with pytest.raises(Unavailable):
        session.call("daemon.status")
    with pytest.raises(Unavailable) as caught:
        daemon.connect("cli", start=False)
    assert type(caught.value) is Unavailable
    assert daemon.connect("cli").hello["pid"] != daemon.daemons[0].pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(daemon: Place, number: int) -> None:
    daemon.daemons[0].send_signal(number)
    assert daemon.daemons[0].wait(20) == 0
    assert sorted(os.listdir(daemon.home.folder)) == ["clock.json", "coterie.db", "daemon.lock", "daemon.log"]


def test_a_daemon_that_makes_room_leaves_no_call_of_a_session_unserved(daemon: Place) -> None:
    """Five times under sessions that send all the while: what one daemon did not do, the next one does."""
    ann = daemon.named("ann")
    daemon.named("bob", inbox=False)
    asked = []
    for turn in range(5):
        texts = [f"in the middle of it, {turn}, {number}" for number in range(20)]
        asked += [ann.ask_tool("send_message", to="bob", message=text) for text in texts]
        asked += [ann.ask_tool("check_messages")]
        pid = daemon.pid()
        daemon.connect("cli").call("daemon.retire")
        wait_for(lambda pid=pid: not running(pid), "it has left")
    answers = [ann.answer_to(number)["result"] for number in asked]
    assert [answer for answer in answers if answer["isError"]] == []
    assert daemon.row("SELECT count(*) FROM messages")[0] == 100


LEAVES_IN_THE_MIDDLE = """
import asyncio, coterie.daemon.handlers as handlers
inner = handlers.METHODS["messages.send"]
async def send(daemon, connection, params):
    daemon.leave()
    while not daemon.store._closing:
        await asyncio.sleep(0)
    return await inner(daemon, connection, params)
handlers.METHODS["messages.send"] = send
"""


def test_what_fails_because_it_leaves_is_cut_off_unanswered(place: Place) -> None:
    """An error would end the call; cut off, the client asks the next daemon, which can do it."""
    leaving = place.start(patch=LEAVES_IN_THE_MIDDLE)
    with Raw(place.home.socket) as raw:
        raw.greet().call("peers.register", kind="other", cwd="/")
        raw.ask("messages.send", id=ids.new_message_id(), to="me", text="x")
        assert raw.ends()
    assert leaving.wait(20) == 0


READS_WHEN_IT_IS_CLOSED = """
import asyncio, coterie.daemon.handlers as handlers
inner = handlers.METHODS["messages.log"]
async def log(daemon, connection, params):
    daemon.leave()
    while daemon.store._reader:
        await asyncio.sleep(0)
    return inner(daemon, connection, params)
handlers.METHODS["messages.log"] = log
"""
READS_AT_THE_VERY_END = """
import asyncio, coterie.daemon.handlers as handlers
inner = handlers.METHODS["messages.log"]
async def log(daemon, connection, params):
    daemon.leave()
    daemon.never = asyncio.Event()  # Held, or it would be collected together with the task that waits for it.
    try:
        await daemon.never.wait()
    finally:
        inner(daemon, connection, params)
handlers.METHODS["messages.log"] = log
"""


@pytest.mark.parametrize("patch", [READS_WHEN_IT_IS_CLOSED, READS_AT_THE_VERY_END])
def test_what_finds_the_store_closed_is_cut_off_unanswered(place: Place, patch: str) -> None:
    """No word that nothing was stored, and no defect in the log: the next daemon knows what is there."""
    leaving = place.start(patch=patch)
    with Raw(place.home.socket) as raw:
        raw.greet().call("peers.register", kind="other", cwd="/")
        raw.ask("messages.log")
        assert raw.ends()
    assert leaving.wait(20) == 0
    log = Path(place.home.log).read_text()
    assert "main: left" in log
    assert "ERROR" not in log
    if patch is READS_AT_THE_VERY_END:
        assert "not done: the daemon is leaving" in log, "or nothing is shown"


def test_a_session_notices_nothing_of_it(place: Place) -> None:
    leaving = place.start(patch=LEAVES_IN_THE_MIDDLE)
    ann = place.named("ann")
    message = ann.tool("send_message", to="me", message="across two daemons").split()[0]
    assert leaving.wait(20) == 0
    assert place.rows("SELECT id FROM messages") == [(message,)]


def test_leaving_it_reads_nothing_new(place: Place) -> None:
    go_on = os.path.join(place.home.folder, "go-on")
    os.mkfifo(go_on)
    leaving = place.start(patch=WAITS_BEFORE_IT_CLOSES)
    with Raw(place.home.socket) as raw:
        raw.greet().call("daemon.retire")
        wait_for(lambda: not os.path.lexists(place.home.socket), "it leaves")
        raw.ask("daemon.status")
        open(go_on, "w").close()
        assert raw.ends()
    assert leaving.wait(20) == 0


# --- switched off --------------------------------------------------------------------------------------------------


def down(place: Place, *, terminal: int = 0, **params: Any) -> dict[str, Any]:
    """Ask for the end as a program without an agent above it, with a terminal or not."""
    environ = {**place.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    arguments = [sys.executable, "-c", DOWN, place.home.socket, json.dumps(params)]
    ended = Command(arguments, environ, "/", terminal=terminal).finish()
    assert ended.status == 0, ended
    answer: dict[str, Any] = json.loads(ended.out)
    return answer


DOWN = """
import json, sys
from wire import Raw
with Raw(sys.argv[1]) as raw:
    print(json.dumps(raw.greet().call("daemon.down", **json.loads(sys.argv[2]))))
"""


def test_only_a_person_at_a_terminal_or_one_who_says_so_switches_off(daemon: Place) -> None:
    refused = down(daemon)
    assert kind(refused) == "no-terminal"
    assert "coterie down --i-am-human" in refused["error"]["data"]["hint"]
    marked = daemon.environ | {"CLAUDECODE": "1"}
    for params in ({}, {"i_am_human": True}):
        ran = subprocess.run(
            [sys.executable, "-c", DOWN, daemon.home.socket, json.dumps(params)],
            env={**marked, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert kind(json.loads(ran.stdout)) == "human-only", "an agent is no person, whatever it says"
    assert not os.path.exists(daemon.home.off)
    assert daemon.daemons[0].poll() is None


@pytest.mark.parametrize("terminal", [0, 80])
def test_switched_off_it_stays_off_until_the_marker_is_gone(daemon: Place, terminal: int) -> None:
    answer = down(daemon, terminal=terminal, **({} if terminal else {"i_am_human": True}))
    assert answer["result"]["leaving"] is True
    assert daemon.daemons[0].wait(20) == 0
    assert stat.S_IMODE(os.lstat(daemon.home.off).st_mode) == 0o600
    for start in (True, False):
        with pytest.raises(SwitchedOff, match="switched off"):
            daemon.connect("cli", start=start)
    os.unlink(daemon.home.off)
    assert daemon.connect("cli").hello["pid"] != daemon.daemons[0].pid


# --- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoken", [[PROTOCOL + 1, PROTOCOL + 5], [-3, 0]])
def test_a_protocol_that_it_does_not_speak_is_refused_with_what_to_do(daemon: Place, spoken: list[int]) -> None:
    with Raw(daemon.home.socket) as raw:
        refused = raw.call("hello", protocol=spoken, version="9", client="test")
        assert kind(refused) == "refused"
        assert f"{spoken[0]} to {spoken[1]}" in refused["error"]["message"]
        assert "start it again" in refused["error"]["data"]["hint"]
        raw.greet()


def test_of_what_both_speak_the_newest_is_agreed_on(daemon: Place) -> None:
    with Raw(daemon.home.socket) as raw:
        agreed = raw.call("hello", protocol=[0, PROTOCOL + 7], version="9", client="test")["result"]
    assert (agreed["protocol"], agreed["newest"], agreed["pid"]) == (PROTOCOL, PROTOCOL, daemon.pid())


NEWER = f"import coterie.limits; coterie.limits.PROTOCOL = {PROTOCOL + 1}"
NEWER_DAEMON = f"""#!/bin/sh
# What a starter runs ("python -P -m coterie.daemon ARGUMENTS"), as a release would that speaks one protocol more.
shift 3
exec {{python}} -P -c '{NEWER}
from coterie.daemon.main import main
raise SystemExit(main())' "$@"
"""
NEWER_CROWD = f"""
import runpy, sys
{NEWER}
sys.executable = sys.argv[1]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_newer_clients_have_an_older_daemon_make_room_for_theirs(daemon: Place) -> None:
    """Twenty at once; older sessions live on, served by the newer daemon."""
    ann, bob = daemon.named("ann"), daemon.named("bob")
    newer = program(daemon.root / "newer", NEWER_DAEMON)
    command = [sys.executable, "-c", NEWER_CROWD, newer, CROWD, "1", "20", "daemon.status"]
    ran = subprocess.run(command, env=daemon.environ, input="go\n", capture_output=True, text=True, check=True)
    round_ = json.loads(ran.stdout)
    assert round_["errors"] == []
    assert len(set(round_["pids"])) == 1
    assert daemon.daemons[0].wait(20) == 0
    assert round_["pids"][0] == daemon.pid()
    older = daemon.connect("cli")
    assert older.hello["pid"] == daemon.pid(), "an older client is served and asks nobody to leave"
    assert (older.hello["protocol"], older.hello["newest"]) == (PROTOCOL, PROTOCOL + 1)
    ann.tool("send_message", to="bob", message="after the upgrade")
    bob.wait_inbox("after the upgrade")
