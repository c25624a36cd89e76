"""coterie doctor: the machine, the sessions, the message of --live, and how it is told."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.installs.agents_at_home import VERSIONS, AgentsAtHome
from cli.conftest import Shell, parsed
from cli.detached import Ended
from conftest import wait_for
from coterie.agents.installs.checks.finding import note, ok, trouble
from coterie.cli.doctor.report import Block, Report, Session
from coterie.cli.doctor.sessions import hooks, mail, unreachable, way
from coterie.testing.agent import Agent

Json = dict[str, Any]
OLD = "import coterie.limits; coterie.limits.NEW_SESSION_S = coterie.limits.MAIL_OLD_S = 0"
"""Run before a command: whatever is here has been here for long."""


class Clinic:
    """A shell in a healthy home."""

    def __init__(self, shell: Shell) -> None:
        self.shell, self.place = shell, shell.place
        self.agents = AgentsAtHome(shell.place.root, shell.place.home.folder)
        self.agents.init()
        shell.place.environ["PATH"] = self.agents.environ["PATH"]
        shell.cwd = str(self.agents.work)

    def run(self, *arguments: str, **how: Any) -> tuple[Ended, Json]:
        """What doctor says as JSON; its status must say the same."""
        ended = self.shell.run("doctor", *arguments, "--json", **how)
        return ended, _checked(ended)

    def later(self, *arguments: str) -> Json:
        """The same, when everything that is here has been here for long."""
        return _checked(self.shell.after(OLD, "doctor", *arguments, "--json"))

    def agent(self, session: str = "s-1", **options: Any) -> Agent:
        """A session of a stand-in for Claude Code, known to the daemon."""
        agent = self.place.agent(session, **options)
        agent.tool("list_peers")
        return agent

    def reporting(self, session: str = "s-1", **options: Any) -> Agent:
        """One whose hooks report."""
        agent = self.agent(session, **options)
        agent.hook("SessionStart", source="startup")
        return agent


def _checked(ended: Ended) -> Json:
    assert ended.status in (0, 1), str(ended)
    told: Json = parsed(ended.out)
    assert told["ok"] is (ended.status == 0), told
    return told


def troubles(told: Json) -> dict[tuple[str | None, str], Json]:
    """What is in trouble, by agent and name, sessions included."""
    every = [*told["checks"], *(check for session in told["sessions"] for check in session["checks"])]
    return {(check["agent"], check["name"]): check for check in every if check["state"] == "trouble"}


def named(told: Json, name: str) -> list[str]:
    """What was found under a name."""
    every = [*told["checks"], *(check for session in told["sessions"] for check in session["checks"])]
    return [f"{check['state']}: {check['evidence']}" for check in every if check["name"] == name]


@pytest.fixture
def clinic(shell: Shell) -> Clinic:
    return Clinic(shell)


# --- the machine ----------------------------------------------------------------------------------------------------


def test_a_healthy_machine_without_a_daemon_is_well_and_nothing_is_started_or_written(clinic: Clinic) -> None:
    before = clinic.agents.files()
    ended, told = clinic.run()
    assert (ended.status, ended.err, troubles(told)) == (0, "", {})
    assert clinic.agents.files() == before
    assert named(told, "daemon") == [
        "note: the daemon is not running: the next session or command that needs it starts it"
    ]
    assert {check["agent"] for check in told["checks"]} == {None, *VERSIONS}
    assert all(set(check) == {"agent", "name", "state", "evidence", "todo"} for check in told["checks"])


def test_a_daemon_and_its_database_are_told(clinic: Clinic) -> None:
    clinic.place.start()
    _, told = clinic.run()
    assert troubles(told) == {}
    (daemon,), (database,) = named(told, "daemon"), named(told, "database")
    assert f"pid {clinic.place.pid()}, coterie" in daemon
    assert database.startswith("ok: the database is whole: schema ")


def test_a_relay_is_told_when_there_is_one(clinic: Clinic) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = Path(clinic.place.home.config)
        config.touch(0o600)
        config.write_text(f"[relay]\nlisten_addr = '127.0.0.1'\nlisten_port = {port}\n")
        clinic.place.start()
        assert named(clinic.run()[1], "relay") == []
        config.write_text(f"{config.read_text()}enabled = true\n")
        wait_for(lambda: f"port {port} is taken" in Path(clinic.place.home.log).read_text(), "it cannot listen")
        (trouble,) = (found for (_, name), found in troubles(clinic.run()[1]).items() if name == "relay")
        assert f"port {port} is taken by another program" in trouble["evidence"]
        assert "--port N" in trouble["todo"]
    os.kill(clinic.place.pid(), signal.SIGTERM)
    clinic.place.daemons[0].wait()
    clinic.place.start()
    wait_for(lambda: "the relay listens" in Path(clinic.place.home.log).read_text(), "it listens")
    where = f"note: the relay listens on 127.0.0.1:{port}, which no other machine reaches"
    assert named(clinic.run()[1], "relay") == [where]


def test_one_agent_by_name(clinic: Clinic) -> None:
    _, told = clinic.run("codex")
    assert {check["agent"] for check in told["checks"]} == {None, "codex"}


def test_an_agent_that_is_not_there(clinic: Clinic) -> None:
    (clinic.agents.root / "programs" / "gemini").unlink()
    for file in ("settings.json", "trustedFolders.json"):
        (clinic.agents.root / ".gemini" / file).unlink()
    (clinic.agents.root / ".gemini").rmdir()
    assert troubles(clinic.run()[1]) == {}
    assert "not on this machine: Gemini CLI" in clinic.shell.ok("doctor")
    assert set(troubles(clinic.run("gemini")[1])) == {("gemini", "program")}


def _made_database(clinic: Clinic) -> Path:
    clinic.place.start()
    clinic.shell.ok("send", "me", "a note")
    pid = clinic.place.pid()
    os.kill(pid, signal.SIGTERM)
    clinic.place.daemons[0].wait()
    return Path(clinic.place.home.database)


def _damaged(clinic: Clinic) -> None:
    path = _made_database(clinic)
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 6] = b"\xff" * 4096 * 4
    path.write_bytes(content)


def _newer(clinic: Clinic) -> None:
    connection = sqlite3.connect(_made_database(clinic))
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _no_database(clinic: Clinic) -> None:
    Path(clinic.place.home.database).write_text("this is my shopping list, and no database at all" * 100)
    os.chmod(clinic.place.home.database, 0o600)


def _open_socket(clinic: Clinic) -> None:
    clinic.place.start()
    os.chmod(clinic.place.home.socket, 0o666)


def _off(clinic: Clinic) -> None:
    os.close(os.open(clinic.place.home.off, os.O_CREAT, 0o600))


BROKEN: dict[str, tuple[Callable[[Clinic], object], str, str, str]] = {
    "the folder is open to others": (
        lambda clinic: os.chmod(clinic.place.home.folder, 0o755),
        "files",
        "is open to other users",
        "chmod 700",
    ),
    "the socket is open to others": (_open_socket, "files", "is open to other users", "chmod 600"),
    "the socket was removed under a daemon": (
        lambda clinic: [clinic.place.start(), os.unlink(clinic.place.home.socket)],
        "daemon",
        "is the daemon, and cannot be reached",
        "kill ",
    ),
    "switched off": (_off, "switched-on", "switched off", "coterie up"),
    "the database is damaged": (_damaged, "database", "is damaged", "to begin anew: mv"),
    "the database is newer": (_newer, "database", "by a newer coterie (schema 99", "install the newer"),
    "it is no database": (_no_database, "database", "not a database", "mv"),
    "an older daemon": (
        lambda clinic: clinic.place.start(patch="import coterie; coterie.__version__ = '0.0.1'"),
        "daemon",
        "runs coterie 0.0.1",
        "kill ",
    ),
}


@pytest.mark.parametrize(("change", "name", "evidence", "todo"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_found_with_its_cure_and_nothing_else(
    clinic: Clinic, change: Callable[[Clinic], object], name: str, evidence: str, todo: str
) -> None:
    change(clinic)
    ended, told = clinic.run()
    found = troubles(told)
    assert (ended.status, set(found)) == (1, {(None, name)}), found
    assert evidence in found[None, name]["evidence"]
    assert todo in found[None, name]["todo"]


def test_a_daemon_that_is_stopped(clinic: Clinic) -> None:
    clinic.place.start()
    pid = clinic.place.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        told = _checked(
            clinic.shell.after("import coterie.limits; coterie.limits.DOCTOR_CALL_S = 0.2", "doctor", "--json")
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    found = troubles(told)
    assert set(found) == {(None, "daemon")}
    assert f"kill -CONT {pid}" in found[None, "daemon"]["todo"]


def test_a_second_daemon_of_the_same_home(clinic: Clinic) -> None:
    clinic.place.start()
    first = clinic.place.pid()
    Path(clinic.place.home.lock).unlink()
    os.unlink(clinic.place.home.socket)
    clinic.place.start()
    found = troubles(clinic.run()[1])
    assert set(found) == {(None, "second-daemon")}
    assert found[None, "second-daemon"]["todo"] == f"kill {first}"


def test_a_session_with_another_home_is_told(clinic: Clinic, tmp_path: Path) -> None:
    clinic.agent("s-other", env={"COTERIE_HOME": str(tmp_path / "other")}, adapter=[_adapter()])
    assert any(str(tmp_path / "other") in told for told in named(clinic.run()[1], "other-home"))


def _adapter() -> str:
    return str(Path(sys.executable).with_name("coterie-mcp"))


def test_in_a_sandbox_it_says_so_and_looks_at_the_rest(clinic: Clinic) -> None:
    clinic.place.start()
    sandbox = (
        "import socket\n"
        "def forbidden(*_): raise PermissionError(1, 'Operation not permitted')\n"
        "socket.socket.connect = forbidden"
    )
    told = _checked(clinic.shell.after(sandbox, "doctor", "--json"))
    assert troubles(told) == {}
    assert "it is in a sandbox" in named(told, "daemon")[0]


# --- sessions -------------------------------------------------------------------------------------------------------


def test_a_session_that_is_reached_by_its_inbox_and_whose_hooks_report(clinic: Clinic) -> None:
    agent = clinic.reporting()
    told = clinic.later()
    (session,) = told["sessions"]
    assert troubles(told) == {}
    assert set(session) == {"id", "name", "kind", "state", "cwd", "reach", "unread", "hooked", "checks"}
    assert (session["kind"], session["reach"], session["hooked"]) == ("claude", "inbox", True)
    assert named(told, "reach")[0].startswith("ok: its inbox takes text (")
    assert agent.inbox == [], "nothing was posted"


def test_the_last_delivery_is_told_with_its_proof(clinic: Clinic) -> None:
    agent = clinic.reporting()
    sent = parsed(clinic.shell.ok("send", clinic.run()[1]["sessions"][0]["name"], "hello", "--json"))
    message = sent["messages"][0]["id"]
    _, line = agent.wait_inbox("hello")
    agent.hook("UserPromptSubmit", prompt=line)
    clinic.place.wait_state(message, "shown")
    assert named(clinic.run()[1], "delivered") == [f"ok: {message} was shown 0s ago, by its inbox"]


def test_a_dead_inbox(clinic: Clinic) -> None:
    clinic.reporting()
    (socket,) = [path for path in clinic.place.root.glob("*/*.sock") if str(path) != clinic.place.home.socket]
    socket.rename(f"{socket}.away")
    try:
        found = troubles(clinic.later())
    finally:
        Path(f"{socket}.away").rename(socket)
    assert set(found) == {("claude", "reach")}
    assert "is gone" in found["claude", "reach"]["evidence"]


def test_a_session_that_never_reports(clinic: Clinic) -> None:
    clinic.agent()
    assert troubles(clinic.run()[1]) == {}, "it is new"
    found = troubles(clinic.later())
    assert set(found) == {("claude", "hooks")}
    assert "its hooks never reported" in found["claude", "hooks"]["evidence"]


def test_mail_that_waits_without_a_sign(clinic: Clinic) -> None:
    clinic.reporting(inbox=False)
    told = clinic.run()[1]
    clinic.shell.ok("send", told["sessions"][0]["name"], "hello")
    _, told = clinic.run()
    assert troubles(told) == {}
    assert named(told, "mail")[0].startswith("note: 1 message unread, the oldest for ")
    found = troubles(clinic.later())
    assert set(found) == {("claude", "mail")}
    assert "no sign of it since" in found["claude", "mail"]["evidence"]


def _told(**known: Any) -> Json:
    return {
        "kind": "codex",
        "reach": "none",
        "inbox": None,
        "endpoint": None,
        "reports": "prompt",
        "heard_s": 9.0,
    } | known


def _hooks(**known: Any) -> Json:
    return {"kind": "codex", "reports": "prompt", "hooked": False, "heard_s": None, "age_s": 1e6, **known}


@pytest.mark.parametrize(
    ("told", "marks"),
    [
        (_hooks(reports=""), []),
        (_hooks(), ["note"]),
        (_hooks(heard_s=5.0), ["trouble"]),
        (_hooks(reports="start"), ["trouble"]),
        (_hooks(reports="start", age_s=5.0), ["note"]),
        (_hooks(hooked=True), ["ok"]),
    ],
)
def test_hooks_that_have_not_reported(told: Json, marks: list[str]) -> None:
    assert [finding.mark for finding in hooks(told)] == marks


@pytest.mark.parametrize(
    ("told", "state", "evidence"),
    [
        (_told(reach="tools"), "note", "mail comes only when it calls a coterie tool"),
        (_told(reach="tools", heard_s=None), "note", "until it is prompted"),
        (_told(reach="hooks"), "ok", "its hooks bring mail"),
        (_told(), "trouble", "nothing reaches it"),
        (_told(reach="inbox", inbox=""), "ok", "where, cannot be seen"),
        (_told(reach="nudge", endpoint="/nowhere/at/all"), "trouble", "is gone"),
        (_told(reach="nudge", endpoint="/"), "ok" if os.getuid() == 0 else "trouble", "/"),
    ],
)
def test_ways(told: Json, state: str, evidence: str) -> None:
    (finding,) = way(told)
    assert (finding.mark, evidence in finding.evidence) == (state, True), finding


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unreachable(str(tmp_path / "file")) == "is no socket"


def test_mail_is_no_trouble_while_the_session_gives_signs() -> None:
    told = {"shown": None, "unread": 2, "kind": "codex", "waiting_s": 4000.0}
    assert [f.mark for f in mail({**told, "heard_s": 30.0})] == ["note"]
    assert [f.mark for f in mail({**told, "heard_s": 5000.0})] == ["trouble"]


# --- live -----------------------------------------------------------------------------------------------------------


def test_live_sends_a_message_and_tells_when_it_was_shown(clinic: Clinic) -> None:
    agent = clinic.reporting()
    command = clinic.shell.start("doctor", "--live", "--json")
    _, line = agent.wait_inbox("coterie doctor: a test message, no answer needed")
    agent.hook("UserPromptSubmit", prompt=line)
    told = _checked(command.finish())
    assert troubles(told) == {}
    (found,) = named(told, "live")
    assert found.startswith("ok: m_")
    assert found.endswith(" s, by its inbox")
    assert clinic.place.row("SELECT count(*) FROM messages") == (1,)


def test_live_says_what_was_not_confirmed(clinic: Clinic) -> None:
    clinic.reporting()
    told = clinic.run("--live", "--wait", "0.3")[1]
    assert set(troubles(told)) == {("claude", "live")}
    assert "was offered by its inbox, and not confirmed within 0.3 s" in named(told, "live")[0]


def test_live_to_a_busy_session_and_to_one_without_an_inbox_is_no_trouble(clinic: Clinic) -> None:
    busy, _ = clinic.reporting("s-1"), clinic.reporting("s-2", inbox=False)
    busy.hook("UserPromptSubmit", prompt="work")
    found = named(clinic.run("--live", "--wait", "0.3")[1], "live")
    assert sorted(text.partition(": ")[0] for text in found) == ["note", "note"]
    assert any("in the middle of a turn" in text for text in found)
    assert any("it comes at its next step" in text for text in found)


def test_live_from_an_agent_goes_to_the_others_as_that_agent(clinic: Clinic) -> None:
    ann, bob = clinic.place.named("ann"), clinic.place.named("bob")
    for agent in (ann, bob):
        agent.hook("SessionStart", source="startup")
    ran = ann.run(str(Path(_adapter()).with_name("coterie")), "doctor", "claude", "--live", "--wait", "0.3", "--json")
    told = parsed(ran["stdout"])
    assert len(named(told, "live")) == 1
    assert clinic.place.rows("SELECT sender_name FROM messages") == [("ann",)]
    assert not [line for _, line in ann.inbox if "test message" in line]


def test_live_when_the_daemon_goes_away(clinic: Clinic) -> None:
    clinic.reporting()
    gone = (
        "import coterie.cli.doctor\n"
        "from coterie.errors import Unavailable\n"
        "def away(*_): raise Unavailable('the daemon went away', 'try again')\n"
        "sys.modules['coterie.cli.doctor.live']._row = away"
    )
    found = troubles(_checked(clinic.shell.after(gone, "doctor", "--live", "--json")))
    assert set(found) == {("claude", "live")}
    assert found["claude", "live"]["evidence"] == "the daemon went away"


def test_live_without_sessions_starts_nothing(clinic: Clinic) -> None:
    clinic.run("--live")
    assert clinic.place.pid() == 0


@pytest.mark.parametrize("arguments", [["--wait", "3"], ["--live", "--wait", "0"], ["--live", "--wait", "nan"]])
def test_a_wait_that_makes_no_sense(clinic: Clinic, arguments: list[str]) -> None:
    assert clinic.shell.run("doctor", *arguments).status == 2


# --- how it is told -------------------------------------------------------------------------------------------------


def test_a_person_sees_the_verdict_first_and_below_each_trouble_what_to_type(clinic: Clinic) -> None:
    clinic.agents.edit(".claude/settings.json", lambda data: data["hooks"].pop("Stop"))
    ended = clinic.shell.run("doctor", "claude")
    lines = ended.out.splitlines()
    assert (ended.status, ended.err) == (1, "")
    assert lines[0].startswith("1 trouble, ")
    at = next(number for number, line in enumerate(lines) if "no hook for Stop" in line)
    assert lines[at : at + 2] == ["  trouble  no hook for Stop", "           > coterie init claude"]
    assert "Claude Code" in lines
    assert "Python 3" not in ended.out
    assert "Python 3" in clinic.shell.run("doctor", "--verbose").out


@pytest.mark.parametrize("columns", [40, 80])
def test_no_line_is_wider_than_the_terminal(clinic: Clinic, columns: int) -> None:
    clinic.agents.edit(".claude/settings.json", lambda data: data["hooks"].pop("Stop"))
    clinic.agent()
    said = clinic.shell.run("doctor", env={"COLUMNS": str(columns)}).out
    assert max(map(len, said.splitlines())) <= columns
    assert "no hook for Stop" in " ".join(said.split())


def test_marks_have_a_colour_on_a_terminal_unless_nobody_wants_one(clinic: Clinic) -> None:
    coloured = clinic.shell.run("doctor", "codex", terminal=80, env={"TERM": "xterm"}).out
    assert "\x1b[32mok" in coloured
    plain = clinic.shell.run("doctor", "codex", terminal=80, env={"TERM": "xterm", "NO_COLOR": "1"}).out
    assert "\x1b" not in plain


def test_a_session_in_trouble_is_trouble_for_the_whole() -> None:
    card = dict.fromkeys(("id", "kind", "state", "cwd", "reach", "unread", "hooked"), "x")
    session = Session({**card, "name": "n"}, [trouble("e", "f", "g")])
    report = Report([Block("codex", "Codex", [ok("a", "b"), note("c", "d")], [session])], [])
    assert not report.ok
    assert report.as_json()["sessions"][0]["checks"] == [
        {"agent": "x", "name": "e", "state": "trouble", "evidence": "f", "todo": "g"}
    ]
