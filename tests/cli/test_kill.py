"""coterie kill, and the tool kill_peer: whose session may be ended, by whom, and what is said of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import Shell
from cli.detached import COTERIE
from conftest import Place, running, wait_for
from coterie.testing.agent import Agent

# A daemon whose Codex carrier interrupts and says so in a file.
INTERRUPTS = """
import os, sys, types
from coterie.agents import carriers
from coterie.agents.carriers.carrier import Carrier
class Scripted(Carrier):
    async def interrupt(self, endpoint, session):
        with open(os.path.join(os.environ["HOME"], "interrupted"), "a") as file:
            file.write(f"{endpoint} {session}\\n")
        return True
    async def close(self):
        pass
scripted = types.ModuleType("scripted")
scripted.carrier = Scripted
sys.modules["scripted"] = scripted
carriers.MODULES["codex"] = "scripted"
"""

# A process that serves a session in each of several folders, as OpenCode does.
SERVES_FOLDERS = """
import json, subprocess, sys
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
adapters = []
for folder in sys.argv[1:]:
    adapter = subprocess.Popen([sys.executable, "-P", "-m", "coterie.mcp.main"], cwd=folder, **pipes)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "opencode", "version": "0"}}
    for said in ({"id": 1, "method": "initialize", "params": hello}, {"method": "notifications/initialized"}):
        adapter.stdin.write(json.dumps({"jsonrpc": "2.0", **said}).encode() + b"\\n")
        adapter.stdin.flush()
    adapter.stdout.readline()
    adapters.append(adapter)
sys.stdin.read()
"""


@pytest.fixture
def folders(shell: Shell) -> Iterator[subprocess.Popen[bytes]]:
    """One process with the sessions left-opencode and right-opencode."""
    place = shell.place
    place.start()
    where = [repository(place, name) for name in ("left", "right")]
    command = [sys.executable, "-P", "-c", SERVES_FOLDERS, *where]
    with subprocess.Popen(command, env=place.environ, stdin=subprocess.PIPE) as process:
        try:
            wait_for(lambda: place.row("SELECT count(*) FROM peers WHERE state = 'live'") == (2,), "both are here")
            yield process
        finally:
            process.kill()


def tools_of(agent: Agent) -> set[str]:
    return {tool["name"] for tool in agent.request("tools/list")["tools"]}


def repository(place: Place, name: str) -> str:
    folder = place.root / name
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return str(folder)


def ended(place: Place, agent: Agent) -> bool:
    wait_for(lambda: not running(agent.pids["pid"]), "its process has ended")
    wait_for(lambda: place.row("SELECT state FROM peers WHERE name = 'web'")[0] == "away", "it is away")
    return True


def test_a_person_ends_a_session_and_its_mail_waits(shell: Shell) -> None:
    web, api = shell.place.named("web"), shell.place.named("api")
    said = shell.ok("kill", "web", "--yes")
    assert "web (p_" in said
    assert "has ended" in said
    assert ended(shell.place, web)
    assert running(api.pids["pid"])
    assert "away" in api.tool("send_message", to="web", message="for later")
    assert "the person ends web" in Path(shell.place.home.log).read_text()


def test_at_a_terminal_the_person_is_asked_first(shell: Shell) -> None:
    web = shell.place.named("web")
    asked = shell.start("kill", "web", terminal=80)
    asked.wait_for(r"end the session of web \(claude, p_", "out")
    asked.type("n\n")
    assert asked.finish().status != 0
    assert running(web.pids["pid"])


def test_who_is_not_here_cannot_be_ended(shell: Shell) -> None:
    shell.place.named("web").close()
    wait_for(lambda: shell.place.row("SELECT state FROM peers")[0] == "away", "it is away")
    refused = shell.run("kill", "web", "--yes")
    assert refused.status == 1
    assert "nothing runs" in refused.err


def test_what_is_not_known_to_be_its_own_process_is_left_alone(shell: Shell) -> None:
    other = shell.place.agent(client="somebody-else", inbox=False)
    other.tool("set_summary", name="web")
    refused = shell.run("kill", "web", "--yes")
    assert refused.status == 1
    assert "not known which process" in refused.err
    assert running(other.pids["pid"])


def test_one_that_does_not_end_is_not_said_to_have_ended(shell: Shell) -> None:
    deaf = shell.place.named("web", env={"STANDIN_DEAF": "1"})
    refused = shell.run("kill", "web", "--yes")
    assert refused.status == 1
    assert "still runs" in refused.err
    assert running(deaf.pids["pid"])
    assert "has ended" in shell.ok("kill", "web", "--yes", "--force")
    assert not running(deaf.pids["pid"])


@pytest.mark.promise("A2", "G5")
def test_agents_may_end_nobody_by_default(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    assert "kill_peer" not in tools_of(api)
    said = api.tool("kill_peer", peer="web")
    assert "agents may not end sessions here" in said
    assert "coterie kill --allow-agents repo" in said
    assert running(web.pids["pid"])


@pytest.mark.promise("A2", "G5")
def test_allowed_to_they_may_in_their_own_repository(shell: Shell) -> None:
    here, there = repository(shell.place, "here"), repository(shell.place, "there")
    assert "sessions of their own repository" in shell.ok("kill", "--allow-agents", "repo", "--i-am-human")
    api, web = shell.place.named("api", cwd=here), shell.place.named("web", cwd=there)
    assert "kill_peer" in tools_of(api)
    assert "another repository" in api.tool("kill_peer", peer="web")
    assert running(web.pids["pid"])
    assert "this session itself" in api.tool("kill_peer", peer="api")
    shell.ok("kill", "--allow-agents", "machine", "--i-am-human")
    assert "has ended" in api.tool("kill_peer", peer="web")
    assert ended(shell.place, web)
    shell.ok("kill", "--allow-agents", "nobody", "--i-am-human")
    assert "agents may not" in api.tool("kill_peer", peer="web")
    assert "kill_peer" not in tools_of(api)


def test_an_agent_cannot_allow_itself(daemon: Place) -> None:
    api = daemon.named("api")
    ran = api.run(COTERIE, "kill", "--allow-agents", "machine", "--i-am-human")
    assert ran["status"] == 1
    assert "only a person may do this" in ran["stderr"]
    assert "kill_peer" not in tools_of(api)


def test_an_agents_shell_may_no_more_than_its_tool(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    ran = api.run(COTERIE, "kill", "web", "--yes", "--force")
    assert ran["status"] == 1
    assert "agents may not end sessions here" in ran["stderr"]
    assert running(web.pids["pid"])


@pytest.mark.promise("A2")
def test_a_thread_that_shares_its_process_is_interrupted_and_nothing_is_signalled(shell: Shell) -> None:
    shell.place.start(patch=INTERRUPTS)
    codex = shell.place.agent(client="codex-mcp-client", inbox=False)
    codex.tool("set_summary", name="web", meta={"threadId": "t-1"})
    assert "cannot be interrupted" in shell.run("kill", "web", "--yes").err
    told = {"event": "start", "kind": "codex", "session": "t-1", "cwd": "/", "endpoint": "/run/control.sock"}
    shell.place.connect("hook").call("session.event", told)
    assert "was interrupted" in shell.ok("kill", "web", "--yes")
    assert (shell.place.root / "interrupted").read_text() == "/run/control.sock t-1\n"
    assert running(codex.pids["pid"])


@pytest.mark.parametrize("arguments", [[], ["web", "--allow-agents", "repo"]])
def test_one_thing_at_a_time(shell: Shell, arguments: list[str]) -> None:
    assert shell.run("kill", *arguments).status in (1, 2)


def test_what_the_file_says_must_be_a_word_we_know(shell: Shell) -> None:
    Path(shell.place.home.kills).touch(0o600)
    Path(shell.place.home.kills).write_text("everything\n")
    api, web = shell.place.named("api"), shell.place.named("web")
    assert "agents may not end sessions here" in api.tool("kill_peer", peer="web")
    assert running(web.pids["pid"])


def test_without_a_terminal_nobody_is_ended_unasked(shell: Shell) -> None:
    web = shell.place.named("web")
    refused = shell.run("kill", "web", "--force")
    assert refused.status == 1
    assert "nobody can be asked here, and web (claude, p_" in refused.err
    assert "to end it all the same: coterie kill web --force --yes" in refused.err
    assert running(web.pids["pid"])
    assert shell.json("kill", "web")["error"]["kind"] == "refused"
    assert running(web.pids["pid"])


def test_an_agent_without_a_terminal_is_told_that_it_may_not(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web")
    ran = api.run(COTERIE, "kill", "web")
    assert ran["status"] == 1
    assert "agents may not end sessions here" in ran["stderr"]
    assert running(web.pids["pid"])


# --- one process for several ------------------------------------------------------------------------------------------


@pytest.mark.promise("A2")
def test_an_agent_ends_no_process_that_serves_another_too(shell: Shell, folders: subprocess.Popen[bytes]) -> None:
    shell.ok("kill", "--allow-agents", "machine", "--i-am-human")
    api = shell.place.named("api", cwd=str(shell.place.root / "left"))
    said = api.tool("kill_peer", peer="left-opencode")
    assert "serves right-opencode = p_" in said
    assert "ask the person to type: coterie kill p_" in said
    ran = api.run(COTERIE, "kill", "left-opencode", "--yes", "--force")
    assert ran["status"] == 1
    assert "serves right-opencode = p_" in ran["stderr"]
    assert folders.poll() is None


@pytest.mark.promise("A2")
def test_a_person_is_told_before_who_else_ends(shell: Shell, folders: subprocess.Popen[bytes]) -> None:
    alone = shell.run("kill", "left-opencode")
    assert alone.status == 1
    assert "right-opencode (opencode, p_" in alone.err
    for answer in ("n\n", "y\n"):
        assert folders.poll() is None
        asked = shell.start("kill", "left-opencode", terminal=80)
        asked.wait_for(r"left-opencode \(opencode, p_\w+\), and with it.*right-opencode \(opencode, p_\w+\)\?", "out")
        asked.type(answer)
        ended = asked.finish()
    assert ended.status == 0, str(ended)
    for name in ("left", "right"):
        assert f"{name}-opencode (p_" in ended.out.partition("[y/N]")[2]
    assert folders.wait(20) == -15


def test_told_not_to_ask_it_says_who_ended(shell: Shell, folders: subprocess.Popen[bytes]) -> None:
    done = shell.json("kill", "left-opencode", "--yes")
    assert (done["name"], done["how"]) == ("left-opencode", "ended")
    assert [(other["name"], other["kind"]) for other in done["also"]] == [("right-opencode", "opencode")]
    assert folders.wait(20) == -15
    assert "the person ends left-opencode" in (log := Path(shell.place.home.log).read_text())
    assert "and with it right-opencode" in log


def test_who_came_after_the_question_does_not_end_unsaid(shell: Shell, folders: subprocess.Popen[bytes]) -> None:
    asked_before = "from coterie.cli import kill; kill._asked = lambda *_, **__: ('left-opencode', False)"
    refused = shell.after(asked_before, "kill", "left-opencode")
    assert refused.status == 1
    assert "serves right-opencode = p_" in refused.err
    assert "to end them all: coterie kill p_" in refused.err
    assert folders.poll() is None
