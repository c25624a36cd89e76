"""Where the files lie, and what is done when one of them is not safely ours."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from coterie import files
from coterie.errors import DiskFull, Unsafe
from coterie.files import Home, check_file, check_folder, check_socket, home, make_folder, open_private
from coterie.ids import fingerprint
from coterie.limits import SOCKET_PATH_BYTES_MAX


def refusal(caught: pytest.ExceptionInfo[Unsafe]) -> tuple[str, str]:
    return caught.value.message, caught.value.hint


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def socket_file(tmp_path: Path) -> Path:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    path.chmod(0o600)
    return path


# --- Home ----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("C3")
def test_everything_lies_in_one_folder() -> None:
    place = Home("/h")
    assert vars(place) == {
        "folder": "/h",
        "lock": "/h/daemon.lock",
        "log": "/h/daemon.log",
        "database": "/h/coterie.db",
        "backups": "/h/backups",
        "off": "/h/switched-off",
        "kills": "/h/agents-may-kill",
        "clock": "/h/clock.json",
        "config": "/h/config.toml",
        "device": "/h/device",
        "socket": "/h/daemon.sock",
    }
    assert place.socket_folder == "/h"


@pytest.mark.promise("C3")
def test_the_home_that_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.chdir(tmp_path)
    assert home({"COTERIE_HOME": "/elsewhere"}).folder == "/elsewhere"
    assert home({"COTERIE_HOME": "here/.."}).folder == str(tmp_path)
    assert home({"COTERIE_HOME": ""}).folder == "/home/ann/.local/state/coterie"
    assert home({}).config == "/home/ann/.config/coterie/config.toml"
    assert home({"XDG_STATE_HOME": "/xdg"}).folder == "/home/ann/.local/state/coterie"


def test_a_path_too_long_for_a_socket() -> None:
    fits = "/" + "x" * (SOCKET_PATH_BYTES_MAX - len("/") - len("/daemon.sock"))
    assert Home(fits).socket == fits + "/daemon.sock"
    assert len(Home(fits).socket) == SOCKET_PATH_BYTES_MAX
    long = fits + "x"
    place = Home(long)
    assert place.socket == f"/tmp/coterie-{os.getuid()}/{fingerprint(long)}.sock"
    assert place.socket_folder == f"/tmp/coterie-{os.getuid()}"
    assert place.lock == long + "/daemon.lock"


def test_the_length_counts_in_bytes() -> None:
    assert Home("/" + "ä" * 50).socket.startswith("/tmp/coterie-")
    assert Home("/" + "a" * 50).socket.startswith("/aa")


# --- Folders -------------------------------------------------------------------------------------------------------


def test_a_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        make_folder(str(folder))
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    make_folder(str(folder))


def test_a_folder_that_is_there_is_checked(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    with pytest.raises(Unsafe) as caught:
        make_folder(str(folder))
    assert refusal(caught) == (f"{folder} is open to other users", f"chmod 700 {folder}")


def test_the_folders_above_are_ours_alone_too(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    before = os.umask(0)
    try:
        make_folder(str(folder))
    finally:
        os.umask(before)
    assert [mode(folder), mode(folder.parent), mode(folder.parent.parent)] == [0o700] * 3


def test_another_starter_makes_the_folder_above_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = os.mkdir

    def made_already(path: str, rights: int) -> None:
        made(path, rights)
        raise FileExistsError

    monkeypatch.setattr(files.os, "mkdir", made_already)
    make_folder(str(tmp_path / "a" / "b"))
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"
    with pytest.raises(Unsafe) as caught:
        make_folder(str(folder))
    assert refusal(caught) == (f"there is no folder {folder}: Not a directory", "make it, or set COTERIE_HOME")
    with pytest.raises(Unsafe, match=r"cannot make the folder .*/file/folder/deeper: Not a directory"):
        make_folder(str(folder / "deeper"))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unsafe, match=r"there is no folder .*/none: No such file or directory"):
        check_folder(str(tmp_path / "none"))


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    folder = tmp_path / "folder"
    monkeypatch.setattr(files.os, "mkdir", refuse)
    with pytest.raises(Unsafe) as caught:
        make_folder(str(folder))
    assert refusal(caught) == (f"cannot make the folder {folder}: Permission denied", "make it, or set COTERIE_HOME")


def test_a_link_to_a_folder_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to("real")
    for check in (check_folder, make_folder):
        with pytest.raises(Unsafe) as caught:
            check(str(link))
        assert refusal(caught) == (
            f"{link} is a symbolic link",
            f"see where it leads (ls -l {link}), then remove it: rm {link}",
        )


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o600)
    with pytest.raises(Unsafe) as caught:
        check_folder(str(file))
    assert refusal(caught) == (f"{file} is not a folder", f"move it out of the way: mv {file} {file}.old")


def test_another_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    check_folder(str(tmp_path))
    owner = os.getuid()
    monkeypatch.setattr(files.os, "getuid", lambda: owner + 1)
    with pytest.raises(Unsafe) as caught:
        check_folder(str(tmp_path))
    assert refusal(caught) == (
        f"{tmp_path} belongs to another user (uid {owner})",
        "remove it, or set COTERIE_HOME",
    )


@pytest.mark.parametrize("bits", [0o710, 0o701, 0o720, 0o702, 0o740, 0o704])
def test_every_right_of_others_counts(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    with pytest.raises(Unsafe, match="is open to other users"):
        check_folder(str(tmp_path))
    tmp_path.chmod(0o500)
    check_folder(str(tmp_path))


# --- Files and sockets ---------------------------------------------------------------------------------------------


def test_whether_a_file_is_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert check_file(str(file)) is False
    file.touch(mode=0o600)
    assert check_file(str(file)) is True


@pytest.mark.parametrize("check", [check_file, check_socket])
def test_what_is_neither(tmp_path: Path, check: object) -> None:
    assert callable(check)
    kind = "file" if check is check_file else "socket"
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to("nowhere")
    with pytest.raises(Unsafe, match=f"{folder} is not a {kind}"):
        check(str(folder))
    with pytest.raises(Unsafe, match=f"{link} is a symbolic link"):
        check(str(link))


def test_a_file_that_others_may_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(0o640)
    for check in (check_file, lambda path: open_private(path, os.O_RDWR)):
        with pytest.raises(Unsafe) as caught:
            check(str(file))
        assert refusal(caught) == (f"{file} is open to other users", f"chmod 600 {file}")


def test_whether_a_socket_is_there(socket_file: Path) -> None:
    assert check_socket(str(socket_file)) is True
    assert check_socket(str(socket_file) + "2") is False
    with pytest.raises(Unsafe, match="is not a file"):
        check_file(str(socket_file))
    socket_file.chmod(0o666)
    with pytest.raises(Unsafe) as caught:
        check_socket(str(socket_file))
    assert refusal(caught) == (f"{socket_file} is open to other users", f"chmod 600 {socket_file}")


def test_a_private_file_is_private_from_birth(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    before = os.umask(0)
    try:
        descriptor = open_private(path, os.O_WRONLY)
    finally:
        os.umask(before)
    os.write(descriptor, b"kept")
    assert mode(path) == 0o600
    assert os.get_inheritable(descriptor) is False
    os.close(descriptor)
    again = open_private(path, os.O_RDONLY)
    assert os.read(again, 10) == b"kept"
    os.close(again)


def test_a_private_file_is_never_opened_through_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(Unsafe, match="is a symbolic link"):
        open_private(str(link), os.O_RDWR)
    assert not target.exists()


def test_a_link_put_there_between_the_look_and_the_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    monkeypatch.setattr(files, "check_file", lambda path: link.symlink_to(target))
    with pytest.raises(OSError, match="symbolic links"):
        open_private(str(link), os.O_RDWR)
    assert not target.exists()


def test_a_file_put_there_between_the_look_and_the_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened is looked at again, and closed if it is not ours alone."""
    file = tmp_path / "file"

    def put(path: str) -> None:
        file.touch()
        file.chmod(0o644)

    monkeypatch.setattr(files, "check_file", put)
    before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []
    with pytest.raises(Unsafe, match="is open to other users"):
        open_private(str(file), os.O_RDWR)
    assert before == (sorted(os.listdir("/proc/self/fd")) if before else [])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_for_which_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, "No room")

    path = str(tmp_path / "file")
    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(DiskFull) as caught:
        open_private(path, os.O_RDWR)
    assert caught.value.message == f"there is no room for {path}: No room"
    assert caught.value.hint == "make room, and try again"


def test_a_file_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    path = str(tmp_path / "file")
    Path(path).touch(0o600)
    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(PermissionError):  # Not for its mode: a sandbox forbids it, which the caller can say better.
        open_private(path, os.O_RDWR)
    os.chmod(path, 0o400)
    with pytest.raises(Unsafe) as caught:
        open_private(path, os.O_RDWR)
    assert refusal(caught) == (f"{path} cannot be opened by you", f"chmod 600 {path}")


def test_the_working_folder_can_be_told_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(strange)
    monkeypatch.chdir(os.fsdecode(strange))
    assert files.working_folder() == f"{tmp_path}/\ufffd"
    os.rmdir(strange)
    assert files.working_folder() == "/"


def test_a_file_that_cannot_be_looked_at_is_not_known_to_be_shut(tmp_path: Path) -> None:
    assert files._may_be_opened(str(tmp_path / "none")) is True
