"""A person's home with all four agents in it, as far as files go: programs that say their version, the configuration
that the real code of `coterie init` writes, and the trust that the person gives.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coterie.agents.installs import Install, Setup, installs
from coterie.agents.installs.checks import findings_of
from coterie.agents.installs.checks.codex import snake, trust_hash
from coterie.agents.installs.checks.finding import Finding, Mark
from coterie.agents.installs.checks.look import Look
from coterie.agents.installs.checks.probes import Handshakes
from coterie.agents.installs.programs import ours
from coterie.agents.installs.record import Record
from coterie.agents.installs.writing import Writer
from coterie.files import home

VERSIONS = {"claude": "2.1.328 (Claude Code)", "codex": "codex-cli 0.169.0", "gemini": "0.61.0", "opencode": "1.18.33"}


class AgentsAtHome:
    """The home, and where one works in it."""

    def __init__(self, root: Path, coterie: str) -> None:
        self.root = root
        self.work = root / "work"
        self.work.mkdir()
        programs = root / "programs"
        programs.mkdir()
        for name, version in VERSIONS.items():
            write_program(programs / name, f"echo '{version}'")
        self.environ = {
            "HOME": str(root),
            "PATH": f"{programs}:/usr/bin:/bin",
            "COTERIE_HOME": coterie,
            "LANG": "C.UTF-8",
        }

    def init(self) -> None:
        """What `coterie init` does, and what it tells the person to do."""
        record = Record(home(self.environ))
        writer = Writer(record, time.time())
        for install in installs(Setup(self.environ, ours(self.environ, anywhere=True))):
            for edit in install.plan(record):
                writer.apply(edit)
        self.trust_hooks()
        self.write(".gemini/trustedFolders.json", {str(self.work): "TRUST_FOLDER"})
        self.edit(".claude.json", lambda d: d.update(projects={str(self.work): {"hasTrustDialogAccepted": True}}))

    def trust_hooks(self) -> None:
        """Write down the trust as Codex does."""
        file = self.root / ".codex" / "hooks.json"
        hooks = self.look("codex").hooks(json.loads(file.read_text()))
        with (self.root / ".codex" / "config.toml").open("a") as config:
            for hook in hooks:
                key = f"{file}:{snake(hook.event)}:{hook.group}:{hook.place}"
                config.write(f'\n[hooks.state."{key}"]\ntrusted_hash = "{trust_hash(hook)}"\n')

    # --- changing ---------------------------------------------------------------------------------------------------

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file."""
        (self.root / name).write_text(json.dumps(value))

    def edit(self, name: str, change: Callable[[Any], object]) -> None:
        """Change the data of a JSON file."""
        data = json.loads((self.root / name).read_text())
        change(data)
        self.write(name, data)

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file, wherever it stands."""
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    # --- looking ----------------------------------------------------------------------------------------------------

    def _install(self, agent: str) -> Install:
        return installs(Setup(self.environ, ours(self.environ, anywhere=True)), agent)[0]

    def look(self, agent: str) -> Look:
        """What the checks of one agent look at."""
        return Look(self._install(agent), str(self.work), Handshakes(self.environ))

    def findings(self, agent: str) -> list[Finding]:
        """What is found of one agent."""
        return findings_of(self._install(agent), str(self.work), Handshakes(self.environ))

    def troubles(self) -> dict[tuple[str, str], Finding]:
        """What is in trouble, by agent and name."""
        found = ((agent, finding) for agent in VERSIONS for finding in self.findings(agent))
        return {(agent, finding.name): finding for agent, finding in found if finding.mark is Mark.TROUBLE}

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file and folder, with its time of change and size."""
        found = (Path(folder) / name for folder, folders, names in os.walk(self.root) for name in (*folders, *names))
        stats = {str(path): path.lstat() for path in found}
        return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def write_program(path: Path, script: str) -> None:
    """A program that runs a line of shell."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
