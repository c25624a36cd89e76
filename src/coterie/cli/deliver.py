"""Sending from the command line: one id for all tries, and the truth about how far the message got."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from coterie.cli import say
from coterie.cli.link import Link, is_broken
from coterie.cli.standing import NUDGED, OFFERED, reached, there
from coterie.cli.times import in_words
from coterie.client import connect
from coterie.errors import CoterieError, NoMatch, Unavailable
from coterie.limits import CALL_S, LOG_ROWS_MAX

TRIES = 3
"""A daemon that goes away in the middle of a call is there again at the next try; thrice in a row is no chance."""
LOOK_S = 2.0
"""How long an interrupted command may still look up what became of its message."""


def deliver(link: Link, params: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Send, and send again with the same id if the connection breaks. Returns the daemon's answer.

    An error after the message left says that it may be stored.
    """
    deadline = time.monotonic() + wait_s
    broken = 0
    while True:
        try:
            if broken:
                link.renew()
            left = max(deadline - time.monotonic(), 0)
            answer: dict[str, Any] = link.call_once("messages.send", {**params, "wait_s": left}, left + CALL_S)
        except Unavailable as error:
            broken += 1
            if broken == TRIES or not is_broken(error):
                raise _unknown(error, params["id"]) from None
        except CoterieError as error:
            raise (_unknown(error, params["id"]) if broken else error) from None
        else:
            return answer


def _unknown(error: CoterieError, message: str) -> CoterieError:
    hint = f"{error.hint}; then: " if error.hint else ""
    return type(error)(
        f"{error.message}; it is not known whether {message} was stored", f"{hint}coterie log --thread {message}"
    )


def where_it_stands(message: str) -> str:
    """What is known of a message whose sending was interrupted."""
    try:
        rows = connect("cli", start=False, wait_s=LOOK_S).call(
            "messages.log", {"thread": message, "limit": LOG_ROWS_MAX}, LOOK_S
        )["messages"]
    except NoMatch:
        return f"interrupted: {message} was not stored"
    except CoterieError as error:
        return f"interrupted, and it is not known whether {message} was stored: {error.message}"
    states = [f"{say.plain(row['to'])}: {row['state']}" for row in rows if row["id"].partition(".")[0] == message]
    return f"interrupted; {message} is stored and goes its way ({', '.join(states)}): coterie log --thread {message}"


# --- how far it got -------------------------------------------------------------------------------------------------


def outcome(copy: dict[str, Any], life_s: float) -> str:
    """One line on one copy: its id, the recipient and its state, and how far it got."""
    name = say.plain(copy["to"])
    describe = _BY_STATE.get(copy["state"])
    how = describe(copy, name, f"up to {in_words(life_s)}") if describe else copy["state"]
    return f"{copy['id']} to {name} ({say.plain(copy['to_state'])}): {how}"


def _queued(copy: dict[str, Any], name: str, life: str) -> str:
    if copy.get("there"):
        return f"queued: {there(copy['there'])}; it waits {life}"
    if copy["carrier"] == "inbox":
        return "queued: it is about to go through its inbox"
    if "nudge" in copy:
        return f"queued: {NUDGED[copy['nudge']]}, not known to be read yet; it waits {life}"
    if "nudge_failure" in copy:
        return f"queued: {copy['nudge_failure']}; it waits {life}"
    if copy["to_state"] == "away":
        return f"queued: {name} is away, it waits {life}"
    if copy["to_state"] == "ended":
        return f"queued: {name} has ended, it is held {life}"
    return f"queued: {reached(copy['reach'], name)}; it waits {life}"


def _offered(copy: dict[str, Any], name: str, life: str) -> str:
    return f"offered {OFFERED.get(copy['carrier'], '')}".rstrip() + "; not known to be read yet"


def _shown(copy: dict[str, Any], name: str, life: str) -> str:
    return f"shown to {name}"


def _acknowledged(copy: dict[str, Any], name: str, life: str) -> str:
    return f"acknowledged: {name} answered it"


_BY_STATE: dict[str, Callable[[dict[str, Any], str, str], str]] = {
    "queued": _queued,
    "offered": _offered,
    "shown": _shown,
    "acknowledged": _acknowledged,
}
