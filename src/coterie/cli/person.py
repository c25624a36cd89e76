"""Whether a person runs a command that only a person may, for commands that need the daemon for nothing else."""

from __future__ import annotations

import os
import sys

from coterie import agents
from coterie.cli import say
from coterie.client import connect
from coterie.errors import (
    HumanOnly,
    NoTerminal,
    Sandboxed,
    StoreFailed,
    Unavailable,
    UnknownMethod,
    Unsafe,
    no_terminal,
)


def check_person(method: str, line: str, *, i_am_human: bool) -> None:
    """Raises `HumanOnly`, with the `line` for the person to type, unless a person asks. The daemon knows best, as it
    knows who is below which agent.
    """
    try:
        connect("cli", even_if_off=True).call("person.check", {"method": method, "i_am_human": i_am_human})
    except NoTerminal:
        raise no_terminal(line) from None
    except (HumanOnly, Sandboxed):
        raise _refused(line) from None
    except (Unavailable, UnknownMethod, StoreFailed, Unsafe) as error:
        # Without a daemon that could tell (a broken one may be why the person takes coterie out), the marks must do.
        if agents.by_environment(os.environ):
            raise _refused(line) from None
        if not i_am_human and not (sys.stdin and sys.stdin.isatty()):
            raise no_terminal(line) from None
        say.note(f"the daemon could not be asked who you are ({error.message})")


def check_no_agent(method: str, line: str) -> None:
    """Raises `HumanOnly`, with the `line`, in the shell of an agent. It may be a person's timer, without a terminal."""
    try:
        connect("cli", start=False).call(method)
    except Sandboxed:
        raise _refused(line) from None
    except (Unavailable, UnknownMethod, StoreFailed, Unsafe):
        if agents.by_environment(os.environ):
            raise _refused(line) from None


def _refused(line: str) -> HumanOnly:
    return HumanOnly("only a person may do this", f"ask the person to type: {line}")
