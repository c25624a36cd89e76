"""coterie doctor with the real agents: what it says is what they say themselves."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from clients import programs
from clients.agents import Claude, Session
from clients.lab import BIN, Lab
from clients.processes import LabError, Result

Json = dict[str, Any]
YES = ("--yes", "--i-am-human", "--force")
DOCTOR_S = 120.0
LIST_HOOKS = """
import json, subprocess, sys
process = subprocess.Popen([sys.argv[1], "app-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def ask(number, method, params):
    process.stdin.write(json.dumps({"id": number, "method": method, "params": params}) + "\\n")
    process.stdin.flush()
    return next(m for m in map(json.loads, process.stdout) if m.get("id") == number)["result"]
ask(1, "initialize", {"clientInfo": {"name": "test", "version": "0"}, "capabilities": {"experimentalApi": True}})
print(json.dumps(ask(2, "hooks/list", {"cwds": [sys.argv[2]]})["data"][0]["hooks"]))
process.terminate()
"""


class Clinic:
    """The lab, with the agents where a person's shell finds them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        folders = [str(programs.program(kind).parent) for kind in programs.PINNED]
        self.environ = {**lab.environment(), "PATH": ":".join([*folders, lab.environment()["PATH"]])}
        self.sessions: dict[str, Session] = {
            kind: getattr(lab, kind)(name)
            for kind, name in zip(programs.PINNED, ("ann", "bob", "cid", "dan"), strict=True)
        }

    def coterie(self, *arguments: str) -> Result:
        """Our command line, as the person runs it in the folder of work."""
        return self.lab.run([str(BIN / "coterie"), *arguments], self.environ, self.lab.work, DOCTOR_S)

    def init(self) -> None:
        """Bring coterie into all four."""
        done = self.coterie("init", *YES)
        assert done.status == 0, done

    def doctor(self, *arguments: str) -> Json:
        """What doctor says."""
        done = self.coterie("doctor", *arguments, "--json")
        told: Json = json.loads(done.stdout)
        assert (done.status, told["ok"]) in ((0, True), (1, False)), done
        return told

    def troubles(self, *arguments: str) -> set[tuple[str, str]]:
        """What is in trouble, by agent and name."""
        return {(check["agent"], check["name"]) for check in bad(self.doctor(*arguments))}

    def listed(self, kind: str) -> str:
        """What the agent itself says of our server, in the folder of work."""
        session = self.sessions[kind]
        said = self.lab.run([str(session.program), "mcp", "list"], session.environment(), self.lab.work, DOCTOR_S)
        lines = (said.stdout + said.stderr).splitlines()
        return "\n".join(line for line in lines if "coterie" in line)

    def codex_hooks(self) -> list[Json]:
        """The hooks of ours, as the app-server of Codex lists them."""
        bob = self.sessions["codex"]
        command = ["python3", "-c", LIST_HOOKS, str(bob.program), str(self.lab.work)]
        said = self.lab.run(command, bob.environment(), self.lab.work, DOCTOR_S)
        return [hook for hook in json.loads(said.stdout) if "coterie-hook" in hook["command"]]

    def trust_codex_hooks(self) -> None:
        """Answer its question at the start, as the person does."""
        bob = self.sessions["codex"]
        bob.screen.start([str(bob.program), "--no-daemon"], bob.environment(), bob.folder)
        bob.screen.wait_for("Hooks need review")
        for _ in range(5):  # A key that comes while it is being drawn is lost.
            bob.screen.keys("2", "Enter")
            with contextlib.suppress(LabError):
                bob.screen.wait_for(bob.ready, 10)
                break
        bob.screen.wait_for(bob.ready)
        bob.close()

    def edit(self, name: str, **changes: Any) -> None:
        """Set members of a JSON file in the home."""
        path = self.lab.home / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def bad(told: Json) -> list[Json]:
    """What is in trouble, sessions included."""
    every = [*told["checks"], *(check for session in told["sessions"] for check in session["checks"])]
    return [check for check in every if check["state"] == "trouble"]


@pytest.fixture
def clinic(lab: Lab) -> Clinic:
    return Clinic(lab)


def test_before_and_after_init_and_after_trust(clinic: Clinic) -> None:
    kinds = list(programs.PINNED)
    assert clinic.troubles() == {(kind, "server") for kind in kinds}
    assert [clinic.listed(kind) for kind in kinds] == [""] * 4
    clinic.init()
    assert clinic.troubles() == {("codex", "hooks-trusted")}
    assert {hook["trustStatus"] for hook in clinic.codex_hooks()} == {"untrusted"}
    for kind in ("claude", "gemini", "opencode"):
        assert "onnected" in clinic.listed(kind), kind
    assert "enabled" in clinic.listed("codex")
    clinic.trust_codex_hooks()
    assert {hook["trustStatus"] for hook in clinic.codex_hooks()} == {"trusted"}
    told = clinic.doctor()
    assert told["ok"], bad(told)
    versions = [check["evidence"].split()[1].rstrip(",") for check in told["checks"] if check["name"] == "program"]
    assert versions == [version for _, version in programs.PINNED.values()]
    hooks = clinic.lab.home / ".codex" / "hooks.json"
    hooks.write_text(hooks.read_text().replace('"command":', '"timeout": 7, "command":', 1))
    assert {hook["trustStatus"] for hook in clinic.codex_hooks()} == {"trusted", "modified"}
    assert clinic.troubles("codex") == {("codex", "hooks-trusted")}


def test_what_is_broken_is_so_for_the_agents_too(clinic: Clinic) -> None:
    clinic.init()
    home, work = clinic.lab.home, str(clinic.lab.work)
    state = json.loads((home / ".claude.json").read_text())
    state["projects"][work]["disabledMcpServers"] = ["coterie"]
    clinic.edit(".claude.json", projects=state["projects"])
    assert "Disabled" in clinic.listed("claude")
    assert clinic.troubles("claude") == {("claude", "server-on")}
    clinic.edit(".claude.json", projects={}, mcpServers={"coterie": {"command": "/gone/coterie-mcp"}})
    assert "Failed to connect" in clinic.listed("claude")
    assert clinic.troubles("claude") == {("claude", "server-starts")}
    clinic.edit(".gemini/settings.json", mcp={"excluded": ["coterie"]})
    assert "Blocked" in clinic.listed("gemini")
    assert clinic.troubles("gemini") == {("gemini", "server-on")}
    clinic.edit(".gemini/settings.json", mcp={})
    switches = home / ".gemini" / "mcp-server-enablement.json"
    switches.write_text(json.dumps({"coterie": {"enabled": False}}))
    assert "Disabled" in clinic.listed("gemini")
    assert clinic.troubles("gemini") == {("gemini", "server-on")}
    switches.unlink()
    (home / ".gemini" / "trustedFolders.json").write_text(json.dumps({work: "DO_NOT_TRUST"}))
    assert "Disabled" in clinic.listed("gemini")
    assert clinic.troubles("gemini") == {("gemini", "folder")}
    config = home / ".config" / "opencode" / "opencode.json"
    config.write_text(config.read_text().replace('"enabled": true', '"enabled": false'))
    assert "disabled" in clinic.listed("opencode")
    assert clinic.troubles("opencode") == {("opencode", "server-on")}
    config = home / ".codex" / "config.toml"
    config.write_text(config.read_text().replace("[mcp_servers.coterie]\n", "[mcp_servers.coterie]\nenabled = false\n"))
    assert "disabled" in clinic.listed("codex")
    assert ("codex", "server-on") in clinic.troubles("codex")


def test_an_approval_that_is_missing_makes_codex_exec_refuse(clinic: Clinic) -> None:
    clinic.init()
    config = clinic.lab.home / ".codex" / "config.toml"
    approval = '[mcp_servers.coterie.tools.list_peers]\napproval_mode = "approve"\n'
    assert approval in config.read_text()
    config.write_text(config.read_text().replace(approval, ""))
    assert ("codex", "approvals") in clinic.troubles("codex")
    bob = clinic.sessions["codex"]
    bob.print_mode(bob.call("coterie", "list_peers"))
    assert bob.saw("requires approval")


def test_a_session_is_found_and_a_message_to_it_is_shown(clinic: Clinic) -> None:
    clinic.init()
    ann = clinic.sessions["claude"]
    assert isinstance(ann, Claude)
    ann.start_tui()
    clinic.lab.wait_peer(ann)
    told = clinic.doctor("claude")
    (session,) = told["sessions"]
    assert told["ok"], bad(told)
    assert (session["cwd"], session["reach"], session["hooked"]) == (str(ann.folder), "inbox", True)
    requests = len(ann.requests(side=True))
    (live,) = [c for c in clinic.doctor("claude", "--live")["sessions"][0]["checks"] if c["name"] == "live"]
    assert live["state"] == "ok", live
    assert "was shown after" in live["evidence"]
    ann.wait_saw("coterie doctor: a test message")
    ann.settle()
    assert len(ann.frames("coterie doctor")) == 1
    assert requests == 0, "to look at a session starts no turn in it"


def test_all_four_are_found_and_live_reaches_those_that_can_be_woken(clinic: Clinic) -> None:
    clinic.init()
    clinic.trust_codex_hooks()
    for session in clinic.sessions.values():
        session.start_tui()
    for session in clinic.sessions.values():
        session.ask("hello")
    for session in clinic.sessions.values():
        session.screen.wait_for("MOCKREPLY")
    told = clinic.doctor("--live", "--wait", "50")
    assert told["ok"], bad(told)
    reached = {session["kind"]: session["reach"] for session in told["sessions"]}
    assert reached == {"claude": "inbox", "codex": "nudge", "gemini": "hooks", "opencode": "nudge"}
    assert all(session["hooked"] for session in told["sessions"])
    live = {c["agent"]: c["state"] for s in told["sessions"] for c in s["checks"] if c["name"] == "live"}
    assert live == {"claude": "ok", "codex": "ok", "gemini": "note", "opencode": "ok"}
    for kind, session in clinic.sessions.items():
        assert len(session.frames("coterie doctor")) == (kind != "gemini"), session.told()


def test_hooks_that_are_switched_off_do_not_report(clinic: Clinic) -> None:
    clinic.init()
    clinic.edit(".claude/settings.json", disableAllHooks=True)
    assert clinic.troubles("claude") == {("claude", "hooks-on")}
    ann = clinic.sessions["claude"]
    ann.start_tui()
    clinic.lab.wait_peer(ann)
    ann.settle()
    (session,) = clinic.doctor("claude")["sessions"]
    assert session["hooked"] is False


def test_looking_leaves_nothing_behind(clinic: Clinic) -> None:
    clinic.init()
    clinic.doctor()
    before = files(clinic.lab.home)
    clinic.doctor()
    assert files(clinic.lab.home) == before


def files(folder: Path) -> dict[str, int]:
    """All files below a folder, with the time of their last change; the daemon's own aside."""
    found = [path for path in folder.rglob("*") if "coterie" not in path.relative_to(folder).parts[:4]]
    return {str(path): path.lstat().st_mtime_ns for path in found}
