"""What the command line says, and where. The law of the terminal:

- Results go to stdout, and nothing else does. Errors, hints and progress go to stderr behind ``coterie:``, in lower
  case and without a full stop; an error says what happened, its hint what to do next.
- With --json stdout gets one JSON object on one line, in ASCII, control characters escaped. An error is
  ``{"error": {"kind", "message", "hint"}}`` there; the exit code is the same either way.
- Nothing that a peer wrote reaches a terminal before `frames.neutralise`. Its text is quoted, every line behind
  ``| ``, those included that only the narrow terminal made: a line without the quote is ours.
- Nothing is called done before it is.
- Headings are bold on a terminal; NO_COLOR and TERM=dumb turn that off.
- The width is $COLUMNS, or else the terminal's. Where there is neither (a pipe, a file) nothing is cut.
- The exit codes are those of `EXIT_CODES`, for every command.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import sys

from coterie.errors import CoterieError, Limited, Sandboxed
from coterie.frames import neutralise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DONE, USAGE, NO_ANSWER, INTERRUPTED, READER_GONE = 0, 2, 4, 130, 141
EXIT_CODES = (
    (DONE, "done"),
    (CoterieError.exit_status, "refused, or failed"),
    (USAGE, "wrong usage, or bad input"),
    (3, "the daemon is not running, or cannot be reached"),
    (NO_ANSWER, "not yet: no answer (send --wait), no link (relay)"),
    (INTERRUPTED, "interrupted (Ctrl-C)"),
    (READER_GONE, "whoever read the output went away"),
)
WIDTH_LEAST = 20
"""On a terminal narrower than this lines wrap."""
_COMMANDS_OF_TOOLS = (
    ("check_messages with history", "coterie log"),
    ("check_messages with message_id", "coterie log --full --thread ID"),
    ("list_peers", "coterie peers"),
)
"""The daemon's hints are written for models; at a terminal the commands serve."""


class OutputGone(Exception):
    """Standard output takes nothing (more): its reader went away, its disk is full, or it was never open."""

    def __init__(self, reason: OSError | None) -> None:
        super().__init__(reason)
        self.reason = reason


# --- stdout ---------------------------------------------------------------------------------------------------------


def prepare() -> None:
    """Have characters that the terminal's encoding lacks spelled out, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # It is None where the descriptor was closed.
            stream.reconfigure(errors="backslashreplace")


def result(text: str) -> None:
    """Write a result and its newline. What is said in vain raises `OutputGone`, here or at `flush`."""
    _to_stdout(text + "\n")


def can_write(text: str) -> bool:
    """Whether stdout's encoding has all characters of a text."""
    try:
        text.encode(sys.stdout.encoding if sys.stdout else "ascii")
    except UnicodeEncodeError:
        return False
    return True


def result_json(value: dict[str, Any]) -> None:
    """Write the one object of --json."""
    result(json_line(value))


def json_line(value: dict[str, Any]) -> str:
    """An object on one line, in ASCII."""
    # JSON leaves DEL as it is, and a terminal acts on it.
    return json.dumps(value, ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f")


def flush() -> None:
    """Return when stdout took everything. Raises `OutputGone`."""
    _to_stdout("", flushed=True)


def _to_stdout(text: str, *, flushed: bool = False) -> None:
    if sys.stdout is None:
        raise OutputGone(None)
    try:
        sys.stdout.write(text)
        if flushed:
            sys.stdout.flush()
    except OSError as error:
        raise OutputGone(error) from None


def output_gone(gone: OutputGone) -> int:
    """End a command whose output is not taken: quietly if the reader had enough. Returns the exit code."""
    if sys.stdout is not None:
        # The interpreter flushes once more at its end, and would complain of the same.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    if gone.reason is not None and gone.reason.errno == errno.EPIPE:
        return READER_GONE
    note(f"cannot write to standard output: {gone.reason.strerror if gone.reason else 'it is closed'}")
    return CoterieError.exit_status


# --- stderr ---------------------------------------------------------------------------------------------------------


def note(text: str) -> None:
    """Write a line to stderr. Where nobody can hear it, nothing is lost."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"coterie: {plain(text)}\n")
        sys.stderr.flush()
    except OSError:
        return


def failure(error: CoterieError, *, as_json: bool) -> int:
    """Say what happened and what to do next. Returns the exit code."""
    hint = error.hint
    if not isinstance(error, Sandboxed):  # There the tools are the way.
        for tool, command in _COMMANDS_OF_TOOLS:
            hint = hint.replace(tool, command)
    if as_json:
        told = {"kind": error.kind(), "message": error.message, **error.to_wire()["data"]}
        result_json({"error": {**told, "hint": hint}})
        flush()
        return error.exit_status
    note(error.message)
    if isinstance(error, Limited):
        wait = error.retry_s
        note("not sent, and later neither" if wait is None else f"not sent; try again in {math.ceil(wait)} s")
    if hint:
        note(f"hint: {hint}")
    return error.exit_status


# --- words ----------------------------------------------------------------------------------------------------------


def plain(text: object) -> str:
    """A text that may have come from a peer, on one line, with nothing in it that acts."""
    return " ".join(neutralise(str(text)).split())


def bold(text: str) -> str:
    """`text` as a heading, where stdout is a terminal that shows such a thing and nobody asked for none."""
    return f"\x1b[1m{text}\x1b[0m" if styled() else text


def marked(text: str) -> str:
    """`text` made to stand out in the middle of a line, in brackets where nothing else can."""
    return f"\x1b[1;7m{text}\x1b[0m" if styled() else f"[{text}]"


def styled() -> bool:
    """Whether stdout is a terminal that shows bold text, and nobody asked for none."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def width() -> int | None:
    """How many columns there are, or None where nothing is to be cut."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        return max(int(columns), WIDTH_LEAST)
    try:
        return max(os.get_terminal_size(1).columns, WIDTH_LEAST) if os.isatty(1) else None
    except OSError:
        return None


def count(number: int, noun: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
