"""The checks of `coterie doctor` on each kind of agent. Nothing here writes, and what is started is bounded in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coterie.agents.installs.checks.checks import Check, Checks
from coterie.agents.installs.checks.claude import ClaudeChecks
from coterie.agents.installs.checks.codex import CodexChecks
from coterie.agents.installs.checks.finding import Finding, trouble
from coterie.agents.installs.checks.gemini import GeminiChecks
from coterie.agents.installs.checks.look import Look, shortened
from coterie.agents.installs.checks.opencode import OpenCodeChecks
from coterie.agents.installs.checks.probes import Handshakes
from coterie.agents.installs.install import Install
from coterie.errors import CoterieError

_CHECKS: dict[str, type[Checks]] = {
    "claude": ClaudeChecks,
    "codex": CodexChecks,
    "gemini": GeminiChecks,
    "opencode": OpenCodeChecks,
}


Run = Callable[[Callable[[Check], list[Finding]], list[Check]], Iterable[list[Finding]]]


def findings_of(install: Install, cwd: str, handshakes: Handshakes, run: Run = map) -> list[Finding]:
    """What is found of one agent; nothing if it is not on this machine. `run` may run the checks beside each other."""
    try:
        look = Look(install, cwd, handshakes)
        checks = _CHECKS[look.name](look).all() if look.found else []
    except CoterieError as error:
        message = shortened(error.message, install.setup.environ)
        return [trouble("configuration", message, f"mend it, then: coterie init {install.kind.name}")]
    except Exception as error:  # noqa: BLE001 (a form that nobody thought of must not hide the other agents)
        return [_failed("configuration", error)]
    return [finding for findings in run(outcome, checks) for finding in findings]


def outcome(check: Check) -> list[Finding]:
    """What a check found. One that fails itself is a finding too."""
    name = getattr(check, "__name__", "check").replace("_", "-")
    try:
        return list(check())
    except CoterieError as error:
        return [trouble(name, error.message, error.hint)]
    except Exception as error:  # noqa: BLE001 (one check that fails must not hide what the others found)
        return [_failed(name, error)]


def _failed(name: str, error: Exception) -> Finding:
    return trouble(name, f"this check failed ({type(error).__name__}: {error})", "please report it")
