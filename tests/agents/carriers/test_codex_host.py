"""Which process of Codex it is, by its command line and environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coterie.agents.carriers.codex_host import CONTROL, Role, home_of, host, is_socket

RELEASE = "/h/.codex/packages/app-server-daemon/releases/0.169.0/bin/codex"
ENVIRON = {"HOME": "/h"}


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        ([RELEASE, "app-server", "--listen", "unix://", "--managed-daemon"], Role.SERVER),
        (["codex"], Role.WINDOW),
        (["/usr/bin/codex", "--no-daemon"], Role.WINDOW),
        (["codex", "please run exec"], Role.WINDOW),
        (["codex", "resume", "--last"], Role.WINDOW),
        (["codex", "exec", "--json", "do it"], Role.ONCE),
        (["codex", "-c", "model=x", "e", "do it"], Role.ONCE),
    ],
)
def test_what_it_does(arguments: list[str], role: Role) -> None:
    found = host(arguments, ENVIRON, "/usr/bin/codex")
    assert found
    assert found.role is role
    assert found.home == "/h/.codex"


def test_it_is_known_by_its_program_or_its_name() -> None:
    assert host(["node", "codex"], ENVIRON, "/usr/bin/node") is None
    assert host([], {}, "") is None
    assert host(["/usr/bin/codex"], ENVIRON, "/opt/codex-native (deleted)")
    assert host(["x"], ENVIRON, "/opt/codex")


def test_where_its_threads_can_be_told_something(tmp_path: Path) -> None:
    elsewhere = {"HOME": "/h", "CODEX_HOME": str(tmp_path)}
    places = {}
    for arguments in (["codex", "app-server"], ["codex"], ["codex", "exec"]):
        found = host(arguments, elsewhere, "codex")
        assert found
        places[found.role] = found.endpoint
    assert places == {Role.SERVER: str(tmp_path / CONTROL), Role.WINDOW: str(tmp_path), Role.ONCE: ""}
    assert is_socket(places[Role.SERVER])
    assert not is_socket(places[Role.WINDOW])
    assert home_of(places[Role.SERVER]) == home_of(places[Role.WINDOW]) == str(tmp_path)


def test_without_a_readable_environment_it_is_the_usual_place() -> None:
    found = host(["codex"], {}, "codex")
    assert found
    assert found.home == os.path.expanduser("~/.codex")
