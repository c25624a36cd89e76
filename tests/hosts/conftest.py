"""A rig for each test, and what is needed to understand a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from hosts.rig import Rig, lacking

LACKING = lacking()


def lacks(what: str) -> NoReturn:
    """Skip a test for what this machine has not; where tests count, that is a failure."""
    if os.environ.get("COTERIE_REQUIRE_HOSTS") or os.environ.get("CI"):
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


def need_hosts() -> None:
    """Skip a test for which this machine has no hosts."""
    if LACKING:
        lacks(LACKING)


def _rig(request: pytest.FixtureRequest, *labels: str) -> Iterator[Rig]:
    need_hosts()
    before = request.session.testsfailed
    with Rig(*labels) as rig:
        yield rig
        if request.session.testsfailed > before:
            for label, host in rig.hosts.items():
                log = Path(host.home.log)
                print(f"=== {label}: daemon.log\n{log.read_text()[-4000:] if log.exists() else '(none)'}")
            print(f"=== wire: {rig.say(counts=True)}")


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Two hosts, ann and bob. Nothing runs on them yet."""
    yield from _rig(request, "ann", "bob")


@pytest.fixture
def three(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Three hosts: ann, bob and eve."""
    yield from _rig(request, "ann", "bob", "eve")
