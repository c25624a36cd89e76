"""A lab for each test, and what is needed to understand a failure."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients import namespace, programs
from clients.lab import Lab

KEPT = Path(__file__).parents[2] / "build" / "clients"
"""Where the requests of a test that failed can be read."""


def lacking() -> str:
    """What this machine lacks for the tests with the real agents, or ""."""
    missing = [name for name in ("git", "node", "tmux") if not shutil.which(name)]
    return ", ".join(filter(None, [*missing, namespace.lacking(), programs.lacking()]))


LACKING = lacking()


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab in which coterie is not in any agent's configuration yet."""
    if LACKING:
        say = pytest.fail if os.environ.get("COTERIE_REQUIRE_CLIENTS") else pytest.skip
        say(f"needs {LACKING}")
    with Lab() as lab:
        before = request.session.testsfailed
        yield lab
        if request.session.testsfailed > before:
            print(lab.told())
            KEPT.mkdir(parents=True, exist_ok=True)
            kept = KEPT / f"{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)}.jsonl"
            shutil.copy(lab.base / "requests.jsonl", kept)
            print(f"=== all requests: {kept}")


@pytest.fixture
def coterie(lab: Lab) -> Lab:
    """A lab in whose agents coterie is registered."""
    lab.register()
    return lab
