"""Each session that is here: how it is reached, and what proves it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from typing import Any

from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.cli.options import short_path
from coterie.cli.say import count
from coterie.cli.times import span
from coterie.limits import MAIL_OLD_S, NEW_SESSION_S

CONNECT_S = 1.0
"""How long a socket on this machine may take to accept."""
CARRIERS = {"wait": "an answer that it waited for", "tool": "a tool's result", "hook": "a hook", "inbox": "its inbox"}


def session(told: dict[str, Any]) -> list[Finding]:
    """What is found of one session, in the order in which a person reads it."""
    return [*way(told), *hooks(told), *mail(told)]


def way(told: dict[str, Any]) -> Iterator[Finding]:
    """How a message gets to it, tried as far as that leaves no trace."""
    reach = told["reach"]
    if told["inbox"]:
        why = unreachable(told["inbox"])
        if why:
            evidence = f"its inbox {told['inbox']} {why}; its mail waits for its hooks and tools"
            yield trouble("reach", evidence, "end that session, and resume it")
        else:
            yield ok("reach", f"its inbox takes text ({short_path(told['inbox'])})")
    elif reach == "inbox":
        yield ok("reach", "its adapter says that it has an inbox; where, cannot be seen")
    elif reach == "nudge":
        why = unreachable(told["endpoint"])
        if why:
            yield trouble("reach", f"its client at {told['endpoint']} {why}", "end that session, and resume it")
        else:
            yield ok("reach", f"its client is told at {short_path(told['endpoint'])}")
    elif reach == "hooks":
        yield ok("reach", "its hooks bring mail at its next step")
    elif reach == "tools" and told["reports"] == "prompt" and told["heard_s"] is None:
        yield note("reach", "until it is prompted, mail comes only when it calls a coterie tool")
    elif reach == "tools":
        yield note("reach", "mail comes only when it calls a coterie tool", "end that session, and resume it")
    else:
        yield trouble("reach", "nothing reaches it: its coterie-mcp is gone", "end that session, and resume it")


def hooks(told: dict[str, Any]) -> Iterator[Finding]:
    """Whether its hooks report."""
    if not told["reports"]:
        return
    heard = told["heard_s"]
    if told["hooked"]:
        yield ok("hooks", "its hooks report" + ("" if heard is None else f"; last sign {span(heard)} ago"))
    elif told["reports"] == "prompt" and heard is None:
        yield note("hooks", "its hooks report once it is prompted")
    elif told["age_s"] < NEW_SESSION_S:
        yield note("hooks", "its hooks have not reported yet")
    else:
        evidence = "its hooks never reported: they are off, not trusted, or younger than the session"
        yield trouble("hooks", evidence, f"coterie doctor {told['kind']}; then end that session, and resume it")


def mail(told: dict[str, Any]) -> Iterator[Finding]:
    """What reached it last, and what waits."""
    shown, waits, heard = told["shown"], told["waiting_s"], told["heard_s"]
    if shown:
        by = CARRIERS.get(shown["by"], shown["by"])
        yield ok("delivered", f"{shown['id']} was shown {span(shown['ago_s'] or 0)} ago, by {by}")
    if waits is None:
        return
    waiting = f"{count(told['unread'], 'message')} unread, the oldest for {span(waits)}"
    if waits > MAIL_OLD_S and (heard is None or heard > waits):
        evidence = f"{waiting}, and no sign of it since"
        yield trouble("mail", evidence, f"look at its window; or try it: coterie doctor {told['kind']} --live")
    else:
        yield note("mail", waiting)


# --- is there anybody -------------------------------------------------------------------------------------------------


def unreachable(place: str) -> str | None:
    """Why nobody takes anything at a place (a socket, or a folder with a queue); None if somebody does. It is only
    connected to.
    """
    try:
        found = os.stat(place)
        if found.st_uid != os.getuid():
            return "belongs to another user"
        if stat.S_ISDIR(found.st_mode):
            return None
        if not stat.S_ISSOCK(found.st_mode):
            return "is no socket"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_S)
            connection.connect(place)
    except FileNotFoundError:
        return "is gone"
    except ConnectionRefusedError:
        return "has nobody listening"
    except TimeoutError:
        return "does not answer"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    return None
