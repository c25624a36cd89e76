"""One host: a namespace, a home in it, its daemon, agents, and a person at a terminal. All run inside the namespace."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cli.detached import COTERIE, Command, Ended
from conftest import Place
from coterie import client
from coterie.testing.agent import Agent

COLUMNS = 100
RUN_S = 60


class Host(Place):
    """A host. What `Place` does happens here too, inside."""

    def __init__(self, root: Path, label: str, number: int, namespace: str) -> None:
        root.mkdir(0o700)
        super().__init__(root)
        self.label, self.number, self.namespace = label, number, namespace
        self.ip4, self.ip6 = f"10.77.0.{number}", f"fd77::{number}"
        self.inside = ("ip", "netns", "exec", namespace)
        self.spawned: list[subprocess.Popen[Any]] = []

    def knows(self, hosts: Iterable[Host]) -> None:
        """Give it a hosts file in which the others stand: by their label, and with a 6 behind it for IPv6 alone."""
        folder = Path("/etc/netns", self.namespace)
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{host.ip4} {host.label}\n{host.ip6} {host.label}6" for host in hosts]
        (folder / "hosts").write_text("\n".join(lines) + "\n")
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")

    # --- running things -------------------------------------------------------------------------------------------

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end."""
        whole = [*self.inside, *command]
        done = subprocess.run(
            whole, env=self.environ, capture_output=True, text=True, timeout=RUN_S, check=False, **options
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done

    def spawn(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a program inside, with pipes for what it reads and says."""
        pipe = subprocess.PIPE
        whole = [*self.inside, *command]
        child = subprocess.Popen(whole, env=self.environ, stdin=pipe, stdout=pipe, text=True, **options)
        self.spawned.append(child)
        return child

    def spawn_bytes(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program inside that reads bytes."""
        child = subprocess.Popen([*self.inside, *command], env=self.environ, stdin=subprocess.PIPE)
        self.spawned.append(child)
        return child

    def python(self, code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start some Python inside."""
        return self.spawn(sys.executable, "-P", "-c", code, *arguments, **options)

    def type(self, *arguments: str, columns: int = COLUMNS) -> Command:
        """Start a command of ours as a person does, at a terminal."""
        return Command([*self._ip(), COTERIE, *arguments], self.environ, str(self.root), terminal=columns)

    def coterie(self, *arguments: str) -> Ended:
        """Run such a command to its end."""
        return self.type(*arguments).finish()

    def ok(self, *arguments: str) -> str:
        """What such a command says, which must do what it is told."""
        ended = self.coterie(*arguments)
        assert ended.status == 0, str(ended)
        assert "Traceback" not in ended.out, str(ended)
        return ended.out

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json, run without a terminal."""
        command = [*self._ip(), COTERIE, *arguments, "--json"]
        ended = Command(command, self.environ, str(self.root)).finish()
        assert ended.status == 0, str(ended)
        return json.loads(ended.out)

    def _ip(self) -> list[str]:
        # The command is started by its path: no shell looks for it.
        return [os.path.join("/usr/bin/env"), *self.inside]

    def close(self) -> None:
        """End everything that was started here, by its pid."""
        for child in self.spawned:
            child.kill()
            with contextlib.suppress(BrokenPipeError), child:
                pass
        super().close()

    # --- who is here ----------------------------------------------------------------------------------------------

    def connect(self, kind: str = "cli", **options: Any) -> client.Client:
        """A connection from this process. It starts no daemon, which would be outside."""
        return super().connect(kind, **{"start": False, **options})

    def raw_agent(self, session: str | None = None, **options: Any) -> Agent:
        """A stand-in agent that has said nothing yet; its adapter runs inside."""
        adapter = [*self.inside, sys.executable, "-P", "-m", "coterie.mcp.main"]
        folder = tempfile.mkdtemp(dir=self.root)
        agent = Agent(self.home.folder, folder, session=session, **{"adapter": adapter, **options})
        self.agents.append(agent)
        return agent
