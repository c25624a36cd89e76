"""Writing somebody else's configuration: backed up first, whole or not at all, and never over a change that came in
between (Claude Code rewrites its own file while it runs).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
import time

from coterie.agents.installs.record import Kept, Record
from coterie.agents.installs.targets import Edit, read
from coterie.errors import CoterieError, Refused
from coterie.files import FILE_MODE, make_folder, open_private

NEW_FOLDER_MODE = 0o700
"""Of a folder that no agent has made yet: they hold credentials as well."""


class Changed(Refused):
    """The file is not as it was when the edit was planned."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} was changed by another program just now", "run it again")


class Writer:
    """Applies edits. One run has one folder of backups."""

    def __init__(self, record: Record, now: float) -> None:
        self._record = record
        name = os.path.join(record.folder, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)))
        names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        self.backups = next(name for name in names if not os.path.lexists(name))

    def apply(self, edit: Edit) -> None:
        """Make one edit. Raises `CoterieError` with the file as it was."""
        backup = self._back_up(edit) if edit.before is not None else None
        kept = edit.kept
        if kept.known and kept.backup is None and not kept.created:
            kept = kept._replace(backup=backup)
        folders = self._record.of(edit.path).folders
        try:
            if edit.after is None:
                _check_unchanged(edit)
                os.unlink(os.path.realpath(edit.path))
                self._record.remember(edit.path, Kept())
                _remove_folders(folders)
            else:
                made = _make_folders(os.path.dirname(os.path.realpath(edit.path)))
                if kept.after:
                    # Remembered first: a power cut between the two leaves a memory that fits nothing, and no harm.
                    self._record.remember(edit.path, kept._replace(folders=(*made, *folders)))
                _replace(edit)
                if not kept.after:
                    self._record.remember(edit.path, kept)
        except OSError as error:
            raise CoterieError(
                f"cannot write {edit.path}: {error.strerror}", "it was left as it is; make it writable, and try again"
            ) from None

    def _back_up(self, edit: Edit) -> str:
        path = os.path.join(self.backups, edit.path.lstrip("/"))
        make_folder(os.path.dirname(path))
        with open(open_private(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            file.write(edit.before or b"")
            file.flush()
            os.fsync(file.fileno())
        return path


def _check_unchanged(edit: Edit) -> None:
    if read(edit.path) != edit.before:
        raise Changed(edit.path)


def _replace(edit: Edit) -> None:
    """Write beside the file, and put it in its place. A link stays a link: what it leads to is replaced."""
    path = os.path.realpath(edit.path)
    part = f"{path}.coterie-{secrets.token_hex(4)}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(edit.after or b"")
            file.flush()
            _like(path, file.fileno())
            os.fsync(file.fileno())
        _check_unchanged(edit)
        os.rename(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    _sync_folder(os.path.dirname(path))


def _like(path: str, descriptor: int) -> None:
    """Mode, owner and extended attributes of the file that is replaced."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    ours = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != (ours.st_uid, ours.st_gid):
        os.fchown(descriptor, found.st_uid, found.st_gid)
    with contextlib.suppress(OSError):  # Attributes that a file system lacks, or only root may set.
        for name in os.listxattr(path) if hasattr(os, "listxattr") else ():
            os.setxattr(descriptor, name, os.getxattr(path, name))
    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folders(path: str) -> list[str]:
    """Make a folder and those above it. Returns those that were made, the innermost first."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        os.mkdir(folder, NEW_FOLDER_MODE)
    return missing


def _remove_folders(folders: tuple[str, ...]) -> None:
    """Remove those that were made for a file and have nothing else in them."""
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError:  # Somebody else uses it by now.
            return
