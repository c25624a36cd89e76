"""Progress: one line on stderr that is written over, on a terminal, once something takes longer than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

SILENT_S = 1.0
"""What is over sooner needs no word."""
CLEAR = "\r\x1b[K"


class Progress:
    """How far one piece of work is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._shown:
            _write(CLEAR)

    def at(self, done: int, total: int) -> None:
        """So much of it is done."""
        if time.monotonic() - self._began < SILENT_S or sys.stderr is None or not sys.stderr.isatty():
            return
        self._shown = True
        _write(f"{CLEAR}coterie: {self._what}: {done * 100 // max(total, 1)}%")


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return  # Nobody looks.
