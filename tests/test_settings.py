"""Reading and writing the files that configure."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from coterie import settings
from coterie.config import DEFAULTS, Said, Source
from coterie.errors import BadConfig
from coterie.files import Home
from coterie.limits import CONFIG_BYTES_MAX


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(str(tmp_path))


def put(place: Home, text: str | bytes, mode: int = 0o600) -> None:
    Path(place.config).write_bytes(text if isinstance(text, bytes) else text.encode())
    os.chmod(place.config, mode)


def refused(place: Home) -> BadConfig:
    with pytest.raises(BadConfig) as caught:
        settings.load(place)
    assert caught.value.message.startswith(place.config)
    return caught.value


# --- the person's file ------------------------------------------------------------------------------------------------


@pytest.mark.promise("S5")
def test_where_it_is_follows_from_the_home_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("COTERIE_CONFIG", "/elsewhere/config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert Home("/home/ann/.local/state/coterie").config == "/home/ann/.config/coterie/config.toml"
    assert Home("/.local/state/coterie").config == "/.config/coterie/config.toml"
    assert Home("/srv/coterie").config == "/srv/coterie/config.toml"


def test_without_a_file_the_defaults_hold(place: Home) -> None:
    assert settings.load(place) is DEFAULTS
    assert settings.read(f"{place.config}/below") is None
    assert settings.stamp(place.config) is None


def test_what_it_says_holds(place: Home) -> None:
    put(place, "\ufeff[guards]\r\nhops = 1\r\n", 0o644)
    found = settings.load(place, lambda text: {"guards.hops": 2})
    assert found.limits.hops == 1
    assert (found.origins["guards.hops"].source, found.origins["guards.hops"].line) == (Source.FILE, 2)


def test_a_link_to_a_file_of_ones_own_is_followed(place: Home, tmp_path: Path) -> None:
    (tmp_path / "dotfiles.toml").write_text("guards.hops = 1")
    os.symlink("dotfiles.toml", place.config)
    assert settings.load(place).limits.hops == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("guards.hops = ", "is not TOML: Invalid value (at end of document)"),
        ("guards.hops = 1\nguards.hops = 2", "is not TOML: Cannot overwrite a value"),
        ("a = 2024-13-45", "is not TOML"),
        ("a = " + "9" * 5000, "is not TOML that can be read"),
        ("a = " + "[" * 5000, "is not TOML that can be read"),
        (b"a = '\xff'", "is not UTF-8 (byte 5)"),
        ("#" * (CONFIG_BYTES_MAX + 1), f"has more than {CONFIG_BYTES_MAX} bytes"),
        ("guards.hopps = 1", "did you mean guards.hops?"),
    ],
    ids=["no value", "twice", "date", "digits", "depth", "bytes", "size", "key"],
)
def test_what_cannot_be_understood_is_refused(place: Home, text: str | bytes, says: str) -> None:
    put(place, text)
    assert says in refused(place).message


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_refused_with_the_fix(place: Home, mode: int) -> None:
    put(place, "", mode)
    assert refused(place).hint == f"chmod go-w {place.config}"


def test_a_file_of_another_user_is_refused(place: Home, as_root: None) -> None:
    put(place, "")
    os.chown(place.config, 4711, 4711)
    assert "belongs to another user (uid 4711)" in refused(place).message


def test_what_is_no_file_is_refused_and_not_waited_for(place: Home) -> None:
    os.mkfifo(place.config, 0o600)
    assert "is not a file" in refused(place).message
    os.unlink(place.config)
    os.symlink(place.config, place.config)
    assert "cannot be read" in refused(place).message


def test_a_change_is_seen_by_its_stamp(place: Home) -> None:
    put(place, "guards.hops = 1")
    before = settings.stamp(place.config)
    settings.write(place.config, "guards.hops = 1", "guards.hops = 2")
    assert settings.stamp(place.config) != before


# --- writing it -------------------------------------------------------------------------------------------------------


def test_a_new_file_is_for_nobody_else_to_see(tmp_path: Path) -> None:
    place = Home(str(tmp_path / ".local/state/coterie"))
    settings.write(place.config, None, "guards.hops = 1\n")
    assert Path(place.config).read_text() == "guards.hops = 1\n"
    assert os.stat(place.config).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(place.config)).st_mode & 0o777 == 0o700
    assert os.listdir(os.path.dirname(place.config)) == ["config.toml"]


def test_a_file_keeps_its_mode_and_a_link_stays_one(place: Home, tmp_path: Path) -> None:
    (tmp_path / "dotfiles.toml").write_text("a")
    os.chmod(tmp_path / "dotfiles.toml", 0o644)
    os.symlink("dotfiles.toml", place.config)
    settings.write(place.config, "a", "b")
    assert os.readlink(place.config) == "dotfiles.toml"
    assert (tmp_path / "dotfiles.toml").read_text() == "b"
    assert os.stat(place.config).st_mode & 0o777 == 0o644


def test_what_another_wrote_meanwhile_is_not_overwritten(place: Home) -> None:
    put(place, "theirs")
    with pytest.raises(BadConfig, match="was changed by another program just now"):
        settings.write(place.config, "before", "mine")
    assert Path(place.config).read_text() == "theirs"


def test_what_cannot_be_written_is_left_as_it_is(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    put(place, "before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadConfig, match="cannot be written: No space left on device"):
        settings.write(place.config, "before", "after")
    assert Path(place.config).read_text() == "before"
    assert os.listdir(place.folder) == ["config.toml"]


# --- a repository's file ----------------------------------------------------------------------------------------------


def test_the_root_is_that_of_the_main_worktree() -> None:
    assert settings.root_of("/src/web/.git", "/src/web-fix") == "/src/web"
    assert settings.root_of("/src/web.git", "/src/web-fix") == "/src/web-fix"
    assert settings.root_of("/src/app/.git/modules/lib", "") == ""


def read_in(root: Path) -> Said | None:
    ended = subprocess.run(settings.reading(str(root)), capture_output=True, timeout=20, check=False)
    assert ended.stderr == b""
    return settings.read_in(str(root), ended.returncode, ended.stdout)


def test_a_repositorys_file_is_read(tmp_path: Path) -> None:
    assert read_in(tmp_path) is None
    assert read_in(tmp_path / "none") is None
    path = tmp_path / ".coterie.toml"
    path.write_text("guards.hops = 1")
    assert read_in(tmp_path) == Said(str(path), {"guards.hops": 1}, {})


@pytest.mark.promise("S6")
def test_it_is_read_as_far_as_it_may_go(tmp_path: Path) -> None:
    with open(tmp_path / ".coterie.toml", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadConfig, match="has more than"):
        read_in(tmp_path)


@pytest.mark.promise("S6")
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "closed"])
def test_what_is_no_plain_file_there_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".coterie.toml"
    (tmp_path / "secret").write_text("guards.hops = 1")
    if kind == "link":
        os.symlink("secret", path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.symlink(path, path)
    with pytest.raises(BadConfig, match="is not a file that can be read"):
        read_in(tmp_path)


@pytest.mark.promise("S6")
def test_a_repository_cannot_say_more_than_it_may(tmp_path: Path) -> None:
    (tmp_path / ".coterie.toml").write_text("notify.desktop = true")
    with pytest.raises(BadConfig, match="is not for a repository to set"):
        read_in(tmp_path)
