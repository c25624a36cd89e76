"""Knows when a file was written, without looking at it again and again: for what must happen at once and unasked.

Linux tells it (inotify, inotify(7)): a file is new when it is closed after writing, or renamed into its place. Its
folder is watched, as editors put another file in the place of the old one; or the nearest folder above it that exists.
Elsewhere nothing is told, and whoever asks for a setting finds the change (daemon/settings.py).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

_CLOSE_WRITE, _MOVED, _CREATE, _DELETE = 0x008, 0x0C0, 0x100, 0x200
_SELF = 0xC00
"""The folder itself was removed, or renamed."""
_MASK = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _SELF
_FLAGS = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_READ_BYTES = 65_536


class Watch:
    """Calls `told` after something happened to the file at `path`, or beside it."""

    def __init__(self, path: str, told: Callable[[], None]) -> None:
        self._path = path
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._descriptor = -1
        self._folder = ""
        self._inode = 0

    def start(self) -> None:
        """Watch from now on."""
        if not sys.platform.startswith("linux"):
            return
        self._begin()

    def close(self) -> None:
        """Watch no more."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self) -> None:
        library = ctypes.CDLL(None)
        self._descriptor = library.inotify_init1(_FLAGS)
        if self._descriptor < 0:  # The user's share of them is used up.
            return
        folder = os.path.dirname(self._path)
        while library.inotify_add_watch(self._descriptor, os.fsencode(folder), _MASK) < 0 and folder != "/":
            folder = os.path.dirname(folder)
        self._folder, self._inode = folder, _inode(folder)
        self._loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        data = os.read(self._descriptor, _READ_BYTES)
        near = self._folder != os.path.dirname(self._path)
        moved = _inode(self._folder) != self._inode
        if near or moved:
            # The folder of the file may exist now, or no longer: begin with the nearest one again.
            self.close()
            self._begin()
        if near or moved or os.fsencode(os.path.basename(self._path)) in data:
            self._told()


def _inode(folder: str) -> int:
    """What tells a folder from another one of its name; 0 if there is none."""
    try:
        return os.stat(folder).st_ino
    except OSError:
        return 0
