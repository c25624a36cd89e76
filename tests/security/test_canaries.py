"""Words that nobody may repeat are planted, everything that can fail is made to, and then they are looked for.

In the environment of agents, in the token of an inbox, and in the messages of others: they are in no log, in no
argument and no environment of a process, in no error that another peer is told, and in no file but the database, where
only what was sent is.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.detached import COTERIE, Command
from conftest import Place, wait_for
from coterie import ids
from coterie.daemon.journal import Discreet
from coterie.errors import BadInput, CoterieError
from coterie.testing.agent import Agent

ENVIRONMENT, TOKEN = "canary-of-the-environment", "canary-of-the-token"
MAIL, SENT_BADLY, ASKED = "canary-of-the-mail", "canary-of-what-was-refused", "canary-of-what-broke-us"
ALL = [text.encode() for text in (ENVIRONMENT, TOKEN, MAIL, SENT_BADLY, ASKED)]

RECORDER = """#!{python}
import json, os, sys
with open({record!r}, "a") as file:
    print(json.dumps([sys.argv, dict(os.environ)]), file=file)
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""
BROKEN = """
import coterie.daemon.handlers as handlers, coterie.store.messages as stored
import asyncio, threading
def broken(daemon, connection, params):
    asyncio.get_running_loop().call_soon(broken_later, dict(params))
    threading.Thread(target=broken_later, args=(dict(params),)).start()
    raise KeyError(str(params))
def broken_later(params):
    raise ValueError(str(params))
async def broken_meanwhile(daemon, connection, params):
    asyncio.ensure_future(broken_in_a_task(params))
    try:
        broken_later(params)
    except ValueError as error:
        raise RuntimeError(f"while {error}") from error
async def broken_in_a_task(params):
    raise KeyError(str(params))
def broken_write(daemon, connection, params):
    return daemon.store.write(lambda database: database.execute("SELECT " + params["peer"]))
def broken_job(daemon, connection, params):
    return daemon.store.write(lambda database: broken_later(params))
handlers.METHODS |= {
    "agents.here": broken,
    "doctor.sessions": broken_meanwhile,
    "peers.kill_shows": broken_write,
    "peers.kill": broken_job,
}
"""
BREAKING = ("agents.here", "doctor.sessions", "peers.kill_shows", "peers.kill")


class Scene:
    """A daemon of which every program that it starts is noted, and two agents, one of them with secrets."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.record = place.root / "started"
        folder = place.root / "bin"
        folder.mkdir()
        for name, program in (("git", _git()), ("notify-send", "/bin/true"), ("codex", "/bin/true")):
            path = folder / name
            path.write_text(RECORDER.format(python=sys.executable, record=str(self.record), program=program))
            path.chmod(0o755)
        (place.root / "home" / "config.toml").write_text("notify.desktop = true\n")
        (place.root / "home" / "config.toml").chmod(0o600)
        environ = {**place.environ, "PATH": f"{folder}:{place.environ['PATH']}"}
        self.daemon = place.start(environ=environ, patch=BROKEN)
        self.errors: list[str] = []
        secret = {"ANTHROPIC_API_KEY": ENVIRONMENT, "MY_SECRET": ENVIRONMENT, "STANDIN_TOKEN": TOKEN}
        self.api = place.agent("session-api", env=secret)
        self.api.tool("set_summary", name="api")
        self.web = place.named("web")
        self.other = place.connect("adapter")
        self.other.call("peers.register", {"kind": "codex", "cwd": "/", "session": "session-other"})

    def refused(self, method: str, **params: Any) -> None:
        """A call that must fail, and what the caller is told."""
        with pytest.raises(CoterieError) as failure:
            self.other.call(method, params)
        self.errors.append(f"{failure.value} {failure.value.to_wire()}")

    def everybodys_files(self) -> dict[str, bytes]:
        """Every file that is left, but the database."""
        files = [path for path in Path(self.place.home.folder).rglob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in files if not path.name.startswith("coterie.db")}


def _git() -> str:
    return subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def scene(place: Place) -> Scene:
    return Scene(place)


def provoke(scene: Scene) -> None:
    """Everything that can fail, with something to tell in it."""
    api, web, place = scene.api, scene.web, scene.place
    repo = place.root / "repo"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    place.agent("session-in-a-repo", cwd=str(repo)).tool("list_peers", scope="repo")
    api.tool("send_message", to="web", message=f"for you alone: {MAIL}")
    web.wait_inbox(MAIL)
    Command([COTERIE, "peers"], place.environ, str(place.root)).finish()  # The person is known from now on.
    person = place.row("SELECT name FROM peers WHERE kind = 'person'")[0]
    api.tool("send_message", to=person, message=f"for the person: {MAIL}")
    wait_for(lambda: any("notify-send" in argv[0] for argv, _ in started(scene)), "the person is told")
    message = place.row("SELECT id FROM messages WHERE recipient IN (SELECT id FROM peers WHERE name = 'web')")[0]
    # What others ask of it, and what they get wrong.
    scene.refused("messages.send", id=message, to="web", text=SENT_BADLY)
    scene.refused("messages.send", id=ids.new_message_id(), to="nobody-here", text=SENT_BADLY)
    scene.refused("messages.send", id=ids.new_message_id(), to="web", text=SENT_BADLY * 2000)
    scene.refused("messages.send", id=ids.new_message_id(), to="web", text=SENT_BADLY, wait_s=SENT_BADLY)
    scene.refused("messages.send", id=ids.new_message_id(), to="web", text=[SENT_BADLY])
    scene.refused("messages.read", message=message)
    for method in BREAKING:
        scene.refused(method, kind="codex", peer=ASKED, text=ASKED)
    scene.errors.append(nonsense(scene.place))
    web.close()
    place.daemons[0].terminate()
    wait_for(lambda: place.daemons[0].poll() is not None, "the daemon ends in good order")


def nonsense(place: Place) -> str:
    """Lines that are damaged in every way, and all that is answered."""
    lines = (
        '{"jsonrpc": "2.0", "id": 1, "method": "' + SENT_BADLY + '", "params": {"text": "' + SENT_BADLY,
        '{"text": "' + SENT_BADLY + '", "text": 1}',
        "[" * 100 + '"' + SENT_BADLY + '"',
        SENT_BADLY,
    )
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(place.home.socket)
        raw.sendall("".join(line + "\n" for line in lines).encode())
        said = b""
        while said.count(b"\n") < len(lines):
            said += raw.recv(65_536)
    return said.decode()


def started(scene: Scene) -> list[tuple[list[str], dict[str, str]]]:
    """The arguments and the environment of every program that the daemon started."""
    return [tuple(json.loads(line)) for line in scene.record.read_text().splitlines()]


@pytest.mark.promise("A1", "S4")
def test_no_secret_is_where_it_does_not_belong(scene: Scene) -> None:
    running = [scene.daemon.pid, scene.api.pids["adapter"], scene.web.pids["adapter"]]
    arguments = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in running}
    provoke(scene)
    assert scene.daemon.stderr
    printed = scene.daemon.stderr.read()
    told = {argv[0].rpartition("/")[2] for argv, _ in started(scene)}
    assert told >= {"git", "notify-send"}, "the programs that it starts were seen"
    log = Path(scene.place.home.log).read_text()
    assert log.count("KeyError") >= 2
    assert log.count("ValueError") >= 4
    places = {**scene.everybodys_files(), "stderr": printed, "programs": scene.record.read_bytes()}
    places |= {f"arguments of {pid}": text for pid, text in arguments.items()}
    places |= {f"error {number}": text.encode() for number, text in enumerate(scene.errors)}
    assert len(scene.errors) == 7 + len(BREAKING)
    repeated = {(name, text) for name, held in places.items() for text in ALL if text in held}
    # Whoever asks for a method by a name that there is none of is told that name.
    own = {("error 10", SENT_BADLY.encode())}
    assert repeated - own == set()


@pytest.mark.promise("S4")
def test_the_database_has_what_was_sent_and_nothing_else(scene: Scene) -> None:
    provoke(scene)
    held = b"".join(path.read_bytes() for path in Path(scene.place.home.folder).glob("coterie.db*"))
    assert [text for text in ALL if text in held] == [MAIL.encode()]


@pytest.mark.promise("S4")
def test_the_daemon_that_an_agent_starts_has_nothing_of_it(place: Place) -> None:
    secret = {"ANTHROPIC_API_KEY": ENVIRONMENT, "STANDIN_TOKEN": TOKEN}
    agent: Agent = place.agent("session-api", env=secret)
    agent.tool("list_peers")
    proc = Path(f"/proc/{place.pid()}")
    for name in ("environ", "cmdline"):
        held = proc.joinpath(name).read_bytes()
        assert [text for text in ALL if text in held] == []
    adapter = Path(f"/proc/{agent.pids['adapter']}")
    assert ENVIRONMENT.encode() in adapter.joinpath("environ").read_bytes(), "it was there to be passed on"


@pytest.mark.promise("S4")
def test_a_crash_leaves_no_image_of_memory(daemon: Place) -> None:
    assert resource.prlimit(daemon.pid(), resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.promise("S3")
def test_nothing_listens_on_the_network(daemon: Place) -> None:
    """Nor has a socket of the internet at all: of the daemon, of an adapter, and of what they hold."""
    agent = daemon.named("api")
    agent.tool("send_message", to="me", message="a note")
    internet = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        path = Path(f"/proc/self/net/{table}")
        internet |= {line.split()[9] for line in path.read_text().splitlines()[1:]} if path.exists() else set()
    with socket.create_server(("127.0.0.1", 0)) as server:
        rows = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
        assert str(os.fstat(server.fileno()).st_ino) in {row.split()[9] for row in rows}, "it would be seen"
    for pid in (daemon.pid(), agent.pids["adapter"]):
        held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        sockets = {name.removeprefix("socket:[").rstrip("]") for name in held if name.startswith("socket:")}
        assert sockets
        assert sockets & internet == set()


# --- the log ---------------------------------------------------------------------------------------------------------


def told_of(error: BaseException) -> str:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 (whatever it is)
        return Discreet().formatException((type(raised), raised, raised.__traceback__))


def test_an_exception_is_logged_by_its_type_and_place() -> None:
    told = told_of(KeyError(MAIL))
    assert MAIL not in told
    assert told.endswith("\nKeyError")
    assert "test_canaries.py" in told


def test_our_words_and_the_systems_are_logged() -> None:
    assert told_of(BadInput("the id must be a number")).endswith("BadInput: the id must be a number")
    assert told_of(FileNotFoundError(2, "No such file", "/x")).endswith("No such file: '/x'")


def test_causes_are_told_in_their_order() -> None:
    error = RuntimeError(MAIL)
    error.__cause__ = ValueError(MAIL)
    told = told_of(error)
    assert MAIL not in told
    assert told.splitlines()[0] == "ValueError"
    assert told.splitlines()[-1] == "RuntimeError"
    error.__cause__ = error
    assert told_of(error).count("RuntimeError\n") == 0
