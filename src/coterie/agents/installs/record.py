"""What `coterie init` remembers about the files that it changed, so that `--remove` can give back their very bytes.

It lies beside the backups, in Coterie's own folder. Without it a removal still takes out what is ours; what it cannot
know then is whether an object that it leaves empty was there before.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, NamedTuple

from coterie.files import FILE_MODE, Home, make_folder
from coterie.texts import Path


class Kept(NamedTuple):
    """What is remembered about one file."""

    after: str = ""
    """The digest of what was written; as long as it fits, nothing else changed the file."""
    known: bool = False
    """Whether the file without anything of ours is known: by its backup, or because there was none."""
    backup: str | None = None
    created: bool = False
    empty: tuple[Path, ...] = ()
    """Objects and lists that were there, and empty."""
    folders: tuple[str, ...] = ()
    """Folders that were made for it, the innermost first."""


def digest(content: bytes | None) -> str:
    """What a content is recognised by."""
    return hashlib.sha256(content).hexdigest() if content is not None else "none"


class Record:
    """The memory of `coterie init`."""

    def __init__(self, place: Home) -> None:
        self.folder = os.path.join(place.backups, "init")
        self._path = os.path.join(self.folder, "record.json")
        self._files: dict[str, Kept] = {}
        self.load()

    def load(self) -> None:
        """Read it (again), as another run may have written it."""
        self._files = {path: _kept(entry) for path, entry in self._stored().items()}

    def _stored(self) -> dict[str, Any]:
        """A record that cannot be read is none: it only makes a removal more exact."""
        try:
            with open(self._path, encoding="utf-8") as file:
                loaded = json.load(file)
        except (OSError, ValueError):
            return {}
        return (
            {path: entry for path, entry in loaded.items() if isinstance(entry, dict)}
            if isinstance(loaded, dict)
            else {}
        )

    def of(self, path: str) -> Kept:
        """What is remembered about a file."""
        return self._files.get(path, Kept())

    def original(self, kept: Kept) -> bytes | None:
        """The content before anything of ours was in it; None if there was no file."""
        if kept.backup is None:
            return None
        with open(kept.backup, "rb") as file:
            return file.read()

    def keeping(self, path: str, before: bytes | None, after: bytes, empty: set[Path], clean: bool) -> Kept:
        """What is to be remembered of an edit; its backup is filled in when it was made.

        An edit on top of our own last one keeps what was known before that.
        """
        last = Kept() if clean else self.of(path)
        known = last.known and last.after == digest(before)
        return last._replace(
            after=digest(after),
            known=clean or known,
            backup=last.backup if known else None,
            created=before is None or last.created,
            empty=tuple(sorted({*last.empty, *empty}, key=repr)),
        )

    def remember(self, path: str, kept: Kept) -> None:
        """Remember, or forget, and write it down."""
        self._files.pop(path, None)
        if kept.after:
            self._files[path] = kept
        make_folder(self.folder)
        part = self._path + ".part"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE), "w") as file:
            json.dump({path: kept._asdict() for path, kept in self._files.items()}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._path)


def _kept(entry: dict[str, Any]) -> Kept:
    backup = entry.get("backup")
    known = bool(entry.get("known")) and (backup is None or (isinstance(backup, str) and os.path.isfile(backup)))
    return Kept(
        after=str(entry.get("after", "")),
        known=known,
        backup=backup if isinstance(backup, str) else None,
        created=bool(entry.get("created")),
        empty=tuple(tuple(path) for path in entry.get("empty", []) if isinstance(path, list)),
        folders=tuple(map(str, entry.get("folders", []))),
    )
