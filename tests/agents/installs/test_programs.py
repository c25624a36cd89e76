"""Our own programs are named by paths that last."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from coterie.agents.installs import programs
from coterie.agents.installs.programs import Ours, ours, version
from coterie.errors import Refused


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with our programs, somewhere that is taken for lasting."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("coterie-mcp", "coterie-hook"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder))
    monkeypatch.setattr(programs, "TEMPORARY", ())
    monkeypatch.setattr(programs.tempfile, "gettempdir", lambda: "/nowhere")
    return folder


def test_by_the_environment_that_runs_this(scripts: Path) -> None:
    assert ours({"PATH": "/usr/bin"}) == Ours(f"{scripts}/coterie-mcp", f"{scripts}/coterie-hook")


def test_by_the_link_that_outlives_an_upgrade(scripts: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for name in ("coterie-mcp", "coterie-hook"):
        (links / name).symlink_to(scripts / name)
    assert ours({"PATH": f"/usr/bin:{links}"}) == Ours(f"{links}/coterie-mcp", f"{links}/coterie-hook")
    (links / "coterie-hook").unlink()
    (links / "coterie-hook").write_text("#!/bin/sh\n# another program\n")
    (links / "coterie-hook").chmod(0o755)
    assert ours({"PATH": f"/usr/bin:{links}"}).hook == f"{scripts}/coterie-hook"


@pytest.mark.parametrize("variable", ["TMPDIR", "UV_CACHE_DIR", "XDG_CACHE_HOME"])
def test_never_where_things_are_cleared_away(scripts: Path, tmp_path: Path, variable: str) -> None:
    with pytest.raises(Refused, match="will not last") as refused:
        ours({"PATH": "", variable: str(tmp_path)})
    assert "uv tool install coterie" in refused.value.hint
    assert ours({"PATH": "", variable: str(tmp_path)}, anywhere=True).hook == f"{scripts}/coterie-hook"


@pytest.mark.parametrize("folder", [".cache/uv/archive-v0/x", "Library/Caches/uv"])
def test_never_in_a_cache(tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True)
    os.rename(scripts, place / "bin")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(place / "bin"))
    with pytest.raises(Refused, match="it is in a cache"):
        ours({"PATH": ""})


def test_what_is_not_there_is_not_registered(scripts: Path) -> None:
    (scripts / "coterie-hook").unlink()
    with pytest.raises(Refused, match="there is no program"):
        ours({"PATH": ""})


def test_a_version_that_nothing_tells_is_none(tmp_path: Path) -> None:
    program = tmp_path / "node_modules" / "x" / "bin" / "x"
    program.parent.mkdir(parents=True)
    program.write_text("")
    assert version(str(program)) is None
    (tmp_path / "node_modules" / "x" / "package.json").write_text("{")
    assert version(str(program)) is None
    (tmp_path / "node_modules" / "x" / "package.json").write_text('{"version": "1.2.3"}')
    assert version(str(program)) == "1.2.3"
