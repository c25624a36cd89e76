"""A terminal that a program runs in and a test types at: tmux, on the lab's own socket."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clients.processes import LabError, wait_until

if TYPE_CHECKING:
    from clients.lab import Lab

COLUMNS, LINES = 150, 50
SCREEN_S = 60.0
"""How long something may take to appear. It takes a second; a loaded machine, many."""
TAIL = 12
"""So many of the last characters of a typed line must be visible before Enter is pressed."""


class Screen:
    """One terminal."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        self.target = f"={name}:"  # = for no other name that begins so.

    def tmux(self, *arguments: str, check: bool = True) -> str:
        """Run a tmux command. The socket's path is relative to the lab, to keep it short."""
        command = ["tmux", "-u", "-S", "tmux.sock", "-f", "/dev/null", *arguments]
        environ = self.lab.environment()
        done = subprocess.run(
            self.lab.inside(command),
            cwd=self.lab.base,
            env=environ,
            timeout=SCREEN_S,
            check=False,
            capture_output=True,
            encoding="utf-8",
        )
        if done.returncode and check:
            raise LabError(f"tmux {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def start(self, command: Sequence[str], environ: Mapping[str, str], cwd: Path) -> None:
        """Start a program in it, with this environment and nothing else."""
        clean = ["env", "-i", *(f"{name}={value}" for name, value in environ.items())]
        window = ["-s", self.name, "-x", str(COLUMNS), "-y", str(LINES), "-c", str(cwd)]
        options = ["set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "history-limit", "5000"]
        self.tmux("start-server", ";", *options, ";", "new-session", "-d", *window, shlex.join([*clean, *command]))

    def text(self) -> str:
        """The visible lines that are not blank; "" before the start and after the close."""
        lines = self.tmux("capture-pane", "-p", "-t", self.target, check=False).splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())

    def wait_for(self, pattern: str, timeout: float = SCREEN_S) -> str:
        """The screen, once a regular expression matches it."""

        def there() -> str:
            text = self.text()
            if re.search(pattern, text):
                return text
            if not self.running():
                raise LabError(f"{self.name} ended before {pattern!r} was on its screen")
            return ""

        try:
            return wait_until(there, timeout, f"{pattern!r} on the screen of {self.name}")
        except LabError as error:
            raise LabError(f"{error}, which shows:\n{self.text()}") from None

    def keys(self, *names: str) -> None:
        """Press keys by their tmux names, such as Enter, Escape, C-c, Down."""
        self.tmux("send-keys", "-t", self.target, *names)

    def press_until(self, name: str, pattern: str) -> None:
        """Press a key until the screen shows that it was taken: a dialog is on the screen before it listens."""

        def taken() -> bool:
            if re.search(pattern, self.text()):
                return True
            self.keys(name)
            return False

        wait_until(taken, SCREEN_S, f"{pattern!r} after {name} at {self.name}:\n{self.text()}")

    def type(self, text: str) -> None:
        """Type a text, and return once it stands there. Agents take a burst of keys for a paste, and may fold it."""
        before = self.text()
        tail = re.sub(r"\W", "", text)[-TAIL:]
        self.tmux("send-keys", "-t", self.target, "-l", text)

        def there() -> bool:
            now = self.text()
            folded = re.search(r"\[Pasted [^\]]*\]", now) and now != before
            return bool(folded) or re.sub(r"\W", "", now).count(tail) > re.sub(r"\W", "", before).count(tail)

        wait_until(there, SCREEN_S, f"{text[-60:]!r} typed at {self.name}:\n{self.text()}")

    def running(self) -> int:
        """The pid of the program, 0 when it has ended."""
        told = self.tmux("display-message", "-p", "-t", self.target, "#{pane_dead} #{pane_pid}", check=False).split()
        return int(told[1]) if len(told) == 2 and told[0] == "0" else 0

    def wait_ended(self, timeout: float = SCREEN_S) -> None:
        """Return once the program has ended of itself, and close the terminal."""
        wait_until(lambda: not self.running(), timeout, f"the end of {self.name}:\n{self.text()}")
        self.close()

    def close(self) -> None:
        """Close the terminal, as a person closes a window."""
        self.tmux("kill-session", "-t", self.target, check=False)
