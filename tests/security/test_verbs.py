"""Agents try what only a person may do: every verb, by every way that a child of an agent can go.

What is refused, what cannot be, and what is written down of both. SECURITY.md says the second; where it is pinned here,
a change in either shows.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.detached import COTERIE, Command
from conftest import Place, wait_for
from coterie.agents import KINDS, by_program
from coterie.daemon import callers
from coterie.daemon.handlers import METHODS
from coterie.peers import Roster
from coterie.policy import HUMAN_METHODS
from coterie.testing.agent import Agent

HERE = Path(__file__).parent
PERSON_ONLY = "HumanOnly: only a person may do this"
NO_TERMINAL = "NoTerminal: this takes a person at a terminal"
NEEDED = {
    "daemon.down": {},
    "daemon.up": {},
    "peers.rename_other": {"peer": "web", "name": "renamed"},
    "peers.allow_kill": {"scope": "machine"},
    "backups.make": {},
    "relay.invite": {"port": 0},
    "relay.join": {"text": "no invitation"},
    "relay.accept": {"code": "no code", "peer": "127.0.0.1:9"},
    "relay.serve": {"on": False},
    "relay.connect": {"to": "nobody"},
    "relay.disconnect": {"device": "nobody"},
    "relay.forget": {"device": "nobody"},
    "relay.rename": {"device": "nobody", "name": "somebody"},
    "relay.grant": {"device": "nobody", "grants": ["task"]},
    "relay.revoke": {"device": "nobody", "grants": ["task"]},
    "relay.preview": {},
    "relay.requests": {},
    "relay.approve": {"request": "nothing"},
    "relay.refuse": {"request": "nothing"},
    "relay.discover": {},
}
"""What a method takes. One that has no handler is asked for by person.check."""
LOOKS = ("peers.rename_other", "backups.make", "relay.preview", "relay.requests", "relay.discover")
"""What takes a person, and no terminal."""
WORDS = {
    "NEW": "renamed",
    "PEER": "web",
    "FILE": "/nowhere.db",
    "KEY": "guards.hops",
    "VALUE": "5",
    "CODE": "0123-4567-89ab-cdef",
    "PLACE": "127.0.0.1:9",
    "DEVICE": "laptop",
    "NAME": "lap",
    "RIGHT": "task",
    "REQUEST": "r_000000000000",
}
"""What stands for the words in capitals of a line that a person types."""

_numbers = itertools.count()


def calls(*, i_am_human: bool) -> list[tuple[str, dict[str, Any]]]:
    """Every verb of a person, as a call; the one that ends the daemon is the last."""
    said = {"i_am_human": True} if i_am_human else {}
    found = []
    for verb in sorted(HUMAN_METHODS, key=lambda verb: verb == "daemon.down"):
        if verb in METHODS:
            found.append((verb, {**NEEDED[verb], **said}))
        else:
            found.append(("person.check", {"method": verb, **said}))
    return found


def lines() -> list[list[str]]:
    """Every verb of a person, as a command."""
    typed = [line.split()[1:] for line in HUMAN_METHODS.values()]
    for line in typed:
        assert {word for word in line if word.isupper()} <= set(WORDS), f"say here what {line} stands for"
    return [[WORDS.get(word, word) for word in line] for line in typed]


def probe(place: Place, run: Any, ways: str, wanted: list[tuple[str, dict[str, Any]]], *how: str) -> list[str]:
    """What becomes of calls that `run` has made by a process which went these ways."""
    out = place.root / f"probe{next(_numbers)}"
    program = [sys.executable, "-P", str(HERE / "probe.py"), str(out), json.dumps(wanted), *how]
    run(sys.executable, "-P", str(HERE / "escape.py"), ways, *program)
    wait_for(out.exists, f"an answer by way of {ways}")
    return list(json.loads(out.read_text()))


def log_of(place: Place) -> str:
    return Path(place.home.log).read_text()


@pytest.fixture
def pair(daemon: Place) -> tuple[Place, Agent]:
    """An agent called api, and another that it would do things to."""
    daemon.named("web")
    return daemon, daemon.named("api")


def test_every_verb_is_known_here() -> None:
    """A new verb of a person needs a line above, and is drilled then."""
    assert set(HUMAN_METHODS) & set(METHODS) - set(NEEDED) == set()
    assert all(line.startswith("coterie ") for line in HUMAN_METHODS.values())
    assert lines()


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ways",
    [
        "-",
        "terminal",
        "scrubbed",
        "scrubbed,terminal",
        "orphan",
        "session,orphan",
        "session,orphan,terminal",
        "scrubbed,orphan",
    ],
)
@pytest.mark.promise("A3")
def test_below_an_agent_or_with_its_marks_every_verb_is_refused(pair: tuple[Place, Agent], ways: str) -> None:
    place, api = pair
    wanted = calls(i_am_human=False) + calls(i_am_human=True)
    assert probe(place, api.run, ways, wanted) == [PERSON_ONLY] * len(wanted)
    assert log_of(place).count("was refused: only a person may do this (ask the person to type:") == len(wanted)
    assert "said --i-am-human" not in log_of(place)
    assert place.row("SELECT count(*) FROM peers WHERE name = 'renamed'")[0] == 0


@pytest.mark.promise("A3")
def test_left_behind_by_a_shell_that_ended_it_is_still_of_the_agents_group(pair: tuple[Place, Agent]) -> None:
    """`nohup env -i ... &`: no parent, a clean environment, and still the process group of the agent."""
    place, api = pair
    wanted = calls(i_am_human=True)

    def run(*command: str) -> None:
        clean = " ".join(f"{name}={shlex.quote(value)}" for name, value in place.environ.items())
        line = f"nohup env -i {clean} {shlex.join(command)} >/dev/null 2>&1 &"
        api.run("sh", "-c", line)

    assert probe(place, run, "orphan", wanted) == [PERSON_ONLY] * len(wanted)


def test_where_the_leader_of_the_session_is_in_another_namespace_it_is_all_the_same() -> None:
    """As below a program that a container was told to run: the kernel names no leader of the session there."""
    away = ["setsid", "unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    tests = f"{__file__}::{test_left_behind_by_a_shell_that_ended_it_is_still_of_the_agents_group.__name__}"
    ran = subprocess.run([*away, sys.executable, "-m", "pytest", "-q", tests], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[100%]" in ran.stdout


@pytest.mark.promise("A3", "C2")
def test_every_command_of_a_person_is_refused_in_an_agents_shell(pair: tuple[Place, Agent]) -> None:
    place, api = pair
    before = sorted(os.listdir(place.home.folder))
    for line in lines():
        if line == ["up"]:
            continue  # Nothing is asked of a person where it is on; see below.
        for word in ([], ["--i-am-human"]):
            ran = api.run(COTERIE, *line, *(word if word and _takes_it(line) else []))
            assert ran["status"] == 1, (line, ran)
            assert "only a person may do this" in ran["stderr"], (line, ran)
            assert re.search(rf"ask the person to type: coterie {line[0]}", ran["stderr"]), (line, ran)
    assert sorted(os.listdir(place.home.folder)) == before


def test_an_agent_may_look_at_devices_and_ask_for_a_right(pair: tuple[Place, Agent]) -> None:
    _, api = pair
    for line in (["peers"], ["status"]):
        assert api.run(COTERIE, "relay", *line)["status"] == 0
    asked = api.run(COTERIE, "relay", "ask", "laptop", "task")
    assert "no paired device is called 'laptop'" in asked["stderr"]


def test_once_it_is_off_an_agent_cannot_switch_it_on(pair: tuple[Place, Agent]) -> None:
    place, api = pair
    Command([COTERIE, "down", "--i-am-human"], place.environ, str(place.root)).finish()
    for word in ([], ["--i-am-human"]):
        ran = api.run(COTERIE, "up", *word)
        assert (ran["status"], ran["stdout"]) == (1, "")
        assert "ask the person to type: coterie up" in ran["stderr"]
    assert os.path.exists(place.home.off)


def _takes_it(line: list[str]) -> bool:
    return line[0] not in ("name", "backup") and line[:2] not in LOOKING


LOOKING = (["relay", "preview"], ["relay", "requests"], ["relay", "discover"])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.promise("A3")
def test_with_the_marks_of_an_agent_that_never_registered(daemon: Place, kind: Any) -> None:
    wanted = calls(i_am_human=True)
    for mark in kind.marks:

        def run(*command: str, mark: str = mark) -> None:
            Command(list(command), {**daemon.environ, mark: "1"}, str(daemon.root)).finish()

        assert probe(daemon, run, "-", wanted) == [PERSON_ONLY] * len(wanted)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_below_the_program_of_an_agent_that_never_registered(daemon: Place, kind: Any, tmp_path: Path) -> None:
    """Such as one that names another home to its shell, in which nobody knows it. `env -i` takes its marks away."""
    program = tmp_path / kind.name
    program.symlink_to(sys.executable)
    wanted = calls(i_am_human=True)

    def run(*command: str) -> None:
        below = f"import subprocess; subprocess.run({list(command)!r}, env={daemon.environ!r})"
        environ = {**daemon.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
        Command([str(program), "-c", below], environ, str(daemon.root)).finish()

    assert probe(daemon, run, "-", wanted) == [PERSON_ONLY] * len(wanted)


def test_a_connection_that_was_left_by_who_made_it_is_nobodys(pair: tuple[Place, Agent]) -> None:
    """The kernel tells who connected; of one that has ended, nobody can tell whose it was."""
    place, api = pair
    wanted = calls(i_am_human=True)
    assert probe(place, api.run, "-", wanted, "left") == [PERSON_ONLY] * len(wanted)


# --- what cannot be refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ways", ["scrubbed,session,orphan", "scrubbed,session,orphan,terminal"])
@pytest.mark.parametrize("i_am_human", [False, True], ids=["plain", "i-am-human"])
@pytest.mark.promise("X1")
def test_scrubbed_and_adopted_by_another_it_passes_for_a_person_and_leaves_a_trace(
    pair: tuple[Place, Agent], ways: str, i_am_human: bool
) -> None:
    """SECURITY.md: "A hostile one that scrubs its environment and has itself adopted by another process passes"."""
    place, api = pair
    wanted = [call for call in calls(i_am_human=i_am_human) if call[0] != "daemon.down"]
    found = dict(zip((json.dumps(call) for call in wanted), probe(place, api.run, ways, wanted), strict=True))
    asks_for_a_terminal = [key for key in found if json.loads(key)[0] not in LOOKS]
    if i_am_human or "terminal" in ways:
        # A person may, and there is nobody of that name.
        assert {said.partition(":")[0] for said in found.values()} == {"done", "BadInput", "NoMatch"}
        assert {json.loads(key)[0].partition(".")[0] for key, said in found.items() if said != "done"} == {"relay"}
    else:
        assert {found[key] for key in asks_for_a_terminal} == {NO_TERMINAL}
        assert log_of(place).count("was refused: this takes a person at a terminal") == len(asks_for_a_terminal)
    assert log_of(place).count("said --i-am-human") == (len(asks_for_a_terminal) if i_am_human else 0)


@pytest.mark.promise("X1")
def test_started_by_a_program_that_serves_everybody_it_passes_too(pair: tuple[Place, Agent]) -> None:
    """As `systemd-run --user` and `at` do: a process of the manager's, with the manager's environment."""
    place, _ = pair
    path = str(place.root / "manager")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        # What asks is below the agent; what runs is not: here the test plays the manager.
        asks = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({path!r}); s.recv(1)"
        api = place.agents[-1]
        api.command(run=[sys.executable, "-c", asks])
        asked, _ = listener.accept()
        with asked:

            def run(*command: str) -> None:
                Command(list(command), place.environ, str(place.root)).finish()

            wanted = [("person.check", {"method": "init", "i_am_human": True})]
            assert probe(place, run, "-", wanted) == ["done"]
    api.wait(lambda event: event.get("ran"), "what asked ends")
    assert "said --i-am-human: coterie init" in log_of(place)


# --- who is no agent -------------------------------------------------------------------------------------------------


def test_a_person_is_not_taken_for_an_agent_by_the_head_of_a_pipeline(daemon: Place, tmp_path: Path) -> None:
    """`claude -p ... | coterie send web -`: an interactive shell makes the first of them the leader of their group."""
    program = tmp_path / "claude"
    program.symlink_to(sys.executable)
    out = daemon.root / "probe"
    wanted = json.dumps([("peers.list", {}), ("person.check", {"method": "init", "i_am_human": True})])
    second = f"{sys.executable} -P {HERE / 'probe.py'} {out} '{wanted}'"
    script = f"set -m; {program} -c 'import time; time.sleep(60)' | {second}; kill %1 2>/dev/null; :"
    command = Command(["/bin/sh", "-c", script], daemon.environ, str(daemon.root), terminal=80)
    wait_for(out.exists, "the second of them has asked")
    os.killpg(_group_of(str(program)), 9)
    command.finish()
    assert json.loads(out.read_text()) == ["done", "done"]


def _group_of(program: str) -> int:
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{entry}/cmdline").read_bytes().startswith(program.encode() + b"\0"):
                return os.getpgid(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError(f"{program} does not run")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["claude"], "claude"),
        (["/home/x/.local/bin/claude", "-p", "hello"], "claude"),
        (["/opt/codex/bin/codex", "exec"], "codex"),
        (["node", "/usr/lib/node_modules/.bin/gemini"], "gemini"),
        (["/usr/bin/node", "--no-warnings=DEP0040", "/x/bundle/gemini.js"], "gemini"),
        (["opencode", "run"], "opencode"),
        (["vim", "claude"], None),
        (["bash"], None),
        (["python", "codex.py"], None),
        (["node"], None),
        ([], None),
    ],
)
def test_an_agents_program_is_known_by_its_name(arguments: list[str], kind: str | None) -> None:
    found = by_program(arguments)
    assert (found.name if found else None) == kind


def test_nobody_is_behind_a_process_that_is_no_more() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    caller = callers.identify(child.pid, Roster())
    assert (caller.human, caller.peer) == (False, None)
