"""Prints a story for a person: sections, a time stamp for each line, at most 80 columns, colour only on a terminal."""

from __future__ import annotations

import os
import sys
import textwrap
import time

COLUMNS = 80
INDENT = 10
"""Left of the text: the time stamp."""
_STYLES = {"heading": "1", "time": "2", "call": "36", "quote": "2", "good": "32", "bad": "31;1"}


class Transcript:
    """Writes to stdout, line by line, so that it can be followed through a pipe too."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._sections = 0
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace", line_buffering=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def title(self, text: str, about: str) -> None:
        """The first lines."""
        self._line(self._styled("heading", text))
        self._line(self._styled("heading", "=" * len(text)))
        for line in textwrap.wrap(about, COLUMNS):
            self._line(line)

    def section(self, text: str) -> None:
        """A new part of the story."""
        self._sections += 1
        self._line("")
        self._line(self._styled("heading", f"{self._sections}. {text}"))

    def tell(self, text: str) -> None:
        """What happens."""
        self._stamped(text, "")

    def call(self, who: str, text: str) -> None:
        """What an agent does."""
        self._stamped(f"{who}: {text}", "call")

    def quote(self, text: str) -> None:
        """What an agent reads, as it is."""
        for line in text.splitlines():
            for part in textwrap.wrap(line, COLUMNS - INDENT - 4, subsequent_indent="  ", break_on_hyphens=False) or [
                ""
            ]:
                self._line(" " * INDENT + self._styled("quote", f"  | {part}".rstrip()))

    def good(self, text: str) -> None:
        """A fact that was checked."""
        self._stamped(f"ok: {text}", "good")

    def bad(self, text: str) -> None:
        """A fact that is not as told."""
        self._stamped(f"NOT AS TOLD: {text}", "bad")

    def table(self, rows: list[tuple[str, str]]) -> None:
        """Names and values."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self._line(f"  {name:<{width}}  {value:>12}")

    def _stamped(self, text: str, style: str) -> None:
        stamp = f"{self.elapsed:6.2f} s"
        for number, part in enumerate(textwrap.wrap(text, COLUMNS - INDENT, break_on_hyphens=False)):
            left = self._styled("time", stamp) + "  " if number == 0 else " " * INDENT
            self._line(left + self._styled(style, part))

    def _styled(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and self._coloured else text

    def _line(self, text: str) -> None:
        print(text, flush=True)
