"""Reading what configures Coterie: the person's file, and `.coterie.toml` of a repository. For the daemon and the CLI.

The person's file must be theirs, and nobody else's to write. A repository's file comes from a stranger, and its folder
may be a mount that hangs: it is read by a process of its own that can be given up, a little of it, and never through a
link.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from coterie.config import REPOSITORY_FILE, Said, Settings, Value, flat, settings
from coterie.config import said as config_said
from coterie.errors import BadConfig
from coterie.files import FILE_MODE, Home, make_folder
from coterie.limits import CONFIG_BYTES_MAX

LinesOf = Callable[[str], Mapping[str, int]]
"""Finds the line of each key in a text that parses."""
Stamp = tuple[int, ...]
BOM = "\ufeff"
"""Some editors begin a text with it."""
OURS = (0, os.getuid())
"""Who may own the person's file: root's would be a system's that manages it, and root may do anything."""

ABSENT, UNFIT = 3, 4
"""How the process below ends where there is no file, and where there is something else."""
PROGRAM = f"""
import errno, os, stat, sys
try:
    file = os.open(sys.argv[1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
except OSError as error:
    sys.exit({ABSENT} if error.errno in (errno.ENOENT, errno.ENOTDIR) else {UNFIT})
if not stat.S_ISREG(os.fstat(file).st_mode):
    sys.exit({UNFIT})
sys.stdout.buffer.write(os.read(file, {CONFIG_BYTES_MAX + 1}))
"""


def no_lines(text: str) -> Mapping[str, int]:
    """Where nothing is known of lines."""
    return {}


# --- the person's file ------------------------------------------------------------------------------------------------


def stamp(path: str) -> Stamp | None:
    """What changes when the file does; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)


def load(place: Home, lines_of: LinesOf = no_lines) -> Settings:
    """What the person's file says, over the defaults. Raises `BadConfig`."""
    text = read(place.config)
    return settings(None if text is None else understood(text, place.config, lines_of))


def read(path: str) -> str | None:
    """The text of the person's file; None if there is none. Raises `BadConfig`, with the fix, unless it is safely
    theirs.
    """
    try:
        # Not blocking: a pipe in its place would otherwise be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}", f"see: ls -l {path}") from None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadConfig(f"{path} is not a file", f"move it out of the way: mv {path} {path}.old")
        if found.st_uid not in OURS:
            raise BadConfig(f"{path} belongs to another user (uid {found.st_uid})", "make one of your own in its place")
        if stat.S_IMODE(found.st_mode) & 0o022:
            raise BadConfig(f"{path} can be written by other users", f"chmod go-w {path}")
        return decoded(file.read(CONFIG_BYTES_MAX + 1), path)


def decoded(data: bytes, path: str) -> str:
    """The text of a file. Raises `BadConfig` if it is too long, or no UTF-8."""
    if len(data) > CONFIG_BYTES_MAX:
        raise BadConfig(f"{path} has more than {CONFIG_BYTES_MAX} bytes", "every key has room in far less")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadConfig(f"{path} is not UTF-8 (byte {error.start})", "write it in UTF-8") from None


def understood(text: str, path: str, lines_of: LinesOf = no_lines, *, repository: bool = False) -> Said:
    """What a text says. Raises `BadConfig`."""
    data = parsed(text, path)
    return config_said(data, path, lines_of(text), repository=repository)


def parsed(text: str, path: str) -> dict[str, Any]:
    """The tables of a text. Raises `BadConfig`."""
    try:
        return tomllib.loads(text.removeprefix(BOM))
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{path} is not TOML: {error}", "mend it there") from None
    except (ValueError, RecursionError):
        # Python's reader fails otherwise on dates that are none, endless numbers, and thousands of brackets.
        raise BadConfig(f"{path} is not TOML that can be read", "mend it") from None


def edited(text: str, path: str, name: str, value: Value | None) -> str:
    """The text with this value of a key, or without (None). Whatever else stands in it stays. Raises `BadConfig` if
    that cannot be; `path` is the file that it is of.
    """
    from coterie.texts import BadText, tomltext  # Few processes ever edit.

    known = dict(flat(parsed(text, path)))
    where = tuple(name.split("."))
    said = list(value) if isinstance(value, tuple) else value
    wanted = {key: old for key, old in known.items() if key != name} | ({} if said is None else {name: said})
    try:
        after = tomltext.delete(text, where) if said is None else tomltext.set_value(text, where, said)
        if dict(flat(tomltext.parse(after))) == wanted:
            return after
    except BadText:  # Somebody wrote the table in another form.
        pass
    raise BadConfig(f"{path} is written in a way that cannot be edited from here", f"change {name} in it by hand")


def put(place: Home, name: str, value: Value) -> None:
    """Set a key in the person's file. Raises `BadConfig` if that cannot be, or if it does not count for another
    mistake.
    """
    before = read(place.config)
    after = edited(before or "", place.config, name, value)
    understood(after, place.config)
    write(place.config, before, after)


def write(path: str, before: str | None, after: str) -> None:
    """Put `after` in the place of `before`, whole or not at all, and for no other user to see. A link stays one.

    Raises `BadConfig` if the file says something else than `before` by now, or cannot be written.
    """
    try:
        if not os.path.isdir(os.path.dirname(path)):
            make_folder(os.path.dirname(path))
        target = os.path.realpath(path)
        folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # Of two at once the second finds the first one's text, and gives up.
            if read(path) != before:
                raise BadConfig(f"{path} was changed by another program just now", "try again")
            _replace(target, after)
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BadConfig(f"{path} cannot be written: {error.strerror}", "it was left as it is") from None


def _replace(target: str, text: str) -> None:
    part = f"{target}.{os.getpid()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            if os.path.exists(target):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
            os.fsync(descriptor)
        os.rename(part, target)
    except BaseException:
        os.unlink(part)
        raise


# --- a repository's file ----------------------------------------------------------------------------------------------


def root_of(common_dir: str, top: str) -> str:
    """The folder whose file counts: the main worktree's, whatever worktree a session is in. In a layout without one
    it is the session's own top level; empty if there is none either.
    """
    folder, name = os.path.split(common_dir)
    return folder if name == ".git" else top


def reading(root: str) -> list[str]:
    """The command that writes the file of the repository at `root` to its output. It may hang where the folder does."""
    return [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, path_in(root)]


def path_in(root: str) -> str:
    """The path of a repository's file."""
    return os.path.join(root, REPOSITORY_FILE)


def read_in(root: str, status: int, out: bytes, lines_of: LinesOf = no_lines) -> Said | None:
    """What the repository's file says, by how `reading` ended; None if there is none. Raises `BadConfig`."""
    path = path_in(root)
    if status == ABSENT:
        return None
    if status:
        raise BadConfig(f"{path} is not a file that can be read", "make it a plain file, or remove it")
    return understood(decoded(out, path), path, lines_of, repository=True)
