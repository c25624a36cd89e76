"""The lab: one person's home with all four agents in it, one loopback network, one scripted model, one coterie.

    with Lab() as lab:
        lab.register()
        ann, bob = lab.claude("ann"), lab.claude("bob")
        bob.start_tui()
        bob.answers("question-1", "answer-1")
        ann.print_mode(ann.call("coterie", "send_message", to="bob-claude", message="question-1"))

Nothing of this machine's own agents is read or touched: each program gets an empty environment but for the lab's HOME
and a dummy key. Everything that was started is found by that HOME and ended.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from clients.agents import KINDS, Claude, Codex, Gemini, OpenCode, Session, search_path
from clients.model import Model
from clients.namespace import DEAD_PROXY, Namespace
from clients.processes import Command, LabError, Result, alive, of_home, process_file, wait_until
from clients.registration import register
from coterie.client import lock_holder
from coterie.files import Home

S = TypeVar("S", bound=Session)

COTERIE_S = 60.0
"""How long a command of ours may take."""
BIN = Path(sys.executable).parent
ENDED_S = 30.0


class Lab:
    """Everything of one test. Use it as a context manager."""

    def __init__(self) -> None:
        # Sockets lie in it, so its path is short.
        self.base = Path(tempfile.mkdtemp(prefix="coterie-lab-", dir="/tmp")).resolve()
        self.home, self.work, self.logs = self.base / "home", self.base / "work", self.base / "logs"
        """The person's home; a repository in which each session has a folder; what the programs said."""
        self.sessions: dict[str, Session] = {}
        for folder in (self.home, self.work, self.logs, self.base / "tmp"):
            folder.mkdir()
        self.place = Home(str(self.home / ".local" / "state" / "coterie"))
        """Where coterie keeps its files."""
        self.network = Namespace(self.home, self.logs / "keeper.log")
        self.model = Model(self.network.listener, self.base / "requests.jsonl")
        subprocess.run(["git", "init", "--quiet", str(self.work)], env=self.environment(), check=True)
        for kind in KINDS:
            kind.seed(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything of the lab, and remove it."""
        self.network.close()
        self.model.close()
        left = of_home(str(self.home))
        self._remove_codex_socket()
        shutil.rmtree(self.base, ignore_errors=True)
        if left or self.model.faults:
            raise LabError("\n".join([f"these processes do not end: {left}", *self.model.faults]))

    def _remove_codex_socket(self) -> None:
        """Codex keeps a link to the socket of its app-server in its home; the socket and a lock lie elsewhere."""
        link = self.home / ".codex" / "app-server-control" / "app-server-control.sock"
        if link.is_symlink():
            target = link.readlink()
            for path in (target, target.with_name(f"{target.name}.lock")):
                path.unlink(missing_ok=True)

    # --- sessions -------------------------------------------------------------------------------------------------

    def claude(self, name: str, folder: Path | None = None) -> Claude:
        """A session of Claude Code, not started yet."""
        return self._session(Claude, name, folder)

    def codex(self, name: str, folder: Path | None = None) -> Codex:
        """A session of Codex, not started yet. No two may work in one folder, by which their requests are known."""
        return self._session(Codex, name, folder)

    def gemini(self, name: str, folder: Path | None = None) -> Gemini:
        """A session of Gemini CLI, not started yet."""
        return self._session(Gemini, name, folder)

    def opencode(self, name: str, folder: Path | None = None) -> OpenCode:
        """A session of OpenCode, not started yet."""
        return self._session(OpenCode, name, folder)

    def _session(self, kind: type[S], name: str, folder: Path | None) -> S:
        session = kind(self, name, folder or self.work / name)
        self.sessions[name] = session
        return session

    # --- running things -------------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """The clean environment of every program here."""
        basic = {"PATH": search_path(), "HOME": str(self.home), "TMPDIR": str(self.base / "tmp")}
        return {**basic, "SHELL": "/bin/bash", "LANG": "C.UTF-8", "TERM": "xterm-256color", **DEAD_PROXY}

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs a command in the lab's network."""
        return self.network.inside(command)

    def run(self, command: Sequence[str], environ: Mapping[str, str], cwd: Path, timeout: float) -> Result:
        """Run a program to its end, as one that the person started."""
        return Command(self.inside(command), environ, cwd, self.logs).finish(timeout)

    def coterie(self, *arguments: str, cwd: Path | None = None, timeout: float = COTERIE_S) -> Result:
        """Our own command line, as the person runs it, without a terminal."""
        return self.run([str(BIN / "coterie"), *arguments], self.environment(), cwd or self.work, timeout)

    def register(self) -> None:
        """Bring coterie into the four agents' configuration."""
        register(self.home, BIN)

    def init(self) -> None:
        """The same by ``coterie init``, as the person runs it."""
        # A checkout may lie in a folder for temporary files, and these programs need not last.
        done = self.coterie("init", "--yes", "--i-am-human", "--force")
        if done.status:
            raise LabError(f"coterie init: {done}")

    # --- looking --------------------------------------------------------------------------------------------------

    def peers(self) -> list[dict[str, Any]]:
        """The peers that are here, as ``coterie peers --json`` lists them."""
        listed = self.coterie("peers", "--json")
        if listed.status:
            raise LabError(f"coterie peers: {listed}")
        return list(json.loads(listed.stdout)["peers"])

    def send(self, to: str, text: str) -> str:
        """The person sends a message; returns its id."""
        sent = self.coterie("send", to, text, "--json")
        if sent.status:
            raise LabError(f"coterie send: {sent}")
        return str(json.loads(sent.stdout)["messages"][0]["id"])

    def messages(self) -> list[dict[str, Any]]:
        """All messages with how far each got, as ``coterie log --json`` tells."""
        return list(json.loads(self.coterie("log", "--json").stdout)["messages"])

    def wait_message(self, text: str, *states: str) -> dict[str, Any]:
        """The one message with this text, once it is in one of these states."""

        def there() -> dict[str, Any] | None:
            found = [message for message in self.messages() if message["text"] == text]
            return found[0] if len(found) == 1 and found[0]["state"] in states else None

        try:
            return wait_until(there, COTERIE_S, f"{text!r} is {' or '.join(states)}")
        except LabError as error:
            raise LabError(f"{error}\n{self.coterie('log')}") from None

    def wait_peer(self, session: Session) -> dict[str, Any]:
        """The peer of a session, once it is here: known by its kind and folder."""

        def here() -> dict[str, Any] | None:
            cards = (card for card in self.peers() if card["kind"] == session.kind)
            return next((card for card in cards if card["cwd"] == str(session.folder)), None)

        try:
            return wait_until(here, COTERIE_S, f"{session.name} is a peer")
        except LabError as error:
            raise LabError(f"{error}\n{session.told()}") from None

    def daemon_pid(self) -> int:
        """The daemon that serves this home; for a test that ends it."""
        pid = lock_holder(self.place)
        assert "coterie.daemon" in process_file(pid, "cmdline"), pid
        return pid

    def wait_ended(self, pid: int) -> None:
        """Return once a process has ended."""
        wait_until(lambda: not alive(pid), ENDED_S, f"the end of process {pid}")

    def told(self) -> str:
        """What is needed to understand a failure."""
        log = Path(self.place.log)
        parts = [session.told() for session in self.sessions.values()]
        parts.append(f"=== daemon.log\n{log.read_text()[-4000:] if log.exists() else '(none)'}")
        if Path(self.place.socket).exists():
            parts.append(f"=== coterie log\n{self.coterie('log').stdout[-4000:]}")
        return "\n".join(parts)
