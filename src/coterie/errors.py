"""Every error of Coterie, in one tree; whose fault it was decides the branch.

    CoterieError
    |-- BadInput              the caller sent something wrong; nothing was done and nothing was lost
    |   |-- BadLine           not one strict JSON object on one line
    |   |-- UnknownMethod     no such method
    |   |-- NoMatch           an address that nobody answers to
    |   `-- Ambiguous         an address that several answer to; the candidates are named
    |-- Refused               understood, and not allowed here
    |   |-- HumanOnly         a verb that only a person may use
    |   |   `-- NoTerminal    a person may, but at a terminal
    |   |-- Limited           more than a limit allows; says which, and when to try again
    |   `-- PairingFailed     two devices did not pair; says why, and whether the same invitation may be tried again
    |-- Unavailable           the daemon cannot be had at the moment; trying again may help
    |   |-- SwitchedOff       the person ran `coterie down`
    |   |-- Sandboxed         this process may not open sockets (EPERM): it is inside an agent's sandbox
    |   `-- Silent            the daemon is there and does not answer (stopped, or stuck)
    |-- Unsafe                a file or folder of ours is not safely ours; the fix is in the hint
    |-- BadConfig             a configuration file that cannot be taken as it is; nothing in it counts
    |-- StoreFailed           the database could not take it; what was not confirmed was not stored
    |   |-- DiskFull          no room; service resumes by itself when there is room
    |   |-- Damaged           what it holds is not what was stored; the hint is a way back
    |   `-- NewerDatabase     written by a newer coterie; left untouched
    `-- Defect                ours; the details are in the daemon's log and never on the wire

On the wire an error is ``{"code", "message", "data": {"kind", "hint"}}`` (JSON-RPC 2.0, section 5.1); ``kind`` is
the class name in kebab-case, and `from_wire` makes the same class again. This module is light: it loads nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class CoterieError(Exception):
    """An error with a message for the reader (what happened) and a hint (what to do next)."""

    code: ClassVar[int] = -32000
    """The JSON-RPC error code."""
    exit_status: ClassVar[int] = 1
    """What a command exits with."""

    def __init__(self, message: str, hint: str = "", *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.unanswered = unanswered
        """Whether the request had left when this came in place of its answer: then it may have been done."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    @classmethod
    def kind(cls) -> str:
        """The class name in kebab-case, as it stands on the wire: ``NoMatch`` is ``no-match``."""
        name = cls.__name__
        return name[0].lower() + "".join(f"-{c.lower()}" if c.isupper() else c for c in name[1:])

    def to_wire(self) -> dict[str, Any]:
        """The ``error`` member of a JSON-RPC answer."""
        data = {"kind": self.kind(), "hint": self.hint, **self._details()}
        return {"code": self.code, "message": self.message, "data": data}

    def _details(self) -> dict[str, Any]:
        """What programs are told beside the words."""
        return {}


class BadInput(CoterieError):
    """The caller sent something wrong; nothing was done and nothing was lost."""

    code = -32602
    exit_status = 2


class BadLine(BadInput):
    """Not one strict JSON object on one line."""

    code = -32700


class UnknownMethod(BadInput):
    """No such method."""

    code = -32601


class NoMatch(BadInput):
    """An address that nobody answers to."""

    code = -32010
    exit_status = 1


class Ambiguous(BadInput):
    """An address that several answer to; the hint names the candidates."""

    code = -32011
    exit_status = 1


class Refused(CoterieError):
    """Understood, and not allowed here."""

    code = -32001


class HumanOnly(Refused):
    """A verb that only a person may use; the hint is the line for the person to type."""

    code = -32012


class NoTerminal(HumanOnly):
    """Whoever asks may be a person, and is at no terminal; the hint is the line with the word that does without one."""

    code = -32021


def no_terminal(line: str) -> NoTerminal:
    """Wherever it is met, it is said in the same words; `line` is what the person would type at a terminal."""
    return NoTerminal("this takes a person at a terminal", f"without one: {line} --i-am-human (it is logged)")


class Limited(Refused):
    """More than a limit allows: which one, and in how many seconds to try again (None: time alone will not help)."""

    code = -32018

    def __init__(self, message: str, hint: str = "", *, limit: str = "", retry_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.limit = limit
        self.retry_s = retry_s

    def _details(self) -> dict[str, Any]:
        return {"limit": self.limit, "retry_s": self.retry_s}


class PairingFailed(Refused):
    """Two devices did not pair: why, in a word, and whether the same invitation may be tried again."""

    code = -32022

    def __init__(self, message: str, hint: str = "", *, reason: str = "", again: bool = False) -> None:
        super().__init__(message, hint)
        self.reason = reason
        self.again = again

    def _details(self) -> dict[str, Any]:
        return {"reason": self.reason, "again": self.again}


class Unavailable(CoterieError):
    """The daemon cannot be had at the moment; trying again may help."""

    code = -32002
    exit_status = 3


class SwitchedOff(Unavailable):
    """The person ran ``coterie down``; only ``coterie up`` ends it."""

    code = -32013


def switched_off() -> SwitchedOff:
    """Wherever it is met, it is said in the same words."""
    return SwitchedOff("coterie is switched off on this machine", "the person can type: coterie up")


class Sandboxed(Unavailable):
    """This process may not open sockets (EPERM): it runs inside an agent's sandbox."""

    code = -32014


class Silent(Unavailable):
    """The daemon holds its lock and does not answer: stopped, or stuck."""

    code = -32015


class Unsafe(CoterieError):
    """A file or folder of ours is not safely ours; the hint names the fix."""

    code = -32003
    exit_status = 3


class BadConfig(CoterieError):
    """A configuration file that cannot be taken as it is: file, line and key are named, and nothing in it counts."""

    code = -32020


class StoreFailed(CoterieError):
    """The database could not take it; what was not confirmed was not stored."""

    code = -32004


class DiskFull(StoreFailed):
    """No room for the database; service resumes by itself when there is room."""

    code = -32016


class Damaged(StoreFailed):
    """What the database holds is not what was stored; the hint is a way back."""

    code = -32019
    exit_status = 3


class NewerDatabase(StoreFailed):
    """The database was written by a newer coterie; it was left untouched."""

    code = -32017
    exit_status = 3


class Defect(CoterieError):
    """A defect of ours; the details are in the daemon's log and never on the wire."""

    code = -32603


def _tree(root: type[CoterieError]) -> list[type[CoterieError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]


_BY_KIND = {kind.kind(): kind for kind in _tree(CoterieError)}


def from_wire(error: object) -> CoterieError:
    """The error that stands in a JSON-RPC answer; anything malformed becomes a plain `CoterieError`."""
    if not isinstance(error, dict):
        return CoterieError("the daemon answered with an error that makes no sense")
    data = error.get("data")
    details = data if isinstance(data, dict) else {}
    kind = _BY_KIND.get(str(details.get("kind")), CoterieError)
    found = kind(str(error.get("message", "no reason given")), str(details.get("hint", "")))
    if isinstance(found, Limited):
        retry_s = details.get("retry_s")
        found.limit = str(details.get("limit", ""))
        found.retry_s = float(retry_s) if isinstance(retry_s, (int, float)) else None
    if isinstance(found, PairingFailed):
        found.reason = str(details.get("reason", ""))
        found.again = details.get("again") is True
    return found
